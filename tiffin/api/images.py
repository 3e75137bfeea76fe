"""Routes of images: list, inspect, pull, push, import, load, save, tag, remove."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from tiffin.api.image_json import inspect_json, reference_pattern, summary_json
from tiffin.api.messages import TAR, Answer, Request, Response, Stream, json_response
from tiffin.api.platforms import asked_platform
from tiffin.api.router import Route
from tiffin.api.streams import progress, progress_at_once
from tiffin.core.filters import Filters, parse_filters
from tiffin.core.image import check_platform
from tiffin.core.reference import parse
from tiffin.errors import InvalidArgument, NotFound, TiffinError

if TYPE_CHECKING:
    from tiffin.engine.engine import Engine
    from tiffin.engine.images import Image

_LIST_FILTERS = ("before", "dangling", "label", "label!", "reference", "since", "until")
_PRUNE_FILTERS = ("dangling", "label", "label!", "until")


class ImageRoutes:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._images = engine.images

    def routes(self) -> list[Route]:
        one = "/images/{name*}"
        return [
            Route("GET", "/images/json", self.listing),
            Route("GET", "/images/get", self.save_many, dies_with_client=True, has_an_end=True),
            Route("POST", "/images/create", self.create, dies_with_client=True),
            Route("POST", "/images/load", self.load, dies_with_client=True),
            Route("POST", "/images/prune", self.prune),
            Route("GET", one + "/json", self.inspect),
            Route("GET", one + "/history", self.history),
            Route("GET", one + "/get", self.save, dies_with_client=True, has_an_end=True),
            Route("GET", one + "/attestations", self.attestations, since="1.55", limits="none"),
            Route("POST", one + "/push", self.push, dies_with_client=True),
            Route("POST", one + "/tag", self.tag),
            Route("DELETE", one, self.remove),
            Route("GET", "/distribution/{name*}/json", self.distribution, since="1.30"),
        ]

    # Looking.

    async def listing(self, request: Request) -> Answer:
        filters = parse_filters(request.query.get("filters")).check(*_LIST_FILTERS)
        images = await self._images.list()
        before = await self._moment(filters.single("before"))
        since = await self._moment(filters.single("since"))
        until = filters.until_ns(time.time_ns())
        known = {image.id for image in images}
        users = Counter(container.image_id for container in self._engine.containers.list())
        chosen = [
            image
            for image in images
            if _matches(image, filters)
            and (not before or image.created_ns < before)
            and (not since or image.created_ns > since)
            and (until is None or image.created_ns < until)
        ]
        shared: dict[str, int] = {}
        if not request.version.before("1.42") and request.query.boolean("shared-size"):
            shared = await self._images.shared_sizes(images)
        return json_response(
            [
                summary_json(
                    image,
                    request.version,
                    containers=users[image.id],
                    shared_size=shared.get(image.id, -1),
                    parent=image.config.parent if image.config.parent in known else "",
                )
                for image in chosen
            ]
        )

    async def _moment(self, reference: str) -> int:
        return (await self._images.get(reference)).created_ns if reference else 0

    async def inspect(self, request: Request) -> Answer:
        wanted = asked_platform(request, since="1.49")
        if wanted and request.query.boolean("manifests"):
            raise InvalidArgument(
                "conflicting options: manifests and platform options cannot both be set"
            )
        name = request.parameters["name"]
        image = await self._images.get(name)
        check_platform(name, image.config, wanted)
        parent = await self._parent(image)
        driver = self._engine.storage_facts.driver
        return json_response(inspect_json(image, request.version, parent=parent, driver=driver))

    async def _parent(self, image: Image) -> str:
        try:
            return (await self._images.get(image.config.parent)).id if image.config.parent else ""
        except TiffinError:
            return ""

    async def history(self, request: Request) -> Answer:
        await self._check_platform(request, request.parameters["name"])
        entries = await self._images.history(request.parameters["name"])
        return json_response(
            [
                {
                    "Comment": entry.comment,
                    "Created": entry.created_ns // 1_000_000_000,
                    "CreatedBy": entry.created_by,
                    "Id": entry.id,
                    "Size": entry.size,
                    "Tags": list(entry.tags) or None,
                }
                for entry in entries
            ]
        )

    async def _check_platform(self, request: Request, name: str) -> None:
        wanted = asked_platform(request, since="1.48")
        if wanted:
            check_platform(name, (await self._images.get(name)).config, wanted)

    async def attestations(self, request: Request) -> Answer:
        await self._images.get(request.parameters["name"])
        return json_response([])

    async def distribution(self, request: Request) -> Answer:
        value = await self._images.distribution(
            request.parameters["name"], request.header("x-registry-auth")
        )
        return json_response(value)

    # Names.

    async def tag(self, request: Request) -> Answer:
        query = request.query
        await self._images.tag(request.parameters["name"], query.get("repo"), query.get("tag"))
        return Response(201)

    async def remove(self, request: Request) -> Answer:
        name = request.parameters["name"]
        if not name.strip():
            raise InvalidArgument("image name cannot be blank")
        removed = await self._images.remove(
            name,
            force=request.query.boolean("force"),
            noprune=request.query.boolean("noprune"),
        )
        return json_response(removed)

    async def prune(self, request: Request) -> Answer:
        """Untagged images; with dangling=false all that no container uses."""
        filters = parse_filters(request.query.get("filters")).check(*_PRUNE_FILTERS)
        until = filters.until_ns(time.time_ns())

        def matches(image: Image) -> bool:
            old_enough = until is None or image.created_ns < until
            return old_enough and filters.labels(image.labels)

        removed, reclaimed = await self._images.prune(
            matches, dangling=filters.boolean("dangling", default=True)
        )
        return json_response({"ImagesDeleted": removed or None, "SpaceReclaimed": reclaimed})

    # Coming and going.

    async def create(self, request: Request) -> Answer:
        """A pull (`fromImage`) or an import (`fromSrc`)."""
        query = request.query
        if query.get("fromImage"):
            messages = self._images.pull(
                _with_tag(query.get("fromImage"), query.get("tag")),
                query.get("platform"),
                request.header("x-registry-auth"),
                all_tags=not query.get("tag"),
            )
            return await progress(messages, request.version)
        source = query.get("fromSrc")
        if not source:
            raise InvalidArgument("invalid reference format")
        messages = self._images.import_(
            aiter(request.body),
            source=source,
            repository=query.get("repo"),
            tag=query.get("tag"),
            message=query.get("message"),
            platform=query.get("platform"),
            changes=self._engine.builds.config_changes(query.all("changes")),
        )
        return await progress(messages, request.version)

    async def push(self, request: Request) -> Answer:
        name = request.parameters["name"]
        messages = self._images.push(
            _with_tag(name, request.query.get("tag")), request.header("x-registry-auth")
        )
        return await progress(messages, request.version)

    async def load(self, request: Request) -> Answer:
        messages = self._images.load(
            aiter(request.body),
            quiet=request.query.boolean("quiet", default=True),
            platform=asked_platform(request, since="1.48"),
        )
        return progress_at_once(messages, request.version)

    async def save(self, request: Request) -> Answer:
        return await self._save(request, [request.parameters["name"]])

    async def save_many(self, request: Request) -> Answer:
        names = [name for text in request.query.all("names") for name in text.split(",") if name]
        if not names:
            raise NotFound("No such image: ")
        return await self._save(request, names)

    async def _save(self, request: Request, names: list[str]) -> Answer:
        """Fails before the first byte for a name that nobody knows."""
        for name in names:
            await self._check_platform(request, name)
        chunks = self._images.save(names)
        try:
            first = await anext(chunks)
        except StopAsyncIteration:
            return Response(200, b"", TAR)
        return Stream(_after(first, chunks), TAR)


async def _after(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for chunk in rest:
        yield chunk


def _with_tag(name: str, tag: str) -> str:
    if not tag:
        return name
    return f"{name}@{tag}" if ":" in tag else f"{name}:{tag}"


def _matches(image: Image, filters: Filters) -> bool:
    dangling = not image.tags
    return (
        filters.boolean("dangling", default=dangling) == dangling
        and filters.labels(image.labels)
        and _matches_reference(image, filters.get("reference"))
    )


def _matches_reference(image: Image, patterns: tuple[str, ...]) -> bool:
    if not patterns:
        return True
    names = [form for tag in image.tags for form in _forms(tag)]
    return any(reference_pattern(pattern).fullmatch(name) for pattern in patterns for name in names)


def _forms(tag: str) -> tuple[str, ...]:
    """What a pattern may mean: the familiar name, with and without the tag, and the full ones."""
    reference = parse(tag)
    return (
        reference.familiar_name,
        reference.familiar(),
        reference.name,
        str(reference),
    )
