"""Logs read back: what LogWriter wrote comes out whole and in order, also while it grows."""

from __future__ import annotations

import asyncio
import gzip
import os
import re
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiffin.core.loglines import LogLine
from tiffin.core.workload import LogPosition
from tiffin.runtime import logfile, logreader
from tiffin.runtime.logfile import LogWriter
from tiffin.runtime.logreader import LogCursor, read_log
from tiffin.runtime.logs import Lines, format_time

KINDS = ("json-file", "local")


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def writer(path: Path, kind: str = "json-file", **options: Any) -> LogWriter:
    size, files = options.pop("max_size", 0), options.pop("max_files", 3)
    return LogWriter(str(path), size, files, format=kind, **options)


def settle(log: LogWriter) -> None:
    """Until all that was rotated is compressed."""
    while log.compressing:
        log.child_ended(*os.waitpid(log.compressing, 0))


def written(path: Path, count: int, kind: str = "json-file", **options: Any) -> LogWriter:
    log = writer(path, kind, **options)
    for number in range(count):
        log.write(b"line %d\n" % number, "stderr" if number % 2 else "stdout", number + 1)
    return log


def read(path: Path, kind: str = "json-file", **options: Any) -> list[LogLine]:
    async def all_lines() -> list[LogLine]:
        batches = [batch async for batch in read_log(str(path), kind=kind, **options)]
        return [line for batch in batches for line in batch.rows()]

    return asyncio.run(all_lines())


def test_what_was_written_comes_back_with_stream_and_time(tmp_path: Path, kind: str) -> None:
    written(tmp_path / "log", 2, kind).close()
    assert read(tmp_path / "log", kind) == [
        LogLine(1, format_time(1), b"line 0\n"),
        LogLine(2, format_time(2), b"line 1\n"),
    ]


def test_what_is_removed_once_it_is_open_is_read(tmp_path: Path, kind: str) -> None:
    written(tmp_path / "log", 2, kind).close()

    async def lines() -> list[bytes]:
        batches = read_log(str(tmp_path / "log"), kind=kind)
        assert not await anext(batches)
        (tmp_path / "log").unlink()
        return [line async for batch in batches for line in batch.lines]

    assert asyncio.run(lines()) == [b"line 0\n", b"line 1\n"]


def test_a_log_that_does_not_exist_yet_is_empty(tmp_path: Path, kind: str) -> None:
    assert read(tmp_path / "log", kind) == []


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("count", [0, 1, 5, 10, 11, 1000])
def test_the_tail_is_counted_over_rotated_files(
    tmp_path: Path, kind: str, count: int, compress: bool
) -> None:
    log = written(tmp_path / "log", 10, kind, max_size=80, max_files=19, compress=compress)
    settle(log)
    log.close()
    assert len(os.listdir(tmp_path)) > 2
    lines = [line.data for line in read(tmp_path / "log", kind, tail=count)]
    assert lines == [b"line %d\n" % number for number in range(max(0, 10 - count), 10)]


@pytest.mark.parametrize("tail", [1, 3, 4, 5, 399, 400])
def test_the_tail_begins_within_a_block_of_lines(tmp_path: Path, kind: str, tail: int) -> None:
    log = writer(tmp_path / "log", kind)
    for first in range(0, 400, 4):
        log.write(b"".join(b"%d\n" % (first + n) for n in range(4)), "stdout", 1)
    log.close()
    lines = [int(line.data) for line in read(tmp_path / "log", kind, tail=tail)]
    assert lines == list(range(400 - tail, 400))


def test_the_tail_of_a_log_of_many_blocks(tmp_path: Path, kind: str) -> None:
    log = writer(tmp_path / "log", kind)
    for number in range(3000):
        log.write(b"%d %s\n" % (number, b"x" * 400), "stdout", 1)
    log.close()
    lines = read(tmp_path / "log", kind, tail=2500)
    assert [int(line.data.split()[0]) for line in lines] == list(range(500, 3000))


def test_times_choose_a_part(tmp_path: Path, kind: str) -> None:
    written(tmp_path / "log", 10, kind).close()
    lines = read(tmp_path / "log", kind, since_ns=3, until_ns=5)
    assert [line.time for line in lines] == [format_time(time) for time in (3, 4, 5)]


def test_a_record_that_was_cut_short_is_left_out(tmp_path: Path) -> None:
    written(tmp_path / "log", 1).close()
    with (tmp_path / "log").open("ab") as file:
        file.write(b'{"log":"ha\n')
    written(tmp_path / "log", 1).close()
    assert [line.data for line in read(tmp_path / "log")] == [b"line 0\n", b"line 0\n"]


