"""Routes of containers: their life, what they say, what is in them."""

from __future__ import annotations

import asyncio
import base64
import os
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import msgspec

from tiffin.api.container_json import inspect_json, summary_json
from tiffin.api.create import read_create
from tiffin.api.decode import check_content_type, parse_object, read_json
from tiffin.api.messages import (
    JSON,
    MAX_JSON_BYTES,
    MULTIPLEXED_STREAM,
    NO_CONTENT,
    RAW_STREAM,
    TAR,
    Answer,
    Hijacked,
    Request,
    Response,
    Stream,
    json_response,
)
from tiffin.api.router import Route
from tiffin.api.selection import ContainerSelection
from tiffin.api.streams import frame
from tiffin.api.terminal import parse_detach_keys, parse_size
from tiffin.api.versions import Version
from tiffin.core.container import Container
from tiffin.core.filters import parse_filters
from tiffin.core.timestamps import parse_time, rfc3339_fixed
from tiffin.core.workload import Attachment
from tiffin.engine.containers import LogOptions
from tiffin.engine.supervisor import ExitResult
from tiffin.errors import Conflict, InvalidArgument, NotFound, TiffinError

if TYPE_CHECKING:
    from tiffin.engine.engine import Engine

_PRUNE_FILTERS = ("label", "label!", "until")
_WAIT_CONDITIONS = ("", "not-running", "next-exit", "removed")


