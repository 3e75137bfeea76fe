"""Flows that the kernel remembers past the rules that made them.

The kernel decides once per flow whether it is redirected. A UDP client that keeps sending from one
port keeps one flow alive: begun before the port was published it never reaches the container, and
begun before the container ended it goes on to an address that is nobody's, or somebody else's. So
such flows are forgotten when UDP ports come and go. TCP begins a flow with each connection.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Callable, Iterable
from typing import NamedTuple

from tiffin.core.container import PublishedPort
from tiffin.kernel.netlink import (
    NESTED,
    NETFILTER_HEADER_BYTES,
    NETLINK_NETFILTER,
    NFNL_SUBSYS_CTNETLINK,
    Message,
    Socket,
    attribute,
    attributes,
    netfilter_header,
)

_GET, _DELETE = 1, 2
_TUPLE_ORIGINAL, _TUPLE_REPLY, _ID = 1, 2, 12
_TUPLE_IP, _TUPLE_PROTOCOL = 1, 2
_IP_SOURCE, _IP_DESTINATION = 1, 2
_PROTOCOL_NUMBER, _PROTOCOL_DESTINATION_PORT = 1, 3


class Flow(NamedTuple):
    """`destination` is where the client sent to; `answered_by` who the kernel gave it to."""

    protocol: int
    destination: str
    port: int
    answered_by: str
    key: bytes  # attributes that name it in a deletion


def forget_unredirected(ports: Iterable[PublishedPort]) -> None:
    """Flows to these host ports that no rule has redirected."""
    numbers = {port.host_port for port in ports if port.protocol == "udp"}
    if numbers:
        _forget(lambda flow: flow.port in numbers and flow.destination == flow.answered_by)


def forget_redirected(address: str) -> None:
    """Flows that were redirected to this container address."""
    _forget(lambda flow: flow.answered_by == address and flow.destination != address)


def _forget(unwanted: Callable[[Flow], bool]) -> None:
    with Socket(NETLINK_NETFILTER) as connection:
        request = _message(_GET, b"", "list tracked connections")
        for _, body in connection.dump(request):
            flow = flow_of(body)
            if flow.protocol == socket.IPPROTO_UDP and unwanted(flow):
                _delete(connection, flow)


def _delete(connection: Socket, flow: Flow) -> None:
    try:
        connection.request(_message(_DELETE, flow.key, "forget a tracked connection"))
    except OSError as error:
        if error.errno != errno.ENOENT:  # it may end by itself meanwhile
            raise


def _message(kind: int, body: bytes, what: str) -> Message:
    header = netfilter_header(socket.AF_INET)
    return Message(NFNL_SUBSYS_CTNETLINK << 8 | kind, 0, header + body, what)


def flow_of(body: bytes) -> Flow:
    parts = attributes(body[NETFILTER_HEADER_BYTES:])
    original = attributes(parts.get(_TUPLE_ORIGINAL, b""))
    reply = attributes(parts.get(_TUPLE_REPLY, b""))
    protocol = attributes(original.get(_TUPLE_PROTOCOL, b""))
    (port,) = struct.unpack(">H", protocol.get(_PROTOCOL_DESTINATION_PORT, bytes(2)))
    key = attribute(_TUPLE_ORIGINAL | NESTED, parts.get(_TUPLE_ORIGINAL, b""))
    if _ID in parts:
        key += attribute(_ID, parts[_ID])
    return Flow(
        protocol.get(_PROTOCOL_NUMBER, b"\0")[0],
        _address(original, _IP_DESTINATION),
        port,
        _address(reply, _IP_SOURCE),
        key,
    )


def _address(parts: dict[int, bytes], which: int) -> str:
    return socket.inet_ntoa(attributes(parts.get(_TUPLE_IP, b"")).get(which, bytes(4)))
