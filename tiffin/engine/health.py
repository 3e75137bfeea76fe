"""Health checks: for each running container that has one, a task that probes and records.

Begins and ends with the container, by the events that tell of it. A probe is an exec of which the
first 4,096 bytes of output are kept; one that takes too long is killed with what it has started.
Only a change of status is written to disk.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import NamedTuple

import msgspec

from tiffin.core import health
from tiffin.core.container import Container, Probe, Status
from tiffin.core.durations import format_duration
from tiffin.core.workload import Attachment
from tiffin.engine.catalog import Catalog
from tiffin.engine.containerevents import container_attributes
from tiffin.engine.events import Event, Events
from tiffin.engine.ports import ContainerRuntime
from tiffin.engine.processes import ExecRequest, Processes
from tiffin.errors import TiffinError

log = logging.getLogger(__name__)

_BEGINS, _ENDS = ("start", "unpause"), ("die", "pause", "destroy")
_START_SECONDS = 30.0  # to bring a probe up: that does not count for its own time
_READ_BYTES = 1 << 16


class Result(NamedTuple):
    exit_code: int
    output: str


RunProbe = Callable[[Container, tuple[str, ...], int], Awaitable[Result]]


class Clock:
    """The machine's. Tests have one of their own."""

    def now_ns(self) -> int:
        return time.time_ns()

    async def sleep(self, nanoseconds: int) -> None:
        await asyncio.sleep(nanoseconds / 1e9)


class HealthChecks:
    def __init__(
        self, catalog: Catalog, events: Events, run: RunProbe, clock: Clock | None = None
    ) -> None:
        self._catalog = catalog
        self._events = events
        self._run = run
        self._clock = clock or Clock()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        events.watch(self._on_event)

    def resume(self) -> None:
        """Go on with what ran when the daemon came up."""
        for container in self._catalog.live():
            if container.id not in self._tasks:
                self._begin(container)

    async def close(self) -> None:
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _on_event(self, event: Event) -> None:
        if event.type != "container":
            return
        if event.action in _BEGINS:
            container = self._catalog.find_id(event.actor_id)
            if container is not None:
                self._begin(container)
        elif event.action in _ENDS:
            self._end(event.actor_id)

    def _begin(self, container: Container) -> None:
        self._end(container.id)
        state = container.state
        if state.health is None or state.status is not Status.RUNNING:
            return
        task = asyncio.get_running_loop().create_task(self._watch(container.id, state.started_ns))
        self._tasks[container.id] = task
        task.add_done_callback(lambda done: self._forget(container.id, done))

    def _end(self, container_id: str) -> None:
        task = self._tasks.pop(container_id, None)
        if task is not None:
            task.cancel()

    def _forget(self, container_id: str, task: asyncio.Task[None]) -> None:
        if self._tasks.get(container_id) is task:
            del self._tasks[container_id]
        if not task.cancelled() and task.exception() is not None:
            log.error("health check failed container=%s", container_id, exc_info=task.exception())

    async def _watch(self, container_id: str, started_ns: int) -> None:
        """As long as this run of the container lasts."""
        while (container := self._running(container_id, started_ns)) is not None:
            check, known = container.config.healthcheck, container.state.health
            if check is None or known is None:
                return
            now_ns = self._clock.now_ns()
            await self._clock.sleep(health.pause_ns(known, check, started_ns, now_ns))
            if self._running(container_id, started_ns) is not None:
                await self._record(container, await self._probe(container))

    def _running(self, container_id: str, started_ns: int) -> Container | None:
        container = self._catalog.find_id(container_id)
        if container is None or container.state.started_ns != started_ns:
            return None
        return container if container.state.status is Status.RUNNING else None

    async def _probe(self, container: Container) -> Probe:
        check = container.config.healthcheck
        assert check is not None
        began_ns = self._clock.now_ns()
        command = health.probe_command(container.config)
        try:
            result = await self._run(container, command, health.timeout_ns(check))
        except TiffinError as error:
            result = Result(-1, error.message)
        return Probe(began_ns, self._clock.now_ns(), result.exit_code, result.output)

    async def _record(self, container: Container, probe: Probe) -> None:
        async with self._catalog.lock(container.id):
            now = self._running(container.id, container.state.started_ns)
            if now is None or now.state.health is None or now.config.healthcheck is None:
                return
            before = now.state.health
            after = health.after(before, probe, now.config.healthcheck, now.state.started_ns)
            state = msgspec.structs.replace(now.state, health=after)
            if after.status == before.status:
                self._catalog.show_state(now, state)
                return
            now = await self._catalog.put_state(now, state)
        action = f"health_status: {after.status}"
        self._events.emit("container", action, now.id, container_attributes(now))


class ExecProbes:
    """Probes as they really are run."""

    def __init__(self, processes: Processes, runtime: ContainerRuntime) -> None:
        self._processes = processes
        self._runtime = runtime

    async def run(self, container: Container, command: tuple[str, ...], timeout_ns: int) -> Result:
        """Its exit code and output, -1 when it took too long. Raises TiffinError."""
        request = ExecRequest(attach_stdout=True, attach_stderr=True, cmd=command)
        exec_id = await self._processes.create(container.id, request, started_soon=False)
        ended = self._processes.ended(exec_id)
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        output = _Output()
        reading = asyncio.create_task(output.read(ours))
        try:
            with theirs:
                streams = Attachment(stdout=True, stderr=True, framed=False)
                async with asyncio.timeout(_START_SECONDS):
                    await self._processes.start(exec_id, theirs.fileno(), streams, kept=False)
            try:
                async with asyncio.timeout(timeout_ns / 1e9):
                    exit_code = await asyncio.shield(ended)
            except TimeoutError:
                await self._kill(container.id, exec_id)
                await asyncio.wait((ended, reading), timeout=_START_SECONDS)
                return _too_slow(timeout_ns, output.text)
            await asyncio.wait((reading,), timeout=_START_SECONDS)
            return Result(exit_code, output.text)
        except TimeoutError as error:
            words = f"timed out starting health check for container {container.id}"
            raise TiffinError(words) from error
        finally:
            reading.cancel()
            ours.close()

    async def _kill(self, container_id: str, exec_id: str) -> None:
        """The probe and what it has started, by its session, as far as it is in the container."""
        leader = self._processes.get(exec_id).pid
        handles: list[int] = []
        try:
            for pid in await self._runtime.pids(container_id):
                try:
                    handle = os.pidfd_open(pid)
                except OSError:
                    continue
                handles.append(handle)
                if pid == leader or _session(pid) == leader:
                    signal.pidfd_send_signal(handle, signal.SIGKILL)
        except (ProcessLookupError, TiffinError):
            return  # it has ended just now, or its container has
        finally:
            for handle in handles:
                os.close(handle)


def _session(pid: int) -> int:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return 0


class _Output:
    """What a probe says. All of it is read, so that it never waits for us; the start is kept."""

    def __init__(self) -> None:
        self._kept = b""
        self._cut = False

    async def read(self, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        with suppress(OSError):
            while data := await loop.sock_recv(connection, _READ_BYTES):
                room = health.MAX_OUTPUT_BYTES - len(self._kept)
                self._kept += data[:room]
                self._cut = self._cut or len(data) > room

    @property
    def text(self) -> str:
        return self._kept.decode(errors="replace") + ("..." if self._cut else "")


def _too_slow(timeout_ns: int, output: str) -> Result:
    words = f"Health check exceeded timeout ({format_duration(timeout_ns)})"
    return Result(-1, f"{words}: {output}" if output else words)
