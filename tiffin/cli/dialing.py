"""Sockets to a daemon, by the scheme of its host: unix, tcp, tcp with TLS, ssh.

Whatever the scheme, a plain socket comes back: TLS and ssh sit at the other end of a socket pair.
"""

from __future__ import annotations

import _socket

from tiffin.cli.failures import CommandFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tiffin.cli.hosts import TlsFiles


def dial(host: str, tls: TlsFiles | None = None) -> _socket.socket:
    """Raises OSError when nobody is there, CommandFailed for a host that makes no sense."""
    scheme, _, address = host.partition("://")
    if scheme == "unix":
        unix = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
        unix.connect(address)
        return unix
    if scheme == "tcp" and address:
        name, port = split_address(address.partition("/")[0], "2376" if tls else "2375")
        raw = _dial_tcp(host, name, port)
        if tls is None:
            return raw
        from tiffin.cli.tls import wrap

        return wrap(raw, name, tls)
    if scheme == "ssh":
        from tiffin.cli.ssh import dial_ssh

        return dial_ssh(host)
    raise CommandFailed(f"Failed to initialize: unable to parse docker host `{host}`")


def split_address(address: str, port: str) -> tuple[str, str]:
    """Name and port of `name`, `name:port`, `[::1]:port`."""
    if address.startswith("["):
        name, _, rest = address[1:].partition("]")
        return name, rest.removeprefix(":") or port
    name, _, given = address.partition(":")
    return name, given or port


def _dial_tcp(host: str, name: str, port: str) -> _socket.socket:
    try:
        places = _socket.getaddrinfo(name, port, 0, _socket.SOCK_STREAM)
    except _socket.gaierror as error:
        raise CommandFailed(
            f"error during connect: lookup {name}: {(error.strerror or '').lower()}"
        ) from error
    failure: OSError = OSError(f"no address for {host}")
    for family, kind, number, _, place in places:
        tcp = _socket.socket(family, kind, number)
        try:
            tcp.connect(place)
        except OSError as error:
            failure = error
            tcp.close()
        else:
            tcp.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
            return tcp
    raise failure
