"""The packet filter table of one bridge: what may reach its containers, and as whom they appear.

One nftables table (family ip) per bridge. Its rules are written once and never change; publishing a
port adds one element to one of two maps, which the rules look into:

    ports   protocol . host port               -> container address . container port
    bound   host address . protocol . port     -> the same, for ports published on one address only

An element's comment is the container's id, so the table itself tells after a crash who holds what.
The chains, in the order in which a packet meets them:

raw          Before connections are tracked. From the bridge nothing goes to, or claims to be from,
             127.0.0.0/8: the bridge has route_localnet=1 (so that a published port answers on
             127.0.0.1), and a container could reach what listens on the host's loopback. From any
             other link nothing goes to a container's address directly, only by published ports:
             else a neighbour in the LAN reaches what was published on 127.0.0.1, or not at all.
prerouting   Redirects what comes in for a local address, containers' own packets included; never
             what claims to go to 127.0.0.0/8: that may only come from this machine (output).
output       Redirects what programs of this machine send to a local address.
postrouting  Containers appear as this machine. So does 127.0.0.1 towards a container, which could
             not answer it, and a container that reaches one on the same bridge by a published port
             (hairpin): the answer has to come back this way.
forward      Into the bridge only answers and what was redirected.

Accept is final within this table only; other tables' drops are foreign.py's subject.
"""

from __future__ import annotations

import errno
import socket
import struct
import threading
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from tiffin.core.container import PublishedPort
from tiffin.core.network import ANY_ADDRESS
from tiffin.kernel.netlink import NETLINK_NETFILTER, Message, Socket
from tiffin.network import nftables as nft

_PORTS, _BOUND = "ports", "bound"
_KEY_BYTES = {_PORTS: 8, _BOUND: 12}
_TARGET_BYTES = 8
_LOOPBACK = "127.0.0.0/8"
_RAW, _DSTNAT, _FILTER, _SRCNAT = -300, -100, 0, 100
_PROTOCOLS = {"tcp": socket.IPPROTO_TCP, "udp": socket.IPPROTO_UDP}
_PROTOCOL_NAMES = {number: name for name, number in _PROTOCOLS.items()}


class Element(NamedTuple):
    """One published port in one of the maps."""

    map: str
    key: bytes
    target: bytes

    @classmethod
    def of(cls, address: str, port: PublishedPort) -> Element:
        # Each part of a concatenation is padded to 4 bytes.
        key = struct.pack(">B3xH2x", _PROTOCOLS[port.protocol], port.host_port)
        target = socket.inet_aton(address) + struct.pack(">H2x", port.container_port)
        if port.host_ip == ANY_ADDRESS:
            return cls(_PORTS, key, target)
        return cls(_BOUND, socket.inet_aton(port.host_ip) + key, target)

    @property
    def port(self) -> PublishedPort:
        host_ip, key = ANY_ADDRESS, self.key
        if self.map == _BOUND:
            host_ip, key = socket.inet_ntoa(key[:4]), key[4:]
        protocol, host_port = struct.unpack(">B3xH2x", key)
        (container_port,) = struct.unpack_from(">H", self.target, 4)
        name = _PROTOCOL_NAMES.get(protocol, str(protocol))
        return PublishedPort(container_port, name, host_ip, host_port)

    @property
    def address(self) -> str:
        return socket.inet_ntoa(self.target[:4])


