"""Logs that go elsewhere: to a syslog daemon or to the journal.

A shim serves much else, so it never waits for a receiver. What is not taken lies in a queue; when
that is full, the container is made to wait (mode=blocking), or what it says then is lost
(non-blocking). A receiver that is gone loses messages and is tried again, at most once a second.
"""

from __future__ import annotations

import os
import time
from _socket import (
    AF_INET,
    AF_INET6,
    AF_UNIX,
    SHUT_WR,
    SOCK_CLOEXEC,
    SOCK_DGRAM,
    SOCK_NONBLOCK,
    SOCK_STREAM,
    socket,
)

from tiffin.runtime.logfile import LogWriter
from tiffin.runtime.loop import WRITE, Loop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable
    from typing import Any
else:
    from _collections import deque

_RETRY_SECONDS = 1.0
_LAST_WORDS_SECONDS = 2.0
_ERROR, _INFO = 3, 6  # severities of stderr and stdout
_MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()


class Log:
    """A log in up to two places: a file that can be read back, and a sink."""

    def __init__(self, file: LogWriter | None, sink: Sink) -> None:
        self._file = file
        self._sink = sink

    @property
    def full(self) -> bool:
        return self._sink.full

    def write(self, block: bytes, stream: str, time_ns: int) -> None:
        if self._file is not None:
            self._file.write(block, stream, time_ns)
        for line in block.split(b"\n"):
            if line:
                self._sink.send(line, stream, time_ns)

    def keep(self, *, kept: bool) -> None:
        if self._file is not None:
            self._file.keep(kept=kept)

    def position(self) -> tuple[str, int] | None:
        return self._file.position() if self._file is not None else None

    def child_ended(self, pid: int, status: int) -> None:
        if self._file is not None:
            self._file.child_ended(pid, status)

    def close(self) -> None:
        self._sink.close()
        if self._file is not None:
            self._file.close()


class Sink:
    """A connection to the receiver, and what waits for it. `on_room`: it is not full any more."""

    def __init__(self, loop: Loop, target: dict[str, Any], on_room: Callable[[], None]) -> None:
        self._loop = loop
        self._on_room = on_room
        self._network: str = target["network"]
        self._address: tuple[str, int] | str = (
            target["host"] if self._network == "unix" else (target["host"], target["port"])
        )
        self._render: Callable[[bytes, str, int], bytes] = renderer(target)
        self._blocks: bool = target["blocks"]
        self._limit: int = target["max_buffer_bytes"]
        self._queue: deque[bytes] = deque()
        self._queued_bytes = 0
        self._socket: socket | None = None
        self._watched = False
        self._not_before = 0.0
        self._connect()

    @property
    def full(self) -> bool:
        return self._blocks and self._queued_bytes > self._limit

    def send(self, line: bytes, stream: str, time_ns: int) -> None:
        message = self._render(line, stream, time_ns)
        if not self._blocks and self._queued_bytes + len(message) > self._limit:
            return
        if self._socket is None and not self._connect():
            return
        self._queue.append(message)
        self._queued_bytes += len(message)
        self._flush()

    def _connect(self) -> bool:
        now = time.monotonic()
        if now < self._not_before:
            return False
        self._not_before = now + _RETRY_SECONDS
        kind = SOCK_STREAM if self._network == "tcp" else SOCK_DGRAM
        family = AF_UNIX
        if self._network != "unix":
            family = AF_INET6 if ":" in self._address[0] else AF_INET
        connection = socket(family, kind | SOCK_NONBLOCK | SOCK_CLOEXEC)
        try:
            connection.connect(self._address)
        except BlockingIOError:
            pass  # under way
        except OSError:
            connection.close()
            return False
        self._socket = connection
        return True

    def _flush(self) -> None:
        was_full = self.full
        try:
            while self._queue and self._socket is not None:
                sent = self._socket.send(self._queue[0])
                self._taken(sent)
        except BlockingIOError:
            pass
        except OSError:
            self._lost()
        self._watch()
        if was_full and not self.full:
            self._on_room()

    def _taken(self, sent: int) -> None:
        message = self._queue.popleft()
        self._queued_bytes -= len(message)
        if self._network == "tcp" and sent < len(message):
            self._queue.appendleft(message[sent:])
            self._queued_bytes += len(message) - sent

    def _lost(self) -> None:
        """The receiver has gone, and with it what was meant for it."""
        self._unwatch()
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        self._queue.clear()
        self._queued_bytes = 0

    def _watch(self) -> None:
        if self._socket is None or not self._queue:
            self._unwatch()
        elif not self._watched:
            self._watched = True
            self._loop.add(self._socket.fileno(), WRITE, lambda _events: self._flush())

    def _unwatch(self) -> None:
        if self._watched and self._socket is not None:
            self._loop.remove(self._socket.fileno())
        self._watched = False

    def close(self) -> None:
        """Waits for a receiver that takes what is left, but not for long."""
        self._unwatch()
        if self._socket is None:
            return
        self._socket.settimeout(_LAST_WORDS_SECONDS)
        try:
            while self._queue:
                self._taken(self._socket.send(self._queue[0]))
            self._socket.shutdown(SHUT_WR)
        except OSError:
            pass
        self._lost()


