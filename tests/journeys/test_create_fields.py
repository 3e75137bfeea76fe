"""Fields of the create request, asked for over the API and seen inside and in `inspect`."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.wire import Answer, Wire
from tests.live import LiveDaemon
from tiffin.kernel import cgroup

pytestmark = pytest.mark.root

V1 = cgroup.detect().version == 1


class Asked:
    """A client of the daemon that creates, runs and shows containers by bodies."""

    def __init__(self, daemon: LiveDaemon, version: str = "v1.55") -> None:
        self.wire = Wire(daemon.socket, version)
        self._daemon = daemon

    def create(self, host: dict[str, Any] | None = None, **config: Any) -> Answer:
        body = {"Image": "busybox", "Cmd": ["sleep", "1000"], "HostConfig": host or {}, **config}
        return self.wire("POST", "/containers/create", body)

    def made(self, host: dict[str, Any] | None = None, **config: Any) -> str:
        answer = self.create(host, **config)
        assert answer.status == 201, answer.message
        return str(answer.json()["Id"])

    def inspect(self, container: str) -> Any:
        return self.wire("GET", f"/containers/{container}/json").json()

    def said(self, script: str, host: dict[str, Any] | None = None, **config: Any) -> str:
        """What a shell inside says; the container is gone afterwards."""
        container = self.made(host, **{"Cmd": ["sh", "-c", script], **config})
        finished = self._daemon.docker("start", "-a", container, check=False)
        self.remove(container)
        return str(finished.stdout)

    def remove(self, container: str) -> None:
        self.wire("DELETE", f"/containers/{container}?force=1&v=1")

    def refused(self, host: dict[str, Any] | None = None, **config: Any) -> tuple[int, str]:
        answer = self.create(host, **config)
        return answer.status, answer.message


@pytest.fixture
def asked(daemon: LiveDaemon) -> Asked:
    return Asked(daemon)


# --- resources ------------------------------------------------------------------------------------


def test_resources_are_shown_as_they_were_asked_for(asked: Asked) -> None:
    host = {
        "Memory": 64 << 20,
        "MemoryReservation": 32 << 20,
        "NanoCpus": 500_000_000,
        "CpuShares": 512,
        "CpusetCpus": "0",
        "CpusetMems": "0",
        "PidsLimit": 77,
        "OomScoreAdj": 5,
        "ShmSize": 1 << 20,
        "Ulimits": [{"Name": "nofile", "Soft": 64, "Hard": 128}],
    }
    container = asked.made(host)
    shown = asked.inspect(container)["HostConfig"]
    assert {name: shown[name] for name in host} == host
    assert shown["MemorySwap"] == 128 << 20
    asked.remove(container)


@pytest.mark.skipif(not V1, reason="the host's cgroups are v2")
def test_v1_knows_swappiness_and_a_container_without_oom_killer(asked: Asked) -> None:
    script = "cd /sys/fs/cgroup/memory; cat memory.swappiness; head -1 memory.oom_control"
    host = {"Memory": 64 << 20, "MemorySwappiness": 7, "OomKillDisable": True}
    assert asked.said(script, host) == "7\noom_kill_disable 1\n"
    container = asked.made(host)
    shown = asked.inspect(container)["HostConfig"]
    assert (shown["MemorySwappiness"], shown["OomKillDisable"]) == (7, True)
    asked.remove(container)


@pytest.mark.skipif(V1, reason="the host's cgroups are v1")
def test_v2_discards_swappiness_and_says_so(asked: Asked) -> None:
    answer = asked.create({"MemorySwappiness": 7, "OomKillDisable": True})
    told = " ".join(answer.json()["Warnings"])
    assert "Memory swappiness discarded" in told
    assert "OomKillDisable discarded" in told
    shown = asked.inspect(answer.json()["Id"])["HostConfig"]
    assert (shown["MemorySwappiness"], shown["OomKillDisable"]) == (None, None)
    asked.remove(answer.json()["Id"])


@pytest.mark.parametrize(
    ("host", "message"),
    [
        ({"BlkioDeviceReadBps": [{"Path": "/dev/none", "Rate": 1}]},
         "stat /dev/none: no such file or directory"),
        ({"BlkioDeviceWriteIOps": [{"Path": "/etc/passwd", "Rate": 1}]},
         "stat /etc/passwd: not a device node"),
        ({"Isolation": "hyperv"}, "invalid isolation (hyperv): linux only supports 'default'"),
        ({"IOMaximumIOps": 3},
         "invalid option: QoS maximum IOPs configuration is not supported on linux"),
        ({"DeviceRequests": [{"Driver": "nvidia", "Count": -1, "Capabilities": [["gpu"]]}]},
         'could not select device driver "nvidia" with capabilities: [[gpu]]'),
        ({"Memory": 1}, "Minimum memory limit allowed is 6MB"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_a_400_in_dockers_words(
    asked: Asked, host: dict[str, Any], message: str
) -> None:
    assert asked.refused(host) == (400, message)
