"""What a container needs of networks to start: names, files in /etc, an address, published ports.

`prepare` decides and reserves (a taken port fails here, before anything runs), `connect` brings the
link up once the network namespace exists, `release` gives all of it back.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from ipaddress import IPv4Interface

from tiffin.core.container import Container, Endpoint, HostConfig, PortBinding, PublishedPort
from tiffin.core.network import allocate_address, hosts_file, mac_of, resolv_conf
from tiffin.engine.naming import new_id
from tiffin.engine.networks import Networks
from tiffin.engine.ports import Links
from tiffin.errors import EngineFailure, InvalidArgument

ETC_FILES = ("/etc/resolv.conf", "/etc/hostname", "/etc/hosts")


class Attached:
    """One start's share of the network. Owns the reserved ports' descriptors until `close`."""

    def __init__(self, mode: str, hostname: str) -> None:
        self.mode = mode
        self.hostname = hostname
        self.etc_files: dict[str, str] = {}
        self.endpoints: tuple[Endpoint, ...] = ()
        self.ports: tuple[PublishedPort, ...] = ()
        self.held: list[int] = []

    @property
    def endpoint(self) -> Endpoint | None:
        return self.endpoints[0] if self.endpoints and self.endpoints[0].address else None

    def close(self) -> None:
        while self.held:
            os.close(self.held.pop())


class HostNames:
    """The host's own resolver and name, and the daemon's defaults for containers (--dns)."""

    def __init__(
        self,
        dns: tuple[str, ...] = (),
        read: Callable[[], str] = lambda: read_resolver(),
        hostname: Callable[[], str] = lambda: os.uname().nodename,
    ) -> None:
        self.dns = dns
        self.read = read
        self.hostname = hostname


def read_resolver() -> str:
    """The host's resolv.conf; behind systemd-resolved's stub, the one with the real servers."""
    text = _read("/etc/resolv.conf")
    servers = [line.split()[1:2] for line in text.splitlines() if line.startswith("nameserver")]
    if servers == [["127.0.0.53"]]:
        return _read("/run/systemd/resolve/resolv.conf") or text
    return text


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


class Attachments:
    def __init__(
        self, links: Links, networks: Networks, names: HostNames, directory: str
    ) -> None:
        self._links = links
        self._networks = networks
        self._names = names
        self._directory = directory  # DATA_ROOT/containers
        self._addresses: dict[str, str] = {}
        self._published: dict[str, tuple[PublishedPort, ...]] = {}

    async def prepare(self, container: Container) -> Attached:
        """Raises EngineFailure when no address is left or a port is taken; nothing stays reserved then."""
        mode = network_of(container.host_config)
        attached = Attached(mode, self._hostname(container, mode))
        try:
            if mode == "bridge":
                attached.endpoints = (self._endpoint(container),)
                attached.ports = self._reserve(container, attached)
            elif not mode.startswith("container:"):
                attached.endpoints = (self._bare_endpoint(mode),)
            attached.etc_files = await asyncio.to_thread(self._write_files, container, attached)
        except BaseException:
            attached.close()
            self._addresses.pop(container.id, None)
            raise
        return attached

    async def connect(self, container: Container, attached: Attached, pid: int) -> None:
        endpoint = attached.endpoint
        if endpoint is not None:
            await self._links.connect(container.id, endpoint, pid)
            if attached.ports:
                await self._links.publish(container.id, endpoint, attached.ports)
                self._published[container.id] = attached.ports
        elif attached.mode == "none":
            await self._links.loopback(pid)

    async def release(self, container_id: str) -> None:
        """Idempotent."""
        if self._addresses.pop(container_id, None) is not None:
            await self._links.disconnect(container_id)
        self._published.pop(container_id, None)

    def keep(self, container: Container) -> None:
        """Take note of what a container that outlived the last daemon holds."""
        for endpoint in container.state.endpoints:
            if endpoint.address:
                self._addresses[container.id] = endpoint.address
        self._published[container.id] = container.state.ports

    def _hostname(self, container: Container, mode: str) -> str:
        if mode == "host" or container.host_config.uts_mode == "host":
            return container.config.hostname or self._names.hostname()
        return container.config.hostname or container.short_id

    def _endpoint(self, container: Container) -> Endpoint:
        network = self._networks.bridge
        interface = IPv4Interface(f"{network.gateway}/{network.subnet.split('/')[1]}")
        taken = {network.gateway, *self._addresses.values()}
        address = allocate_address(network.subnet, taken)
        self._addresses[container.id] = address
        return Endpoint(
            network_id=network.id,
            network_name=network.name,
            endpoint_id=new_id(),
            address=address,
            prefix_length=interface.network.prefixlen,
            gateway=network.gateway,
            mac_address=container.config.mac_address or mac_of(address),
        )

    def _bare_endpoint(self, mode: str) -> Endpoint:
        network = self._networks.get(mode)
        return Endpoint(network.id, network.name, new_id())

    def _reserve(self, container: Container, attached: Attached) -> tuple[PublishedPort, ...]:
        ports = []
        for request, last in requested_ports(container):
            try:
                port, descriptor = self._links.reserve(request, last)
            except EngineFailure as error:
                endpoint = attached.endpoints[0].endpoint_id
                raise EngineFailure(
                    "driver failed programming external connectivity on endpoint "
                    f"{container.name} ({endpoint}): {error.message}"
                ) from error
            attached.held.append(descriptor)
            ports.append(port)
        return tuple(ports)

    def _write_files(self, container: Container, attached: Attached) -> dict[str, str]:
        host = container.host_config
        directory = os.path.join(self._directory, container.id)
        os.makedirs(directory, 0o710, exist_ok=True)
        endpoint = attached.endpoint
        gateway = self._networks.bridge.gateway
        extra = tuple(
            entry.replace("host-gateway", gateway) for entry in host.extra_hosts
        )
        if attached.mode == "host":
            hosts = _read("/etc/hosts") or hosts_file("", "", "", ())
            hosts += "".join(_extra_line(entry) for entry in extra)
        else:
            address = endpoint.address if endpoint else ""
            hosts = hosts_file(address, attached.hostname, container.config.domainname, extra)
        resolver = resolv_conf(
            self._names.read(), host.dns or self._names.dns, host.dns_search, host.dns_options
        ) if attached.mode != "host" or host.dns else self._names.read()
        texts = {
            "/etc/hosts": hosts,
            "/etc/hostname": attached.hostname + "\n",
            "/etc/resolv.conf": resolver,
        }
        return {
            target: _write(os.path.join(directory, os.path.basename(target)), text)
            for target, text in texts.items()
        }


def _extra_line(entry: str) -> str:
    name, _, address = entry.partition(":")
    return f"{address}\t{name}\n"


def _write(path: str, text: str) -> str:
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    os.chmod(path, 0o644)
    return path


def network_of(host: HostConfig) -> str:
    """bridge, host, none or container:<reference>, whatever of their names was used."""
    return "bridge" if host.network_mode in ("", "default", "bridge") else host.network_mode


def requested_ports(container: Container) -> list[tuple[PublishedPort, int]]:
    """What to publish: (port with host_port 0 for "any", last port of a range or 0)."""
    host = container.host_config
    wanted = dict(host.port_bindings)
    if host.publish_all_ports:
        for exposed in container.config.exposed_ports or {}:
            wanted.setdefault(exposed, (PortBinding(),))
    found = []
    for text, bindings in wanted.items():
        number, protocol = parse_port(text)
        for binding in bindings or (PortBinding(),):
            first, last = parse_port_range(binding.host_port)
            address = binding.host_ip or "0.0.0.0"
            found.append((PublishedPort(number, protocol, address, first), last))
    return found


def parse_port(text: str) -> tuple[int, str]:
    """(3000, "tcp") of "3000/tcp". Raises InvalidArgument in Docker's words."""
    number, _, protocol = text.partition("/")
    protocol = (protocol or "tcp").lower()
    if protocol not in ("tcp", "udp"):
        raise InvalidArgument(f"invalid proto: {protocol}")
    if not number.isdecimal() or not 0 < int(number) < 65536:
        raise InvalidArgument(f"invalid port specification: \"{text}\"")
    return int(number), protocol


def parse_port_range(text: str) -> tuple[int, int]:
    """(first, last) of "8000-8010", (port, 0) of "8000", (0, 0) of "" (any)."""
    first, _, last = text.partition("-")
    for part in (first, last):
        if part and not (part.isdecimal() and int(part) < 65536):
            raise InvalidArgument(f"invalid port specification: \"{text}\"")
    low, high = int(first or 0), int(last or 0)
    if high and high < low:
        raise InvalidArgument(f"invalid port specification: \"{text}\"")
    return low, high
