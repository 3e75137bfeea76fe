"""Ctrl-C: commands that go on end at once, with Docker's exit codes, and leave nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.fake_daemon import CONTAINER_ID, Answer, FakeDaemon, Request
from tests.cli.test_requests import TIFFIN
from tests.patience import patient


class Slow(FakeDaemon):
    """It takes what is asked, and answers when the test is over."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = threading.Semaphore(0)
        self.over = threading.Event()
        self.ready = [
            "GET /_ping",
            "HEAD /_ping",
            "POST /containers/create",
            f"POST /containers/{CONTAINER_ID}/start",
            "GET /containers/one/json",
            "GET /containers/json",
        ]
        running = {"Running": True, "Status": "running"}
        self.routes["GET /containers/one/json"] = Answer(
            document={"Id": CONTAINER_ID, "State": running, "Config": {"Tty": False}}
        )
        self.routes["GET /containers/json"] = Answer(document=[{"Id": CONTAINER_ID}])

    def answer(self, request: Request) -> Answer:
        if f"{request.method} {request.path}" not in self.ready:
            self.asked.release()
            self.over.wait(patient(60))
        return super().answer(request)


@pytest.fixture
def daemon() -> Iterator[Slow]:
    with Slow() as found:
        yield found
        found.over.set()


def start(daemon: Slow, *words: str, directory: str = "/") -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*TIFFIN, "-H", daemon.host, *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=directory,
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    "words", ["events", "logs -f one", "stats", "stats one", "wait one", "top one", "pull a"]
)
def test_a_signal_ends_a_command_with_dockers_code(
    daemon: Slow, words: str, number: signal.Signals
) -> None:
    process = start(daemon, *words.split())
    assert daemon.asked.acquire(timeout=patient(30))
    process.send_signal(number)
    out, err = process.communicate(timeout=patient(30))
    assert (process.returncode, err) == (128 + number, b"")
    assert out in (b"", b"Using default tag: latest\n")


def test_a_file_that_was_half_written_is_gone(daemon: Slow, tmp_path: Path) -> None:
    process = start(daemon, "save", "-o", "x.tar", "busybox", directory=str(tmp_path))
    assert daemon.asked.acquire(timeout=patient(30))
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=patient(30))
    assert process.returncode == 130
    assert os.listdir(tmp_path) == []


def test_whoever_ignores_ctrl_c_keeps_ignoring_it(daemon: Slow) -> None:
    """A command in the background of a script, or under nohup."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        process = start(daemon, "wait", "one")
    finally:
        signal.signal(signal.SIGINT, before)
    assert daemon.asked.acquire(timeout=patient(30))
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=patient(30))
    assert process.returncode == 143


def test_the_third_signal_leaves_a_container_that_cares_for_none(daemon: Slow) -> None:
    kill = f"POST /containers/{CONTAINER_ID}/kill"
    signals: list[str] = []
    told = threading.Semaphore(0)

    def note(request: Request) -> Answer:
        signals.append(request.query["signal"])
        told.release()
        return Answer(204)

    daemon.routes[kill] = note
    daemon.routes[f"POST /containers/{CONTAINER_ID}/attach"] = Answer(hijack=b"")
    daemon.ready += [kill, f"POST /containers/{CONTAINER_ID}/attach"]
    process = start(daemon, "run", "busybox")
    assert daemon.asked.acquire(timeout=patient(30))  # its wait, which nobody answers
    for number in (signal.SIGINT, signal.SIGTERM):
        process.send_signal(number)
        assert told.acquire(timeout=patient(30))
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=patient(30))
    assert (process.returncode, signals) == (1, ["INT", "TERM"])
    assert err == b"\ngot 3 SIGTERM/SIGINTs, forcefully exiting\n"
