"""The sockets of published ports that a shim holds: bound, never read, and known by where."""

from __future__ import annotations

import os
from _socket import SOCK_STREAM, socket

_KIND_BITS = 0xF  # of a socket's type: the rest are flags


def retain(held: list[int], keep: list[list[str | int]]) -> None:
    """Close each that is bound to none of `keep`: (protocol, address, port)."""
    wanted = {tuple(place) for place in keep}
    for fd in list(held):
        if _place_of(fd) not in wanted:
            held.remove(fd)
            os.close(fd)


def _place_of(fd: int) -> tuple[str, str, int]:
    bound = socket(fileno=fd)
    try:
        address, port = bound.getsockname()[:2]
        protocol = "tcp" if bound.type & _KIND_BITS == SOCK_STREAM else "udp"
        return protocol, address, port
    finally:
        bound.detach()