# -- how a line becomes a message ---


def renderer(target: dict[str, Any]) -> Callable[[bytes, str, int], bytes]:
    if target["kind"] == "journald":
        fields = [_journal_field(name.encode(), value.encode()) for name, value in target["fields"]]
        return lambda line, stream, _time_ns: _entry(fields, line, stream)
    facility, tag = target["facility"], target["tag"].encode("utf-8", "replace")
    head = _HEADS[target["format"]]

    def render(line: bytes, stream: str, time_ns: int) -> bytes:
        priority = facility << 3 | (_ERROR if stream == "stderr" else _INFO)
        return b"<%d>%b%b\n" % (priority, head(time_ns, tag), line)

    return render


def _unix_head(time_ns: int, tag: bytes) -> bytes:
    return b"%b %b[%d]: " % (_stamp(time_ns), tag, os.getpid())


def _rfc3164_head(time_ns: int, tag: bytes) -> bytes:
    return b"%b %b %b[%d]: " % (_stamp(time_ns), _hostname(), tag, os.getpid())


def _rfc5424_head(time_ns: int, tag: bytes) -> bytes:
    return _rfc5424(_iso(time_ns) + b"Z", tag)


def _rfc5424micro_head(time_ns: int, tag: bytes) -> bytes:
    return _rfc5424(b"%b.%06dZ" % (_iso(time_ns), time_ns // 1000 % 1_000_000), tag)


def _rfc5424(stamp: bytes, tag: bytes) -> bytes:
    return b"1 %b %b %b %d %b - " % (stamp, _hostname(), tag, os.getpid(), tag)


_HEADS: dict[str, Callable[[int, bytes], bytes]] = {
    "": _unix_head,
    "rfc3164": _rfc3164_head,
    "rfc5424": _rfc5424_head,
    "rfc5424micro": _rfc5424micro_head,
}


def _stamp(time_ns: int) -> bytes:
    t = time.localtime(time_ns // 1_000_000_000)
    return b"%b %2d %02d:%02d:%02d" % (_MONTHS[t[1] - 1].encode(), *t[2:6])


def _iso(time_ns: int) -> bytes:
    return b"%04d-%02d-%02dT%02d:%02d:%02d" % time.gmtime(time_ns // 1_000_000_000)[:6]


def _hostname() -> bytes:
    return os.uname().nodename.encode()


def _entry(fields: list[bytes], line: bytes, stream: str) -> bytes:
    """A journal entry in its native protocol."""
    priority = _ERROR if stream == "stderr" else _INFO
    return b"".join((b"PRIORITY=%d\n" % priority, *fields, _journal_field(b"MESSAGE", line)))


def _journal_field(name: bytes, value: bytes) -> bytes:
    if b"\n" in value:
        return b"%b\n%b%b\n" % (name, len(value).to_bytes(8, "little"), value)
    return b"%b=%b\n" % (name, value)
