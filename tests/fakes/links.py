"""Links without a kernel: remembers who is connected, and keeps ports as the real one does."""

from __future__ import annotations

import os
import select
from collections.abc import Collection, Sequence

import msgspec

from tiffin.core.container import Endpoint, PublishedPort
from tiffin.core.network import (
    checked_host_address,
    no_port_is_free,
    port_cannot_be_bound,
    port_is_allocated,
)
from tiffin.errors import EngineFailure, Unsupported

FIRST_EPHEMERAL_PORT = 32768


class FakeLinks:
    """engine.ports.Links in memory. A reserved port's descriptor is a pipe's end: while it is open
    somewhere, the port is held.

    `connected`, `published`, `loopbacks` and `calls` are for tests to look at; `host_programs` are
    (protocol, port) that somebody else holds; `failure` is raised by the next connect.
    """

    def __init__(self) -> None:
        self.name, self.mtu = "tiffin0", 1500
        self.subnet, self.gateway = "172.17.0.0/16", "172.17.0.1"
        self.connected: dict[str, tuple[Endpoint, int]] = {}
        self.published: dict[str, tuple[PublishedPort, ...]] = {}
        self.loopbacks: list[int] = []
        self.calls: list[tuple[str, str]] = []
        self.host_programs: set[tuple[str, int]] = set()
        self.failure: Exception | None = None
        self._held: dict[PublishedPort, int] = {}  # the other end of the pipe

    async def open(self) -> None:
        self.calls.append(("open", ""))

    async def close(self, *, keep: bool) -> None:
        self.calls.append(("close", "keep" if keep else ""))
        for end in self._held.values():
            os.close(end)
        self._held.clear()

    async def connect(self, container_id: str, endpoint: Endpoint, pid: int) -> None:
        self.calls.append(("connect", container_id))
        if self.failure is not None:
            failure, self.failure = self.failure, None
            raise failure
        self.connected[container_id] = (endpoint, pid)

    async def loopback(self, pid: int) -> None:
        self.loopbacks.append(pid)

    async def disconnect(self, container_id: str) -> None:
        self.calls.append(("disconnect", container_id))
        self.connected.pop(container_id, None)
        self.published.pop(container_id, None)

    async def sweep(self, live_container_ids: Collection[str]) -> None:
        for container_id in {*self.connected, *self.published} - set(live_container_ids):
            await self.disconnect(container_id)

    def reserve(self, port: PublishedPort, last_port: int = 0) -> tuple[PublishedPort, int]:
        if port.protocol not in ("tcp", "udp"):
            raise Unsupported(f"publishing {port.protocol} ports is not supported")
        asked = msgspec.structs.replace(port, host_ip=checked_host_address(port.host_ip))
        first, last = asked.host_port, max(asked.host_port, last_port)
        if not first:
            first, last = FIRST_EPHEMERAL_PORT, 65535
        for number in range(first, last + 1):
            candidate = msgspec.structs.replace(asked, host_port=number)
            if self._is_free(candidate):
                return candidate, self._hold(candidate)
        raise EngineFailure(self._refusal(asked, first, last))

    async def publish(
        self, container_id: str, endpoint: Endpoint, ports: Sequence[PublishedPort]
    ) -> None:
        self.calls.append(("publish", container_id))
        self.published[container_id] = tuple(ports)

    def published_ports(self) -> dict[str, tuple[PublishedPort, ...]]:
        return self.published

    def _hold(self, port: PublishedPort) -> int:
        given, kept = os.pipe()
        self._held[port] = kept
        return given

    def _is_free(self, port: PublishedPort) -> bool:
        self._forget_closed()
        return (port.protocol, port.host_port) not in self.host_programs and not any(
            _clash(port, held) for held in self._held
        )

    def _forget_closed(self) -> None:
        for port, end in list(self._held.items()):
            if _reader_is_gone(end):
                os.close(end)
                del self._held[port]

    def _refusal(self, port: PublishedPort, first: int, last: int) -> str:
        if first != last:
            return no_port_is_free(first, last, port.host_ip)
        if any(_clash(port, other) for ports in self.published.values() for other in ports):
            return port_is_allocated(port.host_ip, first)
        return port_cannot_be_bound(port.protocol, port.host_ip, first, "Address already in use")


def _clash(one: PublishedPort, other: PublishedPort) -> bool:
    return (
        one.protocol == other.protocol
        and one.host_port == other.host_port
        and (one.host_ip == other.host_ip or "0.0.0.0" in (one.host_ip, other.host_ip))
    )


def _reader_is_gone(end: int) -> bool:
    poll = select.poll()
    poll.register(end, 0)  # POLLERR is told always: nobody can read what would be written
    return bool(poll.poll(0))
