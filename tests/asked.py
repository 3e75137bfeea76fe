"""A client that creates, runs and shows containers by the bodies of its requests."""

from __future__ import annotations

from typing import Any

from tests.api.wire import Answer, Wire
from tests.live import LiveDaemon


class Asked:
    """Containers are made of `busybox` and sleep, unless another image or command is asked for."""

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
