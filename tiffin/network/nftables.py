"""nftables in the kernel's own words: tables, chains, maps, rules and what rules are made of.

A rule is a list of expressions. Each loads something into a register, compares a register with a
value (the rule ends where that fails), or acts. A function here returns the bytes of one
expression, or of one message for `netlink.Socket.transact`. The comparisons and the byte layout are
those that `nft --debug=netlink` shows for the same rule, so `nft list ruleset` reads them back.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator

from tiffin.kernel.netlink import (
    NETFILTER_HEADER_BYTES,
    NFNL_SUBSYS_NFTABLES,
    NLM_F_APPEND,
    NLM_F_CREATE,
    NLM_F_EXCL,
    Message,
    attribute,
    attributes,
    be32,
    each_attribute,
    nested,
    netfilter_header,
    text,
)

NEWTABLE, GETTABLE, DELTABLE = 0, 1, 2
NEWCHAIN, GETCHAIN, DELCHAIN = 3, 4, 5
NEWRULE, GETRULE, DELRULE = 6, 7, 8
NEWSET, GETSET, DELSET = 9, 10, 11
NEWSETELEM, GETSETELEM, DELSETELEM = 12, 13, 14

PREROUTING, INPUT, FORWARD, OUTPUT, POSTROUTING = range(5)
DROP, ACCEPT = 0, 1

CT_STATE, CT_STATUS = 0, 2
STATE_ESTABLISHED, STATE_RELATED = 2, 4
STATUS_DNAT = 0x20

# Registers: REG_1 is 16 bytes at the place of the 4-byte registers 8 to 11.
_REG_VERDICT, _REG_1, _REG32_01, _REG32_02 = 0, 1, 9, 10
_META_IIFNAME, _META_OIFNAME, _META_L4PROTO = 6, 7, 16
_NETWORK_HEADER, _TRANSPORT_HEADER = 1, 2
_SADDR, _DADDR = 12, 16  # offsets in the IPv4 header
_FIB_ADDRTYPE, _FIB_DADDR = 3, 2
_RTN_LOCAL = 2
_SET_MAP = 0x8
_IFNAMSIZ = 16

# Numbers by which nft names the types of what a set holds.
_TYPE_ADDRESS, _TYPE_PROTOCOL, _TYPE_PORT = 7, 12, 13


def concatenated(*types: int) -> int:
    number = 0
    for kind in types:
        number = number << 6 | kind
    return number


PORT_KEY = concatenated(_TYPE_PROTOCOL, _TYPE_PORT)
BOUND_KEY = concatenated(_TYPE_ADDRESS, _TYPE_PROTOCOL, _TYPE_PORT)
TARGET = concatenated(_TYPE_ADDRESS, _TYPE_PORT)


# --- expressions ---------------------------------------------------------------


def _expression(name: str, *data: bytes) -> bytes:
    return nested(1, text(1, name), nested(2, *data))


def _compare(value: bytes, *, equal: bool = True, register: int = _REG_1) -> bytes:
    return _expression(
        "cmp", be32(1, register), be32(2, 0 if equal else 1), nested(3, attribute(1, value))
    )


def _meta(key: int, register: int = _REG_1) -> bytes:
    return _expression("meta", be32(2, key), be32(1, register))


def _payload(base: int, offset: int, length: int, register: int = _REG_1) -> bytes:
    return _expression(
        "payload", be32(1, register), be32(2, base), be32(3, offset), be32(4, length)
    )


def input_is(interface: str, *, equal: bool = True) -> bytes:
    return _meta(_META_IIFNAME) + _compare(_name(interface), equal=equal)


def output_is(interface: str, *, equal: bool = True) -> bytes:
    return _meta(_META_OIFNAME) + _compare(_name(interface), equal=equal)


def _name(interface: str) -> bytes:
    return interface.encode().ljust(_IFNAMSIZ, b"\0")


def source_in(network: str) -> bytes:
    return _address_in(_SADDR, network)


def destination_in(network: str) -> bytes:
    return _address_in(_DADDR, network)


def _address_in(offset: int, network: str) -> bytes:
    address, _, prefix = network.partition("/")
    bits = int(prefix or 32)
    value = socket.inet_aton(address)
    if bits % 8 == 0 and bits:
        length = bits // 8
        return _payload(_NETWORK_HEADER, offset, length) + _compare(value[:length])
    mask = (0xFFFFFFFF << (32 - bits) & 0xFFFFFFFF).to_bytes(4, "big")
    return _payload(_NETWORK_HEADER, offset, 4) + _masked(mask) + _compare(value)


def _masked(mask: bytes) -> bytes:
    return _expression(
        "bitwise",
        be32(1, _REG_1),
        be32(2, _REG_1),
        be32(3, len(mask)),
        nested(4, attribute(1, mask)),
        nested(5, attribute(1, bytes(len(mask)))),
    )


def tracked(key: int, bits: int) -> bytes:
    """Any of `bits` is set in the connection's state or status."""
    return (
        _expression("ct", be32(2, key), be32(1, _REG_1))
        + _masked(bits.to_bytes(4, sys.byteorder))
        + _compare(bytes(4), equal=False)
    )


def destination_is_local() -> bytes:
    """The packet goes to an address of this machine."""
    return _expression(
        "fib", be32(3, _FIB_DADDR), be32(2, _FIB_ADDRTYPE), be32(1, _REG_1)
    ) + _compare(_RTN_LOCAL.to_bytes(4, sys.byteorder))


def redirect_by_port(ports: str) -> bytes:
    """dnat to meta l4proto . th dport map @ports; no element: the rule ends."""
    return (
        _meta(_META_L4PROTO)
        + _payload(_TRANSPORT_HEADER, 2, 2, _REG32_01)
        + _look_up(ports)
        + _dnat()
    )