class ContainerRoutes:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._containers = engine.containers

    def routes(self) -> list[Route]:
        one = "/containers/{id}"
        return [
            Route("GET", "/containers/json", self.listing),
            Route("POST", "/containers/create", self.create),
            Route("POST", "/containers/prune", self.prune, since="1.25"),
            Route("GET", one + "/json", self.inspect),
            Route("POST", one + "/start", self.start),
            Route("POST", one + "/stop", self.stop),
            Route("POST", one + "/restart", self.restart),
            Route("POST", one + "/kill", self.kill),
            Route("POST", one + "/pause", self.pause),
            Route("POST", one + "/unpause", self.unpause),
            Route("POST", one + "/rename", self.rename),
            Route("POST", one + "/wait", self.wait, dies_with_client=True),
            Route("POST", one + "/resize", self.resize),
            Route("POST", one + "/attach", self.attach),
            Route("GET", one + "/logs", self.logs, dies_with_client=True),
            Route("GET", one + "/top", self.top),
            Route("GET", one + "/changes", self.changes),
            Route("GET", one + "/export", self.export, dies_with_client=True),
            Route("GET", one + "/archive", self.read_archive, dies_with_client=True),
            Route("HEAD", one + "/archive", self.stat_archive),
            Route("PUT", one + "/archive", self.write_archive),
            Route("DELETE", one, self.remove),
            Route("POST", "/commit", self.commit),
        ]

    # Looking.

    async def listing(self, request: Request) -> Answer:
        query = request.query
        selection = ContainerSelection(
            parse_filters(query.get("filters")), self._engine, everything=query.boolean("all")
        )
        limit = query.integer("limit")
        chosen = await selection.choose(
            self._containers.list(), limit, query.get("before"), query.get("since")
        )
        now_ns = time.time_ns()
        measured = chosen if query.boolean("size") else []
        sizes = {one.id: await self._containers.sizes(one) for one in measured}
        ids = await self._image_ids({one.image_reference for one in chosen})
        return json_response(
            [
                summary_json(
                    one,
                    request.version,
                    now_ns,
                    image=_image_name(one, ids),
                    sizes=sizes.get(one.id),
                )
                for one in chosen
            ]
        )

    async def _image_ids(self, references: set[str]) -> dict[str, str]:
        """What image each reference names now; "" for none."""
        found = {}
        for reference in references:
            try:
                found[reference] = (await self._engine.images.get(reference)).id
            except TiffinError:
                found[reference] = ""
        return found

    async def inspect(self, request: Request) -> Answer:
        container = self._get(request)
        sizes = request.query.boolean("size")
        return json_response(
            inspect_json(
                container,
                request.version,
                directory=os.path.join(self._engine.settings.data_root, "containers", container.id),
                log_path=self._containers.log_path(container),
                exec_ids=self._containers.execs(container),
                sizes=await self._containers.sizes(container) if sizes else None,
            )
        )

    def _get(self, request: Request) -> Container:
        return self._containers.get(request.parameters["id"])

    async def top(self, request: Request) -> Answer:
        arguments = request.query.get("ps_args") or "-ef"
        titles, rows = await self._containers.top(request.parameters["id"], arguments)
        return json_response({"Titles": titles, "Processes": rows})

    async def changes(self, request: Request) -> Answer:
        found = await self._containers.changes(request.parameters["id"])
        return json_response([{"Path": path, "Kind": kind} for path, kind in found] or None)

    # Life.

    async def create(self, request: Request) -> Answer:
        data = await request.body.read(MAX_JSON_BYTES)
        check_content_type(request)
        if not data.strip():
            raise InvalidArgument("invalid JSON: got EOF while reading request body")
        wanted = read_create(parse_object(data), request.version)
        await self._check_platform(wanted.config.image, request.query.get("platform"))
        container, warnings = await self._containers.create(
            request.query.get("name") or None, wanted.config, wanted.host_config
        )
        return json_response(
            {"Id": container.id, "Warnings": [*wanted.warnings, *warnings]}, status=201
        )

    async def _check_platform(self, reference: str, platform: str) -> None:
        """Another platform than the image's is "not found": the client then pulls that one."""
        if not platform:
            return
        wanted = [*platform.lower().split("/"), ""]
        config = (await self._engine.images.get(reference)).config
        if (config.os or "linux", config.architecture) != (wanted[0], wanted[1]):
            raise NotFound(
                f"image with reference {reference} was found but its platform "
                f"({config.os}/{config.architecture}) does not match the specified platform "
                f"({platform})"
            )

    async def start(self, request: Request) -> Answer:
        if request.query.get("checkpoint"):
            raise InvalidArgument("checkpoints are not supported by tiffin")
        await self._containers.start(request.parameters["id"])
        return NO_CONTENT

    async def stop(self, request: Request) -> Answer:
        await self._containers.stop(
            request.parameters["id"],
            signal=request.query.get("signal") or None,
            timeout=_timeout(request),
        )
        return NO_CONTENT

    async def restart(self, request: Request) -> Answer:
        await self._containers.restart(
            request.parameters["id"],
            signal=request.query.get("signal") or None,
            timeout=_timeout(request),
        )
        return NO_CONTENT

    async def kill(self, request: Request) -> Answer:
        signal = request.query.get("signal") or "SIGKILL"
        try:
            await self._containers.kill(request.parameters["id"], signal)
        except NotFound as error:
            words = f"Cannot kill container: {request.parameters['id']}: {error.message}"
            raise NotFound(words) from error
        return NO_CONTENT

    async def pause(self, request: Request) -> Answer:
        await self._containers.pause(request.parameters["id"])
        return NO_CONTENT

    async def unpause(self, request: Request) -> Answer:
        await self._containers.unpause(request.parameters["id"])
        return NO_CONTENT

    async def rename(self, request: Request) -> Answer:
        try:
            await self._containers.rename(request.parameters["id"], request.query.get("name"))
        except (Conflict, InvalidArgument) as error:
            if error.message.startswith(("Conflict. ", "Invalid container name")):
                words = f"Error when allocating new name: {error.message}"
                raise type(error)(words) from error
            raise
        return NO_CONTENT

    async def remove(self, request: Request) -> Answer:
        if request.query.boolean("link"):
            raise Conflict("links are not supported by tiffin")
        await self._containers.remove(
            request.parameters["id"],
            force=request.query.boolean("force"),
            volumes=request.query.boolean("v"),
        )
        return NO_CONTENT

    async def prune(self, request: Request) -> Answer:
        filters = parse_filters(request.query.get("filters")).check(*_PRUNE_FILTERS)
        until = parse_time(filters.single("until"), time.time_ns())

        def matches(container: Container) -> bool:
            old_enough = not until or container.created_ns < until
            return old_enough and filters.labels(container.config.labels)

        removed, reclaimed = await self._containers.prune(matches)
        return json_response({"ContainersDeleted": removed or None, "SpaceReclaimed": reclaimed})

    async def wait(self, request: Request) -> Answer:
        """The headers go out at once: a client knows then that it will miss no exit."""
        condition = request.query.get("condition")
        if condition not in _WAIT_CONDITIONS:
            raise InvalidArgument(f'invalid condition: "{condition}"')
        exited = self._containers.wait(request.parameters["id"], condition or "not-running")
        return Stream(_exit_document(exited, request.version), JSON)

    # Streams.

    async def resize(self, request: Request) -> Answer:
        rows, columns = parse_size(request.query)
        await self._containers.resize(request.parameters["id"], rows, columns)
        return Response(200)

    async def attach(self, request: Request) -> Answer:
        query = request.query
        container = self._containers.check_attachable(request.parameters["id"])
        attachment = Attachment(
            stdin=query.boolean("stdin"),
            stdout=query.boolean("stdout"),
            stderr=query.boolean("stderr"),
            framed=not container.config.tty,
            detach_keys=parse_detach_keys(query.get("detachKeys")),
        )
        streaming, logs = query.boolean("stream"), query.boolean("logs")
        client = await request.hijack(stream_type(request, tty=container.config.tty))
        try:
            if logs:
                await self._replay(container, client.descriptor, attachment)
            if streaming:
                await self._containers.attach(
                    container.id, client.descriptor, attachment, early=client.early
                )
        except TiffinError as error:
            await write_failure(client.descriptor, error, framed=attachment.framed)
        finally:
            os.close(client.descriptor)
        return Hijacked()

    async def _replay(self, container: Container, descriptor: int, attachment: Attachment) -> None:
        options = LogOptions(stdout=attachment.stdout, stderr=attachment.stderr)
        async for line in self._containers.logs(container.id, options):
            data = frame(line.stream, line.data) if attachment.framed else line.data
            await write_all(descriptor, data)

    async def logs(self, request: Request) -> Answer:
        query = request.query
        now_ns = time.time_ns()
        options = LogOptions(
            stdout=query.boolean("stdout"),
            stderr=query.boolean("stderr"),
            follow=query.boolean("follow"),
            tail=_tail(query.get("tail")),
            since_ns=parse_time(query.get("since"), now_ns),
            until_ns=parse_time(query.get("until"), now_ns),
        )
        container = self._get(request)
        lines = self._containers.logs(container.id, options)
        chunks = _log_chunks(
            lines, timestamps=query.boolean("timestamps"), framed=not container.config.tty
        )
        return Stream(chunks, stream_type(request, tty=container.config.tty))

    # What is inside.

    async def export(self, request: Request) -> Answer:
        container = self._get(request)
        return Stream(self._containers.export(container.id), "application/octet-stream")

    async def read_archive(self, request: Request) -> Answer:
        path = _archive_path(request)
        found, chunks = await self._containers.read_archive(request.parameters["id"], path)
        return Stream(chunks, TAR, {"X-Docker-Container-Path-Stat": _path_stat(found)})

    async def stat_archive(self, request: Request) -> Answer:
        path = _archive_path(request)
        found = await self._containers.stat_path(request.parameters["id"], path)
        return Response(200, headers={"X-Docker-Container-Path-Stat": _path_stat(found)})

    async def write_archive(self, request: Request) -> Answer:
        path = _archive_path(request)
        await self._containers.write_archive(
            request.parameters["id"],
            path,
            aiter(request.body),
            no_overwrite=request.query.boolean("noOverwriteDirNonDir"),
            copy_owner=request.query.boolean("copyUIDGID"),
        )
        return Response(200)

    async def commit(self, request: Request) -> Answer:
        query = request.query
        reference = query.get("container")
        if not reference:
            raise NotFound("No such container: ")
        document = await read_json(request)
        image_id = await self._containers.commit(
            reference,
            repository=query.get("repo"),
            tag=query.get("tag"),
            author=query.get("author"),
            comment=query.get("comment"),
            pause=query.boolean("pause", default=True),
            changes=self._engine.builds.config_changes(query.all("changes"), document),
        )
        return json_response({"Id": image_id}, status=201)


