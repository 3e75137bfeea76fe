"""`import` of what lies at an address, and what of a platform or a name it refuses."""

from __future__ import annotations

import gzip
import http.server
import json
import threading
from collections.abc import Iterator
from urllib.parse import urlencode

import pytest

from tests.journeys.test_more_containers import ask
from tests.live import LiveDaemon
from tests.unit.storage.archives import archive, file

pytestmark = pytest.mark.root

TAR = archive(file("word", b"imported"))


class _Shelf(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/file.tar.gz")
            self.end_headers()
        elif self.path in ("/file.tar.gz", "/cut"):
            data = gzip.compress(TAR)
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data[:100] if self.path == "/cut" else data)
        else:
            self.send_error(404)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def shelf() -> Iterator[str]:
    """HOST:PORT of a server with files."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Shelf) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_tar_at_an_address_becomes_an_image(daemon: LiveDaemon, client: str, shelf: str) -> None:
    run = daemon.client(client)
    name = f"from-address-{client}"
    said = run("import", "-c", "CMD /word", f"http://{shelf}/moved", name).stdout
    assert f"Downloading from http://{shelf}/moved" in said
    try:
        found = json.loads(run("image", "inspect", name).stdout)[0]
        assert found["Comment"] == f"Imported from http://{shelf}/moved"
        assert found["Config"]["Cmd"] == ["/bin/sh", "-c", "/word"]
        assert found["Size"] == len("imported")
    finally:
        daemon.docker("rmi", name)


def imported(daemon: LiveDaemon, body: bytes | None = None, **query: str) -> tuple[int, str]:
    """The status, and the message or the last line of what is told."""
    status, answer = ask(daemon, "POST", f"/images/create?{urlencode(query)}", body, "")
    last = json.loads(answer.splitlines()[-1])
    return status, last.get("message") or last.get("error") or last["status"]


def test_what_has_no_tar_is_told_of_by_the_address(daemon: LiveDaemon, shelf: str) -> None:
    status, words = imported(daemon, fromSrc=f"{shelf}/nothing")
    assert status == 404
    assert words.startswith(f"failed to GET http://{shelf}/nothing with status 404 Not Found: ")
    status, words = imported(daemon, fromSrc="ftp://somewhere/x")
    assert (status, words) == (
        400,
        'Get "ftp://somewhere/x": unsupported protocol scheme "ftp"',
    )
    _, words = imported(daemon, fromSrc=f"{shelf}/cut")
    assert words.startswith(f'Get "http://{shelf}/cut": ')
    assert words.endswith("EOF")
    with http.server.HTTPServer(("127.0.0.1", 0), _Shelf) as gone:
        port = gone.server_port
    status, words = imported(daemon, fromSrc=f"http://127.0.0.1:{port}/x")
    assert (status, words[-18:]) == (500, "connection refused")


def test_what_cannot_become_an_image_here_is_refused_first(daemon: LiveDaemon) -> None:
    for query, words in (
        ({"platform": "windows/amd64"}, "operating system is not supported"),
        ({"repo": "x@sha256:" + "0" * 64}, "cannot import digest reference"),
        ({"repo": "sha256"}, "refusing to create an ambiguous tag using digest algorithm as name"),
        ({"changes": ""}, "file with no instructions"),
    ):
        assert imported(daemon, TAR, fromSrc="-", **query) == (400, words)
