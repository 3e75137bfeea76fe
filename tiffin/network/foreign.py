"""Other programs' packet filters.

"Accept" ends a packet's way through one table only; a drop in any table is final. So where another
base chain drops what is forwarded by default (dockerd's and ufw's FORWARD policy, firewalld's last
rule), our own accept is not enough: that chain must accept too.

There we put two rules at the head, `iifname BRIDGE accept` and `oifname BRIDGE accept`, with a
comment by which they are found again. They are wide because they only lift the other table's
default: what may pass is still decided by our own forward chain. They go to DOCKER-USER where there
is one, which is kept for such rules and survives dockerd's restarts, else to the chain itself.
Where that fails, and for the old iptables that nftables does not see, the log names who drops.
"""

from __future__ import annotations

import logging
import socket
from typing import NamedTuple

from tiffin.kernel.netlink import (
    NETFILTER_HEADER_BYTES,
    NETLINK_NETFILTER,
    Message,
    Socket,
    attributes,
    each_attribute,
    string,
    text,
)
from tiffin.network import nftables as nft

_log = logging.getLogger(__name__)

_INET = 1
_FAMILIES = {socket.AF_INET: "ip", _INET: "inet"}
_USER_CHAIN = "DOCKER-USER"


class Chain(NamedTuple):
    family: int
    table: str
    name: str
    hook: int | None  # None: reached by jumps only
    policy: int

    @property
    def forwards(self) -> bool:
        return self.hook == nft.FORWARD

    def __str__(self) -> str:
        return f"{_FAMILIES.get(self.family, self.family)} {self.table} {self.name}"


class Rule(NamedTuple):
    handle: bytes
    comment: str
    expressions: tuple[str, ...]


class ForeignFilters:
    """Our rules in others' forward chains. Each call looks at what is there now."""

    def __init__(self, table: str, bridge: str) -> None:
        self._table = table
        self._bridge = bridge
        self._comment = f"{table}: {bridge}"
        self._warned: set[str] = set()

    def admit(self) -> list[str]:
        """Put our rules where they are missing; the chains that hold them now."""
        with Socket(NETLINK_NETFILTER) as connection:
            chains = list_chains(connection)
            places = []
            for chain in chains:
                if chain.table == self._table or not chain.forwards:
                    continue
                if _drops_by_default(connection, chain):
                    places.append(self._admit_in(connection, _place(chain, chains), chain))
        self._warn_of_old_iptables()
        return [place for place in places if place]

    def withdraw(self) -> None:
        """Take our rules out of all chains."""
        with Socket(NETLINK_NETFILTER) as connection:
            for chain in list_chains(connection):
                if chain.table == self._table:
                    continue
                removals = [
                    nft.delete_rule(chain.table, chain.name, rule.handle, chain.family)
                    for rule in rules_of(connection, chain)
                    if rule.comment == self._comment
                ]
                if removals:
                    connection.transact(removals)

    def _admit_in(self, connection: Socket, place: Chain, dropping: Chain) -> str:
        if any(rule.comment == self._comment for rule in rules_of(connection, place)):
            return str(place)
        accept = nft.verdict(nft.ACCEPT)
        matches = (nft.output_is(self._bridge), nft.input_is(self._bridge))
        try:
            connection.transact([self._insertion(place, match, accept) for match in matches])
        except OSError as error:
            self._warn(str(dropping), f"adding our rule to it failed: {error.strerror}")
            return ""
        _log.info("admit bridge=%s chain=%r policy_of=%r", self._bridge, str(place), str(dropping))
        return str(place)

    def _insertion(self, place: Chain, match: bytes, accept: bytes) -> Message:
        return nft.insert_rule(
            *(place.table, place.name, match, accept), family=place.family, comment=self._comment
        )

    def _warn_of_old_iptables(self) -> None:
        try:
            with open("/proc/net/ip_tables_names", encoding="ascii") as file:
                loaded = file.read().split()
        except OSError:
            return
        if "filter" in loaded:
            self._warn(
                "iptables-legacy filter FORWARD", "if its policy is DROP, allow the bridge there"
            )

    def _warn(self, who: str, what: str) -> None:
        if who not in self._warned:
            self._warned.add(who)
            _log.warning(
                "forwarded packets may be dropped bridge=%s by=%r: %s", self._bridge, who, what
            )


def list_chains(connection: Socket) -> list[Chain]:
    """The chains of IPv4's families, base chains and others."""
    request = nft.message(nft.GETCHAIN, 0, what="list chains", family=socket.AF_UNSPEC)
    chains = []
    for _, body in connection.dump(request):
        chain = chain_of(body)
        if chain.family in _FAMILIES:
            chains.append(chain)
    return chains


def chain_of(body: bytes) -> Chain:
    parts = attributes(body[NETFILTER_HEADER_BYTES:])
    hook = attributes(parts[4]).get(1) if 4 in parts else None
    return Chain(
        body[0],
        string(parts.get(1, b"")),
        string(parts.get(3, b"")),
        int.from_bytes(hook, "big") if hook else None,
        int.from_bytes(parts.get(5, b"\0\0\0\1"), "big"),
    )


def rules_of(connection: Socket, chain: Chain) -> list[Rule]:
    request = nft.message(
        *(nft.GETRULE, 0),
        text(1, chain.table),
        text(2, chain.name),
        what=f"list rules of {chain}",
        family=chain.family,
    )
    try:
        return [_rule_of(body) for _, body in connection.dump(request)]
    except FileNotFoundError:  # removed meanwhile
        return []


def _rule_of(body: bytes) -> Rule:
    parts = attributes(body[NETFILTER_HEADER_BYTES:])
    names = [
        string(attributes(expression).get(1, b""))
        for _, expression in each_attribute(parts.get(4, b""))
    ]
    return Rule(parts.get(3, b""), nft.comment_of(parts.get(7, b"")), tuple(names))


def _drops_by_default(connection: Socket, chain: Chain) -> bool:
    if chain.policy == nft.DROP:
        return True
    rules = rules_of(connection, chain)
    # A last rule without a condition: firewalld's `reject with icmpx admin-prohibited`.
    return bool(rules) and set(rules[-1].expressions) <= {"reject", "counter"} != set()


def _place(dropping: Chain, chains: list[Chain]) -> Chain:
    for chain in chains:
        if (chain.family, chain.table, chain.name) == (
            *(dropping.family, dropping.table),
            _USER_CHAIN,
        ):
            return chain
    return dropping