@pytest.mark.parametrize("tail", [None, 1, 5])
def test_a_local_log_that_was_cut_short_is_read_up_to_there(
    tmp_path: Path, tail: int | None
) -> None:
    written(tmp_path / "log", 3, "local").close()
    with (tmp_path / "log").open("ab") as file:
        file.write(b"\0\0\0\x40 only the beginning of a record")
    lines = [line.data for line in read(tmp_path / "log", "local", tail=tail)]
    assert lines == [b"line 0\n", b"line 1\n", b"line 2\n"][-(tail or 3) :]


def test_what_others_wrote_as_time_is_understood(tmp_path: Path) -> None:
    (tmp_path / "log").write_text(
        '{"log":"a\\n","stream":"stdout","time":"2024-02-29T12:00:00.5Z"}\n'
        '{"log":"b\\n","stream":"stderr","time":"2024-02-29T12:00:01Z"}\n'
    )
    times = [line.time for line in read(tmp_path / "log")]
    assert times == ["2024-02-29T12:00:00.500000000Z", "2024-02-29T12:00:01.000000000Z"]


@given(st.lists(st.tuples(st.binary(max_size=300), st.booleans()), max_size=20))
@settings(max_examples=60)
def test_the_local_driver_keeps_every_byte(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[tuple[bytes, bool]]
) -> None:
    path = tmp_path_factory.mktemp("log") / "log"
    log = writer(path, "local", max_size=1000, max_files=50)
    cutters = {"stdout": Lines(), "stderr": Lines()}
    for data, is_error in pieces:
        stream = "stderr" if is_error else "stdout"
        for block in cutters[stream].feed(data):
            log.write(block, stream, 1)
    for stream, cutter in cutters.items():
        if rest := cutter.finish():
            log.write(rest, stream, 1)
    log.close()
    lines = read(path, "local")
    for number, is_error in ((1, False), (2, True)):
        said = b"".join(line.data for line in lines if line.stream == number)
        assert said == b"".join(data for data, error in pieces if error == is_error)


def test_rotated_files_are_compressed_and_read_as_before(tmp_path: Path, kind: str) -> None:
    log = written(tmp_path / "log", 100, kind, max_size=500, max_files=4, compress=True)
    settle(log)
    log.close()
    names = sorted(os.listdir(tmp_path))
    assert names == ["log", "log.1.gz", "log.2.gz", "log.3.gz"]
    found = [int(line.data.split()[1]) for line in read(tmp_path / "log", kind)]
    assert found == list(range(found[0], 100))
    assert len(found) > 10
    assert re.search(rb"line \d", gzip.decompress((tmp_path / "log.3.gz").read_bytes()))


def test_a_file_with_the_inode_of_one_that_is_gone_is_not_taken_for_it(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logfile, "inode_of", lambda _: "1:1:")
    log = written(tmp_path / "log", 100, kind, max_size=500, max_files=4, compress=True)
    settle(log)
    log.close()
    monkeypatch.undo()
    found = [int(line.data.split()[1]) for line in read(tmp_path / "log", kind)]
    assert found == list(range(found[0], 100))


