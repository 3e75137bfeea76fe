"""The detach sequence in typed input: found however it arrives, and no other byte is lost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiffin.runtime.streamclients import Keys

BYTES = st.binary(max_size=40).map(lambda data: bytes(byte % 3 for byte in data))  # many repeats


@given(BYTES, st.binary(min_size=1, max_size=4).map(lambda k: bytes(b % 3 for b in k)), st.data())
def test_it_is_found_across_any_pieces(typed: bytes, keys: bytes, data: st.DataObject) -> None:
    finder = Keys(keys)
    passed, detached, rest = b"", False, typed
    while rest and not detached:
        length = data.draw(st.integers(1, len(rest)))
        piece, rest = rest[:length], rest[length:]
        more, detached = finder.feed(piece)
        passed += more
    assert detached == (keys in typed)
    if detached:
        assert passed == typed[: typed.index(keys)]
    else:  # what may be the beginning of it is held back
        assert typed.startswith(passed)
        assert keys.startswith(typed[len(passed) :])


@pytest.mark.parametrize("keys", [b"\x10\x11", b"a", b"\x1b[A", "ü".encode()])
def test_sequences_of_any_length(keys: bytes) -> None:
    finder = Keys(keys)
    assert finder.feed(b"typed") == (b"typed", False)
    for byte in keys[:-1]:
        assert finder.feed(bytes((byte,))) == (b"", False)
    assert finder.feed(keys[-1:] + b"never seen") == (b"", True)


def test_no_sequence_lets_everything_through() -> None:
    assert Keys(b"").feed(b"\x10\x11") == (b"\x10\x11", False)
