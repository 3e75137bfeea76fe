"""A container's output on disk: Docker's json-file log, written by the shim, with rotation.

One JSON object a line, {"log": text, "stream": "stdout", "time": RFC 3339}. A line of output longer
than 16 KB becomes several records, of which only the last one's text ends with a newline; output
that stops without a newline ends without one. Text that is not UTF-8 is kept as U+FFFD.

Encoding record by record would cost more than everything else that a shim does, so a block of lines
is encoded at once: newlines are swapped for a byte that JSON leaves alone, and that for the text
between two records. All lines of a block carry one time.
"""

from __future__ import annotations

import os
from _json import encode_basestring
from time import gmtime

MAX_LINE_BYTES = 16 * 1024
_MARK = "\x7f"  # DEL: not escaped by JSON and rare in output


class Lines:
    """Cuts a stream of bytes into blocks of whole records: what a log may take as they are."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """Records that are complete now: each one or more lines, or a 16 KB piece of one."""
        if self._rest:
            data = self._rest + data
        end = data.rfind(b"\n") + 1
        complete, self._rest = data[:end], data[end:]
        blocks = _without_long_lines(complete) if complete else []
        while len(self._rest) > MAX_LINE_BYTES:
            cut = _character_boundary(self._rest, MAX_LINE_BYTES)
            blocks.append(self._rest[:cut])
            self._rest = self._rest[cut:]
        return blocks

    def finish(self) -> bytes:
        """The last piece, without a newline; empty if there is none."""
        rest, self._rest = self._rest, b""
        return rest


def _without_long_lines(block: bytes) -> list[bytes]:
    if len(block) <= MAX_LINE_BYTES or max(map(len, block.split(b"\n"))) < MAX_LINE_BYTES:
        return [block]
    found = []
    for line in _lines(block):
        piece = line
        while len(piece) > MAX_LINE_BYTES:
            cut = _character_boundary(piece, MAX_LINE_BYTES)
            found.append(piece[:cut])
            piece = piece[cut:]
        found.append(piece)
    return found


def _lines(block: bytes) -> list[bytes]:
    return [line + b"\n" for line in block[:-1].split(b"\n")]


def _character_boundary(data: bytes, at: int) -> int:
    """`at`, or up to three bytes before it, so that no UTF-8 character is cut in two."""
    for back in range(4):
        if data[at - back] & 0xC0 != 0x80:
            return at - back
    return at


def encode_block(block: bytes, stream: str, time: str) -> bytes:
    """Log lines for a block of whole records."""
    text = block.decode("utf-8", "replace")
    tail = f'","stream":"{stream}","time":"{time}"}}\n'
    if _MARK in text:
        records = _text_lines(text)
        return "".join(f'{{"log":{encode_basestring(r)[:-1]}{tail}' for r in records).encode()
    ends = text.endswith("\n")
    body = encode_basestring(text.replace("\n", _MARK) if ends else text)[1:-1]
    if ends:
        body = body[:-1].replace(_MARK, f'\\n{tail}{{"log":"') + "\\n"
    return f'{{"log":"{body}{tail}'.encode()


def _text_lines(text: str) -> list[str]:
    parts = text.split("\n")
    lines = [part + "\n" for part in parts[:-1]]
    return [*lines, parts[-1]] if parts[-1] else lines


def format_time(time_ns: int) -> str:
    """RFC 3339 with nanoseconds, UTC."""
    seconds, nanoseconds = divmod(time_ns, 1_000_000_000)
    t = gmtime(seconds)
    return f"{t[0]:04}-{t[1]:02}-{t[2]:02}T{t[3]:02}:{t[4]:02}:{t[5]:02}.{nanoseconds:09}Z"


def open_log(path: str) -> int:
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)


class LogWriter:
    """Appends blocks to `path`; beyond `max_size` bytes that becomes path.1, path.1 path.2, ...

    A full disk loses lines (`lost_bytes` counts) and never stops the container.
    """

    def __init__(self, path: str, max_size: int, max_files: int, fd: int = -1) -> None:
        """`fd` is of `path` by open_log, and ours from here on."""
        self._path = path
        self._max_size = max_size
        self._max_files = max(1, max_files)
        self._fd = fd if fd >= 0 else open_log(path)
        self._size = os.fstat(self._fd).st_size
        self.lost_bytes = 0

    def write(self, block: bytes, stream: str, time_ns: int) -> None:
        data = encode_block(block, stream, format_time(time_ns))
        if 0 < self._max_size < len(data):
            middle = block.find(b"\n", len(block) // 2) + 1 or block.rfind(b"\n", 0, -1) + 1
            if 0 < middle < len(block):  # several records: no file need be larger than allowed
                self.write(block[:middle], stream, time_ns)
                self.write(block[middle:], stream, time_ns)
                return
        if self._max_size > 0 and self._size and self._size + len(data) > self._max_size:
            self._rotate()
        self._append(data)

    def _append(self, data: bytes) -> None:
        view = memoryview(data)
        try:
            while view:
                written = os.write(self._fd, view)
                self._size += written
                view = view[written:]
        except OSError:
            self.lost_bytes += len(view)
            self._repair(len(data) - len(view))

    def _repair(self, written: int) -> None:
        """Take half a record back, or every reader would stumble over it."""
        if not written:
            return
        try:
            os.ftruncate(self._fd, self._size - written)
            self._size -= written
        except OSError:
            return

    def _rotate(self) -> None:
        try:
            for number in range(self._max_files - 1, 0, -1):
                older = f"{self._path}.{number}"
                newer = f"{self._path}.{number - 1}" if number > 1 else self._path
                if os.path.exists(newer):
                    os.rename(newer, older)
            if self._max_files == 1:
                os.ftruncate(self._fd, 0)
                self._size = 0
                return
            previous = self._fd
            self._fd = open_log(self._path)
            self._size = 0
            os.close(previous)
        except OSError:
            return  # go on in the file that is open

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
