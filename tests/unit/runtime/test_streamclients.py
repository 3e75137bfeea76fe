"""Clients that do not take what they are owed, without a container."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.patience import patient
from tiffin.runtime import streamclients, streams
from tiffin.runtime.loop import Loop
from tiffin.runtime.streamclients import STDOUT, Client, Spool
from tiffin.runtime.streams import Streams

PIECES = [bytes([number]) * 50_000 for number in range(100)]
WANTED = b"".join(PIECES)
OUTPUT = {"stdout": True, "stderr": True}


@pytest.fixture(autouse=True)
def in_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "PATIENCE_SECONDS", 0.0)


@pytest.fixture
def peer() -> Iterator[tuple[socket.socket, Client]]:
    ours, theirs = socket.socketpair()
    client = Client(theirs.detach(), OUTPUT, b"", framed=False)
    with ours:
        yield ours, client
    client.close()


@pytest.mark.parametrize("most", [1 << 30, 1_000_000, 1])
def test_a_spool_gives_what_it_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(streamclients, "SPOOL_BYTES", most)
    spool = Spool(str(tmp_path))
    for piece in PIECES:
        spool.write(piece)
    assert os.listdir(tmp_path) == []
    assert spool.full == (most < len(WANTED))
    assert b"".join(iter(spool.read, b"")) == WANTED
    spool.close()


def test_a_full_disk_is_a_full_spool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = Spool(str(tmp_path))
    os.close(spool._fd)
    spool._fd = os.open("/dev/full", os.O_RDWR)
    spool.write(b"lost nowhere")
    assert spool.full
    with open("/dev/null", "rb") as nothing:
        os.dup2(nothing.fileno(), spool._fd)
    assert b"".join(iter(spool.read, b"")) == b"lost nowhere"
    spool.close()


def test_a_client_gets_queue_and_spool_in_order(
    tmp_path: Path, peer: tuple[socket.socket, Client]
) -> None:
    ours, client = peer
    for piece in PIECES[:50]:
        assert client.send(STDOUT, piece)
    client.spool = Spool(str(tmp_path))
    for piece in PIECES[50:]:
        assert client.send(STDOUT, piece)
    received = b""
    while client.owed:
        received += ours.recv(1 << 20)
        assert client.flush()
    ours.setblocking(False)
    while len(received) < len(WANTED):
        received += ours.recv(1 << 20)
    assert received == WANTED


def until_end(connection: socket.socket) -> Iterator[bytes]:
    return iter(lambda: connection.recv(1 << 20), b"")


class Said:
    """Streams of a process that says WANTED, as fast as it may."""

    def __init__(self, directory: Path) -> None:
        self.loop = Loop()
        self.streams = Streams(self.loop, stdin_once=False, spool_directory=str(directory))
        reading, self._writing = os.pipe()
        self.streams.add_output(reading, STDOUT)
        self._process = threading.Thread(target=self._say)
        self._process.start()

    def _say(self) -> None:
        with open(self._writing, "wb") as file:
            file.write(WANTED)

    def run(self) -> None:
        """Until all is said."""
        while self._process.is_alive():
            self.loop.later(0.001, lambda: None)
            self.loop.run_once()
        self._process.join(patient(60))
        self.streams.process_ended()


def test_a_lone_client_that_takes_nothing_keeps_no_process_waiting(
    tmp_path: Path, peer: tuple[socket.socket, Client]
) -> None:
    ours, client = peer
    said = Said(tmp_path)
    said.streams.attach(client, b"")
    said.run()
    said.streams.close_clients()
    received: list[bytes] = []
    reading = threading.Thread(target=lambda: received.extend(until_end(ours)))
    reading.start()
    while said.streams.has_clients:
        said.loop.run_once()
    reading.join(patient(60))
    assert b"".join(received) == WANTED


def test_beside_others_one_whose_spool_is_full_is_dropped(
    tmp_path: Path, peer: tuple[socket.socket, Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streamclients, "SPOOL_BYTES", 1_000_000)
    ours, client = peer
    other, theirs = socket.socketpair()
    reading = threading.Thread(target=lambda: list(until_end(other)))
    with other:
        reading.start()
        said = Said(tmp_path)
        said.streams.attach(client, b"")
        said.streams.attach(Client(theirs.detach(), OUTPUT, b"", framed=False), b"")
        said.run()
        said.streams.close_clients()
        while said.streams.has_clients:
            said.loop.run_once()
        reading.join(patient(60))
    assert len(b"".join(until_end(ours))) < len(WANTED)


@pytest.mark.parametrize(("read_at", "looks"), [(1, 1), (3, 3), (0, streams._READ_LOOKS)])
def test_who_has_yet_to_read_is_given_a_moment(
    peer: tuple[socket.socket, Client],
    monkeypatch: pytest.MonkeyPatch,
    read_at: int,
    looks: int,
) -> None:
    ours, client = peer
    served = Streams(Loop(), stdin_once=False)
    served.attach(client, b"")
    served.await_readers()
    client.send(STDOUT, b"hello")
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == read_at:
            assert ours.recv(100) == b"hello"

    monkeypatch.setattr(streams, "time", SimpleNamespace(sleep=sleep))
    served.await_readers()
    assert len(slept) == looks
    served.forget_clients()


def test_who_has_gone_is_not_waited_for(
    peer: tuple[socket.socket, Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, client = peer
    served = Streams(Loop(), stdin_once=False)
    served.attach(client, b"")
    client.send(STDOUT, b"hello")
    ours.close()
    monkeypatch.setattr(streams, "time", SimpleNamespace())
    served.await_readers()
    served.forget_clients()
