"""Where a daemon is: the host that names its door, and how both sides prove who they are."""

from __future__ import annotations

from tiffin.cli.failures import CommandFailed

DEFAULT_HOST = "unix:///run/tiffin/tiffin.sock"
# Where Docker looks for a daemon that speaks TLS, if nobody says where it is.
DEFAULT_TLS_HOST = "tcp://localhost:2376"
DEFAULT_CONTEXT = "default"
_PORT = "2375"
_SCHEMES = ("unix://", "tcp://", "ssh://", "fd://", "npipe://")


class TlsFiles:
    """How to prove who we are, and whether the daemon has to; "" where there is no such file."""

    def __init__(self, ca: str, certificate: str, key: str, *, verify: bool):
        self.ca = ca
        self.certificate = certificate
        self.key = key
        self.verify = verify


class Target:
    """`named`: somebody chose it, so that we do not start a daemon for it."""

    def __init__(
        self, host: str, tls: TlsFiles | None, *, named: bool, context: str = DEFAULT_CONTEXT
    ):
        self.host = host
        self.tls = tls
        self.named = named
        self.context = context


def whole_host(host: str) -> str:
    """The host with its scheme, and what it leaves out. CommandFailed for a scheme of none."""
    if host.startswith("/"):
        return f"unix://{host}"
    scheme, separator, address = host.partition("://")
    if not separator:
        scheme, address = "tcp", host
    if f"{scheme}://" not in _SCHEMES:
        raise _unresolved(f"invalid bind address format: {host}")
    if scheme in ("tcp", "unix") and "://" in address:
        raise _unresolved(f"invalid proto, expected {scheme}: {address}")
    if scheme == "tcp":
        return f"tcp://{_tcp_address(address)}"
    return DEFAULT_HOST if scheme == "unix" and not address else f"{scheme}://{address}"


def _tcp_address(address: str) -> str:
    """Name and port, which are `localhost` and 2375 where they are not said; and a path."""
    where, slash, path = address.partition("/")
    if where.startswith("["):
        if "]" not in where:
            raise _unresolved(f"parse \"tcp://{address}\": missing ']' in host")
        name, _, rest = where[1:].partition("]")
        port = rest.removeprefix(":")
    else:
        name, _, port = where.partition(":")
    if ":" in port or not (port or "0").isdecimal():
        raise _unresolved(f'parse "tcp://{address}": invalid port ":{port}" after host')
    name = name or "localhost"
    return f"{f'[{name}]' if ':' in name else name}:{port or _PORT}{slash}{path}"


def _unresolved(problem: str) -> CommandFailed:
    return CommandFailed(f"Failed to initialize: unable to resolve docker endpoint: {problem}")
