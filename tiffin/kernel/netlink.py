"""Netlink: how the kernel is asked about links, addresses, routes and packet filter rules.

A message is a header (length, type, flags, sequence number), a fixed part that depends on its type,
and attributes (length, type, value; nested where the type has NESTED set). The functions here make
such bytes and take them apart; `Socket` sends messages, several in one system call, and waits for
each one's answer. A failure is an OSError whose `strerror` names the request.

NETLINK_ROUTE answers every message by itself: one that fails does not stop those after it.
NETLINK_NETFILTER takes a *batch*: all of it happens or nothing. Blocks at most for a deadline.
Numbers are those of <linux/netlink.h>, rtnetlink.h, if_link.h and nf_tables.h.
"""

from __future__ import annotations

import _thread
import ctypes
import errno
import os
import socket
import struct
from collections.abc import Iterator, Sequence

NETLINK_ROUTE = 0
NETLINK_NETFILTER = 12

NLM_F_REQUEST = 0x1
NLM_F_ACK = 0x4
NLM_F_ROOT = 0x100
NLM_F_MATCH = 0x200
NLM_F_DUMP = NLM_F_ROOT | NLM_F_MATCH
NLM_F_REPLACE = 0x100
NLM_F_EXCL = 0x200
NLM_F_CREATE = 0x400
NLM_F_APPEND = 0x800

NLMSG_NOOP = 1
NLMSG_ERROR = 2
NLMSG_DONE = 3
NLMSG_OVERRUN = 4
_NLM_F_DUMP_INTR = 0x10

NESTED = 0x8000
_TYPE_MASK = 0x3FFF

# rtnetlink
RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK = 16, 17, 18
RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26
RTM_NEWNEIGH, RTM_DELNEIGH, RTM_GETNEIGH = 28, 29, 30

IFLA_ADDRESS, IFLA_IFNAME, IFLA_MTU, IFLA_LINK = 1, 3, 4, 5
IFLA_MASTER, IFLA_LINKINFO, IFLA_AF_SPEC, IFLA_NET_NS_FD = 10, 18, 26, 28
IFLA_INFO_KIND, IFLA_INFO_DATA, IFLA_INFO_SLAVE_KIND, IFLA_INFO_SLAVE_DATA = 1, 2, 4, 5
IFLA_INET6_ADDR_GEN_MODE = 8
IN6_ADDR_GEN_MODE_NONE = 1
VETH_INFO_PEER = 1
IFLA_BRPORT_MODE, IFLA_BRPORT_LEARNING, IFLA_BRPORT_UNICAST_FLOOD = 4, 8, 9
IFLA_BRPORT_FLUSH, IFLA_BRPORT_MCAST_FLOOD, IFLA_BRPORT_BCAST_FLOOD = 24, 27, 30
IFF_UP = 1

IFA_ADDRESS, IFA_LOCAL, IFA_BROADCAST = 1, 2, 4
IFA_F_NODAD = 2
RT_SCOPE_UNIVERSE, RT_SCOPE_LINK = 0, 253
RTA_DST, RTA_OIF, RTA_GATEWAY, RTA_PRIORITY = 1, 4, 5, 6
RT_TABLE_MAIN = 254
RTPROT_BOOT = 3
RTN_UNICAST = 1
NDA_DST, NDA_LLADDR = 1, 2
NUD_STALE = 4

# nfnetlink
NFNL_SUBSYS_CTNETLINK = 1
NFNL_SUBSYS_NFTABLES = 10
_NFNL_MSG_BATCH_BEGIN, _NFNL_MSG_BATCH_END = 16, 17
NFNLGRP_NFTABLES = 7

CLONE_NEWNET = 0x40000000
_SOL_NETLINK = 270
_NETLINK_ADD_MEMBERSHIP = 1
_NETLINK_EXT_ACK = 11
_NLM_F_CAPPED, _NLM_F_ACK_TLVS = 0x100, 0x200
_NLMSGERR_ATTR_MSG = 1

_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_BUFFER_BYTES = 1 << 16
_DEADLINE_SECONDS = 10

_libc = ctypes.CDLL(None, use_errno=True)


# --- bytes -----------------------------------------------------------------


def attribute(kind: int, value: bytes) -> bytes:
    length = 4 + len(value)
    return _ATTRIBUTE.pack(length, kind) + value + b"\0" * (-length % 4)


def nested(kind: int, *attributes: bytes) -> bytes:
    return attribute(kind | NESTED, b"".join(attributes))


def text(kind: int, value: str) -> bytes:
    return attribute(kind, value.encode() + b"\0")


def u8(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack("=B", value))


def u32(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack("=I", value))


def be32(kind: int, value: int) -> bytes:
    """nfnetlink's numbers are big-endian."""
    return attribute(kind, struct.pack(">i" if value < 0 else ">I", value))


def attributes(data: bytes | memoryview) -> dict[int, bytes]:
    """The attributes in `data` by type, without flag bits; of several of one type the last."""
    return dict(each_attribute(data))


