"""Attach with logs: what a container has said so far, then what it says, every byte once.

The log and the live streams are the shim's, so the shim says where the one ends and the other
begins: it holds the client from then on, we give that the log up to there, and let it go on. A
container that does not run has a log that stands still: the client joins its next start, under the
lock that a start takes, once it has all of the log.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable

from tiffin.core import lifecycle
from tiffin.core.container import Container
from tiffin.core.loglines import LogBatch
from tiffin.core.workload import LogPosition
from tiffin.engine.catalog import Catalog
from tiffin.engine.clients import Clients, EarlyClient
from tiffin.engine.ports import ContainerRuntime, HeldClient
from tiffin.errors import Conflict
from tiffin.runtime.logreader import LogCursor

Give = Callable[[LogBatch], Awaitable[None]]


class Replay:
    """For one client, whose connection is the caller's; `give` writes lines to it."""

    def __init__(
        self,
        catalog: Catalog,
        clients: Clients,
        runtime: ContainerRuntime,
        client: EarlyClient,
        give: Give,
    ) -> None:
        self._catalog = catalog
        self._clients = clients
        self._runtime = runtime
        self._client = client
        self._give = give

    async def run(self, container: Container, log: LogCursor) -> None:
        """Returns once the client has the log and is attached; or has gone, or its container.

        `container`: as the client found it. What ran then, or was started since, is what it is for.
        """
        container_id = container.id
        while not await self._is_running(container_id):
            await self._pass_on(log, None)
            if await self._waits_for_start(container, log):
                return
        connection, attachment, early, _ = self._client
        try:
            held = await self._runtime.hold_client(
                container_id, connection, attachment, early=early
            )
        except Conflict:  # it has ended just now
            await self._pass_on(log, None)
            return
        if held is not None:
            await self._pass_on_up_to(held, log)
        else:  # by an older shim, without what is said between the two
            await self._pass_on(log, None)
            await self._runtime.attach(container_id, connection, attachment, early=early)

    async def _is_running(self, container_id: str) -> bool:
        async with self._catalog.lock(container_id):
            return self._catalog.get(container_id).state.status in lifecycle.LIVE

    async def _waits_for_start(self, container: Container, log: LogCursor) -> bool:
        """Unless it has said more meanwhile, or is about to; or that start has come and gone."""
        async with self._catalog.lock(container.id):
            state = self._catalog.get(container.id).state
            if state.status in lifecycle.LIVE or not log.is_at_end():
                return False
            if not lifecycle.ended_since(container.state, state):
                waiting = self._client._replace(connection=os.dup(self._client.connection))
                self._clients.hold_for_start(container.id, waiting)
            return True

    async def _pass_on(self, log: LogCursor, end: LogPosition | None) -> None:
        async for batch in log.read_to(end):
            await self._give(batch)

    async def _pass_on_up_to(self, held: HeldClient, log: LogCursor) -> None:
        joined = False
        try:
            await log.open()
            if not await held.taken():
                return
            async for batch in log.read_to(held.log):
                await self._give(batch)
                if not await held.taken():
                    return
            joined = True
        finally:
            await held.end(joined=joined)
