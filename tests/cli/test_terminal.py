"""With a terminal: its size goes along, keys detach, and it is given back as it was."""

from __future__ import annotations

import os
import signal
import struct
import termios
import threading
from collections.abc import Iterator
from fcntl import ioctl
from typing import Any

import pytest

from tests.cli.fake_daemon import CONTAINER_ID, Answer, FakeDaemon, Handler, Request
from tests.cli.test_requests import TIFFIN
from tests.patience import patient


class Interactive(FakeDaemon):
    """Its attach echoes what comes, and ends when `bye` does."""

    def __init__(self) -> None:
        super().__init__()
        self.resized: list[dict[str, str]] = []
        self.resize_seen = threading.Semaphore(0)
        self.routes[f"POST /containers/{CONTAINER_ID}/resize"] = self.resize
        self.killed = threading.Event()
        self.signals: list[str] = []
        self.started = threading.Event()
        self.routes[f"POST /containers/{CONTAINER_ID}/start"] = self.start
        self.routes[f"POST /containers/{CONTAINER_ID}/kill"] = self.kill

    def resize(self, request: Request) -> Answer:
        self.resized.append(request.query)
        self.resize_seen.release()
        return Answer(200)

    def start(self, _: Request) -> Answer:
        self.started.set()
        return Answer(204)

    def kill(self, request: Request) -> Answer:
        self.signals.append(request.query["signal"])
        self.killed.set()
        return Answer(204)


class EchoHandler(Handler):
    def upgrade(self, output: bytes) -> None:
        super().upgrade(output)
        self.connection.sendall(b"ready\r\n")
        while data := self.connection.recv(4096):
            self.connection.sendall(b"<" + data + b">")
            if b"bye" in data:
                return

    do_GET = do_POST = do_HEAD = Handler.answer_any  # noqa: N815


@pytest.fixture
def daemon() -> Iterator[Interactive]:
    with Interactive() as found:
        found.server.RequestHandlerClass = EchoHandler
        yield found


class Session:
    def __init__(self, daemon: FakeDaemon, *words: str, columns: int = 0):
        self.terminal, theirs = os.openpty()
        self.before = termios.tcgetattr(self.terminal)  # nobody has changed it yet
        self.pid = os.fork()
        if self.pid == 0:
            os.login_tty(theirs)
            if columns:
                ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
            os.execv(TIFFIN[0], [*TIFFIN, "-H", daemon.host, *words])
        os.close(theirs)
        self.seen = b""

    def size(self, rows: int, columns: int) -> None:
        ioctl(self.terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def wait_for(self, text: bytes) -> None:
        while text not in self.seen:
            self.seen += os.read(self.terminal, 4096)
        self.seen = self.seen.partition(text)[2]

    def type(self, keys: bytes) -> None:
        os.write(self.terminal, keys)

    def end(self) -> int:
        """The exit code; the terminal is as it was."""
        try:
            while piece := os.read(self.terminal, 4096):
                self.seen += piece
        except OSError:
            pass
        _, status = os.waitpid(self.pid, 0)
        after: list[Any] = termios.tcgetattr(self.terminal)
        os.close(self.terminal)
        assert after == self.before
        return os.waitstatus_to_exitcode(status)


def test_keys_go_through_and_the_terminal_is_given_back(daemon: Interactive) -> None:
    session = Session(daemon, "run", "-it", "busybox")
    session.wait_for(b"ready")
    session.type(b"\x03")
    session.wait_for(b"<\x03>")
    session.type(b"bye")

    assert session.end() == 0


def test_the_detach_keys_leave_the_container_alone(daemon: Interactive) -> None:
    session = Session(daemon, "run", "-it", "busybox")
    session.wait_for(b"ready")
    session.type(b"\x10\x11")

    assert session.end() == 0
    assert daemon.signals == []


def test_other_detach_keys_can_be_asked_for(daemon: Interactive) -> None:
    session = Session(daemon, "run", "-it", "--detach-keys", "ctrl-a,d", "busybox")
    session.wait_for(b"ready")
    session.type(b"\x10\x11")
    session.wait_for(b"<\x10\x11>")
    session.type(b"\x01d")

    assert session.end() == 0


def test_a_new_size_is_told(daemon: Interactive) -> None:
    session = Session(daemon, "run", "-it", "busybox")
    session.size(10, 20)
    session.wait_for(b"ready")
    daemon.resize_seen.acquire(timeout=patient(60))
    session.size(33, 77)
    while {"h": "33", "w": "77"} not in daemon.resized:
        assert daemon.resize_seen.acquire(timeout=patient(60))
    session.type(b"bye")

    assert session.end() == 0


def test_a_signal_is_the_containers(daemon: Interactive) -> None:
    session = Session(daemon, "run", "-i", "busybox")
    assert daemon.started.wait(timeout=patient(60))
    os.kill(session.pid, signal.SIGTERM)

    assert daemon.killed.wait(timeout=patient(60))
    assert daemon.signals == ["TERM"]
    session.type(b"bye\n")
    session.end()


def test_a_table_fits_the_terminal(daemon: Interactive) -> None:
    record = {
        "Id": CONTAINER_ID,
        "Names": ["/a-name-of-some-length-that-goes-on"],
        "Image": "registry.example/some/where/deep/down:latest",
        "Command": "sh",
        "Created": 1,
        "Ports": [{"PrivatePort": 80, "PublicPort": 8080, "IP": "0.0.0.0", "Type": "tcp"}],
        "State": "running",
        "Status": "Up 2 hours",
    }
    daemon.routes["GET /containers/json"] = Answer(document=[record])
    session = Session(daemon, "ps", columns=120)

    assert session.end() == 0
    lines = session.seen.decode().split("\r\n")
    assert [line[:12] for line in lines[:2]] == ["CONTAINER ID", CONTAINER_ID[:12]]
    assert all(len(line) <= 120 for line in lines)
    assert "…" in lines[1]


@pytest.mark.parametrize(
    ("words", "question"),
    [(("container", "prune"), b"[y/N] "), (("login", "-u", "x", "example.com"), b"Password: ")],
)
def test_ctrl_c_is_an_answer_to_a_question(
    daemon: Interactive, words: tuple[str, ...], question: bytes
) -> None:
    session = Session(daemon, *words)
    session.wait_for(question)
    session.type(b"\x03")

    assert session.end() == 0
    assert session.seen in (b"^C\r\n", b"\r\n")
    assert [each.path for each in daemon.requests if each.path != "/_ping"] == []