def each_attribute(data: bytes | memoryview) -> Iterator[tuple[int, bytes]]:
    view = memoryview(data)
    while len(view) >= 4:
        length, kind = _ATTRIBUTE.unpack_from(view)
        if length < 4 or length > len(view):
            return
        yield kind & _TYPE_MASK, bytes(view[4:length])
        view = view[(length + 3) & ~3 :]


def string(value: bytes) -> str:
    return value.split(b"\0", 1)[0].decode("utf-8", "replace")


# A class and no NamedTuple: forked processes import this module, `collections` they do not need.
class Message:
    """One request, or one part of an answer. `body` starts with the type's fixed part."""

    __slots__ = ("body", "flags", "kind", "what")

    def __init__(self, kind: int, flags: int, body: bytes, what: str = "") -> None:
        self.kind = kind
        self.flags = flags
        self.body = body
        self.what = what or f"netlink request {kind}"


def link_header(index: int = 0, flags: int = 0, change: int = 0, family: int = 0) -> bytes:
    """struct ifinfomsg."""
    return struct.pack("=BxHiII", family, 0, index, flags, change)


def address_header(
    prefix_length: int,
    index: int,
    family: int = socket.AF_INET,
    scope: int = RT_SCOPE_UNIVERSE,
    flags: int = 0,
) -> bytes:
    """struct ifaddrmsg."""
    return struct.pack("=BBBBI", family, prefix_length, flags, scope, index)


def route_header(prefix_length: int = 0, protocol: int = RTPROT_BOOT) -> bytes:
    """struct rtmsg for IPv4, main table, scope universe."""
    return struct.pack(
        "=BBBBBBBBI",
        *(socket.AF_INET, prefix_length, 0, 0, RT_TABLE_MAIN, protocol, 0, RTN_UNICAST, 0),
    )


def neighbour_header(index: int, state: int) -> bytes:
    """struct ndmsg for IPv4."""
    return struct.pack("=BxxxiHBB", socket.AF_INET, index, state, 0, RTN_UNICAST)


def netfilter_header(family: int = 0, resource: int = 0) -> bytes:
    """struct nfgenmsg."""
    return struct.pack(">BBH", family, 0, resource)


LINK_HEADER_BYTES = 16
ADDRESS_HEADER_BYTES = 8
ROUTE_HEADER_BYTES = 12
NETFILTER_HEADER_BYTES = 4


def batch(messages: Sequence[Message]) -> list[Message]:
    """Wrap nftables messages so that they happen together or not at all."""
    frame = netfilter_header(0, NFNL_SUBSYS_NFTABLES)
    begin = Message(_NFNL_MSG_BATCH_BEGIN, 0, frame, "begin of batch")
    end = Message(_NFNL_MSG_BATCH_END, 0, frame, "end of batch")
    return [begin, *messages, end]


# --- sockets ---------------------------------------------------------------


class Socket:
    """A netlink socket of the network namespace that its maker was in. One user at a time."""

    def __init__(self, protocol: int, *, groups: Sequence[int] = ()) -> None:
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol
        )
        try:
            self._socket.setsockopt(_SOL_NETLINK, _NETLINK_EXT_ACK, 1)
            self._socket.settimeout(_DEADLINE_SECONDS)
            self._socket.bind((0, 0))
            for group in groups:
                self._socket.setsockopt(_SOL_NETLINK, _NETLINK_ADD_MEMBERSHIP, group)
        except BaseException:
            self._socket.close()
            raise
        self._sequence = 0

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Socket:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def fileno(self) -> int:
        return self._socket.fileno()

    def request(self, *messages: Message) -> None:
        """Send all in one go, await each one's acknowledgement; raise the first failure."""
        first = self._send(messages, NLM_F_ACK)
        failure: OSError | None = None
        waiting = len(messages)
        while waiting:
            for kind, flags, sequence, body in self._receive():
                if kind == NLMSG_ERROR and first <= sequence < first + len(messages):
                    waiting -= 1
                    failure = failure or _error_of(body, flags, messages[sequence - first])
        if failure is not None:
            raise failure

    def transact(self, messages: Sequence[Message]) -> None:
        """An nftables batch: all or nothing. Raises what its first failing message met."""
        wrapped = batch(messages)
        # Only the last message asks to be acknowledged; failures of the others come before it.
        wrapped[-2].flags |= NLM_F_ACK
        first = self._send(wrapped, 0)
        failure: OSError | None = None
        while True:
            for kind, flags, sequence, body in self._receive():
                position = sequence - first
                if kind != NLMSG_ERROR or not 0 <= position < len(wrapped):
                    continue
                failure = failure or _error_of(body, flags, wrapped[position])
                # A batch that the kernel refuses as a whole is answered at its begin or end.
                if position >= len(wrapped) - 2 or (position == 0 and failure):
                    if failure is not None:
                        raise failure
                    return

    def dump(self, message: Message) -> list[tuple[int, bytes]]:
        """All answers to a dump request as (type, body); asked again if it was disturbed."""
        for _ in range(5):
            answers, interrupted = self._dump_once(message)
            if not interrupted:
                break
        return answers

    def get(self, message: Message) -> bytes:
        """The body of the single answer to a GET request."""
        first = self._send([message], 0)
        while True:
            for kind, flags, sequence, body in self._receive():
                if sequence != first:
                    continue
                if kind == NLMSG_ERROR:
                    raise _error_of(body, flags, message) or OSError(errno.EPROTO, message.what)
                return body

    def events(self) -> list[tuple[int, bytes]]:
        """What was announced to our groups, without waiting. OSError(ENOBUFS) if some were lost."""
        self._socket.setblocking(False)
        found: list[tuple[int, bytes]] = []
        while True:
            try:
                found += [(kind, body) for kind, _, _, body in self._receive()]
            except BlockingIOError:
                return found

    def _dump_once(self, message: Message) -> tuple[list[tuple[int, bytes]], bool]:
        first = self._send([message], NLM_F_DUMP)
        answers: list[tuple[int, bytes]] = []
        interrupted = False
        while True:
            for kind, flags, sequence, body in self._receive():
                if sequence != first:
                    continue
                interrupted = interrupted or bool(flags & _NLM_F_DUMP_INTR)
                if kind in (NLMSG_ERROR, NLMSG_DONE):
                    failure = _error_of(body, flags, message) if body else None
                    if failure is not None:
                        raise failure
                    return answers, interrupted
                answers.append((kind, body))

    def _send(self, messages: Sequence[Message], flags: int) -> int:
        first = self._sequence + 1
        self._sequence += len(messages)
        packed = []
        for sequence, message in enumerate(messages, first):
            header = _HEADER.pack(
                16 + len(message.body),
                message.kind,
                message.flags | flags | NLM_F_REQUEST,
                sequence,
                0,
            )
            packed.append(header + message.body + b"\0" * (-len(message.body) % 4))
        self._socket.sendto(b"".join(packed), (0, 0))
        return first

    def _receive(self) -> Iterator[tuple[int, int, int, bytes]]:
        data = memoryview(self._socket.recv(_BUFFER_BYTES))
        while len(data) >= 16:
            length, kind, flags, sequence, _ = _HEADER.unpack_from(data)
            if length < 16 or length > len(data):
                return
            yield kind, flags, sequence, bytes(data[16:length])
            data = data[(length + 3) & ~3 :]