def test_files_that_move_on_twice_between_two_looks_are_read_once(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "log"
    log = written(path, 30, kind, max_size=500, max_files=99)
    open_one = logreader._open_one
    rotations = [2]

    def rotating(name: str, number: int) -> object:
        for _ in range(rotations.pop() if number == 2 and rotations else 0):
            log._rotate()
            log.write(b"younger\n", "stdout", 1)
        return open_one(name, number)

    with monkeypatch.context() as patch:
        patch.setattr(logreader, "_open_one", rotating)
        found = [line.data for line in read(path, kind)]
    log.close()
    assert found == [f"line {number}\n".encode() for number in range(30)] + [b"younger\n"] * 2


def shifted(path: Path, down_to: int) -> None:
    """As a rotation has it that has come to the file of this number, and not to the next."""
    number = 1
    while path.with_name(f"log.{number}").exists():
        number += 1
    for older in range(number, down_to, -1):
        source = path.with_name(f"log.{older - 1}") if older > 1 else path
        source.rename(path.with_name(f"log.{older}"))


@pytest.mark.parametrize("down_to", [0, 1, 2, 3])
def test_a_rotation_half_way_hides_no_file(tmp_path: Path, kind: str, down_to: int) -> None:
    written(tmp_path / "log", 30, kind, max_size=120, max_files=99).close()
    assert (tmp_path / "log.4").exists()
    shifted(tmp_path / "log", down_to)
    found = [line.data for line in read(tmp_path / "log", kind)]
    assert found == [f"line {number}\n".encode() for number in range(30)]


def test_who_has_read_it_all_keeps_the_place_while_a_file_is_made(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "log"
    log = written(path, 10, kind, max_size=120, max_files=99)
    open_one = logreader._open_one

    def rotating(name: str, number: int) -> object:
        if number == 0 and path.exists():
            shifted(path, 0)
        return open_one(name, number)

    def goes_on() -> None:
        log._rotate()
        log.write(b"more\n", "stdout", 1)
        log.close()
        monkeypatch.setattr(logreader, "_open_one", rotating)

    before, after, nothing = steps(path, kind, lambda: None, goes_on, lambda: None)
    assert (len(before), after, nothing) == (10, [b"more\n"], [])


def test_who_closes_the_log_leaves_the_rest_to_the_next_writer(tmp_path: Path, kind: str) -> None:
    written(tmp_path / "log", 100, kind, max_size=500, max_files=40, compress=True).close()
    assert not any(name.endswith(".new") for name in os.listdir(tmp_path))
    before = read(tmp_path / "log", kind)
    assert len(before) == 100
    log = writer(tmp_path / "log", kind, max_size=500, max_files=40, compress=True)
    settle(log)
    log.close()
    assert sorted(os.listdir(tmp_path))[1].endswith(".gz")
    assert read(tmp_path / "log", kind) == before


def follow(path: Path, kind: str, feed: Iterator[None], **options: Any) -> list[bytes]:
    """All that a follower sees while each of its lines makes `feed` go on."""

    async def seen() -> list[bytes]:
        finished: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        found: list[bytes] = []
        async with asyncio.timeout(60):
            async for batch in read_log(str(path), kind=kind, finished=finished, **options):
                for line in batch.lines:
                    found.append(line)
                    if next(feed, feed) is feed and not finished.done():
                        finished.set_result(None)
        return found

    return asyncio.run(seen())


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("max_size", [0, 200])
def test_a_follower_sees_every_line_until_the_end_over_rotations(
    tmp_path: Path, kind: str, max_size: int, compress: bool
) -> None:
    log = writer(tmp_path / "log", kind, max_size=max_size, max_files=50, compress=compress)
    log.write(b"0\n", "stdout", 1)

    def feed() -> Iterator[None]:
        for number in range(1, 41):
            log.write(b"%d\n" % number, "stdout", number)
            yield
        for number in range(41, 60):  # several rotations before it looks again
            log.write(b"%d\n" % number, "stdout", number)

    lines = follow(tmp_path / "log", kind, feed())
    log.close()
    assert lines == [b"%d\n" % number for number in range(60)]


def test_a_follower_goes_on_in_a_file_that_was_compressed_under_it(
    tmp_path: Path, kind: str
) -> None:
    log = writer(tmp_path / "log", kind, max_size=200, max_files=50, compress=True)
    log.write(b"0\n", "stdout", 1)

    def feed() -> Iterator[None]:
        nonlocal log
        for number in range(1, 30):
            log.write(b"%d\n" % number, "stdout", number)
        settle(log)
        log.close()
        log = writer(tmp_path / "log", kind, max_size=200, max_files=50, compress=True)
        log.write(b"30\n", "stdout", 30)
        yield
        for _ in range(29):
            yield

    lines = follow(tmp_path / "log", kind, feed())
    log.close()
    assert lines == [b"%d\n" % number for number in range(31)]


def steps(path: Path, kind: str, *ends: Callable[[], LogPosition | None]) -> list[list[bytes]]:
    """The lines of each step, whose end is asked for when it comes to it."""

    async def read_all() -> list[list[bytes]]:
        with closing(LogCursor(str(path), kind)) as cursor:
            return [
                [line for batch in [b async for b in cursor.read_to(end())] for line in batch.lines]
                for end in ends
            ]

    return asyncio.run(read_all())


def test_a_log_is_read_up_to_a_position_and_on_from_there(tmp_path: Path, kind: str) -> None:
    log = written(tmp_path / "log", 10, kind, max_size=200, max_files=99)
    position = LogPosition(*log.position())
    for number in range(10, 20):
        log.write(b"line %d\n" % number, "stdout", number + 1)
    log.close()
    first, rest = steps(tmp_path / "log", kind, lambda: position, lambda: None)
    assert first == [b"line %d\n" % number for number in range(10)]
    assert first + rest == [b"line %d\n" % number for number in range(20)]


def test_a_log_that_grows_between_two_steps_is_not_at_its_end(tmp_path: Path, kind: str) -> None:
    async def act() -> list[bool]:
        seen = []
        with closing(LogCursor(str(tmp_path / "log"), kind)) as cursor:
            seen.append(cursor.is_at_end())
            for count in (0, 3, 0, 30):
                log = written(tmp_path / "log", count, kind, max_size=200, max_files=3)
                log.close()
                seen.append(cursor.is_at_end())
                [batch async for batch in cursor.read_to(None)]
                seen.append(cursor.is_at_end())
        return seen

    assert asyncio.run(act()) == [False, False, True, False, True, True, True, False, True]
