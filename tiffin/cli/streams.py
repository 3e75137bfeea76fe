"""A container's streams on ours: what it writes comes out, what we type goes in.

One loop, no threads. Input is taken only while none waits to be sent, so that a container that
reads nothing cannot fill our memory, and one that writes much cannot block on our unsent input.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import _socket
import posix
import select

from tiffin.cli.failures import CommandFailed
from tiffin.cli.output import STDERR, STDIN, STDOUT, write

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tiffin.cli.client import Connection

PIECE = 65536
DETACH_KEYS = b"\x10\x11"
_HEADER = 8
_SYSTEM_ERROR = 3


class Detached(Exception):
    """The keys that leave a container running were typed."""


class Frames:
    """Takes apart a stream in which stdout and stderr are framed; writes each where it belongs."""

    def __init__(self, outputs: tuple[int, int] = (STDOUT, STDERR)):
        self.outputs = outputs
        self.kind = 0
        self.left = 0
        self.rest = b""

    def feed(self, data: bytes) -> None:
        """Writes the payload in `data`; a frame may come in any number of pieces.

        What goes to one stream is written at once: a log has a frame for each of its lines.
        """
        data = self.rest + data if self.rest else data
        position, size = 0, len(data)
        payload: list[bytes] = []
        while position < size:
            if self.left == 0:
                if size - position < _HEADER:
                    break
                if payload and data[position] != self.kind:
                    self.put(b"".join(payload))
                    payload = []
                self.kind = data[position]
                self.left = int.from_bytes(data[position + 4 : position + _HEADER], "big")
                position += _HEADER
                continue
            end = min(position + self.left, size)
            payload.append(data[position:end])
            self.left -= end - position
            position = end
        self.rest = data[position:]
        if payload:
            self.put(b"".join(payload))

    def put(self, payload: bytes) -> None:
        if self.kind in (0, 1):
            write(self.outputs[0], payload)
        elif self.kind == 2:
            write(self.outputs[1], payload)
        elif self.kind == _SYSTEM_ERROR:
            raise CommandFailed(
                f"error from daemon in stream: {payload.decode('utf-8', 'replace')}"
            )
        else:
            raise CommandFailed(f"Unrecognized input header: {self.kind}")


class Plain:
    """A terminal's stream: everything is output."""

    def feed(self, data: bytes) -> None:
        write(STDOUT, data)


class Escape:
    """Looks for the detach keys in what is typed. Keys that only began them are passed on."""

    def __init__(self, keys: bytes):
        self.keys = keys
        self.seen = 0
        self.complete = False

    def feed(self, typed: bytes) -> bytes:
        """What to send on; nothing of what comes after the keys, which make it `complete`."""
        passed = b""
        for byte in typed:
            if byte != self.keys[self.seen]:
                passed += self.keys[: self.seen]
                self.seen = 0
            if byte == self.keys[self.seen]:
                self.seen += 1
                if self.seen == len(self.keys):
                    self.complete = True
                    break
            else:
                passed += bytes((byte,))
        return passed


def parse_keys(text: str) -> bytes:
    """`ctrl-p,ctrl-q` or `a,b` as the bytes that a terminal sends. ValueError if there are none."""
    found = b""
    for key in text.split(","):
        if len(key) == 1:
            found += key.encode()
        elif (
            key.startswith("ctrl-")
            and len(key) == 6
            and key[5] in "abcdefghijklmnopqrstuvwxyz@[\\]^_"
        ):
            found += bytes((ord(key[5].upper()) & 0x1F,))
        elif key == "DEL":
            found += b"\x7f"
        else:
            raise ValueError(f"Unknown character: '{key}'")
    return found


def copy_streams(
    connection: Connection,
    output: Frames | Plain | None,
    *,
    take_input: bool,
    escape: Escape | None = None,
    until: Connection | None = None,
) -> None:
    """Copies until the container's end closes the stream.

    Where there is no `output` the answer that comes on `until` ends it. Detached when the keys
    were typed.
    """
    if until is not None and until.received and output is None:
        return
    copy = _Copy(connection, output, take_input, escape, until)
    try:
        copy.run()
    finally:
        copy.close()