class Firewall:
    """One table in the kernel. Calls are serialised; each change is one transaction."""

    def __init__(self, table: str, bridge: str) -> None:
        self._table = table
        self._bridge = bridge
        self._subnet = ""
        self._gateway = ""
        self._elements: dict[str, set[Element]] = {}
        self._lock = threading.Lock()
        self._socket: Socket | None = None

    def open(self, subnet: str, gateway: str) -> None:
        """Make the table, or bring the rules of an existing one up to date; elements stay."""
        with self._lock:
            self._subnet, self._gateway = subnet, gateway
            if self._socket is None:
                self._socket = Socket(NETLINK_NETFILTER)
            self._elements = self._read_elements()
            self._write_rules()

    def close(self, *, keep: bool) -> None:
        with self._lock:
            if self._socket is None:
                return
            try:
                if not keep:
                    _ignoring((errno.ENOENT,), self._socket, [nft.delete_table(self._table)])
                    self._elements.clear()
            finally:
                self._socket.close()
                self._socket = None

    def restore(self) -> bool:
        """Write table and elements anew if somebody removed the table; whether it was so."""
        with self._lock:
            if self._socket is None or self._exists():
                return False
            self._rebuild()
            return True

    def publish(
        self, container_id: str, address: str, ports: Iterable[PublishedPort]
    ) -> list[tuple[str, PublishedPort]]:
        """Direct exactly these ports to the container, all or none: (address, port) taken away."""
        with self._lock:
            wanted = {Element.of(address, port) for port in ports}
            before = self._elements.get(container_id, set())
            new, gone = wanted - before, before - wanted
            stale = gone | self._claimed({(element.map, element.key) for element in new})
            changes = [self._removal(element) for element in stale]
            changes += [self._addition(container_id, element) for element in new]
            try:
                self._transact(changes)
            except FileNotFoundError:  # no table: flushed, and the monitor did not hear it yet
                self._drop_claims(stale)
                self._rebuild()
                self._transact([self._addition(container_id, element) for element in new])
            self._drop_claims(stale)
            self._elements.setdefault(container_id, set()).update(new)
            return [(element.address, element.port) for element in gone]

    def unpublish(self, container_id: str) -> list[tuple[str, PublishedPort]]:
        """Take the container's ports away: the (container address, port) pairs. Idempotent."""
        with self._lock:
            elements = self._elements.pop(container_id, set())
            try:
                self._transact([self._removal(element) for element in elements])
            except FileNotFoundError:
                for element in elements:
                    _ignoring((errno.ENOENT,), self._opened, [self._removal(element)])
            return [(element.address, element.port) for element in elements]

    def published(self) -> dict[str, set[PublishedPort]]:
        with self._lock:
            return {
                container_id: {element.port for element in elements}
                for container_id, elements in self._elements.items()
            }

    def _exists(self) -> bool:
        try:
            self._opened.get(nft.get_table(self._table))
        except FileNotFoundError:
            return False
        return True

    @property
    def _opened(self) -> Socket:
        if self._socket is None:
            raise OSError(errno.EBADF, f"packet filter table {self._table} is not open")
        return self._socket

    def _transact(self, changes: Sequence[Message]) -> None:
        if changes:
            self._opened.transact(changes)

    def _claimed(self, keys: set[tuple[str, bytes]]) -> set[Element]:
        """Elements in our way. Their ports were bound by the caller, so their owners are dead."""
        return {
            element
            for elements in self._elements.values()
            for element in elements
            if (element.map, element.key) in keys
        }

    def _drop_claims(self, stale: set[Element]) -> None:
        for elements in self._elements.values():
            elements.difference_update(stale)

    def _addition(self, container_id: str, element: Element) -> Message:
        return nft.add_element(self._table, element.map, element.key, element.target, container_id)

    def _removal(self, element: Element) -> Message:
        return nft.delete_element(self._table, element.map, element.key)

    def _read_elements(self) -> dict[str, set[Element]]:
        found: dict[str, set[Element]] = {}
        for name in (_PORTS, _BOUND):
            try:
                answers = self._opened.dump(nft.get_elements(self._table, name))
            except FileNotFoundError:
                continue
            for _, body in answers:
                for key, target, owner in nft.elements_of(body):
                    if len(key) == _KEY_BYTES[name] and len(target) == _TARGET_BYTES:
                        found.setdefault(owner, set()).add(Element(name, key, target))
        return found

    def _write_rules(self) -> None:
        try:
            self._transact(self._layout())
        except FileExistsError:  # another version's table under our name: chains of other types
            self._rebuild()

    def _rebuild(self) -> None:
        """In one transaction: no packet meets a table that is half there."""
        elements = [
            self._addition(container_id, element)
            for container_id, owned in self._elements.items()
            for element in owned
        ]
        # What is added first may be deleted, whether it was there before or not.
        anew = [nft.add_table(self._table), nft.delete_table(self._table)]
        self._transact([*anew, *self._layout(), *elements])

    def _layout(self) -> list[Message]:
        table, target = self._table, (nft.TARGET, _TARGET_BYTES)
        return [
            nft.add_table(table),
            nft.add_map(table, _PORTS, (nft.PORT_KEY, _KEY_BYTES[_PORTS]), target, 1),
            nft.add_map(table, _BOUND, (nft.BOUND_KEY, _KEY_BYTES[_BOUND]), target, 2),
            nft.add_chain(table, "raw", "filter", nft.PREROUTING, _RAW),
            nft.add_chain(table, "prerouting", "nat", nft.PREROUTING, _DSTNAT),
            nft.add_chain(table, "output", "nat", nft.OUTPUT, _DSTNAT),
            nft.add_chain(table, "postrouting", "nat", nft.POSTROUTING, _SRCNAT),
            nft.add_chain(table, "forward", "filter", nft.FORWARD, _FILTER),
            nft.flush_rules(table),
            *(nft.append_rule(table, chain, *rule) for chain, rule in self._rules()),
        ]

    def _rules(self) -> list[tuple[str, tuple[bytes, ...]]]:
        bridge, subnet = self._bridge, self._subnet
        accept, drop = nft.verdict(nft.ACCEPT), nft.verdict(nft.DROP)
        redirects = (
            (nft.redirect_by_address_and_port(_BOUND),),
            (nft.destination_is_local(), nft.redirect_by_port(_PORTS)),
        )
        answers = nft.tracked(nft.CT_STATE, nft.STATE_ESTABLISHED | nft.STATE_RELATED)
        redirected = nft.tracked(nft.CT_STATUS, nft.STATUS_DNAT)
        return [
            ("raw", (nft.input_is(bridge), nft.destination_in(_LOOPBACK), drop)),
            ("raw", (nft.input_is(bridge), nft.source_in(_LOOPBACK), drop)),
            ("raw", (nft.destination_in(self._gateway), accept)),
            ("raw", (nft.input_is(bridge, equal=False), nft.destination_in(subnet), drop)),
            ("prerouting", (nft.destination_in(_LOOPBACK), accept)),
            *(("prerouting", rule) for rule in redirects),
            *(("output", rule) for rule in redirects),
            (
                "postrouting",
                (nft.output_is(bridge, equal=False), nft.source_in(subnet), nft.masquerade()),
            ),
            (
                "postrouting",
                (nft.output_is(bridge), nft.source_in(_LOOPBACK), nft.masquerade()),
            ),
            (
                "postrouting",
                (nft.output_is(bridge), nft.source_in(subnet), redirected, nft.masquerade()),
            ),
            ("forward", (nft.input_is(bridge), accept)),
            ("forward", (nft.output_is(bridge), answers, accept)),
            ("forward", (nft.output_is(bridge), redirected, accept)),
            ("forward", (nft.output_is(bridge), drop)),
        ]


def _ignoring(codes: tuple[int, ...], connection: Socket, changes: Sequence[Message]) -> None:
    try:
        connection.transact(changes)
    except OSError as error:
        if error.errno not in codes:
            raise
