"""The default bridge: a switch in the host on which each container has one port.

Per bridge there are one link, one packet filter table (firewall.py) and a veth pair per container,
all named after the bridge, the data root and the container's id. They are the truth: after a crash
`open` finds them as they are, so living containers keep their links and ports, and `disconnect` and
`sweep` take away what belongs to the dead.

The host becomes a router (ip_forward=1), as with dockerd. That setting stays when the bridge goes:
others may count on it by then, and to take it away is the greater surprise. Everything else goes.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import logging
import os
import threading
from collections.abc import Callable, Collection, Sequence
from typing import TypeVar

from tiffin.core.container import Endpoint, PublishedPort
from tiffin.core.network import DEFAULT_MTU, choose_bridge_address
from tiffin.errors import EngineFailure
from tiffin.kernel.netlink import NETLINK_ROUTE, Socket
from tiffin.kernel.workers import Workers
from tiffin.network import conntrack, links
from tiffin.network.burials import Burials
from tiffin.network.firewall import Firewall
from tiffin.network.foreign import ForeignFilters
from tiffin.network.ports import Reservations
from tiffin.network.watch import Watch

_log = logging.getLogger(__name__)
_T = TypeVar("_T")


def choose_address(bridge: str) -> str:
    """Gateway/prefix for a bridge: the one that it has, else the first that no route overlaps."""
    with Socket(NETLINK_ROUTE) as connection:
        link = links.find_link(connection, bridge)
        if link is not None:
            present = links.addresses(connection, link.ifindex)
            if present:
                return present[0]
        return choose_bridge_address(route.destination for route in links.routes(connection))


def uplink_mtu() -> int:
    """The MTU for containers: what the way out can carry, at most the usual 1500.

    Docker takes 1500 whatever the uplink has. With a smaller uplink (VPN, cloud overlay, nested
    engine) a container then announces segments that do not fit, and where the "fragmentation
    needed" answers are filtered its downloads hang. The smaller value costs nothing.
    """
    with Socket(NETLINK_ROUTE) as connection:
        ways = {
            route.link for route in links.routes(connection) if route.destination == "0.0.0.0/0"
        }
        sizes = [link.mtu for link in links.all_links(connection) if link.ifindex in ways]
    return min([DEFAULT_MTU, *(size for size in sizes if size)])


class Bridge:
    """engine.ports.Links on the real kernel.

    `subnet` is the gateway with its prefix length, "172.17.0.1/16"; "" is chosen by `open`, and so
    is an `mtu` of 0. `subnet`, `gateway` and `mtu` tell the choice once the bridge is open.
    """

    def __init__(self, name: str, subnet: str, table: str, mtu: int = 0) -> None:
        self.name = name
        self.mtu = mtu
        self._address = subnet
        self._index = 0
        self._firewall = Firewall(table, name)
        self._foreign = ForeignFilters(table, name)
        self._watch = Watch(table, self._filters_changed)
        self._ports = Reservations()
        self._burials = Burials(self._delete)
        self._repairs: set[asyncio.Task[None]] = set()
        self._repaired = asyncio.Event()
        self._threads: Workers | None = None
        self._socket: Socket | None = None
        self._lock = threading.Lock()  # guards the socket; held while links are made

    @property
    def subnet(self) -> str:
        """The network that containers get addresses of: "172.17.0.0/16"."""
        return str(ipaddress.IPv4Interface(self._address).network)

    @property
    def gateway(self) -> str:
        return self._address.partition("/")[0]

    # --- the bridge itself ---------------------------------------------------------------------

    async def open(self) -> None:
        """Make what is missing, adopt what is there. Idempotent. Raises EngineFailure."""
        if self._threads is None:
            # Threads of our own: a start does not queue behind a pull's tar and hashing.
            self._threads = Workers(3, "links")
        try:
            await self._run(f"cannot set up bridge {self.name}", self._open)
            self._watch.open()
        except BaseException:
            await self.close(keep=True)
            raise

    async def close(self, *, keep: bool) -> None:
        """Let go; unless containers live on (`keep`) remove links, bridge and table. Idempotent."""
        if self._threads is None:
            return
        self._watch.close()
        await asyncio.gather(*self._repairs, return_exceptions=True)
        await self._burials.close()
        await self._run(f"cannot remove bridge {self.name}", self._close, keep)
        self._threads.close()
        self._threads = None

    def _open(self) -> None:
        if self._socket is None:
            self._socket = Socket(NETLINK_ROUTE)
        self._address = self._address or choose_address(self.name)
        self.mtu = self.mtu or uplink_mtu()
        # The rules come first: with route_localnet and without them the loopback is open.
        self._firewall.open(self.subnet, self.gateway)
        for container_id, ports in self._firewall.published().items():
            self._ports.held_by(container_id, ports)
        with self._lock:
            self._index = self._ensure_link(self._socket)
        self._foreign.admit()

    def _ensure_link(self, connection: Socket) -> int:
        link = links.find_link(connection, self.name)
        if link is None:
            links.add_bridge(connection, self.name, b"\x02\x42" + os.urandom(4), self.mtu)
            link = links.find_link(connection, self.name)
        if link is None or link.kind != "bridge":
            raise OSError(errno.EEXIST, f"a link {self.name} exists and is no bridge")
        if link.mtu != self.mtu:
            links.set_mtu(connection, link.ifindex, self.mtu)
        self._ensure_settings()
        present = links.addresses(connection, link.ifindex)
        if self._address not in present:
            links.add_address(connection, link.ifindex, self._address)
        for other in present:
            if other != self._address:
                links.delete_address(connection, link.ifindex, other)
        links.set_up(connection, link.ifindex)
        return link.ifindex

    def _ensure_settings(self) -> None:
        conf = f"conf/{self.name}"
        # A host that speaks IPv6 on the bridge only gives containers another way to it.
        _ensure_setting(f"ipv6/{conf}/disable_ipv6", "1")
        _ensure_setting(f"ipv4/{conf}/route_localnet", "1")
        _ensure_setting("ipv4/ip_forward", "1")

    def _close(self, keep: bool) -> None:
        with self._lock:
            connection, self._socket = self._socket, None
        if connection is None:
            return
        with connection:
            if not keep:
                names = [link.name for link in self._own_links(connection)]
                links.delete_links(connection, [*names, self.name])
                self._foreign.withdraw()
        self._firewall.close(keep=keep)

    def _own_links(self, connection: Socket) -> list[links.Link]:
        return [
            link
            for link in links.all_links(connection)
            if link.master == self._index and links.is_container_link(link.name)
        ]

    def _filters_changed(self) -> None:
        task = asyncio.get_running_loop().create_task(self._repair())
        self._repairs.add(task)
        task.add_done_callback(self._repairs.discard)

    async def _repair(self) -> None:
        try:
            await self._run("cannot restore the packet filter", self._repair_filters)
        except EngineFailure as error:
            _log.warning("repair bridge=%s: %s", self.name, error.message)
        self._repaired.set()

    def _repair_filters(self) -> None:
        if self._firewall.restore():
            _log.warning("packet filter table was removed and is restored bridge=%s", self.name)
        self._foreign.admit()

    # --- engine.ports.Links --------------------------------------------------------------------

    async def connect(self, container_id: str, endpoint: Endpoint, pid: int) -> None:
        """See engine.ports.Links. Raises EngineFailure; no link is left then."""
        await self._burials.at_once(container_id)
        self._burials.connecting()
        failure = f"failed to create endpoint on network {endpoint.network_name}"
        await self._run(failure, self._connect, container_id, endpoint, pid)

    async def loopback(self, pid: int) -> None:
        await self._run("cannot bring the loopback link up", self._loopback, pid)

    async def disconnect(self, container_id: str) -> None:
        """Ports and traffic end before this returns; the link itself goes in the background."""
        self._ports.release(container_id)
        await self._run("cannot disconnect the container", self._disconnect, container_id)
        self._burials.begin(container_id)

    def reserve(self, port: PublishedPort, last_port: int = 0) -> tuple[PublishedPort, int]:
        return self._ports.reserve(port, last_port)

    async def publish(
        self, container_id: str, endpoint: Endpoint, ports: Sequence[PublishedPort]
    ) -> None:
        failure = "cannot publish ports"
        await self._run(failure, self._publish, container_id, endpoint.address, tuple(ports))
        self._ports.held_by(container_id, ports)

    def published_ports(self) -> dict[str, set[PublishedPort]]:
        return self._firewall.published()

    async def sweep(self, live_container_ids: Collection[str]) -> None:
        """Remove links and ports of containers that are not among the living."""
        live = frozenset(live_container_ids)
        for container_id in self._firewall.published():
            if container_id not in live:
                self._ports.release(container_id)
        self._burials.begin_all_but(live)
        known = live | self._burials.waiting()
        await self._run("cannot remove links of dead containers", self._sweep, known)

    async def strays(self, live_container_ids: Collection[str]) -> list[tuple[str, str]]:
        """("link" or "published port", which) of what `sweep` would remove."""
        known = frozenset(live_container_ids) | self._burials.waiting()
        return await self._run("cannot look for links of dead containers", self._strays, known)

    def _connect(self, container_id: str, endpoint: Endpoint, pid: int) -> None:
        namespace = links.open_namespace(pid)
        try:
            # One at a time, as the kernel has one lock for all links; what finds that one taken by
            # others does not sleep: a write to these sysctls goes round and round till it has it.
            with self._lock, links.open_inside(namespace) as inside:
                self._add_pair(container_id, endpoint, namespace)
                if any(":" in address for address in endpoint.link_local):
                    links.enable_ipv6(namespace)
                interface = f"{endpoint.address}/{endpoint.prefix_length}"
                links.configure_inside(inside, interface, endpoint.gateway, endpoint.link_local)
        except BaseException:
            os.close(namespace)
            self._delete_links([container_id])
            raise
        self._burials.hold(container_id, namespace)

    def _add_pair(self, container_id: str, endpoint: Endpoint, namespace: int) -> None:
        def add() -> None:
            links.add_pair(
                *(self._opened, container_id, self._index, namespace),
                mac=bytes.fromhex(endpoint.mac_address.replace(":", "")),
                address=endpoint.address,
                mtu=self.mtu,
            )

        try:
            add()
        except FileExistsError:  # left behind by a crash between start and remove
            links.delete_links(self._opened, [links.name_of(container_id)])
            add()

    def _loopback(self, pid: int) -> None:
        namespace = links.open_namespace(pid)
        try:
            with links.open_inside(namespace) as inside:
                links.set_loopback_up(inside)
        finally:
            os.close(namespace)

    def _publish(self, container_id: str, address: str, ports: tuple[PublishedPort, ...]) -> None:
        gone = self._firewall.publish(container_id, address, ports)
        conntrack.forget_unredirected(ports)
        _forget_redirected(gone)

    def _disconnect(self, container_id: str) -> None:
        gone = self._firewall.unpublish(container_id)
        with self._lock:
            links.unplug(self._opened, links.name_of(container_id))
        _forget_redirected(gone)

    async def _delete(self, container_ids: Sequence[str]) -> None:
        try:
            await self._run("cannot delete links", self._delete_links, container_ids)
        except EngineFailure as error:
            _log.warning("delete links containers=%s: %s", container_ids, error.message)

    def _delete_links(self, container_ids: Sequence[str]) -> None:
        # A socket of its own: deleting takes long, and nobody shall wait for the shared one.
        with Socket(NETLINK_ROUTE) as connection:
            links.delete_links(connection, list(map(links.name_of, container_ids)))

    def _sweep(self, live: frozenset[str]) -> None:
        for container_id in self._firewall.published():
            if container_id not in live:
                self._firewall.unpublish(container_id)
        with Socket(NETLINK_ROUTE) as connection:
            links.delete_links(connection, self._dead_links(connection, live))

    def _dead_links(self, connection: Socket, live: frozenset[str]) -> list[str]:
        names = set(map(links.name_of, live))
        return [link.name for link in self._own_links(connection) if link.name not in names]

    def _strays(self, live: frozenset[str]) -> list[tuple[str, str]]:
        with Socket(NETLINK_ROUTE) as connection:
            found = [("link", name) for name in self._dead_links(connection, live)]
        for container_id, ports in self._firewall.published().items():
            if container_id not in live:
                found += [
                    ("published port", f"{port.host_ip}:{port.host_port}/{port.protocol}")
                    for port in ports
                ]
        return found

    # --- threads and failures ------------------------------------------------------------------

    @property
    def _opened(self) -> Socket:
        if self._socket is None:
            raise OSError(errno.EBADF, f"bridge {self.name} is not open")
        return self._socket

    async def _run(self, failure: str, work: Callable[..., _T], *args: object) -> _T:
        if self._threads is None:
            raise EngineFailure(f"{failure}: bridge {self.name} is not open")
        try:
            return await self._threads.run(work, *args)
        except OSError as error:
            raise EngineFailure(f"{failure}: {error.strerror or error}") from error
        except RuntimeError as error:  # no thread for it
            raise EngineFailure(f"{failure}: {error}") from error


def _forget_redirected(gone: Sequence[tuple[str, PublishedPort]]) -> None:
    for address in {address for address, port in gone if port.protocol == "udp"}:
        conntrack.forget_redirected(address)


def _ensure_setting(path: str, value: str) -> None:
    """Write a file below /proc/sys/net unless it says so already (it may be mounted read-only)."""
    full = f"/proc/sys/net/{path}"
    try:
        with open(full, encoding="ascii") as file:
            if file.read().strip() == value:
                return
        with open(full, "w", encoding="ascii") as file:
            file.write(value)
    except FileNotFoundError:
        if not path.startswith("ipv6/"):
            raise
    except OSError as error:
        code = error.errno or 0
        raise OSError(code, f"set {path} to {value}: {os.strerror(code)}") from error
