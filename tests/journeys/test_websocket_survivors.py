"""Clients of a websocket outlive the daemon as those of a hijacked connection do."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.journeys.test_survivors import door_of
from tests.journeys.test_tls_survivors import ends
from tests.live import LiveDaemon
from tests.websockets import websocket

pytestmark = pytest.mark.root

QUERY = "stream=1&stdin=1&stdout=1"
CLOSED = b"\x88\x02\x03\xe8"  # 1000: a normal end


@pytest.fixture
def daemon(daemon: LiveDaemon) -> Iterator[LiveDaemon]:
    yield daemon
    daemon.revive()


def sent(text: bytes) -> bytes:
    """In one frame, masked with zeros."""
    return bytes((0x82, 0x80 | len(text))) + bytes(4) + text


def heard(text: bytes) -> bytes:
    return bytes((0x82, len(text))) + text


@pytest.mark.parametrize("how", ["killed", "stopped"])
def test_a_websocket_outlives_the_daemon(daemon: LiveDaemon, how: str) -> None:
    """Both ways, and over the next one; its process ends with the last client."""
    daemon.docker("run", "-di", "--name", "lives", "busybox", "cat")
    with websocket(daemon, "lives", QUERY) as (connection, stream):
        connection.sendall(sent(b"one\n"))
        assert stream.read(6) == heard(b"one\n")
        door = os.pidfd_open(door_of(daemon, "tiffin-wsdoor"))
        if how == "killed":
            daemon.kill9()
        else:
            daemon.stop()
        connection.sendall(sent(b"two\n"))
        assert stream.read(6) == heard(b"two\n")
        daemon.start()
        connection.sendall(sent(b"three\n"))
        assert stream.read(8) == heard(b"three\n")
        daemon.docker("rm", "-f", "lives")
        assert stream.read() == CLOSED
    assert ends(door)


def test_output_that_is_not_read_yet_is_there_after_the_daemon_and_the_container(
    daemon: LiveDaemon,
) -> None:
    """A megabyte or so, of which the client has not read a byte when both have gone."""
    script = "read x; echo up; read x; seq 150000"
    daemon.docker("run", "-di", "--name", "much", "busybox", "sh", "-c", script)
    with websocket(daemon, "much", QUERY) as (connection, stream):
        connection.sendall(sent(b"are you\n"))
        assert stream.read(5) == heard(b"up\n")  # with the container by now
        daemon.kill9()
        connection.sendall(sent(b"go\n"))
        text = b""
        while head := stream.read(2):
            size = head[1]
            if size == 126:
                size = int.from_bytes(stream.read(2), "big")
            elif size == 127:
                size = int.from_bytes(stream.read(8), "big")
            data = stream.read(size)
            text += data if head[0] == 0x82 else b""
    assert text == b"".join(b"%d\n" % number for number in range(1, 150_001))


def test_a_websocket_after_the_end_of_their_process_has_a_new_one(daemon: LiveDaemon) -> None:
    daemon.docker("run", "-di", "--name", "again", "busybox", "cat")
    with websocket(daemon, "again", QUERY) as (connection, stream):
        connection.sendall(sent(b"here\n"))
        assert stream.read(7) == heard(b"here\n")
        pid = door_of(daemon, "tiffin-wsdoor")
        door = os.pidfd_open(pid)
        os.kill(pid, 9)
        assert ends(door)
        assert stream.read() == b""
    with websocket(daemon, "again", QUERY) as (connection, stream):
        connection.sendall(sent(b"here\n"))
        assert stream.read(7) == heard(b"here\n")
    assert "the websocket door ended" in daemon.log()
