"""What a container or a build step needs of networks: names, files in /etc, address, ports.

`prepare` decides and reserves (a taken port fails here, before anything runs), `connect` brings the
link up once the network namespace exists, `release` gives all of it back.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable
from typing import NamedTuple

from tiffin.core.container import Container, Endpoint, HostConfig, PublishedPort
from tiffin.core.image import ContainerConfig
from tiffin.core.links import with_address
from tiffin.core.network import (
    HOST_GATEWAY,
    AddressPool,
    hosts_file,
    hosts_line,
    mac_of,
    resolv_conf,
)
from tiffin.core.ports import requested_ports
from tiffin.engine.naming import new_id
from tiffin.engine.networks import Networks
from tiffin.engine.ports import Links
from tiffin.errors import EngineFailure
from tiffin.kernel.workers import in_thread

_ETC_NAMES = ("hosts", "hostname", "resolv.conf")


class Guest(NamedTuple):
    """Who is attached."""

    id: str
    name: str
    config: ContainerConfig
    host_config: HostConfig
    linked_hosts: tuple[str, ...] = ()  # lines of its hosts file
    link_local: tuple[str, ...] = ()

    @classmethod
    def of(cls, container: Container) -> Guest:
        own = (container.id, container.name, container.config, container.host_config)
        return cls(*own, link_local=container.link_local)


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
    """The host's own resolver and name, and the daemon's defaults for containers (--dns, --ip)."""

    def __init__(
        self,
        dns: tuple[str, ...] = (),
        dns_search: tuple[str, ...] = (),
        dns_options: tuple[str, ...] = (),
        publish_address: str = "",
    ) -> None:
        self.dns = dns
        self.dns_search = dns_search
        self.dns_options = dns_options
        self.publish_address = publish_address

    def resolver(self) -> str:
        """The host's resolv.conf; behind systemd-resolved's stub, the one with the real servers."""
        text = _read("/etc/resolv.conf")
        lines = [line.split() for line in text.splitlines() if line.startswith("nameserver")]
        if [line[1:2] for line in lines] == [["127.0.0.53"]]:
            return _read("/run/systemd/resolve/resolv.conf") or text
        return text

    def hosts(self) -> str:
        return _read("/etc/hosts")

    def hostname(self) -> str:
        return os.uname().nodename


def _read(path: str) -> str:
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read().decode("utf-8", "replace")
    except OSError:
        return ""


class Attachments:
    def __init__(self, links: Links, networks: Networks, names: HostNames, directory: str) -> None:
        self._links = links
        self._networks = networks
        self._names = names
        self._directory = directory  # DATA_ROOT/containers
        self._addresses: dict[str, str] = {}
        self._pool = AddressPool(networks.bridge.subnet, networks.bridge.gateway)

    async def prepare(self, guest: Guest, sharing: Guest | None = None) -> Attached:
        """Raises EngineFailure when no address is left or a port is taken; nothing stays then.

        `sharing` is whose network it joins: then name and files in /etc are that one's too.
        """
        mode = network_of(guest.host_config)
        if guest.config.network_disabled:
            mode, sharing = "none", None
        if sharing is not None:
            attached = Attached(mode, self._hostname(sharing, network_of(sharing.host_config)))
            attached.etc_files = self._files_of(sharing)
            await in_thread(self._make_directory, guest)
            return attached
        attached = Attached(mode, self._hostname(guest, mode))
        try:
            if mode == "bridge":
                attached.endpoints = (self._endpoint(guest),)
                attached.ports = self._reserve(guest, attached)
            else:
                network = self._networks.get(mode)
                attached.endpoints = (Endpoint(network.id, network.name, new_id()),)
            attached.etc_files = await in_thread(self._write_files, guest, attached)
        except BaseException:
            attached.close()
            self._give_back(guest.id)
            raise
        return attached

    async def connect(self, guest_id: str, attached: Attached, pid: int) -> None:
        endpoint = attached.endpoint
        if endpoint is not None:
            await self._links.connect(guest_id, endpoint, pid)
            if attached.ports:
                await self._links.publish(guest_id, endpoint, attached.ports)
        elif attached.mode == "none":
            await self._links.loopback(pid)

    async def release(self, guest_id: str) -> None:
        """Idempotent."""
        if self._give_back(guest_id):
            await self._links.disconnect(guest_id)

    def _give_back(self, guest_id: str) -> bool:
        """Whether it had an address."""
        address = self._addresses.pop(guest_id, None)
        if address is not None:
            self._pool.give_back(address)
        return address is not None

    def keep(self, container: Container) -> None:
        """Take note of what a container that outlived the last daemon holds."""
        for endpoint in container.state.endpoints:
            if endpoint.address:
                self._give_back(container.id)
                self._pool.hold(endpoint.address)
                self._addresses[container.id] = endpoint.address

    def held(self) -> set[str]:
        """Ids of all guests that have an address."""
        return set(self._addresses)

    def forget_files(self, guest_id: str) -> None:
        shutil.rmtree(os.path.join(self._directory, guest_id), ignore_errors=True)

    def _hostname(self, guest: Guest, mode: str) -> str:
        if guest.config.hostname:
            return guest.config.hostname
        if mode == "host" or guest.host_config.uts_mode == "host":
            return self._names.hostname()
        return guest.id[:12]

    def _endpoint(self, guest: Guest) -> Endpoint:
        network = self._networks.bridge
        self._give_back(guest.id)
        address = self._pool.take()
        self._addresses[guest.id] = address
        return Endpoint(
            network_id=network.id,
            network_name=network.name,
            endpoint_id=new_id(),
            address=address,
            prefix_length=int(network.subnet.rpartition("/")[2]),
            gateway=network.gateway,
            mac_address=guest.config.mac_address or mac_of(address),
            link_local=guest.link_local,
        )

    async def move(self, container_id: str, alias: str, address: str) -> None:
        """In a container's hosts file, who it links by `alias` has another address now."""
        path = os.path.join(self._directory, container_id, "hosts")
        await asyncio.to_thread(_rewrite, path, lambda text: with_address(text, alias, address))

    def _reserve(self, guest: Guest, attached: Attached) -> tuple[PublishedPort, ...]:
        ports = []
        for request, last in requested_ports(
            guest.config, guest.host_config, self._names.publish_address
        ):
            try:
                port, descriptor = self._links.reserve(request, last)
            except EngineFailure as error:
                endpoint = attached.endpoints[0].endpoint_id
                raise EngineFailure(
                    "driver failed programming external connectivity on endpoint "
                    f"{guest.name} ({endpoint}): {error.message}"
                ) from error
            attached.held.append(descriptor)
            ports.append(port)
        return tuple(ports)

    def _write_files(self, guest: Guest, attached: Attached) -> dict[str, str]:
        directory = self._make_directory(guest)
        texts = {
            "hosts": self._hosts(guest, attached),
            "hostname": attached.hostname + "\n",
            "resolv.conf": self._resolv_conf(guest, attached),
        }
        for name, text in texts.items():
            _write(os.path.join(directory, name), text)
        return self._files_of(guest)

    def _make_directory(self, guest: Guest) -> str:
        directory = os.path.join(self._directory, guest.id)
        os.makedirs(directory, 0o710, exist_ok=True)
        return directory

    def _files_of(self, guest: Guest) -> dict[str, str]:
        directory = os.path.join(self._directory, guest.id)
        return {f"/etc/{name}": os.path.join(directory, name) for name in _ETC_NAMES}

    def _hosts(self, guest: Guest, attached: Attached) -> str:
        extra = [self._extra_host(entry) for entry in guest.host_config.extra_hosts]
        if attached.mode == "host":
            return self._names.hosts() + "".join(map(hosts_line, extra))
        address = attached.endpoint.address if attached.endpoint else ""
        own = hosts_file(address, attached.hostname, guest.config.domainname, extra)
        return own + "".join(guest.linked_hosts)

    def _extra_host(self, entry: str) -> str:
        name, _, address = entry.partition(":")
        if address == HOST_GATEWAY:
            address = self._networks.bridge.gateway
        return f"{name}:{address}"

    def _resolv_conf(self, guest: Guest, attached: Attached) -> str:
        host = guest.host_config
        if attached.mode == "host" and not (host.dns or host.dns_search or host.dns_options):
            return self._names.resolver()
        return resolv_conf(
            self._names.resolver(),
            host.dns or self._names.dns,
            host.dns_search or self._names.dns_search,
            host.dns_options or self._names.dns_options,
        )


def _rewrite(path: str, change: Callable[[str], str]) -> None:
    """In place: the container has this very file mounted."""
    text = _read(path)
    changed = change(text)
    if changed != text:
        _write(path, changed)


def _write(path: str, text: str) -> None:
    with open(path, "wb") as file:
        os.fchmod(file.fileno(), 0o644)
        file.write(text.encode())


def network_of(host: HostConfig) -> str:
    """bridge, host, none or container:<reference>, whichever of their names was used."""
    return "bridge" if host.network_mode in ("", "default", "bridge") else host.network_mode
