"""The life of containers: start, stop, and what follows an exit that nobody asked for.

A start is one AsyncExitStack: what was acquired is given back in reverse when a later step fails.
Changes happen under the container's lock; waiting for an exit holds none.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from typing import Any, NamedTuple

import msgspec

from tiffin.core import health, lifecycle
from tiffin.core.container import Container, IdRange, State, Status
from tiffin.core.lifecycle import Action, Recovery
from tiffin.core.signals import parse_signal
from tiffin.core.verdict import ENDING, SIGKILL, Asked, By, of_unseen_end
from tiffin.core.workload import (
    Attachment,
    Created,
    Exit,
    ExitAnswer,
    KnownExec,
    Workload,
)
from tiffin.engine import exhaustion, unkillable
from tiffin.engine.attachments import Attachments, Guest
from tiffin.engine.catalog import Catalog
from tiffin.engine.donors import donors
from tiffin.engine.events import Events
from tiffin.engine.heldclients import HeldClients
from tiffin.engine.idranges import IdRanges
from tiffin.engine.linking import linked, linking, needed
from tiffin.engine.logtargets import LogTargets
from tiffin.engine.mounting import mounted_images
from tiffin.engine.ooms import OOMWatch
from tiffin.engine.ports import ContainerRuntime
from tiffin.engine.useevents import emit_given_back, emit_taken
from tiffin.engine.waiting import ExitResult, Waiters
from tiffin.errors import (
    CannotStart,
    Conflict,
    EngineFailure,
    InvalidArgument,
    NotFound,
    NotModified,
    TiffinError,
)
from tiffin.kernel import failpoints
from tiffin.storage.snapshots import SnapshotStore

log = logging.getLogger(__name__)

DEFAULT_STOP_SECONDS = 10
# A process in D state must not hold its client for ever. After the first of these it is looked for.
KILL_PATIENCE_SECONDS = (10, 20)


class _NotKilled(EngineFailure):
    """SIGKILL was sent, and nothing ended."""


GOING_ON = lifecycle.LIVE | {Status.RESTARTING}


class EarlyClient(NamedTuple):
    """A connection that waits for its container to start; the supervisor owns the descriptor."""

    connection: int
    attachment: Attachment
    early: bytes


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
        self._snapshots = snapshots
        self._attachments = attachments
        self._id_ranges = id_ranges
        self._events = events
        self.log_targets = LogTargets(containers_directory)
        self._waiters = Waiters()
        self._held = HeldClients(runtime)
        self._restarts: dict[str, asyncio.Task[None]] = {}
        self._backoff_seconds: dict[str, float] = {}
        self._by_hand: set[str] = set()  # containers that a user restarts now
        self._early_clients: dict[str, list[EarlyClient]] = defaultdict(list)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._cleanups: set[asyncio.Task[None]] = set()
        self._on_exec_exit: Callable[[Exit], None] = lambda _: None
        self._on_container_end: Callable[[str], None] = lambda _: None
        self._on_execs_found: Callable[[str, list[KnownExec]], None] = lambda _, __: None
        self.remove_after_exit: Callable[[str], Awaitable[None]] | None = None
        self._closing = False
        runtime.on_exit(self._on_exit)
        self._ooms = OOMWatch(runtime.group, self._on_oom)

    # -- start -------------------------------------------------------------------------------

    async def start(self, reference: str) -> Container:
        """Raises NotModified when it runs, CannotStart when it does not come up."""
        container = self._catalog.get(reference)
        # A client that goes away does not leave half a start behind: the start goes on.
        return await asyncio.shield(self._keep(self._start(container.id, restarts=0)))

    async def _start(self, container_id: str, *, restarts: int | None = None) -> Container:
        """`restarts`: how many its policy has made; None is as many as before."""
        async with self._catalog.lock(container_id):
            container = self._catalog.get(container_id)
            lifecycle.transition(container, Action.START)
            self._cancel_restart(container_id)
            if restarts is not None:
                self._backoff_seconds.pop(container_id, None)
                state = msgspec.structs.replace(container.state, restart_count=restarts)
                container = msgspec.structs.replace(container, state=state)
            try:
                container = await self._bring_up(container)
            except TiffinError as error:
                await self._note_failed_start(container, error)
                raise
            except Exception as error:  # a full disk, mostly; whatever it is, clients wait
                why = exhaustion.words(error) or str(error)
                failure = EngineFailure(f"cannot start container {container.name}: {why}")
                await self._note_failed_start(container, failure)
                raise failure from error
        emit_taken(self._events, container)
        self._emit(container, "start")
        self._ooms.watch(container.id)
        return container

    async def _bring_up(self, container: Container) -> Container:
        async with AsyncExitStack() as undo:
            id_range, join_pids = self._namespaces(container)
            if id_range is not None:
                undo.callback(self._id_ranges.release, container.id)
            links = linked(container, self._catalog)
            attached = await self._attachments.prepare(
                Guest.of(container)._replace(linked_hosts=links.hosts),
                self._network_owner(container),
            )
            undo.push_async_callback(self._attachments.release, container.id)
            undo.callback(attached.close)
            failpoints.reach("start-reserved")
            workload = Workload(
                id=container.id,
                config=links.passed_to(container.config),
                host_config=container.host_config,
                rootfs=self._snapshots.overlay(container.snapshot),
                hostname=attached.hostname,
                mounts=container.mounts,
                images=mounted_images(container, self._snapshots),
                id_range=id_range,
                etc_files=attached.etc_files,
                join_pids=join_pids,
                log=await self.log_targets.open(container),
                stop_signal=parse_signal(container.config.stop_signal or "SIGTERM"),
            )
            undo.push_async_callback(self._runtime.remove, container.id)
            created = await self._runtime.create(workload, hold=attached.held)
            failpoints.reach("start-created")
            undo.callback(self._held.take_back, container.id)
            await self._join_early(container.id)
            await self._attachments.connect(container.id, attached, created.pid)
            failpoints.reach("start-connected")
            await self._runtime.start(container.id)
            failpoints.reach("start-executed")
            attached.close()
            state = lifecycle.started(
                container.state, created, time.time_ns(), self._id_ranges.boot_id
            )
            state = msgspec.structs.replace(
                state,
                id_range=id_range,
                endpoints=attached.endpoints,
                ports=attached.ports,
                health=health.at_start(container.config, container.state.health),
            )
            container = await self._catalog.put_state(container, state)
            failpoints.reach("start-recorded")
            undo.pop_all()
        self._held.handed_over(container.id)
        await self._give_clients(container)  # who came meanwhile
        for parent, alias, address in linking(container, self._catalog):
            await self._attachments.move(parent.id, alias, address)
        return container

    async def _give_clients(self, container: Container) -> None:
        """Those who wait for its end to the shim of a running container."""
        removals = container.host_config.auto_remove
        await self._held.hand_over(container.id, removals=removals)
        self._held.handed_over(container.id)

    def hold_for_start(self, container_id: str, waiting: EarlyClient) -> None:
        """Keep a client that attached first (as `docker run` does); the start joins it."""
        self._early_clients[container_id].append(waiting)

    async def _join_early(self, container_id: str) -> None:
        for waiting in self._early_clients.pop(container_id, []):
            try:
                await self._runtime.attach(
                    container_id, waiting.connection, waiting.attachment, early=waiting.early
                )
            finally:
                os.close(waiting.connection)
        removals = self._catalog.get(container_id).host_config.auto_remove
        await self._held.hand_over(container_id, removals=removals)

    def _drop_early(self, container_id: str) -> None:
        for waiting in self._early_clients.pop(container_id, []):
            os.close(waiting.connection)

    def _namespaces(self, container: Container) -> tuple[IdRange | None, dict[str, int]]:
        joined = donors(container.host_config, self._catalog.get)
        join_pids = {kind: donor.state.pid for kind, donor in joined.items()}
        if joined:
            # Namespaces belong to the user namespace that made them: who joins them joins that too.
            donor = next(iter(joined.values()))
            if donor.state.id_range is not None:
                join_pids["user"] = donor.state.pid
                # It may go on when the other has ended.
                self._id_ranges.keep(container.id, donor.state.id_range)
            return donor.state.id_range, join_pids
        if not self._id_ranges.wanted(container.host_config):
            return None, join_pids
        return self._id_ranges.acquire(container.id), join_pids

    def _network_owner(self, container: Container) -> Guest | None:
        """Whose network namespace it joins, at the end of a chain of such joins."""
        owner, seen = container, {container.id}
        while owner.host_config.network_mode.startswith("container:"):
            owner = self._catalog.get(owner.host_config.network_mode.removeprefix("container:"))
            if owner.id in seen:  # names can be given anew, so a chain of joins can become a ring
                raise Conflict(f"cannot join own network: container {container.id}")
            seen.add(owner.id)
        return Guest.of(owner) if owner is not container else None

    async def _note_failed_start(self, container: Container, error: TiffinError) -> None:
        exit_code = error.exit_code if isinstance(error, CannotStart) else 128
        state = lifecycle.failed_start(container.state, exit_code, error.message)
        container = await self._record_exit(container, state)
        self._drop_early(container.id)
        # Who asked for the start is told why; a client that also waits would say it twice.
        await self._tell_end(container.id, ExitResult(exit_code))
        if container.host_config.auto_remove:
            self._own(self._remove_after_exit(container.id))

    # -- stop --------------------------------------------------------------------------------

    async def stop(
        self, reference: str, *, signal: str | None = None, timeout: int | None = None
    ) -> None:
        """Ask, wait, then kill. `timeout`: seconds, -1 for ever. Raises NotModified."""
        await self._stop(await self.settled(reference), "stop", signal, timeout)

    async def _stop(
        self, container: Container, verb: str, signal: str | None, timeout: int | None
    ) -> None:
        lifecycle.transition(container, Action.STOP)
        number = _stop_signal(container, signal)
        await self._mark_stopped(container.id, _asked(verb, number))
        if container.state.status is Status.RESTARTING:
            return
        with _said(f"cannot {verb} container: {container.name}"):
            await self._end(container, number, _patience(container, timeout))
        self._emit(container, "stop")

    async def end_for_removal(self, container_id: str) -> None:
        """Kill what runs, is about to, or to run again, without asking first. Raises NotFound."""
        container = await self.settled(container_id)
        if container.state.status not in GOING_ON:
            return
        await self._mark_stopped(container.id, _asked("removal", SIGKILL))
        exited = self._waiters.next_exit(container.id)
        now = self._catalog.find_id(container.id)
        if now is None or now.state.status not in lifecycle.LIVE:
            return
        with _said(f'cannot remove container "/{container.name}": could not kill'):
            with suppress(Conflict):  # it ends just now: then that is told
                await self._signal(container, SIGKILL)
            await self._await_kill(container, exited)

    async def end_unhealthy(self, container_id: str) -> None:
        """Stop what its health check has given up; the restart policy starts it again."""
        async with self._catalog.lock(container_id):
            container = self._catalog.find_id(container_id)
            if container is None or not lifecycle.gives_up_unhealthy(
                container.host_config.restart_policy, container.state
            ):
                return
            number = _stop_signal(container)
            asked = _asked("unhealthy", number, By.ENGINE)
            await self._note_asked(container, asked)
        await self._end(container, number, _patience(container))

    async def _note_asked(self, container: Container, asked: Asked) -> Container:
        """So that the verdict on the end is right, also if another daemon sees it."""
        return await self._catalog.put_state(
            container, msgspec.structs.replace(container.state, asked=asked)
        )

    async def _mark_stopped(self, container_id: str, asked: Asked) -> None:
        """A stop by hand silences the restart policy."""
        self._cancel_restart(container_id)
        async with self._catalog.lock(container_id):
            container = self._catalog.get(container_id)
            state = msgspec.structs.replace(container.state, stopped_by_user=True)
            if state.status in lifecycle.LIVE:
                state = msgspec.structs.replace(state, asked=asked)
            if state.status is Status.RESTARTING:
                state = msgspec.structs.replace(state, status=Status.EXITED)
            container = await self._catalog.put_state(container, state)
            failpoints.reach("stop-marked")
            if state.status is Status.EXITED:
                await self._tell_end(container.id, ExitResult(state.exit_code))

    async def _end(self, container: Container, signal: int, patience_seconds: float) -> None:
        exited = self._waiters.next_exit(container.id)
        now = self._catalog.find_id(container.id)
        if now is None or now.state.status not in lifecycle.LIVE:
            return
        with suppress(Conflict):  # it ends just now: then that is told
            if now.state.status is Status.PAUSED:
                await self._runtime.unpause(container.id)
            await self._signal(container, signal)
        try:
            limit = None if patience_seconds < 0 else patience_seconds
            await asyncio.wait_for(asyncio.shield(exited), limit)
        except TimeoutError:
            await self._note_late(container.id)
            with suppress(Conflict):
                await self._signal(container, SIGKILL)
            await self._await_kill(container, exited)

    async def _note_late(self, container_id: str) -> None:
        async with self._catalog.lock(container_id):
            container = self._catalog.find_id(container_id)
            asked = container.state.asked if container is not None else None
            if container is not None and asked and container.state.status in lifecycle.LIVE:
                await self._note_asked(container, msgspec.structs.replace(asked, late=True))

    async def _await_kill(self, container: Container, exited: asyncio.Future[ExitResult]) -> None:
        """Raises _NotKilled, which names who does not die."""
        why = ""
        try:
            for seconds in KILL_PATIENCE_SECONDS:
                if (await asyncio.wait((exited,), timeout=seconds))[0]:
                    return
                why = await self._who_waits(container.id)
                if why:
                    break
        finally:
            exited.cancel()
        raise _NotKilled(f"tried to kill container, but did not receive an exit event{why}")

    async def _who_waits(self, container_id: str) -> str:
        """Its processes that no signal reaches, behind a colon."""
        try:
            pids = await self._runtime.pids(container_id)
        except (TiffinError, OSError):
            return ""
        found = unkillable.words(pids)
        return f": {found}" if found else ""

    async def _signal(self, container: Container, signal: int) -> None:
        await self._runtime.kill(container.id, signal)
        failpoints.reach("stop-signalled")
        self._emit(container, "kill", signal=str(signal))

    async def settled(self, reference: str) -> Container:
        """The container with no change under way: who sees its output may be ahead of its start."""
        container = self._catalog.get(reference)
        async with self._catalog.lock(container.id):
            return self._catalog.get(container.id)

    async def kill(self, reference: str, signal: str = "SIGKILL") -> None:
        number = parse_signal(signal)
        container = await self.settled(reference)
        lifecycle.transition(container, Action.KILL)
        if number == SIGKILL:
            await self._mark_stopped(container.id, _asked("kill", SIGKILL))
            exited = self._waiters.next_exit(container.id)
            await self._signal(container, SIGKILL)
            with _said(f"Cannot kill container: {container.name}"):
                await self._await_kill(container, exited)
            return
        async with self._catalog.lock(container.id):
            container = self._catalog.get(container.id)
            if container.state.status in lifecycle.LIVE:
                container = await self._note_kill(container, number)
        await self._signal(container, number)

    async def _note_kill(self, container: Container, number: int) -> Container:
        state = container.state
        if not (state.asked and state.asked.verb in ENDING):
            state = msgspec.structs.replace(state, asked=_asked("kill", number))
        if number in lifecycle.ASKS_TO_END or number == _stop_signal(container):
            state = msgspec.structs.replace(state, stopped_by_user=True)
        return await self._catalog.put_state(container, state)

    async def restart(
        self, reference: str, *, signal: str | None = None, timeout: int | None = None
    ) -> None:
        container = await self.settled(reference)
        self._by_hand.add(container.id)  # to be removed after its exit is not for now
        try:
            if container.state.status in lifecycle.LIVE:
                with suppress(NotModified):  # it has ended meanwhile
                    await self._stop(container, "restart", signal, timeout)
            failpoints.reach("restart-stopped")
            with suppress(NotModified):  # somebody was quicker
                await self.start(container.id)
        finally:
            self._by_hand.discard(container.id)
        self._emit(container, "restart")

    async def pause(self, reference: str) -> None:
        await self._freeze(reference, Action.PAUSE, self.freeze)

    async def unpause(self, reference: str) -> None:
        await self._freeze(reference, Action.UNPAUSE, self._runtime.unpause)

    async def freeze(self, container_id: str) -> None:
        """Its processes; records know nothing of it. Raises EngineFailure, naming who runs on."""
        try:
            await self._runtime.pause(container_id)
        except EngineFailure as error:
            raise EngineFailure(error.message + await self._who_waits(container_id)) from error

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
        self._emit(container, action.value)

    # -- exits -------------------------------------------------------------------------------

    def _on_exit(self, ended: Exit) -> None:
        if ended.exec_id:
            self._on_exec_exit(ended)
            return
        self._own(self._handle_exit(ended))

    def _on_oom(self, container_id: str) -> None:
        """Somebody in it was killed for want of memory; it may go on."""
        container = self._catalog.find_id(container_id)
        if container is not None:
            self._emit(container, "oom")

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
        self._on_execs_found = on_execs_found
        self._on_container_end = on_container_end

    async def _handle_exit(self, ended: Exit) -> None:
        async with self._catalog.lock(ended.container_id):
            container = self._catalog.find_id(ended.container_id)
            if container is None or container.state.status not in lifecycle.LIVE:
                return  # a start that failed: its own undo gives everything back
            ran = container
            uptime_seconds = _uptime(container.state)
            state = lifecycle.after(container.state, ended)
            restarts = not self._closing and lifecycle.restarts(
                container.host_config.restart_policy, state
            )
            if restarts:
                state = lifecycle.restarting(state)
            removes = container.host_config.auto_remove and container.id not in self._by_hand
            # The row comes before all else: exit.json goes with what is given back.
            if removes and not restarts and not self._closing:
                container = self._catalog.show_state(container, state)
                await self._release_names(container)
            else:
                container = await self._record_exit(container, state)
                failpoints.reach("exit-recorded")
                await self._release(container)
            failpoints.reach("exit-released")
        self._on_container_end(container.id)
        if self._ooms.ended(container.id, oom_killed=ended.oom_killed):
            self._emit(container, "oom")
        self._emit(
            container, "die", exitCode=str(ended.exit_code), execDuration=str(int(uptime_seconds))
        )
        emit_given_back(self._events, ran)
        if restarts:
            self._schedule_restart(container, lifecycle.counted_uptime(state, uptime_seconds))
        await self._tell_end(container.id, ExitResult(ended.exit_code))
        if removes:
            await self._remove_after_exit(container.id)

    async def _record_exit(self, container: Container, state: State) -> Container:
        """On a full disk in memory alone: who waits for the end is told all the same."""
        try:
            return await self._catalog.put_state(container, state)
        except EngineFailure as error:
            log.error("exit not kept container=%s: %s", container.id, error.message)  # noqa: TRY400
            return self._catalog.show_state(container, state)

    async def _release(self, container: Container) -> None:
        """Give back what a running container holds."""
        try:
            await self._runtime.remove(container.id)
        except TiffinError as error:
            log.warning("run directory stays container=%s: %s", container.id, error.message)
        await self._release_names(container)

    async def _release_names(self, container: Container) -> None:
        """Address, ports and ids. What does not go now does at the next check."""
        try:
            await self._attachments.release(container.id)
        except TiffinError as error:
            log.warning("link stays container=%s: %s", container.id, error.message)
        self._id_ranges.release(container.id)

    async def _remove_after_exit(self, container_id: str) -> None:
        if self.remove_after_exit is not None:
            try:
                await self.remove_after_exit(container_id)
            except NotFound:
                pass  # someone removed it first
            except TiffinError as error:
                log.warning("auto-remove failed container=%s: %s", container_id, error.message)

    def _schedule_restart(self, container: Container, uptime_seconds: float) -> None:
        delay = lifecycle.next_backoff(self._backoff_seconds.get(container.id, 0.0), uptime_seconds)
        self._backoff_seconds[container.id] = delay
        self._restarts[container.id] = self._own(self._restart_later(container.id, delay))

    async def _restart_later(self, container_id: str, delay_seconds: float) -> None:
        await asyncio.sleep(delay_seconds)
        self._restarts.pop(container_id, None)
        try:
            await asyncio.shield(self._keep(self._start(container_id)))
        except TiffinError as error:
            log.warning("restart failed container=%s: %s", container_id, error.message)

    def _cancel_restart(self, container_id: str) -> None:
        task = self._restarts.pop(container_id, None)
        if task is not None and task is not asyncio.current_task():
            task.cancel()

    # -- waiting -----------------------------------------------------------------------------

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
            await self._give_clients(container)

    def until_ended(self, container_id: str) -> asyncio.Task[object]:
        """Done when it neither runs nor is about to run again. The caller may cancel it."""
        return asyncio.get_running_loop().create_task(self._until_ended(container_id))

    async def _until_ended(self, container_id: str) -> object:
        while True:
            container = self._catalog.find_id(container_id)
            if container is None or container.state.status not in GOING_ON:
                return None
            await self._waiters.next_exit(container_id)

    async def _tell_end(self, container_id: str, result: ExitResult) -> None:
        self._waiters.ended(container_id, result)
        self._held.ended(container_id, result.exit_code, removed=False)
        await self._runtime.tell(container_id, removed=False)

    async def removed(self, container: Container) -> None:
        """Tell those who wait for the removal, and forget what was kept for it."""
        exit_code = container.state.exit_code
        self._waiters.removed(container.id, ExitResult(exit_code))
        self._held.ended(container.id, exit_code, removed=True)
        await self._runtime.tell(container.id, removed=True)
        self._drop_early(container.id)
        self._backoff_seconds.pop(container.id, None)

    # -- a daemon's own start and end --------------------------------------------------------

    async def recover(self) -> list[tuple[Container, Recovery]]:
        """Make the records true: reconnect, mark exited, finish removals. Safe to run twice.

        What was done for whom. What becomes of one does not keep the daemon from the others.
        """
        containers = self._catalog.all()
        work = [self.recover_one(container) for container in containers]
        done = []
        for container, decision in zip(
            containers, await asyncio.gather(*work, return_exceptions=True), strict=True
        ):
            if isinstance(decision, Recovery):
                done.append((container, decision))
            else:
                log.error("recovery failed container=%s", container.id, exc_info=decision)
        return done

    async def recover_one(self, container: Container) -> Recovery:
        """Make one record true."""
        async with self._catalog.lock(container.id):
            decision = await self._reconcile(self._catalog.get(container.id))
        if decision is Recovery.FINISH_REMOVAL:
            await self._remove_after_exit(container.id)
        return decision

    async def _reconcile(self, container: Container) -> Recovery:
        observed: Created | Exit | None = None
        if container.state.status in lifecycle.LIVE and self._same_boot(container.state):
            observed = await self._runtime.reconnect(container.id)
            self._on_execs_found(container.id, self._runtime.found_execs(container.id))
        decision = lifecycle.reconcile(container, observed)
        if decision is Recovery.RECONNECT:
            await self._settle_freeze(container)
            if container.state.id_range is not None:
                self._id_ranges.keep(container.id, container.state.id_range)
            self._attachments.keep(container)
            self._ooms.watch(container.id)
        elif decision is Recovery.MARK_EXITED:
            container = await self._mark_exited(container, observed)
            if container.host_config.auto_remove:
                return Recovery.FINISH_REMOVAL
        else:
            await self.forget_run(container.id)
        return decision

    async def forget_run(self, container_id: str) -> None:
        """End what no record knows: a start that was cut short."""
        await self._runtime.remove(container_id)
        await self._runtime.tell(container_id, removed=True)

    async def _settle_freeze(self, container: Container) -> None:
        """A daemon that ended between a freeze and its record left one of the two behind."""
        frozen = self._runtime.is_paused(container.id)
        if frozen and container.state.status is Status.RUNNING:
            await self._runtime.unpause(container.id)
        elif container.state.status is Status.PAUSED and not frozen:
            state = msgspec.structs.replace(container.state, status=Status.RUNNING)
            await self._catalog.put_state(container, state)

    async def _mark_exited(
        self, container: Container, observed: Created | Exit | None
    ) -> Container:
        if isinstance(observed, Exit):
            state = lifecycle.after(container.state, observed)
            if lifecycle.restarts(container.host_config.restart_policy, state):
                state = lifecycle.restarting(state)
        else:
            rebooted = not self._same_boot(container.state)
            state = lifecycle.ended(
                container.state,
                lifecycle.UNKNOWN_EXIT_CODE,
                time.time_ns(),
                verdict=of_unseen_end(rebooted=rebooted),
            )
        ran, container = container, await self._record_exit(container, state)
        await self._release(container)
        if state.oom_killed:
            self._emit(container, "oom")
        self._emit(container, "die", exitCode=str(state.exit_code))
        emit_given_back(self._events, ran)
        await self._tell_end(container.id, ExitResult(state.exit_code))
        return container

    async def restart_policies(self) -> None:
        """Start what its policy says runs whenever the daemon does, and what was to start again."""
        # The oldest first: who links or joins another came later, and waits for it.
        for container in reversed(self._catalog.all()):
            if container.state.status in lifecycle.LIVE:
                continue
            if container.state.status is Status.RESTARTING or lifecycle.restarts_with_daemon(
                container.host_config.restart_policy, container.state
            ):
                others = [self._restarts[one] for one in needed(container) if one in self._restarts]
                self._restarts[container.id] = self._own(self._restart_after(container.id, others))

    async def _restart_after(self, container_id: str, others: list[asyncio.Task[None]]) -> None:
        if others:
            await asyncio.wait(others)
        await self._restart_later(container_id, 0)

    def _same_boot(self, state: State) -> bool:
        return state.boot_id == self._id_ranges.boot_id

    async def close(self) -> None:
        """Stop watching; containers go on."""
        self._closing = True
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*self._cleanups, return_exceptions=True)
        self._held.close()
        self._ooms.close()

    # -- small things ------------------------------------------------------------------------

    def _emit(self, container: Container, action: str, **attributes: str) -> None:
        self._events.emit(
            "container", action, container.id, container_attributes(container) | attributes
        )

    def _keep(self, work: Coroutine[Any, Any, Container]) -> asyncio.Task[Container]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _own(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return task

    def clean_up_later(self, work: Coroutine[Any, Any, None]) -> None:
        """What nobody waits for but the daemon, before it ends."""
        task = asyncio.get_running_loop().create_task(work)
        self._cleanups.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._cleanups.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("background step failed", exc_info=task.exception())


@contextmanager
def _said(what: str) -> Iterator[None]:
    """What a kill that did not end anything was for."""
    try:
        yield
    except _NotKilled as error:
        raise EngineFailure(f"{what}: {error.message}") from error


def _uptime(state: State) -> float:
    """Seconds that a process that ended just now was up, by a clock that nobody sets."""
    born = state.start_ticks / os.sysconf("SC_CLK_TCK")
    return max(time.clock_gettime(time.CLOCK_BOOTTIME) - born, 0.0)


def _stop_signal(container: Container, given: str | None = None) -> int:
    return parse_signal(given or container.config.stop_signal or "SIGTERM")


def _patience(container: Container, given: int | None = None) -> int:
    """Seconds between the stop signal and SIGKILL; negative is for ever."""
    patience = given if given is not None else container.config.stop_timeout
    return DEFAULT_STOP_SECONDS if patience is None else patience


def _asked(verb: str, signal: int, by: By = By.USER) -> Asked:
    return Asked(verb, signal, time.time_ns(), by)


def container_attributes(container: Container) -> dict[str, str]:
    """The attributes of a container's events."""
    return {
        "image": container.image_reference,
        "name": container.name,
        **(container.config.labels or {}),
    }


__all__ = ["ExitResult", "Supervisor", "container_attributes"]
