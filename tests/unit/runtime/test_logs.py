"""The log that a shim writes: Docker's records, whole, whatever the output was."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiffin.runtime.logfile import LogWriter
from tiffin.runtime.logs import MAX_LINE_BYTES, Lines, encode_block, format_time

TIME_NS = 1_709_208_000_000_000_001
TIME = "2024-02-29T12:00:00.000000001Z"


def records(data: bytes) -> list[dict[str, str]]:
    return [json.loads(line) for line in data.decode().split("\n")[:-1]]


@pytest.mark.parametrize(
    "block",
    [
        b"one\n",
        b"one\ntwo\n",
        b"no newline",
        b"\n",
        b"\n\n",
        b'"quoted" \\ back\tslash\n',
        b"del \x7f here\n and\x7f\n",
        b"\x00\x01\x1f\n",
        "\u2028 line separator \x85\n".encode(),
        b"carriage\r\nreturn\rs\n",
    ],
)
def test_a_block_is_one_record_for_each_line(block: bytes) -> None:
    found = records(encode_block(block, "stdout", TIME_NS))
    assert "".join(record["log"] for record in found) == block.decode()
    assert all(record["log"].count("\n") == (not r_last(record)) for record in found)
    assert {record["stream"] for record in found} == {"stdout"}
    assert {record["time"] for record in found} == {TIME}


def r_last(record: dict[str, str]) -> bool:
    return not record["log"].endswith("\n")


def test_bytes_that_are_no_text_are_replaced() -> None:
    assert records(encode_block(b"a\xff\n", "stderr", TIME_NS))[0]["log"] == "a\ufffd\n"


PIECE = st.tuples(st.sampled_from([b"x", b"\n", b"ab\n", b"\xc3\xa9"]), st.integers(0, 20_000))


@given(st.lists(PIECE.map(lambda p: p[0] * p[1]), max_size=6))
@settings(max_examples=50)
def test_no_byte_is_lost_or_moved_by_cutting(pieces: list[bytes]) -> None:
    lines = Lines()
    blocks = [block for piece in pieces for block in lines.feed(piece)]
    rest = lines.finish()
    assert b"".join(blocks) + rest == b"".join(pieces)
    assert all(len(line) <= MAX_LINE_BYTES for b in blocks for line in b.split(b"\n"))
    assert len(rest) <= MAX_LINE_BYTES


def test_a_long_line_is_cut_at_16_kilobytes_and_no_character_in_two() -> None:
    lines = Lines()
    line = b"a" + "é".encode() * 20_000 + b"\n"
    blocks = lines.feed(line)
    assert [block.decode() for block in blocks]
    assert b"".join(blocks) == line
    assert len(blocks[0]) in (MAX_LINE_BYTES, MAX_LINE_BYTES - 1)


def test_a_line_is_held_back_until_it_is_whole() -> None:
    lines = Lines()
    assert lines.feed(b"begin") == []
    assert lines.feed(b"ning\nnext") == [b"beginning\n"]
    assert lines.finish() == b"next"


def test_times_have_nine_digits() -> None:
    assert format_time(0) == "1970-01-01T00:00:00.000000000Z"
    assert format_time(1_709_208_000_000_000_001) == TIME


def test_a_full_file_is_renamed_and_the_oldest_forgotten(tmp_path: Path) -> None:
    path = str(tmp_path / "log")
    writer = LogWriter(path, max_size=1000, max_files=3)
    for number in range(100):
        writer.write(f"line {number}\n".encode(), "stdout", 0)
    writer.close()
    assert sorted(os.listdir(tmp_path)) == ["log", "log.1", "log.2"]
    kept = [
        record["log"]
        for name in ("log.2", "log.1", "log")
        for record in records((tmp_path / name).read_bytes())
    ]
    assert kept[-1] == "line 99\n"
    assert kept == [f"line {n}\n" for n in range(100 - len(kept), 100)]
    assert all(os.path.getsize(tmp_path / name) <= 1000 for name in os.listdir(tmp_path))


def test_each_record_has_the_attributes_that_were_asked_for(tmp_path: Path) -> None:
    writer = LogWriter(str(tmp_path / "log"), max_size=0, max_files=1, attrs='{"tag":"web"}')
    writer.write(b"one\ntwo\n", "stderr", 1_709_208_000_000_000_001)
    writer.close()
    head, tail = '{"log":"', '\\n","stream":"stderr","attrs":{"tag":"web"},"time":"' + TIME + '"}\n'
    assert (tmp_path / "log").read_text() == f"{head}one{tail}{head}two{tail}"


def test_a_large_block_is_spread_over_files(tmp_path: Path) -> None:
    writer = LogWriter(str(tmp_path / "log"), max_size=10_000, max_files=2)
    writer.write(b"x\n" * 1000, "stdout", 0)
    writer.close()
    assert all(os.path.getsize(tmp_path / name) <= 10_000 for name in os.listdir(tmp_path))


@pytest.mark.parametrize("lines", [1, 3, 40, 1000])
def test_files_are_full_however_large_the_blocks_are(tmp_path: Path, lines: int) -> None:
    writer = LogWriter(str(tmp_path / "log"), max_size=5000, max_files=3)
    said = [b"line %d\n" % number for number in range(1000)]
    for first in range(0, 1000, lines):
        writer.write(b"".join(said[first : first + lines]), "stdout", TIME_NS)
    files = [(tmp_path / name).read_bytes() for name in ("log.2", "log.1", "log")]
    longest = max(map(len, b"".join(files).splitlines(keepends=True)))
    assert all(5000 - longest < len(file) <= 5000 for file in files[:2])
    kept = [record["log"].encode() for record in records(b"".join(files))]
    assert kept == said[-len(kept) :]


def test_one_file_begins_anew(tmp_path: Path) -> None:
    writer = LogWriter(str(tmp_path / "log"), max_size=300, max_files=1)
    for _ in range(20):
        writer.write(b"x\n", "stdout", 0)
    writer.close()
    assert os.listdir(tmp_path) == ["log"]
    assert 0 < os.path.getsize(tmp_path / "log") <= 300


def test_what_reads_the_only_file_still_has_it_when_it_begins_anew(tmp_path: Path) -> None:
    writer = LogWriter(str(tmp_path / "log"), max_size=300, max_files=1)
    writer.write(b"first\n", "stdout", 0)
    with open(tmp_path / "log", "rb") as reader:
        for _ in range(5):
            writer.write(b"x\n", "stdout", 0)
        writer.close()
        assert next(record["log"] for record in records(reader.read())) == "first\n"


def test_a_log_that_is_kept_still_does_not_rotate(tmp_path: Path) -> None:
    writer = LogWriter(str(tmp_path / "log"), max_size=300, max_files=2)
    writer.write(b"first\n", "stdout", 0)
    before = writer.position()
    writer.keep(kept=True)
    for _ in range(20):
        writer.write(b"x\n", "stdout", 0)
    assert os.listdir(tmp_path) == ["log"]
    assert writer.position()[0] == before[0]
    writer.keep(kept=False)
    writer.write(b"last\n", "stdout", 0)
    assert sorted(os.listdir(tmp_path)) == ["log", "log.1"]
    writer.close()


def test_no_limit_is_no_rotation(tmp_path: Path) -> None:
    writer = LogWriter(str(tmp_path / "log"), max_size=-1, max_files=1)
    for _ in range(1000):
        writer.write(b"x" * 100 + b"\n", "stdout", 0)
    writer.close()
    assert len(records((tmp_path / "log").read_bytes())) == 1000


def test_a_full_disk_loses_lines_and_nothing_else() -> None:
    writer = LogWriter("/dev/full", max_size=0, max_files=1)
    writer.write(b"lost\n", "stdout", 0)
    assert writer.lost_bytes > 0
    writer.close()
