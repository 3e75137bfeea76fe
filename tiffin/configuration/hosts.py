"""Where a daemon listens: `unix:///path`, `tcp://address:port`, `fd://`. Pure.

Whoever may speak to the API owns the machine, so a TCP door demands a client certificate. Clear
text is served on loopback alone, and only to somebody who said `--tls=false`.
"""

from __future__ import annotations

import ipaddress
from typing import NamedTuple

from tiffin.errors import InvalidArgument

TLS_PORT, CLEAR_PORT = 2376, 2375


class UnixDoor(NamedTuple):
    path: str


class TcpDoor(NamedTuple):
    address: str  # "" is every address
    port: int  # 0 is any free one
    tls: bool


class InheritedDoor(NamedTuple):
    """Sockets that a service manager opened: all of them, or the one with this name or number."""

    name: str
    tls: bool


Door = UnixDoor | TcpDoor | InheritedDoor


class Tls(NamedTuple):
    """What of TLS was asked for. `explicit_off`: somebody said --tls=false or --tlsverify=false."""

    enabled: bool = False
    verify: bool = False
    explicit_off: bool = False
    ca: str = ""
    certificate: str = ""
    key: str = ""


def parse_door(host: str, tls: Tls) -> Door:
    """Raises InvalidArgument for what is no door, or one that would stand open."""
    scheme, separator, rest = host.partition("://")
    if not separator:
        scheme, rest = ("unix", host) if host.startswith("/") else ("tcp", host)
    if scheme == "unix":
        if not rest.startswith("/"):
            raise InvalidArgument(f"invalid host {host}: the socket's path must be absolute")
        return UnixDoor(rest)
    if scheme == "fd":
        return InheritedDoor(rest.strip("*"), tls.enabled)
    if scheme != "tcp":
        raise InvalidArgument(f"Invalid bind address format: {host}")
    return _tcp(host, rest, tls)


def _tcp(host: str, rest: str, tls: Tls) -> TcpDoor:
    if "/" in rest.rstrip("/") or not rest:
        raise InvalidArgument(f"Invalid bind address format: {host}")
    address, number = _split(rest.rstrip("/"))
    default = TLS_PORT if tls.enabled else CLEAR_PORT
    if not (number or str(default)).isdecimal() or int(number or default) > 65535:
        raise InvalidArgument(f"Invalid bind address format: {host}")
    check_tcp(address, host, tls)
    return TcpDoor(address, int(number or default), tls.enabled)


def _split(text: str) -> tuple[str, str]:
    if text.startswith("["):
        address, _, rest = text[1:].partition("]")
        return address, rest.removeprefix(":")
    address, _, port = text.rpartition(":") if ":" in text else (text, "", "")
    return address, port


def check_tcp(address: str, host: str, tls: Tls) -> None:
    """Raises InvalidArgument unless who connects to `address` proves who he is, or sits here."""
    if tls.enabled and tls.verify:
        return
    if tls.enabled:
        raise InvalidArgument(
            f"refused to listen on {host}: --tls lets in whoever connects; "
            "use --tlsverify with --tlscacert, --tlscert and --tlskey"
        )
    if not is_loopback(address):
        raise InvalidArgument(
            f"refused to listen on {host} without TLS: whoever connects would own this machine; "
            "use --tlsverify with --tlscacert, --tlscert and --tlskey"
        )
    if not tls.explicit_off:
        raise InvalidArgument(
            f"refused to listen on {host} without TLS: "
            "clear text is served on loopback only, and only with --tls=false"
        )


def is_loopback(address: str) -> bool:
    if address == "localhost":
        return True
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
