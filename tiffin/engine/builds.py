"""Builds: a context and a Dockerfile become an image.

The context is unpacked as hostile input while it arrives, into a directory that is gone afterwards.
What fails before anything was said is an exception; what fails later ends the stream with Docker's
error object. A client that goes away ends the build and whatever it runs.
"""

from __future__ import annotations

import asyncio
import json
import platform as machine_platform
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing
from typing import NamedTuple, Protocol

from tiffin.build.changes import parse_changes
from tiffin.build.context import ignored_patterns, read_dockerfile, take_out
from tiffin.build.dockerfile import parse
from tiffin.build.execution import Options, StepFailed
from tiffin.build.host import Message
from tiffin.build.plan import Plan, Request, make_plan
from tiffin.build.selection import SourceTree
from tiffin.build.solver import Progress, Solver
from tiffin.core.image import ContainerConfig, ImageConfig, Platform
from tiffin.core.reference import parse as parse_reference
from tiffin.core.timestamps import rfc3339
from tiffin.engine.buildhost import (
    BaseImages,
    Exits,
    MachineHost,
    StepSettings,
    Turns,
)
from tiffin.engine.buildoptions import BuildOptions
from tiffin.engine.contexts import Receivers
from tiffin.engine.events import Events
from tiffin.engine.idranges import IdRanges
from tiffin.engine.ports import ContainerRuntime
from tiffin.engine.stepports import StepNetworks
from tiffin.errors import InvalidArgument, Unsupported
from tiffin.storage.store import Storage

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}


class BuildImages(BaseImages, Protocol):
    async def create_from_build(
        self, document: ImageConfig, chain_id: str | None, tags: Sequence[str] = ()
    ) -> str:
        """Make the image and its tags; its id."""
        ...

    async def tag(self, source: str, repository: str, tag: str = "") -> None: ...

    async def sweep(self) -> None:
        """Remove layers and blobs that nothing reaches."""
        ...


class CachedStep(NamedTuple):
    key: str
    description: str
    created: str  # RFC 3339
    size: int  # bytes of the layer's files


class Builds:
    def __init__(
        self,
        storage: Storage,
        images: BuildImages,
        runtime: ContainerRuntime,
        networks: StepNetworks,
        events: Events,
        id_ranges: IdRanges,
    ) -> None:
        self._storage = storage
        self._images = images
        self._runtime = runtime
        self._networks = networks
        self._events = events
        self._id_ranges = id_ranges
        self._exits = Exits(runtime)
        self._turns = Turns()
        self._receivers = Receivers(storage)

    async def close(self) -> None:
        """Builds have ended with their clients; what was made ahead goes too."""
        await self._receivers.close()

    async def build(
        self, options: BuildOptions, context: AsyncIterator[bytes]
    ) -> AsyncGenerator[Message, None]:
        """Messages as Docker's builder writes them. Raises before the first for a bad request."""
        tags = tuple(_checked_tag(tag) for tag in options.tags)
        _refuse_unsupported(options)
        async with AsyncExitStack() as undo:
            undo.callback(self._receivers.make_spare)
            root = await self._context(undo, context)
            plan = await asyncio.to_thread(_plan, root, options)
            host = self._host(options)
            undo.push_async_callback(host.close)
            solver = Solver(plan, host, SourceTree(root, is_context=True), _solver_options(options))
            async with aclosing(self._told(solver, plan, options, tags)) as messages:
                async for message in messages:
                    yield message

    def config_changes(
        self, lines: list[str], given: ContainerConfig | None = None
    ) -> Callable[[ContainerConfig], ContainerConfig]:
        """`--change` of commit and import; `given` is a config in the body of a commit."""
        return parse_changes(lines, given)

    async def cache_records(self) -> list[CachedStep]:
        """The build cache, oldest first."""
        return await asyncio.to_thread(self._cached_steps)

    async def prune(self) -> tuple[list[str], int]:
        """Forget the cache: the keys, and the bytes that their layers gave back."""
        before = await self.cache_records()
        chains = await asyncio.to_thread(self._forget_cache)
        await self._images.sweep()
        snapshots = self._storage.snapshots
        reclaimed = sum(size for chain, size in chains.items() if not snapshots.exists(chain))
        self._events.emit("builder", "prune", "", {"reclaimed": str(reclaimed)})
        return [step.key for step in before], reclaimed

    def _cached_steps(self) -> list[CachedStep]:
        snapshots = self._storage.snapshots
        records = sorted(self._storage.database.cache_records(), key=lambda r: r.created_ns)
        return [
            CachedStep(
                record.key,
                record.description,
                rfc3339(record.created_ns),
                snapshots.layer_size(record.chain_id)
                if record.diff_id and snapshots.exists(record.chain_id)
                else 0,
            )
            for record in records
        ]

    def _forget_cache(self) -> dict[str, int]:
        snapshots = self._storage.snapshots
        sizes = {}
        for record in self._storage.database.cache_records():
            if record.diff_id and snapshots.exists(record.chain_id):
                sizes[record.chain_id] = snapshots.layer_size(record.chain_id)
            self._storage.database.delete_cache(record.key)
        return sizes

    async def _told(
        self, solver: Solver, plan: Plan, options: BuildOptions, tags: tuple[str, ...]
    ) -> AsyncGenerator[Message, None]:
        result: Progress | None = None
        try:
            async with aclosing(solver.solve()) as messages:
                async for message in messages:
                    if isinstance(message, Progress):
                        result = message
                    elif not options.quiet:
                        yield message
        except StepFailed as error:
            detail = {"code": error.code, "message": error.message}
            yield {"errorDetail": detail, "error": error.message}
            return
        assert result is not None
        async for message in self._finished(result, plan, options, tags):
            yield message

    async def _finished(
        self, result: Progress, plan: Plan, options: BuildOptions, tags: tuple[str, ...]
    ) -> AsyncIterator[Message]:
        if not result.image_id:
            raise InvalidArgument("No image was generated. Is your Dockerfile empty?")
        image_id = await self._image(result, tags)
        if options.quiet:
            yield {"stream": f"{image_id}\n"}
            return
        if plan.unused_args:
            names = " ".join(plan.unused_args)
            yield {"stream": f"[Warning] One or more build-args [{names}] were not consumed\n"}
        yield {"stream": f"Successfully built {image_id.removeprefix('sha256:')[:12]}\n"}
        for tag in tags:
            yield {"stream": f"Successfully tagged {tag}\n"}

    async def _image(self, result: Progress, tags: tuple[str, ...]) -> str:
        """FROM alone is the base under more names: its config keeps its bytes, and so its ID."""
        if not result.is_base:
            return await self._images.create_from_build(result.document, result.chain_id, tags)
        for tag in tags:
            await self._images.tag(result.image_id, tag)
        return result.image_id

    def _host(self, options: BuildOptions) -> MachineHost:
        settings = StepSettings(options.host_config, options.platform, options.pull, options.auth)
        return MachineHost(
            self._storage,
            self._images,
            self._runtime,
            self._networks,
            self._id_ranges,
            self._exits,
            self._turns,
            settings,
        )

    async def _context(self, undo: AsyncExitStack, stream: AsyncIterator[bytes]) -> int:
        """A descriptor of the directory with the context in it."""
        receiver = await self._receivers.take()
        undo.push_async_callback(receiver.close)
        await receiver.receive(stream)
        return receiver.root


