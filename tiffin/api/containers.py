"""Routes of containers as things: find, create, live, remove."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

import msgspec

from tiffin.api.bodies import whole
from tiffin.api.container_json import Sizes, inspect_json, summary_json
from tiffin.api.create import read_create, read_update
from tiffin.api.decode import check_content_type, parse_object, read_json
from tiffin.api.knownanswers import KnownAnswers
from tiffin.api.messages import (
    JSON,
    MAX_JSON_BYTES,
    NO_CONTENT,
    Answer,
    Request,
    Response,
    json_response,
)
from tiffin.api.publishing import read_publishing
from tiffin.api.router import Route
from tiffin.api.selection import ContainerSelection
from tiffin.api.versions import Version
from tiffin.core.container import Container
from tiffin.core.filters import parse_filters
from tiffin.core.image import Platform, check_platform, parse_platform
from tiffin.errors import Conflict, InvalidArgument, NotFound, TiffinError

if TYPE_CHECKING:
    from tiffin.engine.engine import Engine

_PRUNE_FILTERS = ("label", "label!", "until")
_LONGEST_NOTHING = 7  # bytes


class ContainerRoutes:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._containers = engine.containers
        self._answers = KnownAnswers()

    def routes(self) -> list[Route]:
        one = "/containers/{id*}"
        return [
            Route("GET", "/containers/json", self.listing),
            Route("POST", "/containers/create", self.create),
            Route("POST", "/containers/prune", self.prune),
            Route("GET", one + "/json", self.inspect),
            Route("POST", one + "/start", self.start),
            Route("POST", one + "/stop", self.stop),
            Route("POST", one + "/restart", self.restart),
            Route("POST", one + "/kill", self.kill),
            Route("POST", one + "/pause", self.pause),
            Route("POST", one + "/unpause", self.unpause),
            Route("POST", one + "/rename", self.rename),
            Route("POST", one + "/update", self.update),
            Route("GET", one + "/top", self.top),
            Route("DELETE", one, self.remove),
        ]

    # Looking.

    async def listing(self, request: Request) -> Answer:
        query = request.query
        selection = ContainerSelection(
            parse_filters(query.get("filters")), self._engine, everything=query.boolean("all")
        )
        limit = query.integer("limit")
        chosen = await selection.choose(self._containers.list(), limit)
        now_ns = time.time_ns()
        measured = chosen if query.boolean("size") else []
        sizes = {one.id: await self._containers.sizes(one) for one in measured}
        ids = await self._image_ids({one.image_reference for one in chosen})
        names = self._containers.given_names()
        return json_response(
            [
                summary_json(
                    one,
                    request.version,
                    now_ns,
                    image=_image_name(one, ids),
                    sizes=sizes.get(one.id),
                    given_names=names.get(one.id, ()),
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
        container = await self._containers.settled(request.parameters["id"])
        if request.query.boolean("size"):
            sizes = await self._containers.sizes(container)
            return json_response(self._inspected(container, request.version, sizes))
        execs = tuple(self._containers.execs(container))
        links = tuple(self._containers.shown_links(container))
        return Response(
            200,
            self._answers.get(
                container,
                (request.version, execs, links),
                lambda: msgspec.json.encode(self._inspected(container, request.version)) + b"\n",
            ),
            JSON,
        )

    def _inspected(
        self, container: Container, version: Version, sizes: Sizes | None = None
    ) -> dict[str, Any]:
        containers = self._containers
        return inspect_json(
            container,
            version,
            directory=os.path.join(self._engine.settings.data_root, "containers", container.id),
            log_path=containers.streams.log_path(container),
            exec_ids=containers.execs(container),
            driver=self._engine.storage_facts.driver,
            apparmor_profile=containers.apparmor_profile(container),
            sizes=sizes,
            links=containers.shown_links(container),
        )

    def _get(self, request: Request) -> Container:
        return self._containers.get(request.parameters["id"])

    async def top(self, request: Request) -> Answer:
        arguments = request.query.get("ps_args") or "-ef"
        titles, rows = await self._containers.top(request.parameters["id"], arguments)
        return json_response({"Titles": titles, "Processes": rows})

    # Life.

    async def create(self, request: Request) -> Answer:
        async with whole(request, MAX_JSON_BYTES) as data:
            if data or request.header("content-type"):
                check_content_type(request)
            wanted = read_create(parse_object(data, "container.CreateRequest"), request.version)
        if not request.version.before("1.41"):
            await self._check_platform(wanted.config.image, request.query.get("platform"))
        container, warnings = await self._containers.create(
            request.query.get("name") or None,
            wanted.config,
            wanted.host_config,
            shallow_read_only=wanted.shallow_read_only,
            link_local=wanted.link_local,
            given_empty=wanted.given_empty,
        )
        return json_response(
            {"Id": container.id, "Warnings": [*wanted.warnings, *warnings]}, status=201
        )

    async def _check_platform(self, reference: str, platform: str) -> None:
        """Another platform than the image's is "not found": the client then pulls that one."""
        if not platform:
            return
        config = (await self._engine.images.get(reference)).config
        own = Platform(config.architecture, config.os or "linux", config.variant)
        check_platform(reference, config, parse_platform(platform, own))

    async def start(self, request: Request) -> Answer:
        _check_no_body(request)
        if request.query.get("checkpoint"):
            raise InvalidArgument("checkpoints are not supported by tiffin")
        await self._containers.start(request.parameters["id"])
        return NO_CONTENT

    async def stop(self, request: Request) -> Answer:
        await self._containers.stop(
            request.parameters["id"],
            signal=_stop_signal(request),
            timeout=_timeout(request),
        )
        return NO_CONTENT

    async def restart(self, request: Request) -> Answer:
        name, signal, timeout = request.parameters["id"], _stop_signal(request), _timeout(request)
        self._containers.get(name)
        try:
            await self._containers.restart(name, signal=signal, timeout=timeout)
        except TiffinError as error:
            error.args = (f"Cannot restart container {name}: {error.message}",)
            raise
        return NO_CONTENT

    async def kill(self, request: Request) -> Answer:
        name, signal = request.parameters["id"], request.query.get("signal") or "SIGKILL"
        try:
            await self._containers.kill(name, signal)
        except (NotFound, Conflict, InvalidArgument) as error:
            raise type(error)(f"cannot kill container: {name}: {error.message}") from error
        return NO_CONTENT

    async def pause(self, request: Request) -> Answer:
        await self._containers.pause(request.parameters["id"])
        return NO_CONTENT

    async def unpause(self, request: Request) -> Answer:
        await self._containers.unpause(request.parameters["id"])
        return NO_CONTENT

    async def rename(self, request: Request) -> Answer:
        name = request.query.get("name")
        if name and not name.startswith("/"):
            name = f"/{name}"
        try:
            await self._containers.rename(request.parameters["id"], name)
        except (Conflict, InvalidArgument) as error:
            if error.message.startswith(("Conflict. ", "Invalid container name")):
                words = f"Error when allocating new name: {error.message}"
                raise type(error)(words) from error
            raise
        return NO_CONTENT

    async def update(self, request: Request) -> Answer:
        document = await read_json(request, "container.UpdateConfig")
        warnings = await self._containers.update(
            request.parameters["id"],
            read_update(document, request.version),
            read_publishing(document),
        )
        return json_response({"Warnings": warnings or None})

    async def remove(self, request: Request) -> Answer:
        if request.query.boolean("link"):
            await self._containers.unlink(request.parameters["id"])
            return NO_CONTENT
        name = request.parameters["id"]
        try:
            await self._containers.remove(
                name, force=request.query.boolean("force"), volumes=request.query.boolean("v")
            )
        except Conflict as error:
            raise Conflict(f'cannot remove container "{name}": {error.message}') from error
        return NO_CONTENT

    async def prune(self, request: Request) -> Answer:
        filters = parse_filters(request.query.get("filters")).check(*_PRUNE_FILTERS)
        until = filters.until_ns(time.time_ns())

        def matches(container: Container) -> bool:
            old_enough = until is None or container.created_ns < until
            return old_enough and filters.labels(container.config.labels)

        removed, reclaimed = await self._containers.prune(matches)
        return json_response({"ContainersDeleted": removed or None, "SpaceReclaimed": reclaimed})


def _image_name(container: Container, ids: dict[str, str]) -> str:
    """The reference it was created from, or the id if that names another image by now."""
    same = ids[container.image_reference] == container.image_id
    return container.image_reference if same else container.image_id


def _check_no_body(request: Request) -> None:
    """A host config of old, which is not obeyed, is refused. Docker lets pass what is as short as
    a `null` with the white space around it.
    """
    length = request.header("content-length")
    if request.header("transfer-encoding") or (length and int(length) > _LONGEST_NOTHING):
        raise InvalidArgument(
            "starting container with non-empty request body was deprecated since API v1.22 "
            "and removed in v1.24"
        )


def _stop_signal(request: Request) -> str | None:
    """Clients of old do not mean it for this."""
    if request.version.before("1.42"):
        return None
    return request.query.get("signal") or None


def _timeout(request: Request) -> int | None:
    return request.query.integer("t") if request.query.get("t") else None
