"""A daemon made of canned answers on a unix socket: it records what a client asks of it."""

from __future__ import annotations

import json
import os
import shutil
import socketserver
import tempfile
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qsl, urlsplit

CONTAINER_ID = "4f1d" * 16


class Request:
    """One request as it came, its path without the API version."""

    def __init__(self, method: str, target: str, headers: dict[str, str], body: bytes):
        parts = urlsplit(target)
        path = parts.path
        self.version = ""
        if path.startswith("/v1."):
            self.version, _, rest = path[2:].partition("/")
            path = "/" + rest
        self.method = method
        self.path = path
        self.query = dict(parse_qsl(parts.query, keep_blank_values=True))
        self.headers = headers
        self.body = body

    @property
    def document(self) -> Any:
        return json.loads(self.body)

    def __repr__(self) -> str:
        return f"{self.method} {self.path} {self.query}"


class Answer:
    """What the fake says: a document, bytes, or raw bytes after an upgrade."""

    def __init__(
        self,
        status: int = 200,
        document: Any = None,
        *,
        body: bytes | None = None,
        chunks: list[bytes] | None = None,
        hijack: bytes | None = None,
        headers: dict[str, str] | None = None,
    ):
        self.status = status
        self.body = body if body is not None else b""
        if document is not None:
            self.body = json.dumps(document).encode() + b"\n"
        self.chunks = chunks
        self.hijack = hijack
        self.headers = headers or {}


Route = Callable[[Request], Answer]


def error(status: int, message: str) -> Answer:
    return Answer(status, {"message": message}, headers={"Content-Type": "application/json"})


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def answer_any(self) -> None:
        request = Request(self.command, self.path, dict(self.headers.items()), self.read_body())
        self.server.fake.requests.append(request)
        answer = self.server.fake.answer(request)
        if answer.hijack is not None:
            self.upgrade(answer.hijack)
            return
        self.send_response(answer.status)
        self.send_header("Api-Version", self.server.fake.api_version)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if answer.chunks is not None:
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for chunk in answer.chunks:
                self.wfile.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
                self.wfile.flush()
            self.wfile.write(b"0\r\n\r\n")
            return
        if answer.status != 204:
            self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    def read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length", "0")))

    def upgrade(self, output: bytes) -> None:
        self.wfile.write(
            b"HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.raw-stream\r\n"
            b"Connection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
        )
        self.wfile.write(output)
        self.wfile.flush()
        self.close_connection = True

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = answer_any  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass

    def address_string(self) -> str:
        return "unix"


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    request_queue_size = 64
    fake: FakeDaemon


class FakeDaemon:
    """Serves while it is entered; `routes` maps "METHOD /path" to an answer or a function."""

    def __init__(self, api_version: str = "1.50"):
        self.api_version = api_version
        self.requests: list[Request] = []
        self.routes: dict[str, Answer | Route] = {
            "GET /_ping": Answer(body=b"OK", headers={"Ostype": "linux"}),
            "HEAD /_ping": Answer(headers={"Ostype": "linux"}),
            "POST /containers/create": Answer(201, {"Id": CONTAINER_ID, "Warnings": []}),
            f"POST /containers/{CONTAINER_ID}/start": Answer(204),
            f"POST /containers/{CONTAINER_ID}/wait": Answer(document={"StatusCode": 0}),
            f"POST /containers/{CONTAINER_ID}/attach": Answer(hijack=b""),
        }

    @property
    def host(self) -> str:
        return f"unix://{self.socket_path}"

    def answer(self, request: Request) -> Answer:
        if request.version and _number(request.version) > _number(self.api_version):
            return error(
                400,
                f"client version {request.version} is too new. "
                f"Maximum supported API version is {self.api_version}",
            )
        found = self.routes.get(f"{request.method} {request.path}")
        if found is None:
            return error(404, "page not found")
        return found if isinstance(found, Answer) else found(request)

    def asked(self, text: str) -> Request:
        """The only request whose method and path are `text`."""
        (found,) = [each for each in self.requests if f"{each.method} {each.path}" == text]
        return found

    def __enter__(self) -> FakeDaemon:
        self.directory = tempfile.mkdtemp(prefix="tfn")
        self.socket_path = os.path.join(self.directory, "d.sock")
        self.server = Server(self.socket_path, Handler)
        self.server.fake = self
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()
        shutil.rmtree(self.directory)


def _number(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))