def _image_name(container: Container, ids: dict[str, str]) -> str:
    """The reference it was created from, or the id if that names another image by now."""
    same = ids[container.image_reference] == container.image_id
    return container.image_reference if same else container.image_id


async def _exit_document(
    exited: asyncio.Future[ExitResult], version: Version
) -> AsyncIterator[bytes]:
    result = await exited
    value: dict[str, Any] = {"StatusCode": result.exit_code}
    if result.error or version.before("1.42"):
        value["Error"] = {"Message": result.error} if result.error else None
    yield msgspec.json.encode(value) + b"\n"


async def _log_chunks(
    lines: AsyncIterator[Any], *, timestamps: bool, framed: bool
) -> AsyncIterator[bytes]:
    async for line in lines:
        data = line.data
        if timestamps:
            data = f"{rfc3339_fixed(line.time_ns)} ".encode() + data
        yield frame(line.stream, data) if framed else data


def stream_type(request: Request, *, tty: bool) -> str:
    if tty or request.version.before("1.42"):
        return RAW_STREAM
    return MULTIPLEXED_STREAM


async def write_failure(descriptor: int, error: TiffinError, *, framed: bool) -> None:
    """A failure after the hijack is said in the stream: on stdout, as Docker does it."""
    text = f"{error.message}\r\n".encode()
    await write_all(descriptor, frame(1, text) if framed else text)


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


def _timeout(request: Request) -> int | None:
    return request.query.integer("t") if request.query.get("t") else None


def _tail(text: str) -> int | None:
    """None for all lines: what "all", nothing and nonsense mean to Docker."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


def _archive_path(request: Request) -> str:
    path = request.query.get("path")
    if not path:
        raise InvalidArgument("bad parameter: 'path' cannot be empty")
    return path


def _path_stat(found: Any) -> str:
    """Docker's PathStat: mode bits as Go's os.FileMode, in base64."""
    value = {
        "name": found.name,
        "size": found.size,
        "mode": found.mode,
        "mtime": found.mtime,
        "linkTarget": found.link_target,
    }
    return base64.b64encode(msgspec.json.encode(value)).decode()
