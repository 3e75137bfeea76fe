"""Which hosts may be spoken to in clear text, and where a registry may send us."""

from __future__ import annotations

import ipaddress
from urllib.parse import urljoin, urlsplit

from tiffin.errors import RegistryMisbehaved
from tiffin.registry.messages import Request, printable


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def host_of(address: str) -> str:
    """The host of "host:port", "[::1]:port" or "host"."""
    if address.startswith("["):
        return address.partition("]")[0] + "]"
    return address.partition(":")[0]


class ClearText:
    """Which registries may be spoken to without TLS: this machine and those named insecure."""

    def __init__(self, insecure: frozenset[str] = frozenset()) -> None:
        self.set(insecure)

    def set(self, insecure: frozenset[str]) -> None:
        """From now on these, and no others."""
        self._names = frozenset(name for name in insecure if "/" not in name)
        self._networks = [
            ipaddress.ip_network(name, strict=False) for name in insecure if "/" in name
        ]

    def allows(self, address: str) -> bool:
        host = host_of(address)
        if is_loopback(host) or address in self._names or host in self._names:
            return True
        try:
            ip = ipaddress.ip_address(host.strip("[]"))
        except ValueError:
            return False
        return any(ip in network for network in self._networks)


_DEFAULT_PORTS = {"http": 80, "https": 443}


def origin(url: str) -> tuple[str, str, int]:
    """Scheme, host, port. Raises RegistryMisbehaved for what is no http URL."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise RegistryMisbehaved(f"invalid URL {printable(url)!r}: {error}") from error
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
        raise RegistryMisbehaved(f"invalid URL {printable(url)!r}")
    return parts.scheme, parts.hostname, port or _DEFAULT_PORTS[parts.scheme]


def follow(request: Request, location: str, clear: ClearText) -> Request:
    """What a redirect asks for: credentials stay with their host, TLS is not given up."""
    target = resolve_location(request.url, location, clear)
    same = origin(request.url) == origin(target)
    headers = {
        name: value
        for name, value in request.headers.items()
        if same or name.lower() not in ("authorization", "cookie")
    }
    return Request(request.method, target, headers, request.body)


def resolve_location(base: str, location: str, clear: ClearText) -> str:
    target = urlsplit(urljoin(base, location))._replace(fragment="").geturl()
    scheme, _, _ = origin(target)
    address = urlsplit(target).netloc
    if "@" in address or not target.isascii() or not target.isprintable():
        raise RegistryMisbehaved(f"refused redirect to {printable(target)!r}")
    if scheme == "http" and not clear.allows(address):
        raise RegistryMisbehaved(f"refused redirect to clear text: {printable(target)!r}")
    return target
