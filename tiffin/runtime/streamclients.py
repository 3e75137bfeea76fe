"""One attached client: what it is owed, what it types, and how it is parted with."""

from __future__ import annotations

import binascii
import errno
import fcntl
import os
import struct
import time
from _socket import MSG_DONTWAIT, MSG_NOSIGNAL, SHUT_WR, socket

from tiffin.runtime.init import Failure
from tiffin.runtime.messages import Message

STDOUT, STDERR = 1, 2
CHUNK = 65536
SPOOL_BYTES = 256 << 20
_LAST_LOOKS = 64  # at what a client has still sent
_MOST_SENT = 64  # pieces, before somebody else has his turn
_TIOCOUTQ = 0x5411  # ioctl_tty(2); of a socket what the other side has not read: unix(7), tcp(7)
_frame = struct.Struct(">BxxxL")


class Spool:
    """What a client has not taken: in a file without a name, up to SPOOL_BYTES.

    `full`: no more should come. What does come is kept all the same, in memory, as is what a full
    disk does not take. The file is gone with `close`, or with this process.
    """

    def __init__(self, directory: str) -> None:
        """Raises OSError."""
        self._fd = os.open(directory, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
        self._written = 0
        self._read = 0
        self._rest = bytearray()
        self.full = False

    def write(self, data: bytes) -> None:
        view = memoryview(data)
        try:
            while view and not self.full:
                written = os.pwrite(self._fd, view, self._written)
                self._written += written
                view = view[written:]
                self.full = self._written >= SPOOL_BYTES
        except OSError:
            self.full = True
        self._rest += view

    def read(self) -> bytes:
        """What comes next; empty once all of it was read."""
        data = os.pread(self._fd, CHUNK, self._read)
        self._read += len(data)
        if not data:
            data = bytes(self._rest)
            self._rest.clear()
        return data

    def close(self) -> None:
        os.close(self._fd)


class Keys:
    """Finds the detach sequence in typed input; what may be its beginning is held back."""

    __slots__ = ("_held", "_keys")

    def __init__(self, keys: bytes) -> None:
        self._keys = keys
        self._held = b""

    def feed(self, data: bytes) -> tuple[bytes, bool]:
        """What to pass on, and whether the sequence was typed (nothing after it counts)."""
        if not self._keys:
            return data, False
        data = self._held + data
        position = data.find(self._keys)
        if position >= 0:
            return data[:position], True
        for length in range(min(len(self._keys) - 1, len(data)), 0, -1):
            if self._keys.startswith(data[-length:]):
                self._held = data[-length:]
                return data[:-length], False
        self._held = b""
        return data, False


class Client:
    """One attached connection."""

    def __init__(self, fd: int, attachment: dict[str, bool], keys: bytes, *, framed: bool) -> None:
        self.connection = socket(fileno=fd)
        self.fd = fd
        self.reads = attachment.get("stdin", False)
        self.wants = {STDOUT: attachment.get("stdout"), STDERR: attachment.get("stderr")}
        self.framed = framed
        self.keys = Keys(keys)
        self.queue = bytearray()
        self.spool: Spool | None = None  # what comes after the queue
        self.taken_at = 0.0  # monotonic: when it last took of the queue
        self.behind_since = 0.0  # monotonic; 0: not too far behind
        self.waiting = True  # whether its input is read at present
        self.ending = False  # close when the queue is empty
        self.holder: object = None  # the daemon that writes to it in our stead

    @property
    def owed(self) -> bool:
        """Whether there is something that it has not taken."""
        return bool(self.queue) or self.spool is not None

    @property
    def has_unread(self) -> bool:
        """Whether all was sent and the other side has yet to read some of it."""
        if self.owed or self.holder is not None:
            return False
        try:
            return any(fcntl.ioctl(self.fd, _TIOCOUTQ, bytes(4)))
        except OSError:
            return False

    def is_behind(self, most: int) -> bool:
        """Whether the process has to wait for it."""
        return self.spool.full if self.spool is not None else len(self.queue) > most

    def send(self, stream: int, data: bytes) -> bool:
        """False when the other side is gone."""
        if self.framed:
            data = _frame.pack(stream, len(data)) + data
        if self.spool is not None:
            self.spool.write(data)
            return True
        if not self.queue and self.holder is None:
            try:
                data = data[self.connection.send(data, MSG_DONTWAIT | MSG_NOSIGNAL) :]
            except BlockingIOError:
                pass
            except OSError:
                return False
        self.queue += data
        return True

    def flush(self) -> bool:
        """False when the other side is gone. Others wait meanwhile: not all of a spool at once."""
        for _ in range(_MOST_SENT if self.holder is None else 0):
            if not self.queue:
                self._refill()
            if not self.queue:
                break
            try:
                sent = self.connection.send(self.queue, MSG_DONTWAIT | MSG_NOSIGNAL)
            except BlockingIOError:
                break
            except OSError:
                return False
            del self.queue[:sent]
            self.taken_at = time.monotonic()
        return True

    def _refill(self) -> None:
        if self.spool is not None:
            self.queue += self.spool.read()
            if not self.queue:
                self.spool.close()
                self.spool = None

    def close(self) -> None:
        self.connection.close()
        if self.spool is not None:
            self.spool.close()
            self.spool = None

    def part(self) -> None:
        """Close, so that the other side sees the end, not that it was not listened to."""
        # Whoever else still holds a copy of the descriptor: the other side shall see the end.
        try:
            self.connection.shutdown(SHUT_WR)
            for _ in range(_LAST_LOOKS):  # a close with something unread is a reset to them
                if not self.connection.recv(CHUNK, MSG_DONTWAIT):
                    break
        except OSError:
            pass  # it has gone, or there is nothing
        self.close()


def client_of(message: Message, descriptors: list[int]) -> Client:
    """Takes the first descriptor. Raises Failure."""
    if not descriptors:
        raise Failure("attach without a connection", "attach", errno.EBADF)
    keys = binascii.a2b_base64(message.get("detach_keys") or "")
    fd = descriptors.pop(0)
    return Client(fd, message["attachment"], keys, framed=bool(message.get("framed")))
