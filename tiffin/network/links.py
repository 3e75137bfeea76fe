"""Links, addresses and routes, by netlink: the bridge, and a container's veth pair.

Everything here blocks and is called in threads. A container's pair is made from the host's side
with the peer directly in the container's network namespace, where it is `eth0`; what must be done
inside is done through a socket that belongs to that namespace, so nobody enters the container.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from tiffin.kernel import netlink
from tiffin.kernel.netlink import (
    NLM_F_CREATE,
    NLM_F_EXCL,
    NLM_F_REPLACE,
    Message,
    Socket,
    attribute,
    attributes,
    nested,
    socket_in,
    string,
    text,
    u8,
    u32,
)

CONTAINER_LINK = "eth0"
_LOOPBACK_INDEX = 1
_NAME_PREFIX = "tfn"

# Before any link comes up inside: no IPv6 but on lo, where programs expect ::1. No address then
# arrives unasked (router advertisements of another container).
_INSIDE = "ipv6/conf"
_INSIDE_SETTINGS = (
    ("all/disable_ipv6", "1"),
    ("lo/disable_ipv6", "0"),
    ("all/accept_ra", "0"),
    ("default/accept_ra", "0"),
)
# Unless an address of its own is wanted: then IPv6 is on, with that and with no other.
_WITH_IPV6 = (
    (f"{CONTAINER_LINK}/accept_ra", "0"),
    (f"{CONTAINER_LINK}/addr_gen_mode", str(netlink.IN6_ADDR_GEN_MODE_NONE)),
    (f"{CONTAINER_LINK}/disable_ipv6", "0"),
)


class Link(NamedTuple):
    ifindex: int
    name: str
    kind: str  # "bridge", "veth", "" for hardware
    mtu: int
    master: int
    up: bool


class Route(NamedTuple):
    destination: str  # "0.0.0.0/0" is the default route
    link: int


def name_of(container_id: str) -> str:
    """The host's end of a container's pair; found again by the id alone (15 bytes at most)."""
    return _NAME_PREFIX + container_id[:12]


def is_container_link(name: str) -> bool:
    return name.startswith(_NAME_PREFIX)


# --- looking -------------------------------------------------------------------------------------


def find_link(connection: Socket, name: str) -> Link | None:
    request = Message(
        *(netlink.RTM_GETLINK, 0),
        netlink.link_header() + text(netlink.IFLA_IFNAME, name),
        f"look up link {name}",
    )
    try:
        return _link_of(connection.get(request))
    except OSError as error:
        if error.errno == errno.ENODEV:
            return None
        raise


def all_links(connection: Socket) -> list[Link]:
    request = Message(netlink.RTM_GETLINK, 0, netlink.link_header(), "list links")
    return [
        _link_of(body) for kind, body in connection.dump(request) if kind == netlink.RTM_NEWLINK
    ]


def _link_of(body: bytes) -> Link:
    _, _, index, flags, _ = struct.unpack_from("=BxHiII", body)
    found = attributes(body[netlink.LINK_HEADER_BYTES :])
    info = attributes(found.get(netlink.IFLA_LINKINFO, b""))
    return Link(
        index,
        string(found.get(netlink.IFLA_IFNAME, b"")),
        string(info.get(netlink.IFLA_INFO_KIND, b"")),
        _u32(found.get(netlink.IFLA_MTU)),
        _u32(found.get(netlink.IFLA_MASTER)),
        bool(flags & netlink.IFF_UP),
    )


def _u32(value: bytes | None) -> int:
    return int(struct.unpack("=I", value)[0]) if value else 0


def addresses(connection: Socket, index: int) -> list[str]:
    """The IPv4 addresses of a link, as address/prefix."""
    request = Message(netlink.RTM_GETADDR, 0, netlink.address_header(0, 0), "list addresses")
    found = []
    for _, body in connection.dump(request):
        _, prefix, _, _, link = struct.unpack_from("=BBBBI", body)
        local = attributes(body[netlink.ADDRESS_HEADER_BYTES :]).get(netlink.IFA_LOCAL)
        if link == index and local:
            found.append(f"{socket.inet_ntoa(local)}/{prefix}")
    return found


def routes(connection: Socket) -> list[Route]:
    """The IPv4 routes of the main table."""
    request = Message(netlink.RTM_GETROUTE, 0, netlink.route_header(), "list routes")
    found = []
    for _, body in connection.dump(request):
        if body[4] != netlink.RT_TABLE_MAIN:
            continue
        parts = attributes(body[netlink.ROUTE_HEADER_BYTES :])
        destination = socket.inet_ntoa(parts.get(netlink.RTA_DST, bytes(4)))
        found.append(Route(f"{destination}/{body[1]}", _u32(parts.get(netlink.RTA_OIF))))
    return found


# --- the bridge ----------------------------------------------------------------------------------


def add_bridge(connection: Socket, name: str, mac: bytes, mtu: int) -> None:
    # Given an address of its own, a bridge does not change it whenever a port comes or goes.
    body = (
        netlink.link_header()
        + text(netlink.IFLA_IFNAME, name)
        + attribute(netlink.IFLA_ADDRESS, mac)
        + u32(netlink.IFLA_MTU, mtu)
        + nested(netlink.IFLA_LINKINFO, text(netlink.IFLA_INFO_KIND, "bridge"))
    )
    connection.request(
        Message(netlink.RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, body, f"add bridge {name}")
    )


def set_mtu(connection: Socket, index: int, mtu: int) -> None:
    body = netlink.link_header(index) + u32(netlink.IFLA_MTU, mtu)
    connection.request(Message(netlink.RTM_NEWLINK, 0, body, f"set mtu {mtu}"))


def set_up(connection: Socket, index: int) -> None:
    connection.request(_up(index))


def _up(index: int) -> Message:
    header = netlink.link_header(index, netlink.IFF_UP, netlink.IFF_UP)
    return Message(netlink.RTM_NEWLINK, 0, header, f"set link {index} up")


def add_address(connection: Socket, index: int, address: str) -> None:
    connection.request(_address(netlink.RTM_NEWADDR, index, address))


def delete_address(connection: Socket, index: int, address: str) -> None:
    connection.request(_address(netlink.RTM_DELADDR, index, address))


def _address(kind: int, index: int, interface: str) -> Message:
    address, _, prefix = interface.partition("/")
    packed = socket.inet_aton(address)
    broadcast = int.from_bytes(packed, "big") | (0xFFFFFFFF >> int(prefix))
    body = (
        netlink.address_header(int(prefix), index)
        + attribute(netlink.IFA_LOCAL, packed)
        + attribute(netlink.IFA_ADDRESS, packed)
        + attribute(netlink.IFA_BROADCAST, broadcast.to_bytes(4, "big"))
    )
    verb, flags = ("add", NLM_F_CREATE | NLM_F_REPLACE)
    if kind == netlink.RTM_DELADDR:
        verb, flags = ("delete", 0)
    return Message(kind, flags, body, f"{verb} address {interface}")


# --- a container's pair --------------------------------------------------------------------------


def add_pair(
    connection: Socket,
    container_id: str,
    bridge: int,
    namespace: int,
    *,
    mac: bytes,
    address: str,
    mtu: int,
) -> None:
    """Make the pair: our end on the bridge and up, the other one in `namespace` as eth0, down."""
    name = name_of(container_id)
    peer = (
        netlink.link_header()
        + text(netlink.IFLA_IFNAME, CONTAINER_LINK)
        + attribute(netlink.IFLA_ADDRESS, mac)
        + u32(netlink.IFLA_MTU, mtu)
        + u32(netlink.IFLA_NET_NS_FD, namespace)
    )
    pair = nested(
        netlink.IFLA_LINKINFO,
        text(netlink.IFLA_INFO_KIND, "veth"),
        nested(netlink.IFLA_INFO_DATA, attribute(netlink.VETH_INFO_PEER, peer)),
    )
    create = Message(
        *(netlink.RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL),
        netlink.link_header()
        + text(netlink.IFLA_IFNAME, name)
        + u32(netlink.IFLA_MTU, mtu)
        + u32(netlink.IFLA_MASTER, bridge)
        + pair,
        f"add veth {name}",
    )
    connection.request(
        create,
        _port(name, u8(netlink.IFLA_BRPORT_MODE, 1), _no_ipv6_address(), up=True),
        _neighbour(bridge, address, mac),
    )


def _port(name: str, setting: bytes, *more: bytes, up: bool = False) -> Message:
    """Change how the bridge treats a port.

    Hairpin mode (MODE) sends a frame back out of the port it came in by. With
    bridge-nf-call-iptables (1 in every new network namespace) a container's packet to its own
    published port is redirected while it is bridged, and would be dropped without it.
    """
    slave = nested(
        netlink.IFLA_LINKINFO,
        text(netlink.IFLA_INFO_SLAVE_KIND, "bridge"),
        nested(netlink.IFLA_INFO_SLAVE_DATA, setting),
    )
    flags = netlink.IFF_UP if up else 0
    body = netlink.link_header(0, flags, flags) + text(netlink.IFLA_IFNAME, name)
    return Message(netlink.RTM_NEWLINK, 0, body + slave + b"".join(more), f"set port {name}")


def _no_ipv6_address() -> bytes:
    """Our end is a plug in a bridge: a link-local address on it would only be another way in."""
    mode = u8(netlink.IFLA_INET6_ADDR_GEN_MODE, netlink.IN6_ADDR_GEN_MODE_NONE)
    return nested(netlink.IFLA_AF_SPEC, nested(socket.AF_INET6, mode))


def _neighbour(bridge: int, address: str, mac: bytes) -> Message:
    """Tell the host who has the address now, whatever it remembers of the one before."""
    body = (
        netlink.neighbour_header(bridge, netlink.NUD_STALE)
        + attribute(netlink.NDA_DST, socket.inet_aton(address))
        + attribute(netlink.NDA_LLADDR, mac)
    )
    flags = NLM_F_CREATE | NLM_F_REPLACE
    return Message(netlink.RTM_NEWNEIGH, flags, body, f"set neighbour {address}")


def open_inside(namespace: int) -> Socket:
    """A socket of the container's namespace, IPv6 switched off on the way."""
    return socket_in(namespace, below=_INSIDE, settings=_INSIDE_SETTINGS)


