"""What else there is to do with a container: watch it, change it, copy into it, ask its health."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.live import LiveDaemon

pytestmark = pytest.mark.root

Named = Callable[..., str]


@pytest.fixture
def named(daemon: LiveDaemon, client: str, request: pytest.FixtureRequest) -> Iterator[Named]:
    """Starts containers with `run -d` that are gone after the test; gives their names."""
    made: list[str] = []

    def run(*arguments: str) -> str:
        name = f"more-{client}-{len(made)}-{abs(hash(request.node.name)) % 10**8}"
        made.append(name)
        daemon.client(client)("run", "-d", "--name", name, *arguments)
        return name

    yield run
    for name in made:
        daemon.docker("rm", "-f", "-v", name, check=False)


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=30)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(30)
        self.sock.connect(self._path)


def ask(
    daemon: LiveDaemon, method: str, path: str, body: Any = None, kind: str = "application/json"
) -> tuple[int, bytes]:
    connection = _UnixConnection(daemon.socket)
    data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    connection.request(method, path, data, {"Content-Type": kind})
    answer = connection.getresponse()
    found = answer.status, answer.read()
    connection.close()
    return found


def inspect(daemon: LiveDaemon, name: str) -> Any:
    return json.loads(daemon.docker("inspect", name).stdout)[0]


# -- stats ---------------------------------------------------------------------------------------


def test_stats_show_what_a_container_uses(daemon: LiveDaemon, client: str, named: Named) -> None:
    name = named("-m", "64m", "busybox", "sh", "-c", "while :; do :; done")
    form = "{{.Name}};{{.CPUPerc}};{{.MemUsage}};{{.PIDs}};{{.NetIO}}"
    line = daemon.client(client)("stats", "--no-stream", "--format", form, name).stdout.strip()
    shown, cpu, memory, pids, network = line.split(";")
    assert shown == name
    assert 5 < float(cpu.rstrip("%")) < 400
    assert memory.endswith("/ 64MiB")
    assert int(pids) >= 1
    assert "B" in network


def test_a_stream_of_stats_goes_on_and_ends_with_its_client(
    daemon: LiveDaemon, client: str, named: Named
) -> None:
    name = named("busybox", "sleep", "1000")
    connection = _UnixConnection(daemon.socket)
    connection.request("GET", f"/containers/{name}/stats")
    answer = connection.getresponse()
    first, second = (json.loads(answer.readline()) for _ in range(2))
    assert first["precpu_stats"]["cpu_usage"]["total_usage"] == 0
    assert second["precpu_stats"] == first["cpu_stats"]
    assert second["preread"] == first["read"]
    assert second["networks"]["eth0"]["rx_bytes"] >= 0
    assert second["memory_stats"]["limit"] > 1 << 20
    answer.close()
    connection.close()
    status, body = ask(daemon, "GET", f"/containers/{name}/stats?stream=0&one-shot=1")
    assert (status, json.loads(body)["precpu_stats"]["cpu_usage"]["total_usage"]) == (200, 0)
    daemon.docker("kill", name)
    status, body = ask(daemon, "GET", f"/containers/{name}/stats?stream=false")
    assert json.loads(body)["read"] == "0001-01-01T00:00:00Z"
    assert ask(daemon, "GET", "/containers/nono/stats")[0] == 404


# -- update --------------------------------------------------------------------------------------


def limits_inside(daemon: LiveDaemon, name: str) -> dict[str, str]:
    """What the kernel holds, by the container's first process."""
    pid = inspect(daemon, name)["State"]["Pid"]
    found = {}
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(",") if controllers else [""]:
            found[controller] = path
    files = {
        "memory": ("memory/{}/memory.limit_in_bytes", "{}/memory.max"),
        "pids": ("pids/{}/pids.max", "{}/pids.max"),
        "cpu": ("cpu/{}/cpu.shares", "{}/cpu.weight"),
    }
    read = {}
    for controller, (first, second) in files.items():
        form, path = (first, found.get(controller)) if "memory" in found else (second, found[""])
        if path is not None:
            read[controller] = Path("/sys/fs/cgroup", form.format(path.strip("/"))).read_text()
    return {key: value.strip() for key, value in read.items()}


def test_limits_of_a_running_container_change_at_once(
    daemon: LiveDaemon, client: str, named: Named
) -> None:
    run = daemon.client(client)
    name = named("-m", "64m", "busybox", "sleep", "1000")
    run("update", "-m", "96m", "--pids-limit", "77", "--restart", "on-failure:3", name)
    kept = inspect(daemon, name)["HostConfig"]
    assert (kept["Memory"], kept["PidsLimit"]) == (96 << 20, 77)
    assert kept["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 3}
    held = limits_inside(daemon, name)
    assert (held["memory"], held["pids"]) == (str(96 << 20), "77")
    refused = run("update", "-m", "1g", name, check=False)
    assert "update the memoryswap at the same time" in refused.stderr
    assert refused.returncode == 1
    assert "Minimum memory limit" in run("update", "-m", "1m", name, check=False).stderr


def test_a_container_without_limits_is_put_under_some(
    daemon: LiveDaemon, client: str, named: Named
) -> None:
    name = named("busybox", "sh", "-c", "sleep 1000 & exec sleep 1000")
    daemon.client(client)("update", "--cpu-shares", "512", name)
    held = limits_inside(daemon, name)["cpu"]
    assert held in ("512", "20")
    inside = daemon.docker("exec", name, "cat", "/proc/self/cgroup").stdout
    pid = inspect(daemon, name)["State"]["Pid"]
    outside = Path(f"/proc/{pid}/cgroup").read_text()
    assert inside.count("\n") == outside.count("\n")
    run_pids = daemon.docker("top", name).stdout.splitlines()[1:]
    assert len(run_pids) == 2
    for line in run_pids:
        assert Path(f"/proc/{line.split()[1]}/cgroup").read_text() == outside


def test_an_update_of_a_stopped_container_is_kept(daemon: LiveDaemon, client: str) -> None:
    run = daemon.client(client)
    name = f"kept-{client}"
    run("create", "--name", name, "busybox", "sleep", "1000")
    run("update", "--cpus", "0.5", name)
    run("start", name)
    assert inspect(daemon, name)["HostConfig"]["NanoCpus"] == 500_000_000
    run("rm", "-f", name)
