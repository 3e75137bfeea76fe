"""What follows an exit: the record, what is given back, who is told, a restart or a removal."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable

from tiffin.core import lifecycle
from tiffin.core.container import Container, State
from tiffin.core.workload import Exit
from tiffin.engine.attachments import Attachments
from tiffin.engine.catalog import Catalog
from tiffin.engine.clients import Clients
from tiffin.engine.containerevents import emit_container
from tiffin.engine.events import Events
from tiffin.engine.idranges import IdRanges
from tiffin.engine.ooms import OOMWatch
from tiffin.engine.ports import ContainerRuntime
from tiffin.engine.restarts import Restarts
from tiffin.engine.tasks import Tasks
from tiffin.engine.useevents import emit_given_back
from tiffin.engine.volumemounts import VolumeMounts
from tiffin.engine.waiting import ExitResult
from tiffin.errors import EngineFailure, NotFound, TiffinError
from tiffin.kernel import failpoints

log = logging.getLogger(__name__)

_RECORD_SECONDS = 2.0  # in which an end is written down, on a disk that answers


class Exits:
    def __init__(
        self,
        catalog: Catalog,
        runtime: ContainerRuntime,
        attachments: Attachments,
        id_ranges: IdRanges,
        events: Events,
        tasks: Tasks,
        restarts: Restarts,
        clients: Clients,
        ooms: OOMWatch,
        volume_mounts: VolumeMounts,
    ) -> None:
        self._catalog = catalog
        self._runtime = runtime
        self._attachments = attachments
        self._id_ranges = id_ranges
        self._events = events
        self._tasks = tasks
        self._restarts = restarts
        self._clients = clients
        self._ooms = ooms
        self._volume_mounts = volume_mounts
        self._recording: dict[str, asyncio.Future[None]] = {}
        self.restarted_by_hand: set[str] = set()  # to be removed after their exit is not for now
        self.on_container_end: Callable[[str], None] = lambda _: None
        self.remove: Callable[[str], Awaitable[None]] | None = None  # with --rm

    async def handle(self, ended: Exit) -> None:
        async with self._catalog.lock(ended.container_id):
            container = self._catalog.find_id(ended.container_id)
            if container is None or container.state.status not in lifecycle.LIVE:
                return  # a start that failed: its own undo gives everything back
            ran = container
            uptime_seconds = _uptime(container.state)
            state = lifecycle.after(container.state, ended)
            restarts = not self._tasks.closing and lifecycle.restarts(
                container.host_config.restart_policy, state
            )
            if restarts:
                state = lifecycle.restarting(state)
            removes = self._removes(container)
            # The row comes before the run directory goes, and exit.json with that.
            if removes and not restarts and not self._tasks.closing:
                container = self._catalog.show_state(container, state)
                await self._release_names(container)
            else:
                names = asyncio.ensure_future(self._release_names(container))
                try:
                    container = await self.record(container, state)
                finally:
                    await names
                failpoints.reach("exit-recorded")
                await self._release_run(container)
            failpoints.reach("exit-released")
        self.on_container_end(container.id)
        if self._ooms.ended(container.id, oom_killed=ended.oom_killed):
            emit_container(self._events, container, "oom")
        self._emit_die(
            container, exitCode=str(ended.exit_code), execDuration=str(int(uptime_seconds))
        )
        emit_given_back(self._events, ran)
        if restarts:
            self._restarts.schedule(container, lifecycle.counted_uptime(state, uptime_seconds))
        await self._clients.tell_end(container.id, ExitResult(ended.exit_code))
        if removes:
            await self.remove_after(container.id)

    def _removes(self, container: Container) -> bool:
        return container.host_config.auto_remove and container.id not in self.restarted_by_hand

    def _emit_die(self, container: Container, **attributes: str) -> None:
        emit_container(self._events, container, "die", **attributes)

    async def note(self, container: Container, state: State) -> Container:
        """One that an earlier daemon did not see, under the container's lock."""
        ran, container = container, await self.record(container, state)
        await self.release(container)
        if state.oom_killed:
            emit_container(self._events, container, "oom")
        self._emit_die(container, exitCode=str(state.exit_code))
        emit_given_back(self._events, ran)
        await self._clients.tell_end(container.id, ExitResult(state.exit_code))
        return container

    async def record(self, container: Container, state: State) -> Container:
        """On a full disk in memory alone: who waits for the end is told all the same."""
        recorded = self._recording[container.id] = asyncio.get_running_loop().create_future()
        try:
            return await self._catalog.put_state(container, state)
        except EngineFailure as error:
            log.error("exit not kept container=%s: %s", container.id, error.message)  # noqa: TRY400
            return self._catalog.show_state(container, state)
        finally:
            del self._recording[container.id]
            recorded.set_result(None)

    async def recorded(self, container_id: str) -> None:
        """Returns once an end that is known of is in the record, or its disk takes too long.

        Its output has ended before that: who has seen so and asks now is to be told of the end.
        """
        recording = self._recording.get(container_id)
        if recording is not None:
            await asyncio.wait((recording,), timeout=_RECORD_SECONDS)

    async def release(self, container: Container) -> None:
        """Give back what a running container holds."""
        await self._release_run(container)
        await self._release_names(container)

    async def _release_run(self, container: Container) -> None:
        try:
            await self._runtime.remove(container.id)
        except TiffinError as error:
            log.warning("run directory stays container=%s: %s", container.id, error.message)

    async def _release_names(self, container: Container) -> None:
        """Address, ports, ids and volumes. What does not go now does at the next check."""
        try:
            await self._attachments.release(container.id)
        except TiffinError as error:
            log.warning("link stays container=%s: %s", container.id, error.message)
        self._id_ranges.release(container.id)
        await self._volume_mounts.give_back(container.id)

    async def remove_after(self, container_id: str) -> None:
        if self.remove is not None:
            try:
                await self.remove(container_id)
            except NotFound:
                pass  # someone removed it first
            except TiffinError as error:
                log.warning("auto-remove failed container=%s: %s", container_id, error.message)


def _uptime(state: State) -> float:
    """Seconds that a process that ended just now was up, by a clock that nobody sets."""
    born = state.start_ticks / os.sysconf("SC_CLK_TCK")
    return max(time.clock_gettime(time.CLOCK_BOOTTIME) - born, 0.0)