def enable_ipv6(namespace: int) -> None:
    """On the container's link, for the addresses that it is given: none comes by itself."""
    socket_in(namespace, below=_INSIDE, settings=_WITH_IPV6).close()


def configure_inside(
    inside: Socket, interface: str, gateway: str, link_local: Sequence[str] = ()
) -> None:
    """Bring lo and eth0 up, with its addresses and the default route."""
    link = find_link(inside, CONTAINER_LINK)
    if link is None:
        raise OSError(errno.ENODEV, f"no link {CONTAINER_LINK} in the container")
    route = netlink.route_header() + attribute(netlink.RTA_GATEWAY, socket.inet_aton(gateway))
    inside.request(
        _up(_LOOPBACK_INDEX),
        _address(netlink.RTM_NEWADDR, link.ifindex, interface),
        *(_link_local(link.ifindex, other) for other in link_local),
        _up(link.ifindex),
        Message(
            *(netlink.RTM_NEWROUTE, NLM_F_CREATE),
            route + u32(netlink.RTA_OIF, link.ifindex),
            f"add default route via {gateway}",
        ),
    )


def _link_local(index: int, address: str) -> Message:
    """With Docker's prefixes. Of IPv6 it is used at once: whoever asks for it knows it is free."""
    if ":" not in address:
        return _address(netlink.RTM_NEWADDR, index, f"{address}/16")
    packed = socket.inet_pton(socket.AF_INET6, address)
    header = netlink.address_header(
        *(64, index, socket.AF_INET6, netlink.RT_SCOPE_LINK, netlink.IFA_F_NODAD)
    )
    body = header + attribute(netlink.IFA_LOCAL, packed) + attribute(netlink.IFA_ADDRESS, packed)
    flags = NLM_F_CREATE | NLM_F_REPLACE
    return Message(netlink.RTM_NEWADDR, flags, body, f"add address {address}/64")


