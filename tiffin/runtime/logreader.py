"""A container's log read back: rotated files as one, from the end, between times, and as it grows.

Files are read in the order path.N … path.1, path; those with .gz are decompressed on the way.
Whoever follows is woken by inotify and by the container's end, and reads what is there once more
after that, so that no line is missed. Memory holds a block or two, however long the log is.
"""

from __future__ import annotations

import asyncio
import os
import zlib
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import BinaryIO

from isal import isal_zlib

from tiffin.core.loglines import LogBatch
from tiffin.core.workload import LogPosition
from tiffin.kernel import inotify
from tiffin.runtime.logfile import BEGINNING_BYTES, ORIGIN_BYTES, inode_of, origin
from tiffin.runtime.logrecords import FORMATS, Format
from tiffin.runtime.logs import format_time

_BLOCK_BYTES = 256 * 1024
_LAST_SECOND = 253_402_300_799_999_999_999  # of the year 9999


async def read_log(
    path: str,
    *,
    kind: str = "json-file",
    tail: int | None = None,
    since_ns: int = 0,
    until_ns: int = 0,
    finished: asyncio.Future[object] | None = None,
) -> AsyncIterator[LogBatch]:
    """Lines of a log of the `kind` of driver, oldest first, in batches.

    The first batch, and that alone, is empty: the log is open then, and what is in it is read
    even if it is removed. `tail` counts from the end; times are inclusive. `finished` None reads
    what is there; otherwise new lines follow until it is done, unless nothing has ever been
    written.
    """
    since = format_time(min(since_ns, _LAST_SECOND)) if since_ns else ""
    until = format_time(min(until_ns, _LAST_SECOND)) if until_ns else ""
    watch = _watch(path) if finished is not None else None
    reader = await asyncio.to_thread(_Reader.open, path, FORMATS[kind], tail)
    try:
        yield LogBatch([], [], [])
        while True:
            is_last = finished is None or finished.done()
            while batch := await asyncio.to_thread(reader.read):
                chosen = batch.since(since) if since else batch
                if chosen and until and max(chosen.times) > until:
                    chosen = chosen.until(until)
                    if chosen:
                        yield chosen
                    return
                if chosen:
                    yield chosen
            if is_last or watch is None or finished is None:
                return
            await watch.changed_or(finished)
    finally:
        reader.close()
        if watch is not None:
            watch.close()


class LogCursor:
    """A log read in steps, each up to a position or to its end at the time; close it."""

    def __init__(self, path: str, kind: str) -> None:
        self._path = path
        self._format = FORMATS[kind]
        self._reader: _Reader | None = None

    async def open(self) -> _Reader:
        """From then on no rotation takes away what is there. Idempotent."""
        if self._reader is None:
            self._reader = await asyncio.to_thread(_Reader.open, self._path, self._format, None)
        return self._reader

    async def read_to(self, end: LogPosition | None) -> AsyncIterator[LogBatch]:
        """What comes next; rotations that happened since the last step are followed."""
        reader = await self.open()
        while batch := await asyncio.to_thread(reader.read, end):
            yield batch

    def is_at_end(self) -> bool:
        """Whether nothing was written since the last step, and there was one."""
        return self._reader is not None and self._reader.is_at_end()

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()


class _Plain:
    """A file that is being written, or was."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.inode = inode_of(os.fstat(file.fileno()))

    @property
    def origin(self) -> str:
        """What it is called in what it may be compressed to, if it is not written to any more."""
        beginning = os.pread(self.file.fileno(), BEGINNING_BYTES, 0)
        return f"{self.inode}{zlib.crc32(beginning)}"

    def read(self, end: LogPosition | None = None) -> bytes:
        if end is None or self.inode != end.inode:
            return self.file.read(_BLOCK_BYTES)
        return self.file.read(min(_BLOCK_BYTES, max(0, end.size - self.file.tell())))

    def is_read_to(self, position: LogPosition) -> bool:
        return self.inode == position.inode and self.file.tell() >= position.size

    def skip_to_tail(self, format_: Format, lines: int) -> tuple[int, int]:
        """Go to where the last `lines` lines begin: (lines from there on, how many too many)."""
        position, found = self.file.seek(0, os.SEEK_END), 0
        while position > 0 and found < lines:
            start = max(0, position - _BLOCK_BYTES)
            self.file.seek(start)
            before = found
            block = self.file.read(position - start)
            for count, offset in format_.backwards(block, at_start=not start):
                found, position = found + count, start + offset
                if found >= lines:
                    break
            if found == before:  # cut short by a full disk: to be read from its beginning alone
                self.file.seek(0)
                found = _count(self, format_)
                position = 0
                break
        self.file.seek(position)
        return found, max(0, found - lines)

    def close(self) -> None:
        self.file.close()


class _Compressed:
    """A file that rotation has compressed."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.inode = inode_of(os.fstat(file.fileno()))
        self.origin = origin(file.read(ORIGIN_BYTES))
        self._rewind()

    def _rewind(self) -> None:
        self._file.seek(0)
        self._inflate = isal_zlib.decompressobj(31)

    def read(self, _end: LogPosition | None = None) -> bytes:
        """Nothing is written to it any more: no position lies in it."""
        while not self._inflate.eof:
            data = self._inflate.unconsumed_tail or self._file.read(_BLOCK_BYTES)
            if not data:
                return b""
            try:
                if found := self._inflate.decompress(data, _BLOCK_BYTES):
                    return bytes(found)
            except isal_zlib.error:  # type: ignore[misc] # a tuple to mypy, a class in truth
                return b""
        return b""

    def is_read_to(self, _position: LogPosition) -> bool:
        return False

    def skip_to_tail(self, format_: Format, lines: int) -> tuple[int, int]:
        found = _count(self, format_)
        self._rewind()
        return found, max(0, found - lines)

    def close(self) -> None:
        self._file.close()