class Wakeups:
    """A signal that comes just before poll blocks would wait for the next byte to be handled."""

    def __init__(self, poll: select.poll) -> None:
        self.descriptor, self._waking = posix.pipe2(posix.O_NONBLOCK | posix.O_CLOEXEC)
        _signal.set_wakeup_fd(self._waking, warn_on_full_buffer=False)
        poll.register(self.descriptor, select.POLLIN)

    def taken(self) -> None:
        posix.read(self.descriptor, PIECE)

    def close(self) -> None:
        _signal.set_wakeup_fd(-1)
        posix.close(self.descriptor)
        posix.close(self._waking)


def wait_for_answer(connection: Connection) -> None:
    """Until something can be read of it; signals are handled as they come."""
    if connection.received:
        return
    poll = select.poll()
    poll.register(connection.socket.fileno(), select.POLLIN)
    wakeups = Wakeups(poll)
    try:
        while [descriptor for descriptor, _ in poll.poll()] == [wakeups.descriptor]:
            wakeups.taken()
    finally:
        wakeups.close()


class _Copy:
    def __init__(
        self,
        connection: Connection,
        output: Frames | Plain | None,
        take_input: bool,
        escape: Escape | None,
        until: Connection | None,
    ):
        self.connection = connection
        self.socket = connection.socket
        self.output = output
        self.escape = escape
        self.until = until if output is None else None
        self.unsent = b""
        self.input_open = take_input
        self.poll = select.poll()
        self.wakeups = Wakeups(self.poll)

    def close(self) -> None:
        self.wakeups.close()

    def run(self) -> None:
        if self.connection.received and self.output is not None:
            self.output.feed(self.connection.received)
            self.connection.received = b""
        if not self.input_open:
            self.end_input()
        if self.until is not None:
            self.poll.register(self.until.socket.fileno(), select.POLLIN)
        self.watch()
        while True:
            for descriptor, events in self.poll.poll():
                if descriptor == self.wakeups.descriptor:
                    self.wakeups.taken()
                elif descriptor == STDIN and self.input_open:
                    self.read_input()
                elif descriptor == self.socket.fileno():
                    if events & select.POLLOUT:
                        self.send()
                    if events & ~select.POLLOUT and not self.receive():
                        return
                elif self.until is not None and descriptor == self.until.socket.fileno():
                    return
            self.watch()

    def watch(self) -> None:
        """Says to the poll what we wait for now."""
        wanted = select.POLLIN | (select.POLLOUT if self.unsent else 0)
        self.poll.register(self.socket.fileno(), wanted)
        if self.input_open and not self.unsent:
            self.poll.register(STDIN, select.POLLIN)
        else:
            try:
                self.poll.unregister(STDIN)
            except KeyError:
                pass

    def receive(self) -> bool:
        try:
            data = self.socket.recv(PIECE)
        except ConnectionResetError:
            return False
        if data and self.output is not None:
            self.output.feed(data)
        return bool(data)

    def read_input(self) -> None:
        try:
            typed = posix.read(STDIN, PIECE)
        except BlockingIOError:
            return
        except OSError:
            typed = b""
        if not typed:
            self.input_open = False
            self.end_input()
            return
        self.unsent = self.escape.feed(typed) if self.escape else typed
        self.send()

    def send(self) -> None:
        if self.unsent:
            self.send_some()
        if not self.unsent and self.escape is not None and self.escape.complete:
            raise Detached

    def send_some(self) -> None:
        try:
            count = self.socket.send(self.unsent, _socket.MSG_DONTWAIT | _socket.MSG_NOSIGNAL)
        except BlockingIOError:
            return
        except OSError:
            # The container reads no more; its output may still come.
            self.unsent = b""
            self.input_open = False
            return
        self.unsent = self.unsent[count:]

    def end_input(self) -> None:
        try:
            self.socket.shutdown(_socket.SHUT_WR)
        except OSError:
            pass
