"""What a container says and is told: who listens to it, and its log."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import closing

import msgspec

from tiffin.core import lifecycle, logdriver
from tiffin.core.container import Container
from tiffin.core.lifecycle import Action
from tiffin.core.logdriver import FileSettings
from tiffin.core.loglines import LogBatch
from tiffin.core.workload import Attachment
from tiffin.engine.catalog import Catalog
from tiffin.engine.clients import EarlyClient, until_head_is_read
from tiffin.engine.containerevents import emit_container
from tiffin.engine.events import Events
from tiffin.engine.ports import ContainerRuntime
from tiffin.engine.replaying import Replay
from tiffin.engine.supervisor import Supervisor
from tiffin.errors import Conflict, InvalidArgument, Unsupported
from tiffin.runtime.logreader import LogCursor, read_log


class LogOptions(msgspec.Struct, frozen=True):
    stdout: bool = True
    stderr: bool = True
    follow: bool = False
    tail: int | None = None  # None: all
    since_ns: int = 0
    until_ns: int = 0

    def of(self, batch: LogBatch) -> LogBatch:
        """Its lines of the streams that are wanted."""
        if self.stdout and self.stderr:
            return batch
        if self.stdout or self.stderr:
            return batch.of_stream(1 if self.stdout else 2)
        return batch.cut(0, 0)


class ContainerStreams:
    """Of all containers: `Containers.streams`."""

    def __init__(
        self,
        catalog: Catalog,
        supervisor: Supervisor,
        runtime: ContainerRuntime,
        events: Events,
        directory: str,
    ) -> None:
        self._catalog = catalog
        self._supervisor = supervisor
        self._runtime = runtime
        self._events = events
        self._directory = directory

    def attachable(self, reference: str) -> Container:
        container = self._catalog.get(reference)
        lifecycle.transition(container, Action.ATTACH)
        return container

    async def attach(self, reference: str, client: EarlyClient) -> None:
        """Join a client's socket to the streams; the shim owns the connection from then on.

        A client that attaches before the start is joined by the start, so that it misses nothing.
        """
        container = self.attachable(reference)
        client = _without_closed_stdin(container, client)
        async with self._catalog.lock(container.id):
            self._emit(container, "attach")  # before it can detach
            if _joins_nothing(client.attachment):
                return
            state = self._catalog.get(container.id).state
            if state.status in lifecycle.LIVE:
                await self._supervisor.clients.join(container.id, client)
            elif not lifecycle.ended_since(container.state, state):
                self._supervisor.clients.hold_for_start(container.id, _own(client))

    async def attach_with_logs(
        self, reference: str, client: EarlyClient, give: Callable[[LogBatch], Awaitable[None]]
    ) -> None:
        """As `attach`, after what it has said so far, of which `give` writes each batch."""
        container = self.attachable(reference)
        kept = readable_log(container)
        client = _without_closed_stdin(container, client)
        attachment = client.attachment
        if _joins_nothing(attachment):
            self._emit(container, "attach")
            return
        if await self._is_held_for_first_start(container, client):
            return
        await until_head_is_read(client.connection)
        chosen = LogOptions(stdout=attachment.stdout, stderr=attachment.stderr)

        async def give_chosen(batch: LogBatch) -> None:
            if batch := chosen.of(batch):
                await give(batch)

        replay = Replay(self._catalog, self._supervisor.clients, self._runtime, client, give_chosen)
        self._emit(container, "attach")
        with closing(LogCursor(self.log_path(container), kept.kind)) as log:
            await replay.run(container, log)

    async def _is_held_for_first_start(self, container: Container, client: EarlyClient) -> bool:
        """What never ran has no log: its client is as one that wants none, and misses nothing."""
        if container.state.started_ns:
            return False
        async with self._catalog.lock(container.id):
            if self._catalog.get(container.id).state.started_ns:
                return False
            self._emit(container, "attach")
            self._supervisor.clients.hold_for_start(container.id, _own(client))
            return True

    def note_attach(self, reference: str) -> None:
        """One that joins no stream, and has had the log at most: events tell of it as well."""
        self._emit(self._catalog.get(reference), "attach")

    async def resize(self, reference: str, rows: int, columns: int) -> None:
        container = self._catalog.get(reference)
        if container.state.status not in lifecycle.LIVE:
            raise Conflict(f"container {container.id} is not running")
        await self._runtime.resize(container.id, "", rows, columns)
        self._emit(container, "resize", height=str(rows), width=str(columns))

    async def logs(self, reference: str, options: LogOptions) -> AsyncIterator[LogBatch]:
        """Lines as written; with `follow` until the container ends. NotFound is raised here.

        The log is open once this returns: a client that then removes the container misses nothing.
        """
        container = self._catalog.get(reference)
        if not (options.stdout or options.stderr):
            raise InvalidArgument("Bad parameters: you must choose at least one stream")
        readable_log(container)
        lines = self._log_lines(container, options)
        await anext(lines)
        return lines

    async def _log_lines(
        self, container: Container, options: LogOptions
    ) -> AsyncIterator[LogBatch]:
        finished = self._supervisor.clients.until_ended(container.id) if options.follow else None
        kept = readable_log(container)
        lines = read_log(
            self.log_path(container),
            kind=kept.kind,
            tail=options.tail,
            since_ns=options.since_ns,
            until_ns=options.until_ns,
            finished=finished,
        )
        try:
            async for batch in lines:
                chosen = options.of(batch)
                if chosen or not batch:  # an empty one says that the log is open
                    yield chosen
        finally:
            if finished is not None:
                finished.cancel()

    def log_path(self, container: Container) -> str:
        """Where its output is kept; "" where it is not."""
        return self._supervisor.log_targets.path(container)

    def _emit(self, container: Container, action: str, **more: str) -> None:
        emit_container(self._events, container, action, **more)


def _without_closed_stdin(container: Container, client: EarlyClient) -> EarlyClient:
    if container.config.open_stdin:
        return client
    attachment = msgspec.structs.replace(client.attachment, stdin=False)
    return client._replace(attachment=attachment)


def _joins_nothing(attachment: Attachment) -> bool:
    """Then it is at its end at once."""
    return not any((attachment.stdin, attachment.stdout, attachment.stderr))


def _own(client: EarlyClient) -> EarlyClient:
    return client._replace(connection=os.dup(client.connection))


def readable_log(container: Container) -> FileSettings:
    """How its output is kept. Raises Unsupported where it is not."""
    kept = logdriver.file_settings(container.host_config.log_config)
    if kept is None:
        raise Unsupported("configured logging driver does not support reading")
    return kept
