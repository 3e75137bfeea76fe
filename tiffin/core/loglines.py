"""What a container has said, as its log gives it back: lines, many at once."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import compress
from typing import NamedTuple


class LogLine(NamedTuple):
    stream: int  # 1 stdout, 2 stderr
    time: str  # RFC 3339 with nine digits
    data: bytes


class LogBatch(NamedTuple):
    """Lines in their order, as columns."""

    streams: list[int]
    times: list[str]
    lines: list[bytes]

    def __bool__(self) -> bool:
        return bool(self.lines)

    def rows(self) -> Iterator[LogLine]:
        return map(LogLine, self.streams, self.times, self.lines)

    def of_stream(self, stream: int) -> LogBatch:
        return self._chosen([one == stream for one in self.streams])

    def since(self, time: str) -> LogBatch:
        return self if min(self.times) >= time else self._chosen([t >= time for t in self.times])

    def until(self, time: str) -> LogBatch:
        """What comes before the first line that is later."""
        later = next((n for n, one in enumerate(self.times) if one > time), len(self.times))
        return self.cut(0, later)

    def cut(self, first: int, end: int | None = None) -> LogBatch:
        return LogBatch(*(column[first:end] for column in self))  # type: ignore[arg-type]

    def _chosen(self, flags: list[bool]) -> LogBatch:
        return LogBatch(*(list(compress(column, flags)) for column in self))  # type: ignore[arg-type]