def _plan(root: int, options: BuildOptions) -> Plan:
    if options.dockerfile_text is None:
        name, data = read_dockerfile(root, options.dockerfile)
    else:
        name, data = options.dockerfile or "Dockerfile", options.dockerfile_text
    dockerfile = parse(data, name)
    request = Request(
        build_args=_given(options.build_args),
        labels=options.labels,
        target=options.target,
        platform=options.platform,
        machine=this_machine(),
    )
    plan = make_plan(dockerfile, request)
    take_out(root, ignored_patterns(root, name))
    return plan


def this_machine() -> Platform:
    uname = machine_platform.machine()
    return Platform(_ARCHITECTURES.get(uname, uname), "linux")


def _given(build_args: Mapping[str, str | None]) -> dict[str, str]:
    return {name: value for name, value in build_args.items() if value is not None}


def _solver_options(options: BuildOptions) -> Options:
    epoch_ns = _epoch_ns(options)
    host = options.host_config
    settings = {
        "hosts": list(host.extra_hosts),
        "network": host.network_mode if host.network_mode in ("host", "none") else "",
        "epoch": epoch_ns,
    }
    told = {name: value for name, value in settings.items() if value not in ([], "", None)}
    return Options(
        use_cache=not options.no_cache,
        epoch_ns=epoch_ns,
        settings=json.dumps(told, sort_keys=True) if told else "",
    )


def _epoch_ns(options: BuildOptions) -> int | None:
    text = options.build_args.get("SOURCE_DATE_EPOCH")
    if not text:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) <= 12):
        raise InvalidArgument(f"invalid SOURCE_DATE_EPOCH: {text}")
    return int(text) * 1_000_000_000


def _checked_tag(tag: str) -> str:
    """The tag in familiar form, ":latest" added. InvalidArgument in Docker's words."""
    reference = parse_reference(tag)
    if reference.digest:
        raise InvalidArgument("build tag cannot contain a digest")
    return reference.tagged().familiar()


def _refuse_unsupported(options: BuildOptions) -> None:
    if options.remote:
        raise Unsupported("building from a remote context (git or URL) is not supported by tiffin")
    if options.squash:
        raise Unsupported("squash is not supported by tiffin")
