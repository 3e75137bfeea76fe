"""A small HTTP client for tests: one request on one unix socket connection."""

from __future__ import annotations

import http.client
import json
import socket
from dataclasses import dataclass, field
from typing import Any

from tests.patience import patient


@dataclass
class Answer:
    status: int
    headers: dict[str, str]  # names in lower case
    body: bytes = b""

    def json(self) -> Any:
        return json.loads(self.body)

    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.body.splitlines() if line.strip()]

    @property
    def message(self) -> str:
        return str(self.json()["message"])


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float = patient(60)) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


@dataclass
class Wire:
    """Requests to the engine that listens at `path`."""

    path: str
    version: str = ""  # "v1.41" puts /v1.41 before each path
    timeout: float = patient(60)
    headers: dict[str, str] = field(default_factory=dict)

    def __call__(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        content_type: str | None = "application/json",
        headers: dict[str, str] | None = None,
    ) -> Answer:
        sent = dict(self.headers)
        data = body if isinstance(body, bytes | type(None)) else json.dumps(body).encode()
        if data is not None and content_type:
            sent["Content-Type"] = content_type
        sent.update(headers or {})
        connection = UnixConnection(self.path, self.timeout)
        try:
            prefix = f"/{self.version}" if self.version else ""
            connection.request(method, prefix + path, data, sent)
            response = connection.getresponse()
            found = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, found, response.read())
        finally:
            connection.close()
