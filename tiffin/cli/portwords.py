"""Ports as people type them (`-p 127.0.0.1:8080-90:80-90/udp`, `--expose`), as the API has them."""

from __future__ import annotations

from tiffin.cli.failures import WrongOption
from tiffin.cli.optionchecks import is_address

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_PROTOCOLS = ("tcp", "udp", "sctp")


def parse_ports(published: list[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Exposed ports and port bindings of `-p`: `80`, `8080:80/udp`, `127.0.0.1:5000-5010:80-90`."""
    exposed: dict[str, Any] = {}
    bindings: dict[str, Any] = {}
    for text in published:
        for port, binding in _port_mappings(_plain_notation(text) if "=" in text else text):
            exposed[port] = {}
            bindings.setdefault(port, []).append(binding)
    return exposed, bindings


def _plain_notation(text: str) -> str:
    """`published=8080,target=80,protocol=udp` in the short form."""
    found = {"protocol": "tcp"}
    for word in text.split(","):
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise WrongOption(
                f"invalid publish opts format (should be name=value but got '{word}')"
            )
        found[name] = value
    return f"{found.get('published', '')}:{found.get('target', '')}/{found['protocol']}"


def _port_mappings(text: str) -> list[tuple[str, dict[str, str]]]:
    *front, inside = text.split(":")
    outside = front[-1] if front else ""
    address = ":".join(front[:-1])
    inside, protocol = _protocol(inside)
    if address.startswith("["):
        if not address.endswith("]"):
            problem = f"address {address}:: missing ']' in address"
            raise WrongOption(f"invalid IP address {address}: {problem}")
        address = address[1:-1]
    if address and not is_address(address):
        raise WrongOption(f"invalid IP address: {address}")
    if not inside:
        raise WrongOption(f"no port specified: {text}<empty>")
    first, last = _range(inside, f"invalid containerPort: {inside}")
    if outside:
        host_first, host_last = _range(outside, f"invalid hostPort: {outside}")
        if last - first != host_last - host_first and last != first:
            raise WrongOption(
                f"invalid ranges specified for container and host Ports: {inside} and {outside}"
            )
    if protocol.lower() not in _PROTOCOLS:
        raise WrongOption(f"invalid proto: {protocol}")
    found = []
    for step in range(last - first + 1):
        host_port = str(host_first + step) if outside else ""
        if outside and first == last and host_first != host_last:
            host_port = f"{host_port}-{host_last}"
        port = f"{first + step}/{protocol.lower()}"
        found.append((port, {"HostIp": address, "HostPort": host_port}))
    return found


def _protocol(text: str) -> tuple[str, str]:
    port, _, protocol = text.partition("/")
    return port, protocol or "tcp"


def _range(text: str, problem: str) -> tuple[int, int]:
    first, dash, last = text.partition("-")
    numbers = (first, last) if dash else (first, first)
    if not all(each.isdecimal() and int(each) < 65536 for each in numbers):
        raise WrongOption(problem)
    if int(numbers[1]) < int(numbers[0]):
        raise WrongOption(problem)
    return int(numbers[0]), int(numbers[1])


def parse_expose(text: str) -> list[str]:
    if ":" in text:
        raise WrongOption(f"invalid port format for --expose: {text}")
    ports, protocol = _protocol(text)
    try:
        first, last = _exposed_range(ports)
    except ValueError as error:
        problem = f"invalid range format for --expose: {text}, error: {error}"
        raise WrongOption(problem) from error
    return [f"{port}/{protocol}" for port in range(first, last + 1)]


def _exposed_range(ports: str) -> tuple[int, int]:
    if not ports:
        raise ValueError("empty string specified for ports")
    numbers = [parse_port(each) for each in ports.split("-")[:2]]
    if numbers[-1] < numbers[0]:
        raise ValueError(f"invalid range specified for port: {ports}")
    return numbers[0], numbers[-1]


def parse_port(text: str) -> int:
    """ValueError in Go's words for what is no port."""
    if not text.isascii() or not text.isdecimal():
        raise ValueError(f'strconv.ParseUint: parsing "{text}": invalid syntax')
    if int(text) > 65535:
        raise ValueError(f'strconv.ParseUint: parsing "{text}": value out of range')
    return int(text)