def set_loopback_up(inside: Socket) -> None:
    inside.request(_up(_LOOPBACK_INDEX))


def unplug(connection: Socket, name: str) -> None:
    """Let the bridge send nothing to that port any more, and forget who was behind it.

    Takes microseconds where deleting takes tens of milliseconds: until that is done, a container
    that gets the same address shall not lose its frames to the old one. Idempotent.
    """
    # Not by its state: the bridge enables a port again at any news of its link.
    setting = b"".join(u8(way, 0) for way in _WAYS_TO_A_PORT)
    flush = attribute(netlink.IFLA_BRPORT_FLUSH, b"")
    with _missing_is_fine():
        connection.request(_port(name, setting + flush))


_WAYS_TO_A_PORT = (
    netlink.IFLA_BRPORT_LEARNING,
    netlink.IFLA_BRPORT_UNICAST_FLOOD,
    netlink.IFLA_BRPORT_MCAST_FLOOD,
    netlink.IFLA_BRPORT_BCAST_FLOOD,
)


def delete_links(connection: Socket, names: Sequence[str]) -> None:
    """Idempotent."""
    for name in names:
        body = netlink.link_header() + text(netlink.IFLA_IFNAME, name)
        with _missing_is_fine():
            connection.request(Message(netlink.RTM_DELLINK, 0, body, f"delete link {name}"))


@contextmanager
def _missing_is_fine() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno != errno.ENODEV:
            raise


def open_namespace(pid: int) -> int:
    try:
        return os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, ProcessLookupError) as error:
        raise ProcessLookupError(errno.ESRCH, "its first process has ended") from error
