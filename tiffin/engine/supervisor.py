"""The life of containers: a user's verbs on it, and whose work each part of it is.

Changes happen under the container's lock; waiting for an exit holds none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import msgspec

from tiffin.core import health, lifecycle
from tiffin.core.container import Container, Status
from tiffin.core.lifecycle import Action
from tiffin.core.workload import Exit, KnownExec
from tiffin.engine import exhaustion, unkillable
from tiffin.engine.attachments import Attachments
from tiffin.engine.catalog import Catalog
from tiffin.engine.clients import Clients
from tiffin.engine.containerevents import emit_container
from tiffin.engine.ending import Ending
from tiffin.engine.events import Events
from tiffin.engine.exits import Exits
from tiffin.engine.idranges import IdRanges
from tiffin.engine.logtargets import LogTargets
from tiffin.engine.ooms import OOMWatch
from tiffin.engine.ports import ContainerRuntime
from tiffin.engine.recovery import Recoveries
from tiffin.engine.restarts import Restarts
from tiffin.engine.starting import Starting
from tiffin.engine.tasks import Tasks
from tiffin.engine.useevents import emit_taken
from tiffin.engine.volumemounts import VolumeMounts
from tiffin.engine.waiting import ExitResult
from tiffin.errors import (
    CannotStart,
    EngineFailure,
    NotModified,
    TiffinError,
)
from tiffin.kernel import failpoints
from tiffin.storage.snapshots import SnapshotStore


class Supervisor:
    def __init__(
        self,
        catalog: Catalog,
        runtime: ContainerRuntime,
        snapshots: SnapshotStore,
        attachments: Attachments,
        id_ranges: IdRanges,
        events: Events,
        containers_directory: str,
    ) -> None:
        self._catalog = catalog
        self._runtime = runtime
        self._events = events
        self.tasks = Tasks()
        self.log_targets = LogTargets(containers_directory)
        self.restarts = Restarts(catalog, self.tasks, self._start_again)
        self.clients = Clients(catalog, runtime, self.restarts)
        self.ending = Ending(catalog, runtime, events, self.restarts, self.clients, self.unpause)
        self.volume_mounts = VolumeMounts()
        self._ooms = OOMWatch(runtime.group, self._on_oom)
        self._starting = Starting(
            catalog,
            runtime,
            snapshots,
            attachments,
            id_ranges,
            self.log_targets,
            self.clients,
            self.volume_mounts,
        )
        self.exits = Exits(
            catalog,
            runtime,
            attachments,
            id_ranges,
            events,
            self.tasks,
            self.restarts,
            self.clients,
            self._ooms,
            self.volume_mounts,
        )
        self.recoveries = Recoveries(
            catalog, runtime, attachments, id_ranges, self.exits, self._ooms, self.volume_mounts
        )
        self._on_exec_exit: Callable[[Exit], None] = lambda _: None
        runtime.on_exit(self._on_exit)

    def watch_processes(
        self,
        on_exec_exit: Callable[[Exit], None],
        on_container_end: Callable[[str], None],
        on_execs_found: Callable[[str, list[KnownExec]], None],
    ) -> None:
        """Who is told when an exec ends, when a container does with all of its execs, and what
        execs an earlier daemon has left in a container.
        """
        self._on_exec_exit = on_exec_exit
        self.recoveries.on_execs_found = on_execs_found
        self.exits.on_container_end = on_container_end

    def _on_exit(self, ended: Exit) -> None:
        if ended.exec_id:
            self._on_exec_exit(ended)
            return
        self.tasks.own(self.exits.handle(ended))

    def _on_oom(self, container_id: str) -> None:
        """Somebody in it was killed for want of memory; it may go on."""
        container = self._catalog.find_id(container_id)
        if container is not None:
            emit_container(self._events, container, "oom")

    async def close(self) -> None:
        """Stop watching; containers go on."""
        await self.tasks.close()
        self.clients.close()
        self._ooms.close()

    # -- verbs -----------------------------------------------------------------------------------

    async def start(self, reference: str) -> Container:
        """Raises NotModified when it runs, CannotStart when it does not come up."""
        container = self._catalog.get(reference)
        if container.state.status is Status.RESTARTING:  # as Docker: its policy starts it
            raise NotModified("container already started")
        return await self._start_by_hand(container.id)

    async def _start_by_hand(self, container_id: str) -> Container:
        # A client that goes away does not leave half a start behind: the start goes on.
        return await asyncio.shield(self.tasks.keep(self._start(container_id, restarts=0)))

    async def _start_again(self, container_id: str) -> Container:
        return await asyncio.shield(self.tasks.keep(self._start(container_id)))

    async def _start(self, container_id: str, *, restarts: int | None = None) -> Container:
        """`restarts`: how many its policy has made; None is as many as before."""
        async with self._catalog.lock(container_id):
            container = self._catalog.get(container_id)
            lifecycle.transition(container, Action.START)
            self.restarts.cancel(container_id)
            if restarts is not None:
                self.restarts.forget_backoff(container_id)
                state = msgspec.structs.replace(container.state, restart_count=restarts)
                container = msgspec.structs.replace(container, state=state)
            try:
                container = await self._starting.bring_up(container)
            except TiffinError as error:
                await self._note_failed_start(container, error)
                raise
            except Exception as error:  # a full disk, mostly; whatever it is, clients wait
                why = exhaustion.words(error) or str(error)
                failure = EngineFailure(f"cannot start container {container.name}: {why}")
                await self._note_failed_start(container, failure)
                raise failure from error
        emit_taken(self._events, container)
        emit_container(self._events, container, "start")
        self._ooms.watch(container)
        return container

    async def _note_failed_start(self, container: Container, error: TiffinError) -> None:
        unset = container.state.exit_code or 128  # what is there already stays, as in Docker
        exit_code = error.exit_code if isinstance(error, CannotStart) else unset
        state = lifecycle.failed_start(container.state, exit_code, error.message)
        container = await self.exits.record(container, state)
        self.clients.drop_early(container.id)
        # Who asked for the start is told why; a client that also waits would say it twice.
        await self.clients.tell_end(container.id, ExitResult(exit_code))
        if container.host_config.auto_remove:
            self.tasks.own(self.exits.remove_after(container.id))

    async def stop(
        self, reference: str, *, signal: str | None = None, timeout: int | None = None
    ) -> None:
        """Ask, wait, then kill. `timeout`: seconds, -1 for ever. Raises NotModified."""
        container = await self._catalog.settled(reference)
        await self.ending.stop(container, "stop", signal, timeout)

    async def kill(self, reference: str, signal: str = "SIGKILL") -> None:
        await self.ending.kill(reference, signal)

    async def restart(
        self, reference: str, *, signal: str | None = None, timeout: int | None = None
    ) -> None:
        container = await self._catalog.settled(reference)
        self.exits.restarted_by_hand.add(container.id)
        try:
            if container.state.status in lifecycle.LIVE:
                with suppress(NotModified):  # it has ended meanwhile
                    await self.ending.stop(container, "restart", signal, timeout)
            failpoints.reach("restart-stopped")
            with suppress(NotModified):  # somebody was quicker
                await self._start_by_hand(container.id)
        finally:
            self.exits.restarted_by_hand.discard(container.id)
        emit_container(self._events, container, "restart")

    async def pause(self, reference: str) -> None:
        await self._freeze(reference, Action.PAUSE, self.freeze)

    async def unpause(self, reference: str) -> None:
        await self._freeze(reference, Action.UNPAUSE, self._runtime.unpause)

    async def freeze(self, container_id: str) -> None:
        """Its processes; records know nothing of it. Raises EngineFailure, naming who runs on."""
        try:
            await self._runtime.pause(container_id)
        except EngineFailure as error:
            named = await unkillable.named(self._runtime, container_id)
            raise EngineFailure(error.message + named) from error

    async def _freeze(
        self, reference: str, action: Action, carry_out: Callable[[str], Awaitable[None]]
    ) -> None:
        container = self._catalog.get(reference)
        async with self._catalog.lock(container.id):
            container = self._catalog.get(container.id)
            status = lifecycle.transition(container, action)
            await carry_out(container.id)
            failpoints.reach(f"{action}-done")
            state = msgspec.structs.replace(container.state, status=status)
            if action is Action.PAUSE:  # nobody probes what is frozen; the next probe says more
                state = msgspec.structs.replace(state, health=health.at_end(state.health))
            await self._catalog.put_state(container, state)
        emit_container(self._events, container, action.value)

    async def removed(self, container: Container) -> None:
        """Tell those who wait for the removal, and forget what was kept for it."""
        await self.clients.tell_removed(container)
        self.restarts.forget_backoff(container.id)
