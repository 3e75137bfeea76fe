"""Log records decoded in batches, for both formats on disk (runtime.logs says what they are)."""

from __future__ import annotations

import calendar
from collections.abc import Iterator
from typing import Protocol

import msgspec

from tiffin.core.loglines import LogBatch
from tiffin.runtime.logs import LOCAL_HEAD, LOCAL_TAIL, STREAMS, format_time

_TIME_LENGTH = len("2000-01-01T00:00:00.000000000Z")
_STREAMS = frozenset(STREAMS.values())
_LONGEST = 1 << 24  # a longer record is none of ours


class Format(Protocol):
    """How records lie in a file."""

    def whole(self, data: bytes) -> int:
        """Where the last record of `data` that is complete ends; `data` begins with a record."""
        ...

    def decode(self, data: bytes) -> LogBatch:
        """Whole records. What is none (cut short by a full disk) is left out."""
        ...

    def backwards(self, block: bytes, *, at_start: bool) -> Iterator[tuple[int, int]]:
        """(lines, offset) of the records of `block` from its end on.

        `at_start`: it begins with one, not in the middle of one.
        """
        ...


class _Record(msgspec.Struct, gc=False):
    log: str = ""
    stream: str = "stdout"
    time: str = ""


_decoder = msgspec.json.Decoder(_Record)


class JsonFile:
    def whole(self, data: bytes) -> int:
        return data.rfind(b"\n") + 1

    def decode(self, data: bytes) -> LogBatch:
        try:
            records = _decoder.decode_lines(data)
        except (msgspec.MsgspecError, UnicodeError):
            records = list(_readable(data))
        times = [record.time for record in records]
        if any(len(time) != _TIME_LENGTH for time in set(times)):
            times = [with_nine_digits(time) for time in times]
        lines = [record.log.encode() for record in records]
        return LogBatch(_streams_of(records), times, lines)

    def backwards(self, block: bytes, *, at_start: bool) -> Iterator[tuple[int, int]]:
        at = len(block) - 1
        while at > 0:
            at = block.rfind(b"\n", 0, at)
            if at >= 0 or at_start:
                yield 1, at + 1


def _streams_of(records: list[_Record]) -> list[int]:
    names = {record.stream for record in records}
    if len(names) == 1:
        return [STREAMS.get(names.pop(), 1)] * len(records)
    return [STREAMS.get(record.stream, 1) for record in records]


def _readable(data: bytes) -> Iterator[_Record]:
    for raw in data.split(b"\n"):
        try:
            yield _decoder.decode(raw)
        except (msgspec.MsgspecError, UnicodeError):
            continue


class Local:
    def whole(self, data: bytes) -> int:
        end = 0
        while len(data) - end >= LOCAL_HEAD.size:
            size = _size(data, end)
            if end + size > len(data):
                break
            end += size
        return end

    def decode(self, data: bytes) -> LogBatch:
        batch = LogBatch([], [], [])
        at = 0
        while at < len(data):
            length, time_ns, number = LOCAL_HEAD.unpack_from(data, at)
            stream = number if number in _STREAMS else 1
            start = at + LOCAL_HEAD.size
            lines = _lines(data[start : start + length])
            batch.lines.extend(lines)
            batch.streams.extend([stream] * len(lines))
            batch.times.extend([format_time(time_ns)] * len(lines))
            at = start + length + LOCAL_TAIL.size
        return batch

    def backwards(self, block: bytes, *, at_start: bool) -> Iterator[tuple[int, int]]:
        del at_start  # a length says it
        at = len(block)
        while at >= LOCAL_TAIL.size:
            (length,) = LOCAL_TAIL.unpack_from(block, at - LOCAL_TAIL.size)
            start = at - LOCAL_TAIL.size - length
            at = start - LOCAL_HEAD.size
            if at < 0:
                return
            data = block[start : start + length]
            yield data.count(b"\n") + (not data.endswith(b"\n")), at


def _size(data: bytes, at: int) -> int:
    """Of the record there. Raises ValueError for what is none."""
    length: int = LOCAL_HEAD.unpack_from(data, at)[0]
    if length > _LONGEST:
        raise ValueError("not a log of the local driver")
    return LOCAL_HEAD.size + length + LOCAL_TAIL.size


def _lines(data: bytes) -> list[bytes]:
    *whole, rest = data.split(b"\n")
    lines = [line + b"\n" for line in whole]
    return [*lines, rest] if rest else lines


FORMATS: dict[str, Format] = {"json-file": JsonFile(), "local": Local()}


def with_nine_digits(time: str) -> str:
    """RFC 3339 in UTC, as others write it with the zeros at the end left out."""
    prefix, _, fraction = time.rstrip("Z").partition(".")
    try:
        day, _, clock = prefix.partition("T")
        year, month, date = map(int, day.split("-"))
        hour, minute, second = map(int, clock.split(":"))
        seconds = calendar.timegm((year, month, date, hour, minute, second))
        return format_time(seconds * 1_000_000_000 + int(fraction[:9].ljust(9, "0")))
    except (ValueError, OverflowError):
        return format_time(0)
