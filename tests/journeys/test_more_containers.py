"""What else there is to do with a container: watch it, change it, copy into it, ask its health."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Callable, Iterator
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
