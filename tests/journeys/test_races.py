"""Every verb at once on a few containers: refusals, but never a fault, and nothing is left."""

from __future__ import annotations

import http.client
import json
import random
import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest

from tests.live import LiveDaemon
from tests.patience import patient

pytestmark = pytest.mark.root

NAMES = ("one", "two", "three")
CLIENTS, REQUESTS = 6, 60
BODIES: tuple[dict[str, Any], ...] = (
    {"Image": "busybox", "Cmd": ["sleep", "1000"]},
    {"Image": "busybox", "Cmd": ["false"], "HostConfig": {"RestartPolicy": {"Name": "always"}}},
    {"Image": "busybox", "Cmd": ["true"], "HostConfig": {"AutoRemove": True}},
    {"Image": "busybox", "Cmd": ["/no/such/program"]},
)


class Client:
    """One thread's, with a seed of its own; keeps what should not have been."""

    def __init__(self, daemon: LiveDaemon, seed: int) -> None:
        self._socket = daemon.socket
        self._random = random.Random(seed)
        self.faults: list[str] = []

    def run(self) -> None:
        verbs: tuple[Callable[[str], None], ...] = (
            *(self.create, self.create, self.start, self.start, self.stop, self.kill),
            *(self.restart, self.pause, self.unpause, self.exec, self.remove, self.rename),
        )
        for _ in range(REQUESTS):
            self._random.choice(verbs)(self._random.choice(NAMES))

    def create(self, name: str) -> None:
        self._ask("POST", f"/containers/create?name={name}", self._random.choice(BODIES))

    def start(self, name: str) -> None:
        self._ask("POST", f"/containers/{name}/start")

    def stop(self, name: str) -> None:
        self._ask("POST", f"/containers/{name}/stop?t=0")

    def kill(self, name: str) -> None:
        self._ask("POST", f"/containers/{name}/kill?signal={self._random.choice(('KILL', 'HUP'))}")

    def restart(self, name: str) -> None:
        self._ask("POST", f"/containers/{name}/restart?t=0")

    def pause(self, name: str) -> None:
        self._ask("POST", f"/containers/{name}/pause")

    def unpause(self, name: str) -> None:
        self._ask("POST", f"/containers/{name}/unpause")

    def remove(self, name: str) -> None:
        self._ask("DELETE", f"/containers/{name}?v=1&force={self._random.randrange(2)}")

    def rename(self, name: str) -> None:
        self._ask("POST", f"/containers/{name}/rename?name={self._random.choice(NAMES)}")

    def exec(self, name: str) -> None:
        made = self._ask("POST", f"/containers/{name}/exec", {"Cmd": ["true"]})
        if "Id" in made:
            self._ask("POST", f"/exec/{made['Id']}/start", {"Detach": True})

    def _ask(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        connection = http.client.HTTPConnection("localhost", timeout=patient(120))
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(patient(120))
        connection.sock.connect(self._socket)
        try:
            text = json.dumps(body) if body is not None else ""
            headers = {"Content-Type": "application/json"} if text else {}
            connection.request(method, path, text, headers)
            answer = connection.getresponse()
            data = answer.read()
        finally:
            connection.close()
        if answer.status >= 500:
            self.faults.append(f"{method} {path}: {answer.status} {data.decode()}")
        return json.loads(data) if data.startswith(b"{") else {}


def test_verbs_that_race_are_refused_at_most(daemon: LiveDaemon) -> None:
    clients = [Client(daemon, seed) for seed in range(CLIENTS)]
    threads = [threading.Thread(target=client.run) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(patient(300))
        assert not thread.is_alive()
    assert [fault for client in clients for fault in client.faults] == []
    daemon.remove_containers()
    assert daemon.docker("ps", "-aq").stdout == ""
    checked = daemon.tiffin("system", "check", "--format", "json", check=False)
    assert json.loads(checked.stdout)["Findings"] == []
    for name in NAMES:
        assert daemon.docker("run", "--rm", "--name", name, "busybox", "true").returncode == 0
