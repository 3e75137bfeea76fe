"""Ends that are asked for: stop, kill, and what a removal or a health check wants gone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress

import msgspec

from tiffin.core import lifecycle
from tiffin.core.container import Container, Status
from tiffin.core.lifecycle import Action
from tiffin.core.signals import parse_signal
from tiffin.core.verdict import ENDING, SIGKILL, Asked, By
from tiffin.engine import unkillable
from tiffin.engine.catalog import Catalog
from tiffin.engine.clients import GOING_ON, Clients
from tiffin.engine.containerevents import emit_container
from tiffin.engine.events import Events
from tiffin.engine.ports import ContainerRuntime
from tiffin.engine.restarts import Restarts
from tiffin.engine.waiting import ExitResult
from tiffin.errors import Conflict, EngineFailure, NotFound
from tiffin.kernel import failpoints

DEFAULT_STOP_SECONDS = 10
# A process in D state must not hold its client for ever. After the first of these it is looked for.
KILL_PATIENCE_SECONDS = (10, 20)


class _NotKilled(EngineFailure):
    """SIGKILL was sent, and nothing ended."""


class Ending:
    def __init__(
        self,
        catalog: Catalog,
        runtime: ContainerRuntime,
        events: Events,
        restarts: Restarts,
        clients: Clients,
        unpause: Callable[[str], Awaitable[None]],
    ) -> None:
        self._catalog = catalog
        self._runtime = runtime
        self._events = events
        self._restarts = restarts
        self._clients = clients
        self._unpause = unpause

    async def stop(
        self, container: Container, verb: str, signal: str | None, timeout: int | None
    ) -> None:
        """Ask, wait, then kill. `timeout`: seconds, -1 for ever. Raises NotModified."""
        lifecycle.transition(container, Action.STOP)
        number = _stop_signal(container, signal)
        await self._mark_stopped(container.id, _asked(verb, number))
        if container.state.status is not Status.RESTARTING:
            with _said(f"cannot {verb} container: {container.name}"):
                await self._end(container, number, _patience(container, timeout))
        emit_container(self._events, container, "stop")

    async def for_removal(self, container_id: str) -> None:
        """Kill what runs, is about to, or to run again, without asking first. Raises NotFound."""
        container = await self._catalog.settled(container_id)
        if container.state.status not in GOING_ON:
            return
        await self._mark_stopped(container.id, _asked("removal", SIGKILL))
        exited = self._clients.next_exit(container.id)
        now = self._catalog.find_id(container.id)
        if now is None or now.state.status not in lifecycle.LIVE:
            return
        with _said(f'cannot remove container "/{container.name}": could not kill'):
            with suppress(Conflict):  # it ends just now: then that is told
                await self._signal(container, SIGKILL)
            await self._await_kill(container, exited)

    async def unhealthy(self, container_id: str) -> None:
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

    async def kill(self, reference: str, signal: str) -> None:
        number = parse_signal(signal)
        container = await self._catalog.settled(reference)
        lifecycle.transition(container, Action.KILL)
        if container.state.status is Status.RESTARTING:
            if _asks_to_end(container, number):
                await self._mark_stopped(container.id, _asked("kill", number))
            return
        if number == SIGKILL:
            await self._mark_stopped(container.id, _asked("kill", SIGKILL))
            exited = self._clients.next_exit(container.id)
            await self._signal(container, SIGKILL)
            with _said(f"Cannot kill container: {container.name}"):
                await self._await_kill(container, exited)
            return
        async with self._catalog.lock(container.id):
            container = self._catalog.get(container.id)
            if container.state.status in lifecycle.LIVE:
                container = await self._note_kill(container, number)
        await self._signal(container, number)
        if _asks_to_end(container, number):
            await self._let_hear(container)

    async def _note_kill(self, container: Container, number: int) -> Container:
        state = container.state
        if not (state.asked and state.asked.verb in ENDING):
            state = msgspec.structs.replace(state, asked=_asked("kill", number))
        state = msgspec.structs.replace(
            state,
            stopped_by_user=True,
            restart_cancelled=state.restart_cancelled or _asks_to_end(container, number),
        )
        return await self._catalog.put_state(container, state)

    async def _note_asked(self, container: Container, asked: Asked) -> Container:
        """So that the verdict on the end is right, also if another daemon sees it."""
        return await self._catalog.put_state(
            container, msgspec.structs.replace(container.state, asked=asked)
        )

    async def _mark_stopped(self, container_id: str, asked: Asked) -> None:
        """A stop by hand silences the restart policy."""
        self._restarts.cancel(container_id)
        async with self._catalog.lock(container_id):
            container = self._catalog.get(container_id)
            state = msgspec.structs.replace(
                container.state, stopped_by_user=True, restart_cancelled=True
            )
            if state.status in lifecycle.LIVE:
                state = msgspec.structs.replace(state, asked=asked)
            if state.status is Status.RESTARTING:
                state = msgspec.structs.replace(state, status=Status.EXITED)
            container = await self._catalog.put_state(container, state)
            failpoints.reach("stop-marked")
            if state.status is Status.EXITED:
                await self._clients.tell_end(container.id, ExitResult(state.exit_code))

    async def _end(self, container: Container, signal: int, patience_seconds: float) -> None:
        exited = self._clients.next_exit(container.id)
        now = self._catalog.find_id(container.id)
        if now is None or now.state.status not in lifecycle.LIVE:
            return
        with suppress(Conflict):  # it ends just now: then that is told
            await self._signal(container, signal)
        await self._let_hear(now)
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
                why = await unkillable.named(self._runtime, container.id)
                if why:
                    break
        finally:
            exited.cancel()
        raise _NotKilled(f"tried to kill container, but did not receive an exit event{why}")

    async def _let_hear(self, container: Container) -> None:
        """One that is paused and is asked to end hears of it once it goes on."""
        if container.state.status is Status.PAUSED:
            with suppress(Conflict, NotFound):  # it has ended, or goes on, by now
                await self._unpause(container.id)

    async def _signal(self, container: Container, signal: int) -> None:
        await self._runtime.kill(container.id, signal)
        failpoints.reach("stop-signalled")
        emit_container(self._events, container, "kill", signal=str(signal))


@contextmanager
def _said(what: str) -> Iterator[None]:
    """What a kill that did not end anything was for."""
    try:
        yield
    except _NotKilled as error:
        raise EngineFailure(f"{what}: {error.message}") from error


def _stop_signal(container: Container, given: str | None = None) -> int:
    return parse_signal(given or container.config.stop_signal or "SIGTERM")


def _asks_to_end(container: Container, number: int) -> bool:
    """As in Docker: any signal, unless it has one of its own for that."""
    return (
        number == SIGKILL or not container.config.stop_signal or number == _stop_signal(container)
    )


def _patience(container: Container, given: int | None = None) -> int:
    """Seconds between the stop signal and SIGKILL; negative is for ever."""
    patience = given if given is not None else container.config.stop_timeout
    return DEFAULT_STOP_SECONDS if patience is None else patience


def _asked(verb: str, signal: int, by: By = By.USER) -> Asked:
    return Asked(verb, signal, time.time_ns(), by)
