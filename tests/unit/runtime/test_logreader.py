"""Logs read back: what LogWriter wrote comes out whole and in order, also while it grows."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tiffin.runtime.logreader import LogLine, read_log
from tiffin.runtime.logs import LogWriter


def written(path: Path, count: int, *, max_size: int = 0, max_files: int = 3) -> LogWriter:
    writer = LogWriter(str(path), max_size, max_files)
    for number in range(count):
        writer.write(b"line %d\n" % number, "stderr" if number % 2 else "stdout", number + 1)
    return writer


def read(path: Path, **options: int) -> list[LogLine]:
    async def all_lines() -> list[LogLine]:
        return [line async for line in read_log(str(path), **options)]  # type: ignore[arg-type]

    return asyncio.run(all_lines())


def test_what_was_written_comes_back_with_stream_and_time(tmp_path: Path) -> None:
    written(tmp_path / "log", 2).close()
    assert read(tmp_path / "log") == [LogLine(1, 1, b"line 0\n"), LogLine(2, 2, b"line 1\n")]


def test_a_log_that_does_not_exist_yet_is_empty(tmp_path: Path) -> None:
    assert read(tmp_path / "log") == []


@pytest.mark.parametrize("count", [0, 1, 5, 10, 11, 1000])
def test_the_tail_is_counted_over_rotated_files(tmp_path: Path, count: int) -> None:
    written(tmp_path / "log", 10, max_size=300, max_files=9).close()
    lines = [line.data for line in read(tmp_path / "log", tail=count)]
    assert lines == [b"line %d\n" % number for number in range(max(0, 10 - count), 10)]


def test_times_choose_a_part(tmp_path: Path) -> None:
    written(tmp_path / "log", 10).close()
    assert [line.time_ns for line in read(tmp_path / "log", since_ns=3, until_ns=5)] == [3, 4, 5]


def test_a_record_that_was_cut_short_is_left_out(tmp_path: Path) -> None:
    written(tmp_path / "log", 1).close()
    with (tmp_path / "log").open("ab") as file:
        file.write(b'{"log":"ha\n')
    written(tmp_path / "log", 1).close()
    assert [line.data for line in read(tmp_path / "log")] == [b"line 0\n", b"line 0\n"]


@pytest.mark.parametrize("max_size", [0, 200])
def test_a_follower_sees_every_line_until_the_end_over_rotations(
    tmp_path: Path, max_size: int
) -> None:
    async def follow() -> list[bytes]:
        finished: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        writer = LogWriter(str(tmp_path / "log"), max_size, 50)
        writer.write(b"0\n", "stdout", 1)
        found = []
        async with asyncio.timeout(20):
            async for line in read_log(str(tmp_path / "log"), finished=finished):
                found.append(line.data)
                number = len(found)
                if number < 40:
                    writer.write(b"%d\n" % number, "stdout", number)
                elif not finished.done():
                    writer.write(b"last\n", "stdout", number)
                    finished.set_result(None)
        writer.close()
        return found

    lines = asyncio.run(follow())
    assert lines == [b"%d\n" % number for number in range(40)] + [b"last\n"]
