"""Routes of what flows between a container and a client: attach, logs, wait, terminal size."""

from __future__ import annotations

import asyncio
import contextlib
import operator
import os
import re
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any

import msgspec

from tiffin.api.messages import (
    JSON,
    MULTIPLEXED_STREAM,
    RAW_STREAM,
    Answer,
    Hijacked,
    Query,
    Request,
    Response,
    Stream,
)
from tiffin.api.router import IDENTITY, Route
from tiffin.api.streams import frame, frames
from tiffin.api.terminal import parse_detach_keys, parse_size
from tiffin.api.versions import Version
from tiffin.core.container import Container
from tiffin.core.logextras import prefix
from tiffin.core.loglines import LogBatch
from tiffin.core.workload import Attachment, ExitAnswer
from tiffin.engine.clients import EarlyClient, until_head_is_read
from tiffin.engine.containerstreams import LogOptions
from tiffin.engine.waiting import ExitResult
from tiffin.errors import InvalidArgument, TiffinError

if TYPE_CHECKING:
    from tiffin.engine.containerstreams import ContainerStreams
    from tiffin.engine.engine import Engine

_LINES = re.compile(r"[+-]?[0-9]{1,18}")
_WAIT_CONDITIONS = ("", "not-running", "next-exit", "removed")


class ContainerStreamRoutes:
    def __init__(self, engine: Engine) -> None:
        self._containers = engine.containers

    def routes(self) -> list[Route]:
        one = "/containers/{id*}"
        return [
            Route("POST", one + "/wait", self.wait, dies_with_client=True),
            Route("POST", one + "/resize", self.resize),
            Route("POST", one + "/attach", self.attach),
            Route("GET", one + "/logs", self.logs, dies_with_client=True),
        ]

    async def wait(self, request: Request) -> Answer:
        """The headers go out at once: a client knows then that it will miss no exit.

        One that has to wait is parted with, so that it outlives this daemon.
        """
        condition = "" if request.version.before("1.30") else request.query.get("condition")
        if condition not in _WAIT_CONDITIONS:
            raise InvalidArgument(f'invalid condition: "{condition}"')
        container = self._containers.get(request.parameters["id"])
        exited = self._containers.wait(container.id, condition or "not-running")
        if exited.done() or not request.chunks:
            return Stream(_exit_document(exited, request.version), JSON)
        null_error = ',"Error":null' if request.version.before("1.42") else ""
        answer = ExitAnswer('{"StatusCode":', null_error + "}\n", condition == "removed")
        try:
            client = await request.hijack(JSON, _waiting_head())
        except BaseException:
            exited.cancel()
            raise
        await self._containers.answer_exit(container.id, exited, client.descriptor, answer)
        return Hijacked()

    async def resize(self, request: Request) -> Answer:
        rows, columns = parse_size(request.query)
        await self._containers.streams.resize(request.parameters["id"], rows, columns)
        return Response(200)

    async def attach(self, request: Request) -> Answer:
        query = request.query
        container = self._containers.streams.attachable(request.parameters["id"])
        attachment = Attachment(
            stdin=query.boolean("stdin"),
            stdout=query.boolean("stdout"),
            stderr=query.boolean("stderr"),
            framed=not container.config.tty,
            detach_keys=parse_detach_keys(query.get("detachKeys")),
        )
        client = await request.hijack(stream_type(request, tty=container.config.tty))
        try:
            apart = query.boolean("logs") or loses_what_comes_with_the_head(request)
            joining = EarlyClient(client.descriptor, attachment, client.early, apart)
            await join(self._containers.streams, container, joining, query)
        finally:
            os.close(client.descriptor)
        return Hijacked()

    async def logs(self, request: Request) -> Answer:
        query = request.query
        now_ns = time.time_ns()
        options = LogOptions(
            stdout=query.boolean("stdout"),
            stderr=query.boolean("stderr"),
            follow=query.boolean("follow"),
            tail=_tail(query.get("tail")),
            since_ns=query.moment("since", now_ns),
            until_ns=query.moment("until", now_ns),
        )
        if not (options.stdout or options.stderr):
            raise InvalidArgument("Bad parameters: you must choose at least one stream")
        container = self._containers.get(request.parameters["id"])
        batches = await self._containers.streams.logs(container.id, options)
        chunks = _log_chunks(
            batches,
            timestamps=query.boolean("timestamps"),
            details=prefix(container) if query.boolean("details") else b"",
            framed=not container.config.tty,
        )
        return Stream(chunks, stream_type(request, tty=container.config.tty))


