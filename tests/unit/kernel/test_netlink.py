"""Netlink messages as bytes: made, taken apart, and answers understood."""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiffin.kernel import netlink
from tiffin.kernel.netlink import Message, Socket, attribute, attributes, each_attribute


class Wire:
    """Stands for the kernel's end: keeps what was sent, answers what it was given."""

    def __init__(self, *answers: bytes) -> None:
        self.sent: list[bytes] = []
        self._answers = deque(answers)

    def sendto(self, data: bytes, _address: tuple[int, int]) -> int:
        self.sent.append(data)
        return len(data)

    def recv(self, _size: int) -> bytes:
        if not self._answers:
            raise TimeoutError
        return self._answers.popleft()


def connected(*answers: bytes) -> tuple[Socket, Wire]:
    connection = Socket.__new__(Socket)
    wire = Wire(*answers)
    connection._socket = wire  # type: ignore[assignment]
    connection._sequence = 0
    return connection, wire


def answer(kind: int, sequence: int, body: bytes, flags: int = 0) -> bytes:
    padded = body + b"\0" * (-len(body) % 4)
    return struct.pack("=IHHII", 16 + len(body), kind, flags, sequence, 1) + padded


def acknowledged(sequence: int, code: int = 0, words: str = "") -> bytes:
    body = struct.pack("=i", -code) + struct.pack("=IHHII", 16, 16, 5, sequence, 0)
    if not words:
        return answer(netlink.NLMSG_ERROR, sequence, body)
    return answer(netlink.NLMSG_ERROR, sequence, body + netlink.text(1, words), 0x300)


def test_an_attribute_is_padded_to_four_bytes_and_its_length_is_not() -> None:
    assert attribute(3, b"eth0\0") == b"\x09\0\x03\0eth0\0\0\0\0"


def test_a_nested_attribute_carries_its_flag_and_is_read_without() -> None:
    packed = netlink.nested(4, netlink.be32(1, 2), netlink.be32(2, -300))

    assert packed == b"\x14\0\x04\x80\x08\0\x01\0\0\0\0\x02\x08\0\x02\0\xff\xff\xfe\xd4"
    assert attributes(attributes(packed)[4]) == {1: b"\0\0\0\x02", 2: b"\xff\xff\xfe\xd4"}


@given(st.lists(st.tuples(st.integers(0, 0x3FFF), st.binary(max_size=40))))
def test_attributes_are_read_as_they_were_written(items: list[tuple[int, bytes]]) -> None:
    packed = b"".join(attribute(kind, value) for kind, value in items)

    assert list(each_attribute(packed)) == items


@given(st.binary())
def test_any_bytes_are_read_without_an_error(data: bytes) -> None:
    for _, value in each_attribute(data):
        assert value in data


@pytest.mark.parametrize(
    ("header", "size"),
    [
        (netlink.link_header(1, 1, 1), netlink.LINK_HEADER_BYTES),
        (netlink.address_header(24, 3), netlink.ADDRESS_HEADER_BYTES),
        (netlink.route_header(), netlink.ROUTE_HEADER_BYTES),
        (netlink.neighbour_header(3, 4), 12),
        (netlink.netfilter_header(socket.AF_INET), netlink.NETFILTER_HEADER_BYTES),
    ],
)
def test_fixed_parts_have_the_kernels_sizes(header: bytes, size: int) -> None:
    assert len(header) == size


def test_several_messages_go_in_one_send_and_each_is_awaited() -> None:
    connection, wire = connected(acknowledged(1) + acknowledged(2))

    connection.request(Message(16, 0, b"abcd"), Message(20, 0x400, b"efg"))

    (sent,) = wire.sent
    assert struct.unpack_from("=IHHII", sent) == (20, 16, 5, 1, 0)
    assert struct.unpack_from("=IHHII", sent, 20) == (19, 20, 0x405, 2, 0)
    assert len(sent) == 40


def test_the_first_failure_is_raised_after_all_answers_with_its_request_named() -> None:
    connection, _ = connected(
        acknowledged(1), acknowledged(2, errno.EEXIST), acknowledged(3, errno.EINVAL)
    )

    with pytest.raises(FileExistsError) as caught:
        connection.request(*(Message(16, 0, b"", name) for name in ("one", "add link x", "three")))

    assert caught.value.strerror == f"add link x: {os.strerror(errno.EEXIST)}"


def test_the_kernels_own_explanation_is_in_the_message() -> None:
    connection, _ = connected(acknowledged(1, errno.EINVAL, "Invalid prefix for given length"))

    with pytest.raises(OSError, match=r"add address: .* \(Invalid prefix for given length\)"):
        connection.request(Message(20, 0, b"", "add address"))


def test_answers_to_an_earlier_request_are_passed_over() -> None:
    connection, _ = connected(acknowledged(99, errno.EPERM), acknowledged(1))

    connection.request(Message(16, 0, b""))


def test_a_batch_is_framed_and_its_last_message_acknowledged() -> None:
    connection, wire = connected(acknowledged(3))

    connection.transact([Message(0xA00, 0, b"aaaa"), Message(0xA03, 0, b"bbbb")])

    kinds, flags, offset = [], [], 0
    while offset < len(wire.sent[0]):
        length, kind, flag, _, _ = struct.unpack_from("=IHHII", wire.sent[0], offset)
        kinds.append(kind)
        flags.append(flag)
        offset += (length + 3) & ~3
    assert kinds == [16, 0xA00, 0xA03, 17]
    assert flags == [1, 1, 5, 1]


def test_a_failing_batch_raises_its_first_failure() -> None:
    connection, _ = connected(acknowledged(2, errno.ENOENT), acknowledged(3))

    with pytest.raises(FileNotFoundError, match="delete element"):
        connection.transact(
            [Message(0xA0E, 0, b"", "delete element"), Message(0xA0C, 0, b"", "add element")]
        )


def test_a_batch_refused_as_a_whole_is_a_failure() -> None:
    connection, _ = connected(acknowledged(1, errno.EPERM))

    with pytest.raises(PermissionError):
        connection.transact([Message(0xA00, 0, b"")])


def test_a_dump_ends_with_done_and_is_asked_again_when_it_was_disturbed() -> None:
    done = struct.pack("=i", 0)
    connection, wire = connected(
        answer(16, 1, b"old!", 0x12) + answer(netlink.NLMSG_DONE, 1, done, 2),
        answer(16, 2, b"new1", 2),
        answer(16, 2, b"new2", 2) + answer(netlink.NLMSG_DONE, 2, done, 2),
    )

    assert connection.dump(Message(18, 0, b"")) == [(16, b"new1"), (16, b"new2")]
    assert len(wire.sent) == 2


def test_a_dump_that_fails_raises() -> None:
    connection, _ = connected(acknowledged(1, errno.ENOENT))

    with pytest.raises(FileNotFoundError):
        connection.dump(Message(0xA0D, 0, b""))
