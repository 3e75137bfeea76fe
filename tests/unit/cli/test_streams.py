"""Frames go where they belong; detach keys are found wherever they come."""

from __future__ import annotations

import os
import tempfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiffin.cli.failures import CommandFailed
from tiffin.cli.streams import DETACH_KEYS, Escape, Frames, parse_keys


def frame(kind: int, payload: bytes) -> bytes:
    return bytes((kind, 0, 0, 0)) + len(payload).to_bytes(4, "big") + payload


@given(
    st.lists(st.tuples(st.sampled_from([1, 2]), st.binary(max_size=40)), max_size=8),
    st.integers(min_value=1, max_value=30),
)
def test_frames_may_come_in_any_pieces(frames: list[tuple[int, bytes]], step: int) -> None:
    data = b"".join(frame(kind, payload) for kind, payload in frames)
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        reader = Frames((out.fileno(), err.fileno()))
        for start in range(0, len(data), step):
            reader.feed(data[start : start + step])
        found = [os.pread(each.fileno(), 1 << 16, 0) for each in (out, err)]

    expected = [b"".join(each for kind, each in frames if kind == wanted) for wanted in (1, 2)]
    assert found == expected


@given(
    st.lists(st.tuples(st.sampled_from([1, 2]), st.binary(max_size=9)), max_size=9),
    st.integers(min_value=1, max_value=60),
)
def test_what_both_streams_say_stays_in_order(frames: list[tuple[int, bytes]], step: int) -> None:
    data = b"".join(frame(kind, payload) for kind, payload in frames)
    with tempfile.TemporaryFile() as both:
        reader = Frames((both.fileno(), both.fileno()))
        for start in range(0, len(data), step):
            reader.feed(data[start : start + step])
        found = os.pread(both.fileno(), 1 << 16, 0)

    assert found == b"".join(payload for _, payload in frames)


def test_frames_that_come_together_are_written_together() -> None:
    reading, writing = os.pipe2(os.O_DIRECT)  # a read takes what one write put there
    try:
        Frames((writing, writing)).feed(frame(1, b"a\n") + frame(1, b"b\n") + frame(2, b"c\n"))

        assert [os.read(reading, 100), os.read(reading, 100)] == [b"a\nb\n", b"c\n"]
    finally:
        os.close(reading)
        os.close(writing)


def test_a_frame_of_an_unknown_kind_is_refused() -> None:
    with pytest.raises(CommandFailed, match="Unrecognized input header: 9"):
        Frames().feed(frame(9, b"x"))


def test_the_keys_detach_and_are_not_passed_on() -> None:
    escape = Escape(DETACH_KEYS)

    assert escape.feed(b"ab\x10") == b"ab"
    assert not escape.complete
    assert escape.feed(b"\x11") == b""
    assert escape.complete


def test_what_was_typed_before_the_keys_is_passed_on_and_nothing_after_them() -> None:
    escape = Escape(b"ab")

    assert escape.feed(b"xaxaba") == b"xax"
    assert escape.complete


def test_keys_that_only_began_are_passed_on() -> None:
    escape = Escape(DETACH_KEYS)

    assert escape.feed(b"\x10x\x10") == b"\x10x"
    assert escape.feed(b"y") == b"\x10y"


def test_a_key_may_begin_again() -> None:
    escape = Escape(DETACH_KEYS)

    assert escape.feed(b"\x10\x10") == b"\x10"
    assert escape.feed(b"\x11") == b""
    assert escape.complete


def test_keys_have_names() -> None:
    assert parse_keys("ctrl-p,ctrl-q") == DETACH_KEYS
    assert parse_keys("a,ctrl-@,ctrl-[,DEL") == b"a\x00\x1b\x7f"
    with pytest.raises(ValueError, match="Unknown character: 'foo'"):
        parse_keys("a,foo")
