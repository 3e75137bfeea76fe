"""Logs that go elsewhere: to a syslog daemon or to the journal.

A shim serves much else, so it never waits for a receiver. What is not taken lies in a queue; when
that is full, the container is made to wait (mode=blocking), or what it says then is lost
(non-blocking). A receiver that is gone loses messages and is tried again, at most once a second.
"""

from __future__ import annotations

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

from tiffin.runtime import latecode
from tiffin.runtime.logfile import LogWriter
from tiffin.runtime.logmessages import renderer
from tiffin.runtime.loop import WRITE, Loop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable
    from typing import Any

    from tiffin.runtime.tlssink import TLSConnection
else:
    from _collections import deque

_RETRY_SECONDS = 1.0
_LAST_WORDS_SECONDS = 2.0


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
        *lines, rest = block.split(b"\n")
        for line in lines:
            self._sink.send(line, stream, time_ns)
        if rest:
            self._sink.send(rest, stream, time_ns, whole=False)

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
        self._tls = _tls_of(target) if self._network == "tcp+tls" else None
        self._address: tuple[str, int] | str = (
            target["host"] if self._network == "unix" else (target["host"], target["port"])
        )
        self._render = renderer(target)
        self._blocks: bool = target["blocks"]
        self._limit: int = target["max_buffer_bytes"]
        self._queue: deque[bytes] = deque()
        self._queued_bytes = 0
        self._socket: socket | TLSConnection | None = None
        self._watched = 0  # for what
        self._not_before = 0.0
        self._connect()

    @property
    def full(self) -> bool:
        return self._blocks and self._queued_bytes > self._limit

    @property
    def _is_stream(self) -> bool:
        return self._network in ("tcp", "tcp+tls")

    def send(self, line: bytes, stream: str, time_ns: int, *, whole: bool = True) -> None:
        """`whole`: the line ends here."""
        message = self._render(line, stream, time_ns, whole)
        if not message:
            return
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
        kind = SOCK_STREAM if self._is_stream else SOCK_DGRAM
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
        self._socket = self._tls(connection) if self._tls is not None else connection
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
        if self._is_stream and sent < len(message):
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
            return
        events = getattr(self._socket, "events", WRITE)
        if not self._watched:
            self._loop.add(self._socket.fileno(), events, lambda _events: self._flush())
        elif self._watched != events:
            self._loop.change(self._socket.fileno(), events)
        self._watched = events

    def _unwatch(self) -> None:
        if self._watched and self._socket is not None:
            self._loop.remove(self._socket.fileno())
        self._watched = 0

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


def _tls_of(target: dict[str, Any]) -> Callable[[socket], TLSConnection]:
    """Its files are read now: they may be gone when the receiver comes back."""
    with latecode.Opened():
        from tiffin.runtime import tlssink  # noqa: PLC0415 - takes more memory than a shim

    context = tlssink.client_context(
        target["tls_ca"], target["tls_cert"], target["tls_key"], verify=target["tls_verify"]
    )
    return lambda connection: tlssink.TLSConnection(connection, context, target["tls_name"])
