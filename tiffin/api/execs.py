"""Routes of execs: further processes in a running container."""

from __future__ import annotations

import base64
import os
from typing import TYPE_CHECKING, Any

import msgspec

from tiffin.api.container_streams import (
    loses_what_comes_with_the_head,
    stream_type,
    write_failure,
)
from tiffin.api.decode import decode, read_json
from tiffin.api.messages import Answer, Hijacked, Request, Response, json_response
from tiffin.api.router import Route
from tiffin.api.terminal import parse_detach_keys, parse_size
from tiffin.core.workload import Attachment
from tiffin.engine.clients import until_head_is_read
from tiffin.engine.processes import ExecRecord, ExecRequest
from tiffin.errors import Conflict, InvalidArgument, TiffinError

if TYPE_CHECKING:
    from tiffin.engine.engine import Engine


class StartRequest(msgspec.Struct, frozen=True, rename="pascal"):
    """The body of POST /exec/{id}/start."""

    detach: bool = False
    tty: bool = False
    console_size: tuple[int, int] | None = None


class ExecRoutes:
    def __init__(self, engine: Engine) -> None:
        self._processes = engine.processes
        self._containers = engine.containers

    def routes(self) -> list[Route]:
        return [
            Route("POST", "/containers/{id*}/exec", self.create),
            Route("POST", "/exec/{id}/start", self.start),
            Route("POST", "/exec/{id}/resize", self.resize),
            Route("GET", "/exec/{id}/json", self.inspect),
        ]

    async def create(self, request: Request) -> Answer:
        wanted = decode(await read_json(request, "container.ExecOptions"), ExecRequest)
        if not wanted.cmd:
            raise InvalidArgument("No exec command specified")
        size = None if request.version.before("1.42") else _checked_size(wanted.console_size)
        wanted = msgspec.structs.replace(wanted, console_size=size)
        _check_detach_keys(wanted.detach_keys)
        exec_id = await self._processes.create(request.parameters["id"], wanted)
        return json_response({"Id": exec_id}, status=201)

    async def start(self, request: Request) -> Answer:
        document = await read_json(request, "container.ExecStartOptions")
        wanted = decode(document, StartRequest)
        record = self._processes.get(request.parameters["id"])
        self._check_startable(record)
        wants_size = wanted.tty and not request.version.before("1.42")
        size = _checked_size(wanted.console_size) if wants_size else None
        if wanted.detach:
            await self._processes.start(record.id, None, Attachment(), console_size=size)
            return Response(200)
        return await self._start_attached(request, record, wanted, size)

    def _check_startable(self, record: ExecRecord) -> None:
        """What can be refused is refused before the connection changes its protocol."""
        if record.started:
            state = "is already running" if record.running else "has already run"
            raise Conflict(f"Error: Exec command {record.id} {state}")
        container = self._containers.get(record.container_id)
        if container.state.status.value == "paused":
            raise Conflict(f"Container {container.id} is paused, unpause the container before exec")
        if container.state.status.value != "running":
            raise Conflict(f"container {container.id} is not running")

    async def _start_attached(
        self,
        request: Request,
        record: ExecRecord,
        wanted: StartRequest,
        size: tuple[int, int] | None,
    ) -> Answer:
        """Whether the process has a terminal was said when it was created; how its stream looks is
        said here.
        """
        asked = record.request
        attachment = Attachment(
            stdin=asked.attach_stdin,
            stdout=asked.attach_stdout,
            stderr=asked.attach_stderr,
            framed=not wanted.tty,
            detach_keys=parse_detach_keys(asked.detach_keys),
        )
        client = await request.hijack(stream_type(request, tty=wanted.tty))
        try:
            if loses_what_comes_with_the_head(request):
                await until_head_is_read(client.descriptor)
            await self._processes.start(
                record.id, client.descriptor, attachment, early=client.early, console_size=size
            )
        except TiffinError as error:
            await write_failure(client.descriptor, error, framed=attachment.framed)
        finally:
            os.close(client.descriptor)
        return Hijacked()

    async def resize(self, request: Request) -> Answer:
        rows, columns = parse_size(request.query)
        await self._processes.resize(request.parameters["id"], rows, columns)
        return Response(200)

    async def inspect(self, request: Request) -> Answer:
        record = self._processes.get(request.parameters["id"])
        user = record.request.user or self._containers.get(record.container_id).config.user
        return json_response(exec_json(record, user))


def exec_json(record: ExecRecord, user: str) -> dict[str, Any]:
    asked = record.request
    process: dict[str, Any] = {
        "tty": asked.tty,
        "entrypoint": asked.cmd[0] if asked.cmd else "",
        "arguments": list(asked.cmd[1:]),
        "privileged": asked.privileged,
    }
    if user:
        process["user"] = user
    return {
        "ID": record.id,
        "Running": record.running,
        "ExitCode": record.exit_code,
        "ProcessConfig": process,
        "OpenStdin": asked.attach_stdin,
        "OpenStderr": asked.attach_stderr,
        "OpenStdout": asked.attach_stdout,
        "CanRemove": False,  # what nobody needs any more is gone unasked
        "ContainerID": record.container_id,
        "DetachKeys": base64.b64encode(_keys(asked.detach_keys)).decode(),
        "Pid": record.pid,
    }


def _keys(text: str) -> bytes:
    return parse_detach_keys(text) if text else b""


def _check_detach_keys(text: str) -> None:
    try:
        parse_detach_keys(text)
    except InvalidArgument as error:
        raise InvalidArgument(f"Invalid escape keys ({text}) provided") from error


def _checked_size(size: tuple[int, int] | None) -> tuple[int, int] | None:
    """[0, 0] is how clients say that they have no terminal."""
    if size is None or size == (0, 0):
        return None
    if max(size) > 65535:
        raise InvalidArgument("ConsoleSize must be two numbers below 65536: height and width")
    return size
