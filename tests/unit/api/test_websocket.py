"""Frames of a websocket, in both directions."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from tiffin.api.wsdoor import frame, frames, unmasked

CHECKOUT = Path(__file__).resolve().parents[3]
BOOT = "import sys; from tiffin.api.wsdoor import main; main(sys.argv[1])"


def masked(opcode: int, data: bytes, mask: bytes = b"\x01\x02\x03\x04") -> bytes:
    """As a client sends it."""
    plain = frame(opcode, data)
    head = plain[: len(plain) - len(data)]
    return head[:1] + bytes((head[1] | 0x80,)) + head[2:] + mask + unmasked(data, mask)


def read(data: bytes, early: int = 0) -> list[tuple[int, bytes]]:
    async def whole() -> list[tuple[int, bytes]]:
        stream = asyncio.StreamReader()
        stream.feed_data(data[early:])
        stream.feed_eof()
        return [one async for one in frames(stream, data[:early])]

    return asyncio.run(whole())


@given(st.binary(max_size=300) | st.just(b"x" * 70_000), st.binary(min_size=4, max_size=4))
def test_what_is_masked_comes_out_as_it_was(data: bytes, mask: bytes) -> None:
    assert read(masked(2, data, mask) + masked(8, b"")) == [(2, data), (8, b"")]


def test_what_came_with_the_request_is_read_first() -> None:
    assert read(masked(1, b"early") + masked(2, b"late"), early=7) == [(1, b"early"), (2, b"late")]


def test_a_client_that_breaks_the_protocol_is_at_its_end() -> None:
    assert read(frame(2, b"not masked")) == []
    assert read(b"\x82\xff" + (1 << 40).to_bytes(8, "big") + b"mask") == []
    assert read(masked(2, b"cut short")[:-1]) == []


@given(st.binary(max_size=64))
def test_any_bytes_are_frames_or_an_end(data: bytes) -> None:
    for opcode, payload in read(data):
        assert 0 <= opcode < 16
        assert len(payload) <= len(data)


def test_a_door_whose_daemon_has_gone_before_it_was_ready_ends_without_a_word() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.close()
    with theirs:
        command = [sys.executable, "-c", BOOT, str(theirs.fileno())]
        ended = subprocess.run(
            command, pass_fds=[theirs.fileno()], capture_output=True, cwd=CHECKOUT, check=False
        )
    assert (ended.returncode, ended.stderr) == (0, b"")
