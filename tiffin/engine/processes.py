"""Execs: further processes in a running container. Known in memory, while their container is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import msgspec

from tiffin.core import lifecycle
from tiffin.core.container import Container
from tiffin.core.lifecycle import Action
from tiffin.core.merge import check_environment, merge_environment
from tiffin.core.workload import Attachment, ExecProcess, Exit, KnownExec
from tiffin.engine.catalog import Catalog
from tiffin.engine.containerevents import container_attributes, emit_container
from tiffin.engine.events import Events
from tiffin.engine.linking import linked_environment
from tiffin.engine.naming import new_id
from tiffin.engine.ports import ContainerRuntime
from tiffin.engine.supervisor import Supervisor
from tiffin.errors import CannotStart, Conflict, InvalidArgument, NotFound
from tiffin.kernel import failpoints

KEPT_AFTER_EXIT = 512  # ended execs that can still be inspected


class ExecRequest(msgspec.Struct, frozen=True, rename="pascal"):
    """The body of POST /containers/{id}/exec."""

    attach_stdin: bool = False
    attach_stdout: bool = False
    attach_stderr: bool = False
    detach_keys: str = ""
    tty: bool = False
    env: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    privileged: bool = False
    user: str = ""
    working_dir: str = ""
    console_size: tuple[int, int] | None = None
    detach: bool = False  # of no consequence, as in Docker: whoever starts it says so


class ExecRecord(msgspec.Struct):
    id: str
    container_id: str
    request: ExecRequest
    pid: int = 0
    running: bool = False
    exit_code: int | None = None
    started: bool = False
    ended_ns: int = 0


def _kept(request: ExecRequest) -> str:
    """What inspect tells of it; the environment may be large, and secret."""
    return msgspec.json.encode(msgspec.structs.replace(request, env=())).decode()


class Processes:
    def __init__(
        self, catalog: Catalog, runtime: ContainerRuntime, supervisor: Supervisor, events: Events
    ) -> None:
        self._catalog = catalog
        self._runtime = runtime
        self._events = events
        self._records: dict[str, ExecRecord] = {}
        self._endings: dict[str, asyncio.Future[int]] = {}
        runtime.on_detached(self._on_detached)
        supervisor.watch_processes(self._on_exit, self._on_container_end, self._on_found)

    async def create(
        self, reference: str, request: ExecRequest, *, started_soon: bool = True
    ) -> str:
        """The new exec's id. Raises NotFound, Conflict (not running, paused), InvalidArgument.

        Waits for a start under way: its output may be ahead of it. `started_soon`: its process may
        get ready meanwhile.
        """
        container = await self._catalog.settled(reference)
        lifecycle.transition(container, Action.EXEC)
        if not request.cmd:
            raise InvalidArgument("No exec command specified")
        check_environment(request.env)
        record = ExecRecord(new_id(), container.id, request)
        self._forget_old()
        self._records[record.id] = record
        self._emit(container, record, "exec_create")
        if started_soon:  # once the client has its answer, which is not to wait for a processor
            asyncio.get_running_loop().call_soon(self._get_ready, container, record)
        return record.id

    def _get_ready(self, container: Container, record: ExecRecord) -> None:
        process = self._process(container, record, None, kept=False)
        self._runtime.ready_exec(container.id, process, stdin=record.request.attach_stdin)

    async def start(
        self,
        exec_id: str,
        connection: int | None,
        attachment: Attachment,
        *,
        early: bytes = b"",
        console_size: tuple[int, int] | None = None,
        kept: bool = True,
    ) -> None:
        """Run it, joined to `connection` (a stream socket that the shim takes over) or detached.

        `kept`: a later daemon is to know of it.
        Raises NotFound, Conflict (started before, container gone), CannotStart.
        """
        record = self.get(exec_id)
        container = self._catalog.get(record.container_id)
        if record.started:
            raise Conflict(f"Error: Exec command {exec_id} has already run")
        lifecycle.transition(container, Action.EXEC)
        record.started = True
        failpoints.reach("exec-asked")
        self._emit(container, record, "exec_start")
        record.running = True
        try:
            record.pid = await self._runtime.exec(
                container.id,
                self._process(container, record, console_size, kept=kept),
                connection,
                attachment,
                early=early,
            )
            failpoints.reach("exec-started")
        except CannotStart as error:
            record.running, record.exit_code = False, error.exit_code
            raise
        except BaseException:
            record.running, record.exit_code = False, 126
            raise

    def _process(
        self,
        container: Container,
        record: ExecRecord,
        console_size: tuple[int, int] | None,
        *,
        kept: bool,
    ) -> ExecProcess:
        request = record.request
        own = container.config.env or ()
        env = merge_environment((*linked_environment(container, self._catalog), *own), request.env)
        return ExecProcess(
            exec_id=record.id,
            argv=request.cmd,
            env=env,
            working_dir=request.working_dir or container.config.working_dir or "/",
            user=request.user or container.config.user,
            tty=request.tty,
            privileged=request.privileged,
            console_size=console_size or request.console_size,
            record=_kept(request) if kept else "",
        )

    def get(self, exec_id: str) -> ExecRecord:
        record = self._records.get(exec_id)
        if record is None:
            raise NotFound(f"No such exec instance: {exec_id}")
        return record

    def ended(self, exec_id: str) -> asyncio.Future[int]:
        """The exit code to come of an exec that is yet to start."""
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._endings[exec_id] = future
        return future

    def _tell_end(self, record: ExecRecord) -> None:
        future = self._endings.pop(record.id, None)
        if future is not None and not future.done():
            future.set_result(record.exit_code or 0)

    def of(self, container_id: str) -> list[str]:
        """Ids of the execs that run in a container, or are yet to."""
        own = (r for r in self._records.values() if r.container_id == container_id)
        return [r.id for r in own if r.running or not r.started]

    async def resize(self, exec_id: str, rows: int, columns: int) -> None:
        record = self.get(exec_id)
        if not record.running:
            raise Conflict(f"exec {exec_id} is not running")
        await self._runtime.resize(record.container_id, exec_id, rows, columns)

    def _on_exit(self, ended: Exit) -> None:
        record = self._records.get(ended.exec_id)
        if record is None:
            return
        record.running, record.exit_code, record.ended_ns = False, ended.exit_code, time.time_ns()
        self._tell_end(record)
        container = self._catalog.find_id(record.container_id)
        if container is not None:
            self._emit(container, record, "exec_die", exitCode=str(ended.exit_code))

    def _on_detached(self, container_id: str, exec_id: str) -> None:
        container, record = self._catalog.find_id(container_id), self._records.get(exec_id)
        if container is None:
            return
        if not exec_id:
            emit_container(self._events, container, "detach")
        elif record is not None:
            self._emit(container, record, "exec_detach")

    def _on_container_end(self, container_id: str) -> None:
        """What still ran in it was killed with it; what was yet to start in it never will."""
        for record in self._records.values():
            if record.container_id == container_id and record.running:
                record.running, record.exit_code = False, 137
                self._tell_end(record)
        self._drop(lambda record: record.container_id == container_id and not record.started)

    def _on_found(self, container_id: str, found: list[KnownExec]) -> None:
        """Those that an earlier daemon started: they run, or have ended meanwhile."""
        for known in found:
            request = msgspec.json.decode(known.record, type=ExecRequest)
            record = ExecRecord(known.exec_id, container_id, request, known.pid, started=True)
            if known.exit is None:
                record.running = True
            else:
                record.exit_code, record.ended_ns = known.exit.exit_code, known.exit.finished_ns
            self._records[record.id] = record

    def container_removed(self, container_id: str) -> None:
        self._drop(lambda record: record.container_id == container_id)

    def _forget_old(self) -> None:
        ended = [r.id for r in self._records.values() if r.started and not r.running]
        surplus = set(ended[: max(0, len(ended) - KEPT_AFTER_EXIT)])
        self._drop(lambda record: record.id in surplus)

    def _drop(self, unwanted: Callable[[ExecRecord], bool]) -> None:
        for record in [r for r in self._records.values() if unwanted(r)]:
            del self._records[record.id]
            self._endings.pop(record.id, None)

    def _emit(
        self, container: Container, record: ExecRecord, action: str, **attributes: str
    ) -> None:
        program, *arguments = record.request.cmd
        words = (
            "" if action in ("exec_die", "exec_detach") else f": {program} {' '.join(arguments)}"
        )
        self._events.emit(
            "container",
            action + words,
            container.id,
            container_attributes(container) | {"execID": record.id} | attributes,
        )