def _error_of(body: bytes, flags: int, message: Message) -> OSError | None:
    (code,) = struct.unpack_from("=i", body)
    if code == 0:
        return None
    words = os.strerror(-code)
    detail = _detail(body, flags)
    return OSError(-code, f"{message.what}: {words}" + (f" ({detail})" if detail else ""))


def _detail(body: bytes, flags: int) -> str:
    """The kernel's own explanation (extended acknowledgement), if it gave one."""
    if len(body) < 20 or not flags & _NLM_F_ACK_TLVS:
        return ""
    (length,) = struct.unpack_from("=I", body, 4)
    start = 20 if flags & _NLM_F_CAPPED else 4 + ((length + 3) & ~3)
    return string(attributes(body[start:]).get(_NLMSGERR_ATTR_MSG, b""))


# --- other network namespaces ------------------------------------------------


def setns(namespace: int, kind: int = CLONE_NEWNET) -> None:
    """Move the calling thread (os.setns is newer than the Python we support)."""
    if _libc.setns(namespace, kind) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"setns: {os.strerror(code)}")


def socket_in(
    namespace: int,
    protocol: int = NETLINK_ROUTE,
    below: str = "",
    settings: Sequence[tuple[str, str]] = (),
) -> Socket:
    """A socket of the network namespace behind a descriptor; `settings` are written on the way.

    A socket belongs for life to the namespace it was made in, and files below /proc/sys/net show
    the namespace of the thread that opens them: so a thread enters, does both, and ends. The caller
    never moves. `settings` are (path, value) below the directory /proc/sys/net/`below`; what does
    not exist is left out.
    """
    made: list[Socket] = []
    failed: list[BaseException] = []
    done = _thread.allocate_lock()
    done.acquire()

    def enter() -> None:
        try:
            setns(namespace)
            if settings:
                _write_settings(below, settings)
            made.append(Socket(protocol))
        except BaseException as error:  # noqa: BLE001 - carried over to the caller
            failed.append(error)
        finally:
            done.release()

    _thread.start_new_thread(enter, ())
    done.acquire()
    if failed:
        raise failed[0]
    return made[0]


def _write_settings(below: str, settings: Sequence[tuple[str, str]]) -> None:
    # The directory is looked up once: every network namespace has a /proc/sys/net/ipv6 of its own,
    # and the kernel keeps them all in one chain, which is as long as there are containers.
    try:
        directory = os.open(f"/proc/sys/net/{below}", os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:  # a kernel without IPv6
        return
    try:
        for path, value in settings:
            _write_setting(directory, path, value)
    finally:
        os.close(directory)


def _write_setting(directory: int, path: str, value: str) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC, dir_fd=directory)
    except FileNotFoundError:
        return
    try:
        os.write(descriptor, value.encode())
    finally:
        os.close(descriptor)
