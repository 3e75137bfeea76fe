"""Ports as users write them: "3000/tcp", "8000-8010", and what a create request publishes."""

from __future__ import annotations

from tiffin.core.container import HostConfig, PortBinding, PublishedPort
from tiffin.core.image import ContainerConfig
from tiffin.core.network import checked_host_address
from tiffin.errors import InvalidArgument

PROTOCOLS = ("tcp", "udp")


def parse_port(text: str) -> tuple[int, str]:
    """(3000, "tcp") of "3000/tcp". Raises InvalidArgument in Docker's words."""
    number, _, protocol = text.partition("/")
    protocol = (protocol or "tcp").lower()
    if protocol not in PROTOCOLS:
        raise InvalidArgument(f"invalid proto: {protocol}")
    if not number.isdecimal() or not 0 < int(number) < 65536:
        raise InvalidArgument(f'invalid port specification: "{number}"')
    return int(number), protocol


def parse_port_range(text: str) -> tuple[int, int]:
    """(first, last) of "8000-8010", (port, 0) of "8000", (0, 0) of "" (any)."""
    first, dash, last = text.partition("-")
    parts = (first, last) if dash else (first,) if first else ()
    if not all(part.isascii() and part.isdecimal() and int(part) < 65536 for part in parts):
        raise InvalidArgument(f'invalid port specification: "{text}"')
    low, high = int(first or 0), int(last or 0)
    if high and high < low:
        raise InvalidArgument(f'invalid port specification: "{text}"')
    return low, high


def requested_ports(
    config: ContainerConfig, host: HostConfig, default_address: str = ""
) -> list[tuple[PublishedPort, int]]:
    """What to publish, each with the last port of its range (0: none); host_port 0 asks for any.

    `default_address` is where a binding goes that names no address; "" is everywhere.
    """
    wanted = dict(host.port_bindings)
    if host.publish_all_ports:
        for exposed in config.exposed_ports or {}:
            wanted.setdefault(exposed, (PortBinding(),))
    found = []
    for text, bindings in wanted.items():
        number, protocol = parse_port(text)
        for binding in bindings or (PortBinding(),):
            first, last = parse_port_range(binding.host_port)
            address = checked_host_address(binding.host_ip or default_address)
            found.append((PublishedPort(number, protocol, address, first), last))
    return found
