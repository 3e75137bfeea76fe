"""A daemon's start over what the last one left: records made true, container by container."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

import msgspec

from tiffin.core import lifecycle
from tiffin.core.container import Container, State, Status
from tiffin.core.lifecycle import Recovery
from tiffin.core.verdict import of_unseen_end
from tiffin.core.workload import Created, Exit, KnownExec
from tiffin.engine import runrecord
from tiffin.engine.attachments import Attachments
from tiffin.engine.catalog import Catalog
from tiffin.engine.exits import Exits
from tiffin.engine.idranges import IdRanges
from tiffin.engine.ooms import OOMWatch
from tiffin.engine.ports import ContainerRuntime
from tiffin.engine.volumemounts import VolumeMounts

log = logging.getLogger(__name__)


class Recoveries:
    def __init__(
        self,
        catalog: Catalog,
        runtime: ContainerRuntime,
        attachments: Attachments,
        id_ranges: IdRanges,
        exits: Exits,
        ooms: OOMWatch,
        volume_mounts: VolumeMounts,
    ) -> None:
        self._catalog = catalog
        self._runtime = runtime
        self._attachments = attachments
        self._id_ranges = id_ranges
        self._exits = exits
        self._ooms = ooms
        self._volume_mounts = volume_mounts
        self.on_execs_found: Callable[[str, list[KnownExec]], None] = lambda _, __: None

    async def all(self) -> list[tuple[Container, Recovery]]:
        """Reconnect, mark exited, finish removals: what was done for whom. Safe to run twice.

        What becomes of one does not keep the daemon from the others.
        """
        containers = self._catalog.all()
        work = [self.one(container) for container in containers]
        done = []
        for container, decision in zip(
            containers, await asyncio.gather(*work, return_exceptions=True), strict=True
        ):
            if isinstance(decision, Recovery):
                done.append((container, decision))
            else:
                log.error("recovery failed container=%s", container.id, exc_info=decision)
        return done

    async def one(self, container: Container) -> Recovery:
        async with self._catalog.lock(container.id):
            decision = await self._reconcile(self._catalog.get(container.id))
        if decision is Recovery.FINISH_REMOVAL:
            await self._exits.remove_after(container.id)
        return decision

    async def forget_run(self, container_id: str) -> None:
        """End what no record knows: a start that was cut short."""
        await self._runtime.remove(container_id)
        await self._runtime.tell(container_id, removed=True)

    async def _reconcile(self, container: Container) -> Recovery:
        observed: Created | Exit | None = None
        if container.state.status in lifecycle.LIVE and self._same_boot(container.state):
            observed = await self._runtime.reconnect(container.id)
            self.on_execs_found(container.id, self._runtime.found_execs(container.id))
        elif lifecycle.reconcile(container, None) is Recovery.KEEP:
            container, observed = await self._unrecorded(container)
        decision = lifecycle.reconcile(container, observed)
        if decision is Recovery.RECONNECT:
            await self._settle_freeze(container)
            if container.state.id_range is not None:
                self._id_ranges.keep(container.id, container.state.id_range)
            self._attachments.keep(container)
            self._volume_mounts.keep(container)
            self._ooms.watch(container)
        elif decision is Recovery.MARK_EXITED:
            container = await self._exits.note(container, self._ended(container, observed))
            if container.host_config.auto_remove:
                return Recovery.FINISH_REMOVAL
        else:
            await self.forget_run(container.id)
        return decision

    async def _unrecorded(self, container: Container) -> tuple[Container, Created | Exit | None]:
        """With the run, if any, that a daemon began and did not get to write down."""
        observed = await self._runtime.reconnect(container.id)
        state = runrecord.unrecorded(self._runtime.found_run(container.id), container.state)
        if observed is None or state is None or not self._same_boot(state):
            return container, None
        return await self._catalog.put_state(container, state), observed

    async def _settle_freeze(self, container: Container) -> None:
        """A daemon that ended between a freeze and its record left one of the two behind."""
        frozen = self._runtime.is_paused(container.id)
        if frozen and container.state.status is Status.RUNNING:
            await self._runtime.unpause(container.id)
        elif container.state.status is Status.PAUSED and not frozen:
            state = msgspec.structs.replace(container.state, status=Status.RUNNING)
            await self._catalog.put_state(container, state)

    def _ended(self, container: Container, observed: Created | Exit | None) -> State:
        if isinstance(observed, Exit):
            state = lifecycle.after(container.state, observed)
            if lifecycle.restarts(container.host_config.restart_policy, state):
                state = lifecycle.restarting(state)
            return state
        rebooted = not self._same_boot(container.state)
        state = lifecycle.ended(
            container.state,
            lifecycle.UNKNOWN_EXIT_CODE,
            time.time_ns(),
            verdict=of_unseen_end(rebooted=rebooted),
        )
        if lifecycle.restarts(container.host_config.restart_policy, state):
            # The machine's fault is none of its own: it is not counted, as by Docker.
            state = msgspec.structs.replace(state, status=Status.RESTARTING)
        return state

    def _same_boot(self, state: State) -> bool:
        return state.boot_id == self._id_ranges.boot_id
