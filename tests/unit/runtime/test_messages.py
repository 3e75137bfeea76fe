"""Packets between the daemon, the zygote, shims and init."""

from __future__ import annotations

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiffin.runtime import messages
from tiffin.runtime.messages import ConnectionEnded
from tiffin.runtime.streamclients import Keys

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=6,
)


@given(st.dictionaries(st.text(), VALUES, max_size=3))
@settings(max_examples=50)
def test_what_is_encoded_is_decoded(message: dict[str, object]) -> None:
    assert messages.decode(messages.encode(message)) == message


def test_names_that_are_no_text_survive() -> None:
    name = os.fsdecode(b"\xff\xfe")
    assert messages.decode(messages.encode({"name": name})) == {"name": name}


@pytest.mark.parametrize("data", [b"", b"[1]", b"{", b"nonsense", b"\xff"])
def test_what_is_no_message_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r".*"):
        messages.decode(data)


def test_descriptors_come_along() -> None:
    ours, theirs = messages.pair()
    reading, writing = os.pipe()
    messages.send(ours, {"a": 1}, [writing])
    message, descriptors = messages.receive(theirs)
    os.write(descriptors[0], b"x")
    assert (message, os.read(reading, 1)) == ({"a": 1}, b"x")
    assert not os.get_inheritable(descriptors[0])
    messages.close_all([reading, writing, *descriptors])
    ours.close()
    theirs.close()


def test_a_large_message_goes_by_memory() -> None:
    ours, theirs = messages.pair()
    reading, writing = os.pipe()
    messages.send(ours, {"a": "x" * 1_000_000}, [writing])
    message, descriptors = messages.receive(theirs)
    assert (len(message["a"]), len(descriptors)) == (1_000_000, 1)
    messages.close_all([reading, writing, *descriptors])
    ours.close()
    theirs.close()


def test_the_end_of_a_connection_is_told_after_what_was_said() -> None:
    ours, theirs = messages.pair()
    messages.send(theirs, {"unread": True})
    messages.send(ours, {"last": "words"})
    ours.close()  # with something unread: the kernel reports a reset first
    assert messages.receive(theirs)[0] == {"last": "words"}
    with pytest.raises(ConnectionEnded):
        messages.receive(theirs)
    with pytest.raises(ConnectionEnded):
        messages.send(theirs, {})
    theirs.close()


@given(st.lists(st.binary(max_size=20), max_size=8), st.binary(min_size=1, max_size=4))
def test_detach_keys_are_found_however_the_input_is_cut(pieces: list[bytes], keys: bytes) -> None:
    matcher = Keys(keys)
    passed = b""
    whole = b"".join(pieces)
    for piece in pieces:
        data, found = matcher.feed(piece)
        passed += data
        if found:
            assert passed == whole[: whole.index(keys)]
            return
    assert keys not in whole
    assert whole.startswith(passed)
    assert len(whole) - len(passed) < len(keys)
