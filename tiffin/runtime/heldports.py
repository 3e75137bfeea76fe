"""The sockets of published ports that a shim holds: bound, never read, and known by where.

What it holds and is no socket (the claim on its ids) it goes on holding.
"""

from __future__ import annotations

import os
from _socket import SOCK_STREAM, socket

_KIND_BITS = 0xF  # of a socket's type: the rest are flags
_KIND_OF_FILE, _SOCKET = 0o170000, 0o140000  # stat(2)'s S_IFMT and S_IFSOCK


def retain(held: list[int], keep: list[list[str | int]]) -> None:
    """Close each that is bound to none of `keep`: (protocol, address, port)."""
    wanted = {tuple(place) for place in keep}
    for fd in list(held):
        if _is_socket(fd) and _place_of(fd) not in wanted:
            held.remove(fd)
            os.close(fd)


def _is_socket(fd: int) -> bool:
    return os.fstat(fd).st_mode & _KIND_OF_FILE == _SOCKET


def _place_of(fd: int) -> tuple[str, str, int]:
    bound = socket(fileno=fd)
    try:
        address, port = bound.getsockname()[:2]
        protocol = "tcp" if bound.type & _KIND_BITS == SOCK_STREAM else "udp"
        return protocol, address, port
    finally:
        bound.detach()
