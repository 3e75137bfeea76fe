"""Host ports: found free, and held by a socket that is bound and never listens.

A packet filter rule reserves nothing, so a published port is also bound; the container's shim keeps
the descriptor. Traffic never reaches that socket: the rules redirect it before. As it does not
listen, a connection that no rule redirects (to ::1, or after somebody flushed the rules) is refused
at once and the client tries the next address, where a listening socket would let it hang.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterable
from itertools import chain

import msgspec

from tiffin.core.container import PublishedPort
from tiffin.core.network import (
    ANY_ADDRESS,
    checked_host_address,
    no_port_is_free,
    port_cannot_be_bound,
    port_is_allocated,
)
from tiffin.errors import EngineFailure, Unsupported

_KINDS = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}
_DEFAULT_EPHEMERAL = (49153, 65535)


class Reservations:
    """Finds and binds host ports. Knows which ones containers hold, to say so in Docker's words."""

    def __init__(self) -> None:
        self._held: dict[str, set[PublishedPort]] = {}
        self._cursor = 0

    def held_by(self, container_id: str, ports: Iterable[PublishedPort]) -> None:
        self._held[container_id] = set(ports)

    def release(self, container_id: str) -> None:
        self._held.pop(container_id, None)

    def reserve(self, port: PublishedPort, last_port: int = 0) -> tuple[PublishedPort, int]:
        """The port as bound and its descriptor, which the caller owns. Raises EngineFailure."""
        if port.protocol not in _KINDS:
            raise Unsupported(f"publishing {port.protocol} ports is not supported")
        asked = msgspec.structs.replace(port, host_ip=checked_host_address(port.host_ip))
        if not asked.host_port:
            return self._any(asked)
        if last_port <= asked.host_port:
            return asked, self._bind(asked)
        return self._first_of(asked, range(asked.host_port, last_port + 1))

    def _any(self, port: PublishedPort) -> tuple[PublishedPort, int]:
        """As Docker: one after the other, starting over at the end, so that none is reused soon."""
        first, last = ephemeral_ports()
        start = self._cursor + 1 if first <= self._cursor < last else first
        found = self._first_of(port, chain(range(start, last + 1), range(first, start)))
        self._cursor = found[0].host_port
        return found

    def _first_of(
        self, port: PublishedPort, candidates: Iterable[int]
    ) -> tuple[PublishedPort, int]:
        first = last = port.host_port
        for number in candidates:
            first, last = min(first or number, number), max(last, number)
            candidate = msgspec.structs.replace(port, host_port=number)
            try:
                return candidate, bind(candidate)
            except OSError as error:
                if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                    raise self._refusal(candidate, error) from error
        raise EngineFailure(no_port_is_free(first, last, port.host_ip))

    def _bind(self, port: PublishedPort) -> int:
        try:
            return bind(port)
        except OSError as error:
            raise self._refusal(port, error) from error

    def _refusal(self, port: PublishedPort, error: OSError) -> EngineFailure:
        if error.errno == errno.EADDRINUSE and any(
            _clash(port, other) for held in self._held.values() for other in held
        ):
            return EngineFailure(port_is_allocated(port.host_ip, port.host_port))
        cause = os.strerror(error.errno or 0)
        return EngineFailure(
            port_cannot_be_bound(port.protocol, port.host_ip, port.host_port, cause)
        )


def _clash(one: PublishedPort, other: PublishedPort) -> bool:
    return (
        one.protocol == other.protocol
        and one.host_port == other.host_port
        and (one.host_ip == other.host_ip or ANY_ADDRESS in (one.host_ip, other.host_ip))
    )


def bind(port: PublishedPort) -> int:
    """A descriptor bound to the host port, alone: no other program can bind it. Raises OSError."""
    held = socket.socket(socket.AF_INET, _KINDS[port.protocol] | socket.SOCK_CLOEXEC)
    with held:
        address = (port.host_ip, port.host_port)
        if port.protocol == "udp":
            # Nobody reads this socket: what strays into it shall not cost memory.
            held.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 0)
        try:
            held.bind(address)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or port.protocol != "tcp":
                raise
            _bind_over_old_connections(held, address)
        return held.detach()


def _bind_over_old_connections(held: socket.socket, address: tuple[str, int]) -> None:
    """Bind although connections of a program that is gone are still in TIME_WAIT.

    That takes SO_REUSEADDR, which would also let another program in later, as long as neither
    listens. To listen makes the kernel check again and forget that the port may be shared;
    shutdown ends the listening and keeps the binding.
    """
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(address)
    held.listen(0)
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
    held.shutdown(socket.SHUT_RD)


def ephemeral_ports() -> tuple[int, int]:
    try:
        with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as file:
            first, last = file.read().split()
    except (OSError, ValueError):
        return _DEFAULT_EPHEMERAL
    return int(first), int(last)