def loses_what_comes_with_the_head(request: Request) -> bool:
    """docker-py reads the head through a buffer and the rest past it."""
    return request.header("user-agent").startswith("docker-sdk-python")


def _writer(descriptor: int, *, framed: bool) -> Callable[[LogBatch], Awaitable[None]]:
    async def give(batch: LogBatch) -> None:
        data = frames(batch.streams, batch.lines) if framed else b"".join(batch.lines)
        await write_all(descriptor, data)

    return give


async def join(
    streams: ContainerStreams, container: Container, client: EarlyClient, query: Query
) -> None:
    """Give a client the log, the stream, or both, as its query says; a failure is said there."""
    descriptor, attachment = client.connection, client.attachment
    streaming, logs = query.boolean("stream"), query.boolean("logs")
    give = _writer(descriptor, framed=attachment.framed)
    try:
        if logs and streaming:
            await streams.attach_with_logs(container.id, client, give)
        elif streaming:
            await streams.attach(container.id, client)
        else:
            if logs and (attachment.stdout or attachment.stderr):
                await until_head_is_read(descriptor)
                options = LogOptions(stdout=attachment.stdout, stderr=attachment.stderr)
                async for batch in await streams.logs(container.id, options):
                    await give(batch)
            streams.note_attach(container.id)
    except TiffinError as error:
        await write_failure(descriptor, error, framed=attachment.framed)


def _waiting_head() -> tuple[str, ...]:
    own = [("Content-Type", JSON), ("Transfer-Encoding", "chunked"), ("Connection", "close")]
    return ("HTTP/1.1 200 OK", *(f"{name}: {value}" for name, value in [*IDENTITY, *own]))


async def _exit_document(
    exited: asyncio.Future[ExitResult], version: Version
) -> AsyncIterator[bytes]:
    result = await exited
    value: dict[str, Any] = {"StatusCode": result.exit_code}
    if result.error or version.before("1.42"):
        value["Error"] = {"Message": result.error} if result.error else None
    yield msgspec.json.encode(value) + b"\n"


async def _log_chunks(
    batches: AsyncIterator[LogBatch], *, timestamps: bool, details: bytes, framed: bool
) -> AsyncIterator[bytes]:
    async for batch in batches:
        lines = batch.lines
        if timestamps:
            # Lines that came at once have one time.
            stamps = {time: f"{time} ".encode() + details for time in set(batch.times)}
            lines = list(map(operator.add, map(stamps.__getitem__, batch.times), lines))
        elif details:
            lines = [details + line for line in lines]
        yield frames(batch.streams, lines) if framed else b"".join(lines)


def stream_type(request: Request, *, tty: bool) -> str:
    if tty or request.version.before("1.42"):
        return RAW_STREAM
    return MULTIPLEXED_STREAM


async def write_failure(descriptor: int, error: TiffinError, *, framed: bool) -> None:
    """A failure after the hijack is said in the stream: on stdout, as Docker does it."""
    text = f"{error.message}\r\n".encode()
    await until_head_is_read(descriptor)
    await write_all(descriptor, frame(1, text) if framed else text)
    # A shim that does not answer has it, too, in what it has not read: closing ours ends nothing.
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as connection:
        connection.shutdown(socket.SHUT_WR)


async def write_all(descriptor: int, data: bytes) -> None:
    """Onto a client's non-blocking socket; a client that went away is none of our concern."""
    loop = asyncio.get_running_loop()
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(descriptor, view) :]
        except BlockingIOError:
            ready = loop.create_future()
            loop.add_writer(descriptor, _resolve, ready)
            try:
                await ready
            finally:
                loop.remove_writer(descriptor)
        except OSError:
            return


def _resolve(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)


def _tail(text: str) -> int | None:
    """None for all lines: what "all", nothing and nonsense mean to Docker, and less than none."""
    return max_lines if _LINES.fullmatch(text) and (max_lines := int(text)) >= 0 else None
