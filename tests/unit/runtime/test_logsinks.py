"""Output given to a syslog daemon or a journal: the right words, and no waiting for a slow one."""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path
from typing import Any

import pytest

from tiffin.runtime.logmessages import renderer
from tiffin.runtime.logsinks import Log, Sink
from tiffin.runtime.loop import Loop

TIME_NS = 1_709_208_000_123_456_789
SYSLOG: dict[str, Any] = {
    "kind": "syslog",
    "network": "unix",
    "host": "",
    "port": 0,
    "facility": 3,
    "format": "",
    "tag": "web",
    "fields": [],
    "blocks": True,
    "max_buffer_bytes": 1 << 20,
}
PID, HOST = os.getpid(), os.uname().nodename
STAMP = r"[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d"


@pytest.mark.parametrize(
    ("form", "pattern"),
    [
        ("", rf"<30>{STAMP} web\[{PID}\]: said\n"),
        ("rfc3164", rf"<30>{STAMP} {HOST} web\[{PID}\]: said\n"),
        ("rfc5424", rf"<30>1 2024-02-29T12:00:00Z {HOST} web {PID} web - said\n"),
        ("rfc5424micro", rf"<30>1 2024-02-29T12:00:00\.123456Z {HOST} web {PID} web - said\n"),
    ],
)
def test_the_formats_of_syslog(form: str, pattern: str) -> None:
    message = renderer({**SYSLOG, "format": form})(b"said", "stdout", TIME_NS, True)
    assert re.fullmatch(pattern, message.decode())


def test_by_tls_a_message_of_rfc5424_tells_its_length() -> None:
    target = {**SYSLOG, "network": "tcp+tls", "format": "rfc5424"}
    length, _, message = renderer(target)(b"said", "stdout", TIME_NS, True).partition(b" ")
    assert int(length) == len(message)
    plain = renderer({**target, "format": "rfc3164"})(b"said", "stdout", TIME_NS, True)
    assert plain.startswith(b"<30>")


def test_stderr_is_an_error_of_the_facility() -> None:
    assert renderer({**SYSLOG, "facility": 23})(b"no", "stderr", TIME_NS, True).startswith(b"<187>")


JOURNALD = {**SYSLOG, "kind": "journald"}
RANDOM = re.compile(rb"(EPOCH|PARTIAL_ID)=([0-9a-f]{64})")


def test_an_entry_of_a_journal() -> None:
    fields = [["CONTAINER_NAME", "web"], ["NOTE", "two\nlines"]]
    entry = renderer({**JOURNALD, "fields": fields})(b"said", "stdout", TIME_NS, True)
    assert RANDOM.sub(rb"\1", entry) == (
        b"PRIORITY=6\nCONTAINER_NAME=web\nNOTE\n\x09\0\0\0\0\0\0\0two\nlines\n"
        b"CONTAINER_LOG_EPOCH\nSYSLOG_TIMESTAMP=2024-02-29T12:00:00.123456789Z\n"
        b"CONTAINER_LOG_ORDINAL=1\nMESSAGE=said\n"
    )


def test_pieces_of_a_line_are_told_to_the_journal_as_such() -> None:
    render = renderer(JOURNALD)
    said = [
        (b"one", "stdout", False),
        (b"other", "stderr", True),
        (b"two", "stdout", True),
        (b"", "stdout", True),
        (b"new", "stdout", False),
    ]
    entries = [render(line, stream, TIME_NS, whole) for line, stream, whole in said]
    assert [re.findall(rb"(?:_ORDINAL|PARTIAL_(?:LAST|MESSAGE))=(\w+)", e) for e in entries] == [
        [b"1", b"1", b"false", b"true"],
        [b"2"],
        [b"3", b"2", b"true"],
        [b"4"],
        [b"5", b"1", b"false", b"true"],
    ]
    first, _, second, _, new = (dict(RANDOM.findall(entry)) for entry in entries)
    assert first == second
    assert new[b"EPOCH"] == first[b"EPOCH"]
    assert new[b"PARTIAL_ID"] != first[b"PARTIAL_ID"]


class Receiver:
    """A daemon's socket in a directory."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)

    def __enter__(self) -> Receiver:
        return self

    def __exit__(self, *exception: object) -> None:
        self.socket.close()
        os.unlink(self.path)

    def words(self) -> list[bytes]:
        """What has arrived, without the heads."""
        found = []
        self.socket.setblocking(False)
        while True:
            try:
                found.append(self.socket.recv(65536).partition(b"]: ")[2])
            except BlockingIOError:
                return found


@pytest.fixture
def receiver(short_tmp: str) -> Receiver:
    return Receiver(Path(short_tmp) / "log")


def sink(receiver: Receiver, loop: Loop | None = None, **options: Any) -> Sink:
    rooms: list[bool] = options.pop("rooms", [])
    target = {**SYSLOG, "host": receiver.path, **options}
    return Sink(loop or Loop(), target, lambda: rooms.append(True))


def test_each_line_is_a_message(receiver: Receiver) -> None:
    with receiver:
        log = Log(None, sink(receiver))
        log.write(b"one\ntwo\n\n", "stdout", TIME_NS)
        log.write(b"without an end", "stderr", TIME_NS)
        assert receiver.words() == [b"one\n", b"two\n", b"without an end\n"]
        log.close()


def test_a_slow_receiver_makes_the_container_wait_and_loses_nothing(receiver: Receiver) -> None:
    loop, rooms = Loop(), []  # type: ignore[var-annotated]
    with receiver:
        slow = sink(receiver, loop, max_buffer_bytes=1000, rooms=rooms)
        sent = 0
        while not slow.full:
            slow.send(b"%d" % sent, "stdout", TIME_NS)
            sent += 1
        found = receiver.words()
        while len(found) < sent:
            loop.run_once()
            found += receiver.words()
        assert found == [b"%d\n" % number for number in range(sent)]
        assert rooms == [True]
        assert not slow.full
        slow.close()


def test_a_slow_receiver_loses_what_does_not_fit_where_nobody_may_wait(receiver: Receiver) -> None:
    with receiver:
        slow = sink(receiver, blocks=False, max_buffer_bytes=1000)
        for number in range(5000):
            slow.send(b"%d" % number, "stdout", TIME_NS)
            assert not slow.full
        assert 0 < len(receiver.words()) < 5000
        slow.close()


def test_a_receiver_that_has_gone_stops_nobody(receiver: Receiver) -> None:
    with receiver:
        left = sink(receiver)
    for _ in range(10):
        left.send(b"into the void", "stdout", TIME_NS)
    assert not left.full
    left.close()


def test_a_stream_of_lines_by_tcp() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        target = {**SYSLOG, "network": "tcp", "host": "127.0.0.1"}
        target["port"] = server.getsockname()[1]
        loop = Loop()
        log = Log(None, Sink(loop, target, lambda: None))
        peer, _ = server.accept()
        with peer:
            log.write(b"one\ntwo\n", "stdout", TIME_NS)
            log.close()
            with peer.makefile("rb") as file:
                assert [line.partition(b"]: ")[2] for line in file] == [b"one\n", b"two\n"]
