"""A container's log read back: rotated files as one, from the end, between times, and as it grows.

Files are read in the order path.N … path.1, path. Whoever follows is woken by inotify and by the
container's end, and reads what is there once more after that, so that no line is missed.
"""

from __future__ import annotations

import asyncio
import calendar
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import BinaryIO, NamedTuple

import msgspec

from tiffin.kernel import inotify

_BLOCK_BYTES = 256 * 1024
_STREAMS = {"stdout": 1, "stderr": 2}


class LogLine(NamedTuple):
    stream: int  # 1 stdout, 2 stderr
    time_ns: int
    data: bytes


class _Record(msgspec.Struct):
    log: str = ""
    stream: str = "stdout"
    time: str = ""


_decoder = msgspec.json.Decoder(_Record)


async def read_log(
    path: str,
    *,
    tail: int | None = None,
    since_ns: int = 0,
    until_ns: int = 0,
    finished: asyncio.Future[object] | None = None,
) -> AsyncIterator[LogLine]:
    """Records of a json-file log, oldest first. `tail` counts from the end; times are inclusive.

    `finished` None reads what is there; otherwise new records follow until it is done. A record
    that is no JSON (cut short by a full disk) is left out.
    """
    watch = _Watch(path) if finished is not None else None
    reader = await asyncio.to_thread(_Reader.open, path, tail)
    try:
        while True:
            is_last = finished is None or finished.done()
            while block := await asyncio.to_thread(reader.read):
                for line in _decoded(block):
                    if since_ns and line.time_ns < since_ns:
                        continue
                    if until_ns and line.time_ns > until_ns:
                        return
                    yield line
            if is_last or watch is None or finished is None:
                return
            await watch.changed_or(finished)
    finally:
        reader.close()
        if watch is not None:
            watch.close()


def _decoded(block: bytes) -> Iterator[LogLine]:
    clock = _Clock()
    for raw in block.split(b"\n"):
        if not raw:
            continue
        try:
            record = _decoder.decode(raw)
        except (msgspec.MsgspecError, UnicodeError):
            continue
        stream = _STREAMS.get(record.stream, 1)
        yield LogLine(stream, clock.nanoseconds(record.time), record.log.encode())


class _Clock:
    """RFC 3339 to nanoseconds; lines of one second share the expensive half."""

    def __init__(self) -> None:
        self._prefix = ""
        self._seconds = 0

    def nanoseconds(self, text: str) -> int:
        prefix, _, fraction = text.rstrip("Z").partition(".")
        if prefix != self._prefix:
            self._seconds = _seconds(prefix)
            self._prefix = prefix
        return self._seconds * 1_000_000_000 + int(fraction[:9].ljust(9, "0") or 0)


def _seconds(text: str) -> int:
    try:
        day, _, clock = text.partition("T")
        year, month, date = map(int, day.split("-"))
        hour, minute, second = map(int, clock.split(":"))
    except ValueError:
        return 0
    return calendar.timegm((year, month, date, hour, minute, second))


class _Reader:
    """Whole records in blocks, over rotations that happen meanwhile."""

    def __init__(self, path: str, files: list[BinaryIO]) -> None:
        self._path = path
        self._files = files
        self._rest = b""

    @classmethod
    def open(cls, path: str, tail: int | None) -> _Reader:
        """Positioned at the first record that is wanted."""
        reader = cls(path, _open_all(path))
        if tail is not None:
            reader._skip_to_tail(tail)
        return reader

    def _skip_to_tail(self, tail: int) -> None:
        left = tail
        for index in range(len(self._files) - 1, -1, -1):
            offset, found = _tail_offset(self._files[index], left)
            self._files[index].seek(offset)
            left -= found
            if left <= 0:
                self._close_first(index)
                return

    def _close_first(self, count: int) -> None:
        for file in self._files[:count]:
            file.close()
        del self._files[:count]

    def read(self) -> bytes:
        """The next whole records; empty at the end of what there is."""
        while True:
            data = self._files[0].read(_BLOCK_BYTES) if self._files else b""
            if data:
                whole, newline, rest = (self._rest + data).rpartition(b"\n")
                self._rest = rest
                if newline:
                    return whole + newline
            elif not self._next_file():
                return b""

    def _next_file(self) -> bool:
        """Go on in the next file: one that was there at the start, or what rotation put there."""
        if len(self._files) > 1:
            self._close_first(1)
            return True
        with suppress(OSError):
            status = os.stat(self._path)
            current = os.fstat(self._files[0].fileno()) if self._files else None
            if current is None or (status.st_dev, status.st_ino) != (
                current.st_dev,
                current.st_ino,
            ):
                return self._advance(current)
            if self._files[0].tell() > status.st_size:  # a single file that was emptied
                self._files[0].seek(0)
                return True
        return False

    def _advance(self, current: os.stat_result | None) -> bool:
        """Files younger than ours: one or more rotations happened while we read."""
        files = _open_all(self._path)
        places = [_identity(os.fstat(file.fileno())) for file in files]
        start = (
            places.index(_identity(current)) + 1 if current and _identity(current) in places else 0
        )
        for file in files[:start]:
            file.close()
        self._close_first(1)
        self._files = files[start:]
        return bool(self._files)

    def close(self) -> None:
        self._close_first(len(self._files))


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _open_all(path: str) -> list[BinaryIO]:
    """The log's files, oldest first; none before the first start."""
    files: list[BinaryIO] = []
    number = 0
    while True:
        try:
            files.append(open(f"{path}.{number}" if number else path, "rb", buffering=0))  # noqa: SIM115
        except FileNotFoundError:
            break
        number += 1
    return files[::-1]


def _tail_offset(file: BinaryIO, lines: int) -> tuple[int, int]:
    """Where the last `lines` records begin, and how many there are from there."""
    size = file.seek(0, os.SEEK_END)
    if lines <= 0:
        return size, 0
    position, found = size, 0
    while position > 0:
        start = max(0, position - _BLOCK_BYTES)
        file.seek(start)
        block = file.read(position - start)
        at = len(block)
        if position == size and block.endswith(b"\n"):
            at -= 1  # the last record's own end
        while (at := block.rfind(b"\n", 0, at)) >= 0:
            found += 1
            if found == lines:
                return start + at + 1, found
        position = start
    return 0, found + (1 if size else 0)


class _Watch:
    """Wakes a follower when the log's directory sees a write or a rotation."""

    def __init__(self, path: str) -> None:
        self._fd = inotify.open_inotify()
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()
        try:
            events = inotify.IN_MODIFY | inotify.IN_CREATE | inotify.IN_MOVED_TO
            inotify.watch(self._fd, os.path.dirname(path), events)
        except OSError:
            os.close(self._fd)
            raise
        self._loop.add_reader(self._fd, self._on_readable)

    def _on_readable(self) -> None:
        inotify.read_events(self._fd)
        self._changed.set()

    async def changed_or(self, finished: asyncio.Future[object]) -> None:
        waiting = asyncio.ensure_future(self._changed.wait())
        try:
            await asyncio.wait((waiting, finished), return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
            self._changed.clear()

    def close(self) -> None:
        self._loop.remove_reader(self._fd)
        os.close(self._fd)
