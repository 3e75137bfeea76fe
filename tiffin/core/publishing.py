"""Ports added to and taken from a container that exists, running or not. PURE. Beyond Docker.

A removal names a published port by what is known of it: the host's port, and where that is not
enough the container's port, its protocol or the host's address.
"""

from __future__ import annotations

import msgspec

from tiffin.core.container import HostConfig, PortBinding, PublishedPort
from tiffin.core.image import ContainerConfig
from tiffin.core.network import checked_host_address
from tiffin.core.ports import PROTOCOLS, parse_port, parse_port_range, requested_ports
from tiffin.errors import InvalidArgument


class Removal(msgspec.Struct, frozen=True, rename="pascal"):
    """What is not said ("" and 0) matches all."""

    host_port: str = ""
    container_port: str = ""  # "80", "80/udp"
    host_ip: str = ""


class Publishing(msgspec.Struct, frozen=True, rename="pascal"):
    """What an update changes about ports: the names are those of the request."""

    publish_add: dict[str, tuple[PortBinding, ...]] = {}  # as HostConfig.PortBindings
    publish_remove: tuple[Removal, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.publish_add or self.publish_remove)


class Replaced(msgspec.Struct, frozen=True):
    """What becomes of a container's ports. `added` have each the last port of their range."""

    host_config: HostConfig
    kept: tuple[PublishedPort, ...]
    removed: tuple[PublishedPort, ...]
    added: tuple[tuple[PublishedPort, int], ...]


def replaced(
    config: ContainerConfig,
    host: HostConfig,
    in_force: tuple[PublishedPort, ...],
    wanted: Publishing,
    name: str,
) -> Replaced:
    """Removals first. `in_force` is () where it does not run. Raises InvalidArgument."""
    bindings = _spelled_out(config, host)
    removed: list[PublishedPort] = []
    for removal in wanted.publish_remove:
        removed += _remove(removal, bindings, in_force, name)
    for port, more in wanted.publish_add.items():
        number, protocol = parse_port(port)
        key = f"{number}/{protocol}"
        bindings[key] = [*bindings.get(key, ()), *(more or (PortBinding(),))]
    after = msgspec.structs.replace(
        host,
        port_bindings={key: tuple(found) for key, found in bindings.items() if found},
        publish_all_ports=False,  # what that published of itself is written down now
    )
    added = requested_ports(ContainerConfig(), HostConfig(port_bindings=wanted.publish_add))
    kept = tuple(port for port in in_force if port not in removed)
    return Replaced(after, kept, tuple(removed), tuple(added))


def _spelled_out(config: ContainerConfig, host: HostConfig) -> dict[str, list[PortBinding]]:
    """Each binding under its port with its protocol, those of --publish-all too."""
    found: dict[str, list[PortBinding]] = {}
    for text, bindings in host.port_bindings.items():
        number, protocol = parse_port(text)
        found.setdefault(f"{number}/{protocol}", []).extend(bindings or (PortBinding(),))
    if host.publish_all_ports:
        for text in config.exposed_ports or {}:
            number, protocol = parse_port(text)
            found.setdefault(f"{number}/{protocol}", [PortBinding()])
    return found


def _remove(
    removal: Removal,
    bindings: dict[str, list[PortBinding]],
    in_force: tuple[PublishedPort, ...],
    name: str,
) -> list[PublishedPort]:
    """Takes matching bindings out; what was in force of them."""
    if removal == Removal():
        raise InvalidArgument("a published port to remove names no port")
    inside, protocol = _inside(removal.container_port)
    outside, _ = parse_port_range(removal.host_port)
    address = checked_host_address(removal.host_ip) if removal.host_ip else ""
    gone = [
        port
        for port in in_force
        if (not outside or port.host_port == outside)
        and (not inside or port.container_port == inside)
        and (not protocol or port.protocol == protocol)
        and (not address or port.host_ip == address)
    ]
    for port in gone:
        _drop(bindings, port)
    if in_force:
        found = bool(gone)
    else:
        found = _drop_asked(bindings, inside, protocol, removal.host_port, address)
    if not found:
        raise InvalidArgument(f"container {name} does not publish {_spoken(removal)}")
    return gone


def _drop(bindings: dict[str, list[PortBinding]], port: PublishedPort) -> None:
    """The binding that a port in force came from: of its number, else of a range, else of any."""
    candidates = bindings.get(f"{port.container_port}/{port.protocol}", [])

    def distance(binding: PortBinding) -> int:
        first, last = parse_port_range(binding.host_port)
        if checked_host_address(binding.host_ip) != port.host_ip:
            return 3
        if first == port.host_port and not last:
            return 0
        if last and first <= port.host_port <= last:
            return 1
        return 2 if not first else 3

    best = min(candidates, key=distance, default=None)
    if best is not None and distance(best) < 3:
        candidates.remove(best)


def _drop_asked(
    bindings: dict[str, list[PortBinding]], inside: int, protocol: str, outside: str, address: str
) -> bool:
    """Of one that does not run: by what was asked for. Whether there was any."""
    found = False
    for key, candidates in bindings.items():
        number, kind = parse_port(key)
        if (inside and number != inside) or (protocol and kind != protocol):
            continue
        for binding in list(candidates):
            same_port = not outside or binding.host_port == outside
            if same_port and (not address or checked_host_address(binding.host_ip) == address):
                candidates.remove(binding)
                found = True
    return found


def _inside(text: str) -> tuple[int, str]:
    """(80, "udp") of "80/udp"; 0 and "" where it is silent."""
    number, slash, protocol = text.partition("/")
    if slash and protocol not in PROTOCOLS:
        raise InvalidArgument(f"invalid proto: {protocol}")
    return (parse_port(number)[0] if number else 0), protocol


def _spoken(removal: Removal) -> str:
    inside, _, protocol = removal.container_port.partition("/")
    if removal.host_port:
        port = "port " + ":".join(part for part in (removal.host_ip, removal.host_port) if part)
    else:
        port = f"any port of {removal.host_ip}" if removal.host_ip else "any port"
    kind = f"/{protocol}" if protocol else ""
    return f"{port} for {inside}{kind}" if inside else port + kind
