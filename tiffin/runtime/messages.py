"""How the daemon, the zygote, the shims and init talk: JSON and descriptors in packets.

SOCK_SEQPACKET keeps the packets apart. One is a JSON object, or the byte "@" where the object was
too large for a packet: it then lies in a memory file that comes as the last descriptor. Requests
carry "id" and "op" and are answered once, with the same "id"; a message with "event" is nobody's
answer.

A shim outlives the daemon that started it, so a new daemon meets old shims. PROTOCOL is what a
shim's hello says; fields may be added within a number, never change meaning. What no number will
change: hello's pid, start_ticks and cgroup, the requests kill and remove, the event exit.

    1   start, attach, exec, resize, kill, remove, state; widen in its later releases
    2   hello names the requests that the shim knows ("requests")
"""

from __future__ import annotations

import os
from _json import encode_basestring_ascii, make_encoder, make_scanner
from _socket import (
    AF_UNIX,
    CMSG_SPACE,
    MSG_CMSG_CLOEXEC,
    MSG_CTRUNC,
    MSG_DONTWAIT,
    MSG_NOSIGNAL,
    MSG_PEEK,
    MSG_TRUNC,
    SCM_RIGHTS,
    SO_PEERCRED,
    SOCK_CLOEXEC,
    SOCK_SEQPACKET,
    SOL_SOCKET,
    socket,
    socketpair,
)
from struct import pack, unpack

PROTOCOL = 2
OLDEST_PROTOCOL = 1  # whose shims this release still speaks with
SHIM_NAME = "tiffin-shim"  # what ps shows
ZYGOTE_NAME = "tiffin-zygote"

# Below the default send buffer (about 208 KB), which bounds a packet.
MAX_PACKET_BYTES = 60_000
MAX_DOCUMENT_BYTES = 16 * 1024 * 1024
MAX_DESCRIPTORS = 253  # SCM_MAX_FD

TYPE_CHECKING = False  # mypy knows the name; typing and what it imports would be in every shim
if TYPE_CHECKING:
    from typing import Any

    Message = dict[str, Any]
else:
    Message = dict


class ConnectionEnded(Exception):
    """The other side has closed, or died."""


class _Decoding:
    """What the C scanner asks of the json module's decoder, without that module (it imports re)."""

    strict = False
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = float
    memo: dict[str, str] = {}  # noqa: RUF012


def _refuse(value: object) -> object:
    raise TypeError(f"no JSON for {type(value).__name__}")


_scan = make_scanner(_Decoding)  # type: ignore[arg-type]
_encode = make_encoder(None, _refuse, encode_basestring_ascii, None, ":", ",", False, False, True)


def encode(message: Message) -> bytes:
    return "".join(_encode(message, 0)).encode("ascii")


def decode(data: bytes) -> Message:
    """Raises ValueError for what is no JSON object."""
    try:
        value, _end = _scan(data.decode("utf-8"), 0)
    except StopIteration as error:
        raise ValueError("not JSON") from error
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004 (one kind for what is no message)
    return value


def pair() -> tuple[socket, socket]:
    """Two connected ends, close-on-exec."""
    return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC)


def send(connection: socket, message: Message, descriptors: list[int] | None = None) -> None:
    """One packet. Raises BlockingIOError (a non-blocking connection is full), ConnectionEnded."""
    send_packet(connection, encode(message), descriptors or [])


def send_packet(connection: socket, data: bytes, descriptors: list[int]) -> None:
    memory = -1
    if len(data) > MAX_PACKET_BYTES:
        memory = memory_file(data)
        data = b"@"
        descriptors = [*descriptors, memory]
    try:
        ancillary = []
        if descriptors:
            rights = pack(f"{len(descriptors)}i", *descriptors)
            ancillary.append((SOL_SOCKET, SCM_RIGHTS, rights))
        connection.sendmsg([data], ancillary, MSG_NOSIGNAL)
    except (BrokenPipeError, ConnectionResetError) as error:
        raise ConnectionEnded from error
    finally:
        if memory >= 0:
            os.close(memory)


def memory_file(data: bytes) -> int:
    fd = os.memfd_create("tiffin-message", os.MFD_CLOEXEC)
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def receive(connection: socket) -> tuple[Message, list[int]]:
    """One message and its descriptors, which the caller owns.

    Raises ConnectionEnded, BlockingIOError, ValueError.
    """
    data, descriptors = receive_packet(connection)
    try:
        return decode(data), descriptors
    except ValueError:
        close_all(descriptors)
        raise


def receive_packet(connection: socket) -> tuple[bytes, list[int]]:
    try:
        data, ancillary, flags, _address = _receive_raw(connection)
    except ConnectionResetError:
        # The other side has closed without reading all of ours. That is told once, before what it
        # has said itself, which is still to be had.
        data, ancillary, flags, _address = _receive_raw(connection)
    descriptors = _descriptors(ancillary)
    if flags & (MSG_TRUNC | MSG_CTRUNC):
        close_all(descriptors)
        raise ValueError("message cut short")
    if not data and not descriptors:
        raise ConnectionEnded
    if data == b"@":
        data = _read_memory(descriptors)
    return data, descriptors


def _receive_raw(connection: socket) -> tuple[bytes, list[tuple[int, int, bytes]], int, Any]:
    return connection.recvmsg(
        MAX_PACKET_BYTES + 1, CMSG_SPACE(4 * MAX_DESCRIPTORS), MSG_CMSG_CLOEXEC
    )


def _descriptors(ancillary: list[tuple[int, int, bytes]]) -> list[int]:
    found: list[int] = []
    for level, kind, data in ancillary:
        if level == SOL_SOCKET and kind == SCM_RIGHTS:
            found.extend(unpack(f"{len(data) // 4}i", data[: len(data) // 4 * 4]))
    return found


def _read_memory(descriptors: list[int]) -> bytes:
    if not descriptors:
        raise ValueError("a large message without its descriptor")
    fd = descriptors.pop()
    try:
        size = os.fstat(fd).st_size
        if size > MAX_DOCUMENT_BYTES:
            close_all(descriptors)
            raise ValueError("message too large")
        return os.pread(fd, size, 0)
    finally:
        os.close(fd)


def peer_uid(connection: socket) -> int:
    """Who opened the other end, as the kernel says."""
    _pid, uid, _gid = unpack("3i", connection.getsockopt(SOL_SOCKET, SO_PEERCRED, 12))
    return int(uid)


def close_all(descriptors: list[int]) -> None:
    for fd in descriptors:
        try:
            os.close(fd)
        except OSError:
            continue
    descriptors.clear()


def has_ended(connection: socket) -> bool:
    """Whether nobody is at the other end, as far as can be told without reading."""
    try:
        return not connection.recv(1, MSG_PEEK | MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except OSError:
        return True
