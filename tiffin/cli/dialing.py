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
        if tls is None:
            return _dial_tcp(host, name, port)
        from tiffin.cli.tls import client_context, wrap

        context = client_context(tls)  # first: what is wrong with our files is said in any case
        return wrap(_dial_tcp(host, name, port), name, context)
    if scheme == "ssh":
        from tiffin.cli.ssh import dial_ssh

        return dial_ssh(host)
    if scheme == "npipe":
        raise CommandFailed("Failed to initialize: protocol not available")
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
        words = "no such host"
        if error.errno != _socket.EAI_NONAME:
            words = (error.strerror or "").lower()
        raise CommandFailed(f"error during connect: dial tcp: lookup {name}: {words}") from error
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