def redirect_by_address_and_port(ports: str) -> bytes:
    """dnat to ip daddr . meta l4proto . th dport map @ports."""
    return (
        _payload(_NETWORK_HEADER, _DADDR, 4)
        + _meta(_META_L4PROTO, _REG32_01)
        + _payload(_TRANSPORT_HEADER, 2, 2, _REG32_02)
        + _look_up(ports)
        + _dnat()
    )


def _look_up(name: str) -> bytes:
    return _expression("lookup", be32(2, _REG_1), be32(3, _REG_1), text(1, name))


def _dnat() -> bytes:
    return _expression(
        "nat", be32(1, 1), be32(2, socket.AF_INET), be32(3, _REG_1), be32(5, _REG32_01)
    )


def masquerade() -> bytes:
    return _expression("masq")


def verdict(code: int) -> bytes:
    return _expression("immediate", be32(1, _REG_VERDICT), nested(2, nested(2, be32(1, code))))


# --- messages ------------------------------------------------------------------


def message(
    kind: int, flags: int, *data: bytes, what: str = "", family: int = socket.AF_INET
) -> Message:
    body = netfilter_header(family) + b"".join(data)
    return Message(NFNL_SUBSYS_NFTABLES << 8 | kind, flags, body, what)


def add_table(table: str) -> Message:
    return message(NEWTABLE, NLM_F_CREATE, text(1, table), be32(2, 0), what=f"add table {table}")


def delete_table(table: str) -> Message:
    return message(DELTABLE, 0, text(1, table), what=f"delete table {table}")


def get_table(table: str) -> Message:
    return message(GETTABLE, 0, text(1, table), what=f"look up table {table}")


def add_chain(table: str, chain: str, kind: str, hook: int, priority: int) -> Message:
    return message(
        *(NEWCHAIN, NLM_F_CREATE),
        text(1, table),
        text(3, chain),
        text(7, kind),
        be32(5, ACCEPT),
        nested(4, be32(1, hook), be32(2, priority)),
        what=f"add chain {table} {chain}",
    )


def add_map(
    table: str, name: str, key: tuple[int, int], data: tuple[int, int], id_: int
) -> Message:
    """`key` and `data` are (type, length in bytes). `id_` must differ within one batch."""
    return message(
        *(NEWSET, NLM_F_CREATE),
        text(1, table),
        text(2, name),
        be32(3, _SET_MAP),
        be32(4, key[0]),
        be32(5, key[1]),
        be32(6, data[0]),
        be32(7, data[1]),
        be32(10, id_),
        what=f"add map {table} {name}",
    )


def flush_rules(table: str) -> Message:
    return message(DELRULE, 0, text(1, table), what=f"flush table {table}")


def append_rule(table: str, chain: str, *expressions: bytes) -> Message:
    return message(
        *(NEWRULE, NLM_F_CREATE | NLM_F_APPEND),
        text(1, table),
        text(2, chain),
        nested(4, *expressions),
        what=f"add rule {table} {chain}",
    )


def insert_rule(table: str, chain: str, *expressions: bytes, family: int, comment: str) -> Message:
    """At the head of a chain."""
    return message(
        *(NEWRULE, NLM_F_CREATE),
        text(1, table),
        text(2, chain),
        nested(4, *expressions),
        attribute(7, user_comment(comment)),
        what=f"insert rule {table} {chain}",
        family=family,
    )


def delete_rule(table: str, chain: str, handle: bytes, family: int) -> Message:
    return message(
        *(DELRULE, 0),
        text(1, table),
        text(2, chain),
        attribute(3, handle),
        what=f"delete rule {table} {chain}",
        family=family,
    )


def add_element(table: str, name: str, key: bytes, data: bytes, comment: str) -> Message:
    element = nested(
        1,
        nested(1, attribute(1, key)),
        nested(2, attribute(1, data)),
        attribute(6, user_comment(comment)),
    )
    return _element(NEWSETELEM, NLM_F_CREATE | NLM_F_EXCL, table, name, element)


def delete_element(table: str, name: str, key: bytes) -> Message:
    return _element(DELSETELEM, 0, table, name, nested(1, nested(1, attribute(1, key))))


def _element(kind: int, flags: int, table: str, name: str, element: bytes) -> Message:
    what = f"{'add' if kind == NEWSETELEM else 'delete'} element {table} {name}"
    return message(kind, flags, text(1, table), text(2, name), nested(3, element), what=what)


def get_elements(table: str, name: str) -> Message:
    return message(GETSETELEM, 0, text(1, table), text(2, name), what=f"list map {table} {name}")


def elements_of(body: bytes) -> Iterator[tuple[bytes, bytes, str]]:
    """(key, data, comment) of the elements in one answer to `get_elements`."""
    listed = attributes(body[NETFILTER_HEADER_BYTES:]).get(3, b"")
    for _, item in each_attribute(listed):
        parts = attributes(item)
        key = attributes(parts.get(1, b"")).get(1, b"")
        data = attributes(parts.get(2, b"")).get(1, b"")
        yield key, data, comment_of(parts.get(6, b""))


def user_comment(comment: str) -> bytes:
    """User data as nft writes it: type 0 (comment), length, text and NUL."""
    encoded = comment.encode()[:250] + b"\0"
    return bytes((0, len(encoded))) + encoded


def comment_of(user_data: bytes) -> str:
    if len(user_data) < 3 or user_data[0] != 0:
        return ""
    return user_data[2 : 2 + user_data[1]].rstrip(b"\0").decode("utf-8", "replace")
