"""Clients of a container's life: who attaches before it starts, who waits for it to end."""

from __future__ import annotations

import asyncio
import fcntl
import os
import termios
from collections import defaultdict
from typing import NamedTuple

from tiffin.core import lifecycle
from tiffin.core.container import Container, Status
from tiffin.core.workload import Attachment, ExitAnswer
from tiffin.engine.catalog import Catalog
from tiffin.engine.heldclients import HeldClients
from tiffin.engine.ports import ContainerRuntime
from tiffin.engine.restarts import Restarts
from tiffin.engine.waiting import ExitResult, Waiters
from tiffin.errors import InvalidArgument

GOING_ON = lifecycle.LIVE | {Status.RESTARTING}


class EarlyClient(NamedTuple):
    """A connection that waits for its container to start, which owns the descriptor then."""

    connection: int
    attachment: Attachment
    early: bytes
    reads_head_apart: bool = False  # what comes with the head of its answer would be lost to it


_HEAD_LOOKS, _HEAD_LOOK_SECONDS = 5000, 0.001


async def until_head_is_read(descriptor: int) -> None:
    """A client that is slow to read is not waited for, nor is one by TCP."""
    unread = bytearray(4)
    for _ in range(_HEAD_LOOKS):
        fcntl.ioctl(descriptor, termios.TIOCOUTQ, unread)
        if not any(unread):
            return
        await asyncio.sleep(_HEAD_LOOK_SECONDS)


class Clients:
    def __init__(self, catalog: Catalog, runtime: ContainerRuntime, restarts: Restarts) -> None:
        self._catalog = catalog
        self._runtime = runtime
        self._restarts = restarts
        self._waiters = Waiters()
        self._held = HeldClients(runtime)
        self._early: dict[str, list[EarlyClient]] = defaultdict(list)

    # -- before and at a start -------------------------------------------------------------------

    def hold_for_start(self, container_id: str, waiting: EarlyClient) -> None:
        """Keep a client that attached first (as `docker run` does); the start joins it."""
        self._early[container_id].append(waiting)

    async def join_early(self, container_id: str) -> None:
        """To the shim of a container that is made, and does not run yet."""
        for waiting in self._early.pop(container_id, []):
            try:
                await self.join(container_id, waiting)
            finally:
                os.close(waiting.connection)
        removals = self._catalog.get(container_id).host_config.auto_remove
        await self._held.hand_over(container_id, removals=removals)

    async def join(self, container_id: str, client: EarlyClient) -> None:
        """To the shim of a container that is there."""
        connection, attachment, early, reads_head_apart = client
        if reads_head_apart:
            await until_head_is_read(connection)
        await self._runtime.attach(container_id, connection, attachment, early=early)

    def drop_early(self, container_id: str) -> None:
        for waiting in self._early.pop(container_id, []):
            os.close(waiting.connection)

    def take_back(self, container_id: str) -> None:
        """The start has failed, and its shim says nothing to them."""
        self._held.take_back(container_id)

    async def started(self, container: Container) -> None:
        """The shim has those who were there, and is given who came meanwhile."""
        self._held.handed_over(container.id)
        await self._give(container)

    async def _give(self, container: Container) -> None:
        """Those who wait for its end to the shim of a running container."""
        removals = container.host_config.auto_remove
        await self._held.hand_over(container.id, removals=removals)
        self._held.handed_over(container.id)

    # -- the end ---------------------------------------------------------------------------------

    def next_exit(self, container_id: str) -> asyncio.Future[ExitResult]:
        return self._waiters.next_exit(container_id)

    def wait(self, reference: str, condition: str = "not-running") -> asyncio.Future[ExitResult]:
        """A future of the exit. The container is looked up at once, so NotFound is raised here."""
        container = self._catalog.get(reference)
        if condition in ("", "not-running"):
            if container.state.status in lifecycle.LIVE or container.id in self._restarts:
                return self._waiters.next_exit(container.id)
            future: asyncio.Future[ExitResult] = asyncio.get_running_loop().create_future()
            future.set_result(ExitResult(container.state.exit_code, container.state.error))
            return future
        if condition == "next-exit":
            return self._waiters.next_exit(container.id)
        if condition == "removed":
            return self._waiters.removal(container.id)
        raise InvalidArgument(f'invalid condition: "{condition}"')

    async def answer_exit(
        self,
        container_id: str,
        exited: asyncio.Future[ExitResult],
        connection: int,
        answer: ExitAnswer,
    ) -> None:
        """Have a client told what `exited`, a future of wait(), was to tell.

        `connection` belongs to whoever keeps the client from here on: us, or the shim.
        """
        if exited.done():
            self._held.hold(container_id, connection, answer, exited.result().exit_code)
            return
        self._held.hold(container_id, connection, answer)
        exited.cancel()
        container = self._catalog.find_id(container_id)
        if container is not None and container.state.status in lifecycle.LIVE:
            await self._give(container)

    def until_ended(self, container_id: str) -> asyncio.Task[object]:
        """Done when it neither runs nor is about to run again. The caller may cancel it."""
        return asyncio.get_running_loop().create_task(self._until_ended(container_id))

    async def _until_ended(self, container_id: str) -> object:
        while True:
            container = self._catalog.find_id(container_id)
            if container is None or container.state.status not in GOING_ON:
                return None
            await self._waiters.next_exit(container_id)

    async def tell_end(self, container_id: str, result: ExitResult) -> None:
        self._waiters.ended(container_id, result)
        self._held.ended(container_id, result.exit_code, removed=False)
        await self._runtime.tell(container_id, removed=False)

    async def tell_removed(self, container: Container) -> None:
        exit_code = container.state.exit_code
        self._waiters.removed(container.id, ExitResult(exit_code))
        self._held.ended(container.id, exit_code, removed=True)
        await self._runtime.tell(container.id, removed=True)
        self.drop_early(container.id)

    def close(self) -> None:
        self._held.close()
