"""Routes of what is in a container: its files, what changed, all of it as a tar or an image."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from tiffin.api.create import read_config
from tiffin.api.decode import read_json
from tiffin.api.messages import TAR, Answer, Request, Response, Stream, json_response, to_json
from tiffin.api.router import Route
from tiffin.core.reference import parse
from tiffin.errors import InvalidArgument

if TYPE_CHECKING:
    from tiffin.engine.engine import Engine


_CUT = "what fails on the way ends the connection, so that no part is taken for the whole"
_NO_ID = "an owner that a running container has no id for becomes its root"


class ContainerFileRoutes:
    def __init__(self, engine: Engine) -> None:
        self._containers = engine.containers
        self._engine = engine

    def routes(self) -> list[Route]:
        one = "/containers/{id*}"
        return [
            Route("GET", one + "/changes", self.changes),
            Route(
                *("GET", one + "/export", self.export),
                dies_with_client=True,
                has_an_end=True,
                limits=_CUT,
            ),
            Route(
                *("GET", one + "/archive", self.read_archive),
                dies_with_client=True,
                has_an_end=True,
                limits=_CUT,
            ),
            Route("HEAD", one + "/archive", self.stat_archive),
            Route("PUT", one + "/archive", self.write_archive, limits=_NO_ID),
            Route("POST", "/commit", self.commit),
        ]

    async def changes(self, request: Request) -> Answer:
        found = await self._containers.files.changes(request.parameters["id"])
        return json_response([{"Path": path, "Kind": kind} for path, kind in found] or None)

    async def export(self, request: Request) -> Answer:
        container = self._containers.get(request.parameters["id"])
        chunks = await self._containers.files.export(container.id)
        return Stream(chunks, "application/octet-stream")

    async def read_archive(self, request: Request) -> Answer:
        path = _archive_path(request)
        found, chunks = await self._containers.files.read_archive(request.parameters["id"], path)
        return Stream(chunks, TAR, {"X-Docker-Container-Path-Stat": _path_stat(found)})

    async def stat_archive(self, request: Request) -> Answer:
        path = _archive_path(request)
        found = await self._containers.files.stat_path(request.parameters["id"], path)
        return Response(200, headers={"X-Docker-Container-Path-Stat": _path_stat(found)})

    async def write_archive(self, request: Request) -> Answer:
        path = _archive_path(request)
        await self._containers.files.write_archive(
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
        given = read_config(await read_json(request, "container.CreateRequest"))
        if not reference:
            raise InvalidArgument('invalid name or ID supplied: ""')
        image_id = await self._containers.files.commit(
            reference,
            name=_image_name(query.get("repo"), query.get("tag")),
            author=query.get("author"),
            comment=query.get("comment"),
            pause=query.boolean("pause", default=True),
            changes=self._engine.builds.config_changes(query.all("changes"), given),
        )
        return json_response({"Id": image_id}, status=201)


def _image_name(repository: str, tag: str) -> str:
    """A tag said by itself counts, whatever the name ends with. Raises InvalidArgument."""
    if not repository:
        return ""
    reference = parse(repository)
    if reference.digest:
        raise InvalidArgument("cannot import digest reference")
    return (reference.with_tag(tag) if tag else reference.tagged()).familiar()


def _archive_path(request: Request) -> str:
    path = request.query.path("path")
    if not path:
        raise InvalidArgument("bad parameter: 'path' cannot be empty")
    if "\0" in path:
        raise InvalidArgument("bad parameter: 'path' contains a nul byte")
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
    return base64.b64encode(to_json(value)).decode()
