"""A runtime without processes: a container "runs" until the test ends it."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Sequence
from typing import Any

from tiffin.core.container import HostConfig, PublishedPort
from tiffin.core.workload import (
    Attachment,
    Created,
    ExecProcess,
    Exit,
    ExitAnswer,
    KnownExec,
    LogPosition,
    Workload,
)
from tiffin.engine.ports import HeldClient
from tiffin.errors import Conflict, TiffinError
from tiffin.runtime.waits import last_chunk


class FakeHeldClient:
    log: LogPosition | None = None

    async def taken(self) -> bool:
        return True

    async def end(self, *, joined: bool) -> None:
        del joined


class FakeRuntime:
    """engine.ports.ContainerRuntime in memory.

    `calls` is what happened in order; `fail` maps a verb to the error its next call raises;
    `ignores` are signals that a program does not end by; `gate`, if set, holds `start` back.
    """

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []
        self.fail: dict[str, TiffinError] = {}
        self.ignores: set[int] = set()
        self.gate: asyncio.Event | None = None
        self.alive: dict[str, int] = {}
        self.frozen: set[str] = set()
        self.ended: dict[str, Exit] = {}
        self.held: dict[str, list[int]] = {}
        self.attached: list[tuple[str, int]] = []
        self.waiting: dict[str, list[tuple[socket.socket, ExitAnswer]]] = {}
        self.execs: dict[str, list[KnownExec]] = {}
        self.runs: dict[str, str] = {}
        self.groups: dict[str, Any] = {}
        self.limits: list[HostConfig] = []
        self.kept: dict[str, tuple[PublishedPort, ...]] = {}  # by `hold`
        self._callbacks: list[Callable[[Exit], None]] = []
        self._next_pid = 1000

    def on_exit(self, callback: Callable[[Exit], None]) -> None:
        self._callbacks.append(callback)

    def on_detached(self, callback: Callable[[str, str], None]) -> None:
        self.detach = callback

    def end(self, container_id: str, exit_code: int = 0, signal: int = 0) -> None:
        """The program ends now."""
        if self.alive.pop(container_id, None) is None:
            return
        ended = Exit(container_id, "", exit_code, signal, False, 2_000_000_000)
        self.ended[container_id] = ended
        for callback in self._callbacks:
            callback(ended)

    def knows(self, runtime: str) -> bool:
        return runtime in ("", "tiffin", "crun")

    async def create(self, workload: Workload, *, hold: Sequence[int] = ()) -> Created:
        self._note("create", workload.id)
        self._next_pid += 1
        self.alive[workload.id] = self._next_pid
        self.held[workload.id] = [os.dup(descriptor) for descriptor in hold]
        return Created(self._next_pid, self.start_ticks())

    def start_ticks(self) -> int:
        return 7

    async def start(self, container_id: str, *, record: str = "") -> None:
        self._note("start", container_id)
        self.runs[container_id] = record
        if self.gate is not None:
            await self.gate.wait()

    async def attach(
        self, container_id: str, connection: int, attachment: Attachment, *, early: bytes = b""
    ) -> None:
        self._note("attach", container_id)
        self.attached.append((container_id, os.fstat(connection).st_ino))

    async def hold_client(
        self, container_id: str, connection: int, attachment: Attachment, *, early: bytes = b""
    ) -> HeldClient | None:
        await self.attach(container_id, connection, attachment, early=early)
        return FakeHeldClient()

    def ready_exec(self, container_id: str, process: ExecProcess, *, stdin: bool) -> None:
        pass

    async def exec(
        self,
        container_id: str,
        process: ExecProcess,
        connection: int | None,
        attachment: Attachment,
        *,
        early: bytes = b"",
    ) -> int:
        self._note("exec", container_id)
        return 4242

    async def wait(self, container_id: str, connection: int, answer: ExitAnswer) -> None:
        self._note("wait", container_id)
        if container_id not in self.alive:
            raise Conflict(f"container {container_id} is not running")
        waiting = (socket.socket(fileno=os.dup(connection)), answer)
        self.waiting.setdefault(container_id, []).append(waiting)

    async def tell(self, container_id: str, *, removed: bool) -> None:
        ended = self.ended.get(container_id)
        if ended is None:
            return
        for waiting in list(self.waiting.get(container_id, ())):
            connection, answer = waiting
            if removed or not answer.of_removal:
                self.waiting[container_id].remove(waiting)
                with connection:
                    connection.send(last_chunk(answer.before, ended.exit_code, answer.after))

    async def serving(self) -> None:
        self._note("serving", "")

    def found_run(self, container_id: str) -> str:
        return self.runs.get(container_id, "")

    def found_execs(self, container_id: str) -> list[KnownExec]:
        return self.execs.pop(container_id, [])

    async def resize(self, container_id: str, exec_id: str, rows: int, columns: int) -> None:
        self._note("resize", container_id)

    async def kill(self, container_id: str, signal: int) -> None:
        self._note(f"kill {signal}", container_id)
        if signal not in self.ignores:
            self.end(container_id, 128 + signal, signal)

    async def pause(self, container_id: str) -> None:
        self._note("pause", container_id)
        self.frozen.add(container_id)

    async def unpause(self, container_id: str) -> None:
        self._note("unpause", container_id)
        self.frozen.discard(container_id)

    def is_paused(self, container_id: str) -> bool:
        return container_id in self.frozen

    async def limit(self, container_id: str, host: HostConfig) -> None:
        self._note("limit", container_id)
        self.limits.append(host)

    async def hold(
        self, container_id: str, descriptors: Sequence[int], keep: Sequence[PublishedPort]
    ) -> None:
        self._note("hold", container_id)
        self.kept[container_id] = tuple(keep)
        self.held[container_id] += [os.dup(descriptor) for descriptor in descriptors]

    async def pids(self, container_id: str) -> list[int]:
        return [self.alive[container_id]]

    async def count_disks(self, container_id: str) -> None:
        self._note("count_disks", container_id)

    def group(self, container_id: str) -> Any:
        return self.groups.get(container_id)

    async def remove(self, container_id: str) -> None:
        self._note("remove", container_id)
        self.alive.pop(container_id, None)
        for descriptor in self.held.pop(container_id, []):
            os.close(descriptor)

    async def reconnect(self, container_id: str) -> Created | Exit | None:
        if container_id in self.alive:
            return Created(self.alive[container_id], 7)
        return self.ended.get(container_id)

    def _note(self, verb: str, container_id: str) -> None:
        self.calls.append((verb, container_id))
        if verb in self.fail:
            raise self.fail.pop(verb)
