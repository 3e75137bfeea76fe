"""Routes of builds: a context in, a stream of what happens out."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import msgspec

from tiffin.api.decode import decode
from tiffin.api.messages import Answer, Query, Request, json_response
from tiffin.api.router import Route
from tiffin.api.streams import progress
from tiffin.core.container import HostConfig, Ulimit
from tiffin.core.filters import parse_filters
from tiffin.engine.buildoptions import BuildOptions
from tiffin.errors import InvalidArgument, NotFound, Unsupported

if TYPE_CHECKING:
    from tiffin.engine.engine import Engine

_CLASSIC = "the classic builder's protocol; no remote context, no squash"
_NO_IDS = "no build has an id: a build ends with its client"
_PRUNE_FILTERS = (
    "description", "id", "inuse", "label", "label!", "parent", "private", "shared", "type",
    "unused-for", "until",
)  # fmt: skip


class BuildRoutes:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def routes(self) -> list[Route]:
        return [
            Route("POST", "/build", self.build, dies_with_client=True, limits=_CLASSIC),
            Route("POST", "/build/prune", self.prune, since="1.31"),
            Route("POST", "/build/cancel", self.cancel, since="1.39", limits=_NO_IDS),
        ]

    async def build(self, request: Request) -> Answer:
        options = read_options(request.query, request.header("x-registry-config"))
        messages = self._engine.builds.build(options, aiter(request.body))
        return await progress(messages, request.version)

    async def prune(self, request: Request) -> Answer:
        """All of the cache: none of it is in use between builds, and labels choose none of it."""
        filters = parse_filters(request.query.get("filters")).check(*_PRUNE_FILTERS)
        filters.until_ns(time.time_ns())
        deleted, reclaimed = await self._engine.builds.prune()
        return json_response({"CachesDeleted": deleted or None, "SpaceReclaimed": reclaimed})

    async def cancel(self, request: Request) -> Answer:
        """Only BuildKit gives its builds an id; ours end with their client."""
        if not request.query.get("id"):
            raise InvalidArgument("build ID not provided")
        raise NotFound(f"no such build: {request.query.get('id')}")


def read_options(query: Query, registry_config: str) -> BuildOptions:
    """Raises InvalidArgument, and Unsupported for what only BuildKit can do."""
    if query.get("version") == "2":
        raise Unsupported(
            "BuildKit is not supported by tiffin: set DOCKER_BUILDKIT=0 to use the classic builder"
        )
    if query.get("outputs") not in ("", "[]", "null"):
        raise Unsupported("build outputs other than an image are not supported by tiffin")
    if query.get("isolation") not in ("", "default"):
        raise InvalidArgument(f"invalid isolation {query.get('isolation')!r}: it is for Windows")
    return BuildOptions(
        dockerfile=query.get("dockerfile"),
        tags=tuple(tag for tag in query.all("t") if tag),
        build_args=_build_args(query.get("buildargs")),
        labels=_labels(query.get("labels")),
        target=query.get("target"),
        platform=query.get("platform"),
        no_cache=query.boolean("nocache"),
        pull=query.boolean("pull"),
        quiet=query.boolean("q"),
        squash=query.boolean("squash"),
        remote=query.get("remote"),
        host_config=_host_config(query),
        auth=registry_config,
    )


def _host_config(query: Query) -> HostConfig:
    """What a RUN may use: the limits and the network of the query."""
    return HostConfig(
        network_mode=query.get("networkmode") or "default",
        extra_hosts=_extra_hosts(query),
        memory=query.integer("memory"),
        memory_swap=query.integer("memswap"),
        cpu_shares=query.integer("cpushares"),
        cpu_period=query.integer("cpuperiod"),
        cpu_quota=query.integer("cpuquota"),
        cpuset_cpus=query.get("cpusetcpus"),
        cpuset_mems=query.get("cpusetmems"),
        cgroup_parent=query.get("cgroupparent"),
        shm_size=query.integer("shmsize"),
        security_opt=_strings(query.get("securityopt"), "securityopt"),
        ulimits=_ulimits(query.get("ulimits")),
    )


def _json(text: str, what: str) -> Any:
    if not text:
        return None
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
        raise InvalidArgument(f"error reading {what}: {error}") from error


def _build_args(text: str) -> dict[str, str | None]:
    """null is an argument that the client named and has no value for."""
    value = _json(text, "build args") or {}
    try:
        return msgspec.convert(value, dict[str, str | None])
    except msgspec.ValidationError as error:
        raise InvalidArgument(f"error reading build args: {error}") from error


def _labels(text: str) -> dict[str, str]:
    value = _json(text, "labels") or {}
    try:
        return msgspec.convert(value, dict[str, str])
    except msgspec.ValidationError as error:
        raise InvalidArgument(f"error reading labels: {error}") from error


def _strings(text: str, what: str) -> tuple[str, ...]:
    value = _json(text, what) or []
    try:
        return msgspec.convert(value, tuple[str, ...])
    except msgspec.ValidationError as error:
        raise InvalidArgument(f"error reading {what}: {error}") from error


def _extra_hosts(query: Query) -> tuple[str, ...]:
    """Repeated, as the CLI sends it, or one JSON list."""
    texts = query.all("extrahosts")
    if len(texts) == 1 and texts[0].startswith("["):
        return _strings(texts[0], "extrahosts")
    return tuple(text for text in texts if text)


def _ulimits(text: str) -> tuple[Ulimit, ...]:
    values = _json(text, "ulimits") or []
    if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
        raise InvalidArgument("error reading ulimits: not a list of objects")
    return tuple(decode(value, Ulimit) for value in values)
