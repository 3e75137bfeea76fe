"""Published ports of a container that runs: changed under its feet, without a restart.

As at a start: reserve (a taken port fails here), let the packet filter redirect, have the shim hold
the sockets, write the row. What the packet filter says is compared with the row when a daemon
comes up, so a crash in between is mended by `recover`.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from contextlib import AsyncExitStack, suppress

import msgspec

from tiffin.core.container import Container, PublishedPort
from tiffin.core.lifecycle import LIVE
from tiffin.core.publishing import Publishing, Replaced, replaced
from tiffin.engine.attachments import network_of
from tiffin.engine.ports import ContainerRuntime, Links
from tiffin.errors import Conflict, EngineFailure, TiffinError

log = logging.getLogger(__name__)


class Publisher:
    def __init__(self, links: Links, runtime: ContainerRuntime) -> None:
        self._links = links
        self._runtime = runtime

    async def change(
        self, container: Container, wanted: Publishing, undo: AsyncExitStack
    ) -> Container:
        """The container's record with its ports as wanted, in force already where it runs.

        `undo` puts them back unless the caller has kept the record. Raises InvalidArgument, and
        Conflict: a port is taken, or the container has no network of its own.
        """
        mode = network_of(container.host_config)
        if mode != "bridge":
            raise Conflict(f"ports cannot be published with network mode {mode}")
        running = container.state.status in LIVE
        in_force = container.state.ports if running else ()
        plan = replaced(container.config, container.host_config, in_force, wanted, container.name)
        if running:
            ports = await self._bring_into_force(container, plan, undo)
            state = msgspec.structs.replace(container.state, ports=ports)
            container = msgspec.structs.replace(container, state=state)
        return msgspec.structs.replace(container, host_config=plan.host_config)

    async def _bring_into_force(
        self, container: Container, plan: Replaced, undo: AsyncExitStack
    ) -> tuple[PublishedPort, ...]:
        descriptors: list[int] = []
        try:
            ports = (*plan.kept, *self._reserve(plan, descriptors))
            undo.push_async_callback(self._put_back, container)
            await self._put(container, ports, descriptors)
        finally:
            _close_all(descriptors)
        return ports

    def _reserve(self, plan: Replaced, descriptors: list[int]) -> list[PublishedPort]:
        """The ports to add, each with its socket unless one that goes has it already."""
        free = set(map(_place, plan.removed))
        ports = []
        for asked, last in plan.added:
            if _place(asked) in free:
                free.discard(_place(asked))
                ports.append(asked)
                continue
            try:
                port, descriptor = self._links.reserve(asked, last)
            except EngineFailure as error:
                raise Conflict(error.message) from error
            descriptors.append(descriptor)
            ports.append(port)
        return ports

    async def _put(
        self, container: Container, ports: tuple[PublishedPort, ...], descriptors: list[int]
    ) -> None:
        await self._links.publish(container.id, container.state.endpoints[0], ports)
        await self._runtime.hold(container.id, descriptors, ports)

    async def _put_back(self, container: Container) -> None:
        """As its record says. A socket that is held by nobody any more is bound again if it can."""
        descriptors: list[int] = []
        try:
            for port in container.state.ports:
                with suppress(EngineFailure):  # for the most part: it is held as ever
                    descriptors.append(self._links.reserve(port)[1])
            await self._put(container, container.state.ports, descriptors)
        except TiffinError as error:
            log.warning("ports not put back container=%s: %s", container.id, error.message)
        finally:
            _close_all(descriptors)

    async def recover(self, living: Iterable[Container]) -> None:
        """Make the packet filter agree with the records, whatever a crash or a flush has left."""
        published = self._links.published_ports()
        for container in living:
            if set(published.get(container.id, ())) != set(container.state.ports):
                await self._put_back(container)


def _close_all(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def _place(port: PublishedPort) -> tuple[str, str, int]:
    return port.protocol, port.host_ip, port.host_port