def _are_one(one: _Plain | _Compressed, other: _Plain | _Compressed) -> bool:
    return one.inode == other.inode or one.origin == other.origin


def _count(file: _Plain | _Compressed, format_: Format) -> int:
    """The lines from here to the end."""
    found, rest = 0, b""
    with suppress(ValueError):
        while data := file.read():
            data = rest + data
            end = format_.whole(data)
            found += len(format_.decode(data[:end]).lines)
            rest = data[end:]
    return found


class _Reader:
    """Batches of whole records, over rotations that happen meanwhile."""

    def __init__(self, path: str, format_: Format, files: list[_Plain | _Compressed]) -> None:
        self._path = path
        self._format = format_
        self._files = files
        self._rest = b""
        self._is_final = False  # the first file is not written to any more
        self._surplus = 0  # lines that come before the tail

    @classmethod
    def open(cls, path: str, format_: Format, tail: int | None) -> _Reader:
        """Positioned at the first record that is wanted."""
        reader = cls(path, format_, _open_all(path))
        if tail is not None:
            reader._skip_to_tail(tail)
        return reader

    def _skip_to_tail(self, tail: int) -> None:
        left = tail
        for index in range(len(self._files) - 1, -1, -1):
            found, self._surplus = self._files[index].skip_to_tail(self._format, left)
            left -= found
            if left <= 0:
                self._close_first(index)
                return

    def _close_first(self, count: int) -> None:
        for file in self._files[:count]:
            file.close()
        del self._files[:count]

    def is_at_end(self) -> bool:
        try:
            status = os.stat(self._path)
        except FileNotFoundError:
            return True
        end = LogPosition(inode_of(status), status.st_size)
        return bool(self._files) and self._files[-1].is_read_to(end)

    def read(self, end: LogPosition | None = None) -> LogBatch | None:
        """The next lines; None at the end of what there is, or at `end`."""
        while True:
            data = self._files[0].read(end) if self._files else b""
            if data:
                batch = self._decoded(self._rest + data)
                if batch:
                    return batch
            elif self._is_at(end) or not self._next_file():
                return None

    def _is_at(self, end: LogPosition | None) -> bool:
        return end is not None and bool(self._files) and self._files[0].is_read_to(end)

    def _decoded(self, data: bytes) -> LogBatch:
        try:
            end = self._format.whole(data)
        except ValueError:
            end, data = 0, b""
        self._rest = data[end:]
        batch = self._format.decode(data[:end])
        if self._surplus:
            count = len(batch.lines)
            batch, self._surplus = batch.cut(self._surplus), max(0, self._surplus - count)
        return batch

    def _next_file(self) -> bool:
        """Go on in the next file: one that was there at the start, or what rotation put there."""
        if len(self._files) > 1:
            self._begin_next()
            return True
        with suppress(OSError):
            status = os.stat(self._path)
            current = self._files[0] if self._files else None
            if current is None or current.inode != inode_of(status):
                if current is not None and not self._is_final:
                    self._is_final = True  # what was written just before the rotation comes first
                    return True
                return self._advance(current)
            if isinstance(current, _Plain) and current.file.tell() > status.st_size:
                current.file.seek(0)  # a single file that was emptied
                self._rest = b""
                return True
        return False

    def _begin_next(self) -> None:
        self._close_first(1)
        self._rest = b""  # a record never goes on in another file
        self._is_final = False

    def _advance(self, current: _Plain | _Compressed | None) -> bool:
        """Files younger than ours: one or more rotations happened while we read."""
        files = _open_all(self._path)
        start = 0
        if current is not None:
            read = (n for n, file in enumerate(files) if _are_one(file, current))
            start = next(read, -1) + 1
        for file in files[:start]:
            file.close()
        if not files[start:]:  # the next one is just being made: ours keeps its place until then
            return False
        if self._files:
            self._begin_next()
        self._files = files[start:]
        return True

    def close(self) -> None:
        self._close_first(len(self._files))


def _open_all(path: str) -> list[_Plain | _Compressed]:
    """The log's files, oldest first; none before the first start."""
    files: list[_Plain | _Compressed] = []
    number = -1
    while True:
        number += 1
        file = _open_one(path, number)
        if file is None:
            if not _has_older(path, number):
                break
            continue  # a rotation is under way: that one has the next number by now
        if any(_are_one(file, seen) for seen in files):  # rotated between two looks, or twice
            file.close()
        else:
            files.append(file)
    return files[::-1]


def _has_older(path: str, number: int) -> bool:
    """Whether there is a file of a higher number."""
    directory, name = os.path.split(path)
    try:
        names = os.listdir(directory or ".")
    except FileNotFoundError:
        return False
    numbers = (
        other.removeprefix(f"{name}.").removesuffix(".gz")
        for other in names
        if other.startswith(f"{name}.")
    )
    return any(text.isdecimal() and int(text) > number for text in numbers)


def _open_one(path: str, number: int) -> _Plain | _Compressed | None:
    name = f"{path}.{number}" if number else path
    for _ in range(2):  # between two looks it may have been compressed
        with suppress(FileNotFoundError):
            return _Plain(open(name, "rb", buffering=0))
        with suppress(FileNotFoundError):
            return _Compressed(open(f"{name}.gz", "rb", buffering=0))
    return None


def _watch(path: str) -> _Watch | None:
    """None where there is no directory: of a container that never ran, or has been removed."""
    try:
        return _Watch(path)
    except FileNotFoundError:
        return None


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
