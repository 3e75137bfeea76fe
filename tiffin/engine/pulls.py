"""Pull: a registry's image becomes ours. Blobs arrive side by side, layers are unpacked in order.

Bytes, verification, layers, the image's row, and the tag last: a pull that fails or is cancelled
leaves no image, and what it fetched stays leased only as long as it runs. Two pulls that need the
same blob or layer wait for one another and share it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from tiffin.core.image import (
    Descriptor,
    ImageConfig,
    Platform,
    decode_config,
    format_platform,
    runs_on,
)
from tiffin.core.reference import Reference
from tiffin.engine.events import Events
from tiffin.engine.imagecatalog import ImageCatalog, chains_of, short
from tiffin.engine.layerstore import LayerStore
from tiffin.engine.leases import Leases
from tiffin.engine.locks import Locks
from tiffin.engine.progress import Reporter
from tiffin.errors import InvalidArgument, NotFound, RegistryMisbehaved
from tiffin.registry.client import RegistryClient, Repository
from tiffin.registry.credentials import Credentials
from tiffin.registry.protocol import Resolved
from tiffin.registry.threads import in_thread
from tiffin.storage.store import Storage

PARALLEL_DOWNLOADS = 3


class Pulls:
    def __init__(
        self,
        storage: Storage,
        catalog: ImageCatalog,
        layers: LayerStore,
        leases: Leases,
        registry: RegistryClient,
        events: Events,
    ) -> None:
        self._storage = storage
        self._catalog = catalog
        self._layers = layers
        self._leases = leases
        self._registry = registry
        self._events = events
        self._locks = Locks("layer")
        self.parallel = PARALLEL_DOWNLOADS

    async def pull(
        self,
        reference: Reference,
        platform: Platform,
        credentials: Credentials | None,
        report: Reporter,
        *,
        platform_is_asked: bool = False,
    ) -> None:
        """Raises NotFound, Unauthorized, RegistryMisbehaved, Unavailable in Docker's words."""
        repository = self._registry.repository(reference, credentials)
        resolved = await repository.resolve(platform)
        report.status(f"Pulling from {reference.path}", reference.digest or reference.tag)
        async with self._leased([], [resolved.descriptor.digest, resolved.manifest.config.digest]):
            config_bytes = await self._config(repository, resolved)
            config = _checked_config(config_bytes, resolved)
            if platform_is_asked:
                _check_platform(reference, config, platform)
            async with self._leased(
                chains_of(config.rootfs.diff_ids),
                [blob.digest for blob in resolved.manifest.layers],
            ):
                await self._pull_layers(repository, resolved, config, report)
                changed = await in_thread(self._record, reference, resolved, config_bytes)
        report.status(f"Digest: {resolved.digest}")
        news = "Downloaded newer image" if changed else "Image is up to date"
        report.status(f"Status: {news} for {reference.familiar()}")
        self._events.emit("image", "pull", reference.familiar(), {"name": reference.familiar_name})

    async def pull_all_tags(
        self,
        reference: Reference,
        platform: Platform,
        credentials: Credentials | None,
        report: Reporter,
    ) -> None:
        for tag in await self._registry.repository(reference, credentials).tags():
            await self.pull(reference.with_tag(tag), platform, credentials, report)

    # -- documents ---------------------------------------------------------------------------

    async def _config(self, repository: Repository, resolved: Resolved) -> bytes:
        descriptor = resolved.manifest.config
        await self._fetch(repository, descriptor, None)
        return await in_thread(self._storage.blobs.read, descriptor.digest)

    def _record(self, reference: Reference, resolved: Resolved, config_bytes: bytes) -> bool:
        """The rows, the tag last. True if the name now stands for another image than before."""
        self._storage.blobs.put(resolved.manifest_bytes)
        image_id = resolved.manifest.config.digest
        before = self._catalog.find_reference(reference)
        self._catalog.add(config_bytes, image_id, resolved.descriptor.digest)
        database = self._storage.database
        database.put_repo_digest(reference.name, resolved.digest, image_id)
        if not reference.digest:
            database.put_tag(str(reference), image_id)
        return before != image_id

    # -- layers ------------------------------------------------------------------------------

    async def _pull_layers(
        self, repository: Repository, resolved: Resolved, config: ImageConfig, report: Reporter
    ) -> None:
        diff_ids = config.rootfs.diff_ids
        chains = chains_of(diff_ids)
        blobs = resolved.manifest.layers
        present = await in_thread(self._present, chains)
        if present < len(chains):
            await self._bring(repository, blobs, diff_ids, present, report)

    def _present(self, chains: Sequence[str]) -> int:
        """How many layers from the bottom are here already."""
        for count, chain in enumerate(chains):
            if not self._storage.snapshots.exists(chain):
                return count
        return len(chains)

    async def _bring(
        self,
        repository: Repository,
        blobs: Sequence[Descriptor],
        diff_ids: tuple[str, ...],
        present: int,
        report: Reporter,
    ) -> None:
        for count, blob in enumerate(blobs):
            report.step(
                short(blob.digest), "Already exists" if count < present else "Pulling fs layer"
            )
        for blob in blobs[present + self.parallel :]:
            report.step(short(blob.digest), "Waiting")
        slots = asyncio.Semaphore(self.parallel)
        try:
            async with asyncio.TaskGroup() as group:
                downloads = [
                    group.create_task(self._download(repository, blob, slots, report))
                    for blob in blobs[present:]
                ]
                for offset, download in enumerate(downloads):
                    await download
                    await self._unpack(blobs, diff_ids, present + offset, report)
        except ExceptionGroup as failures:
            raise first_failure(failures) from failures

    async def _download(
        self,
        repository: Repository,
        blob: Descriptor,
        slots: asyncio.Semaphore,
        report: Reporter,
    ) -> None:
        async with slots:
            await self._fetch(repository, blob, report)

    async def _fetch(
        self, repository: Repository, blob: Descriptor, report: Reporter | None
    ) -> None:
        identity = short(blob.digest)
        async with self._locks.of(blob.digest):
            if not await in_thread(self._storage.blobs.exists, blob.digest):
                async with AsyncExitStack() as stack:
                    ingest = self._storage.blobs.ingest(blob)
                    sink = await in_thread(ingest.__enter__)
                    stack.push_async_exit(
                        lambda kind, error, trace: in_thread(ingest.__exit__, kind, error, trace)
                    )
                    if report is None:
                        await repository.fetch_blob(blob, sink)
                    else:
                        amounts = report.amounts(identity, "Downloading", blob.size)
                        await repository.fetch_blob(blob, sink, amounts)
                        report.step(identity, "Verifying Checksum")
        if report is not None:
            report.step(identity, "Download complete")

    async def _unpack(
        self, blobs: Sequence[Descriptor], diff_ids: tuple[str, ...], index: int, report: Reporter
    ) -> None:
        blob, chains = blobs[index], chains_of(diff_ids)
        identity = short(blob.digest)
        async with self._locks.of(chains[index]):
            report.amounts(identity, "Extracting", blob.size)(0)
            parent = chains[index - 1] if index else None
            await in_thread(self._storage.snapshots.unpack_stored, blob, parent, diff_ids[index])
        report.amounts(identity, "Extracting", blob.size)(blob.size)
        report.step(identity, "Pull complete")

    @asynccontextmanager
    async def _leased(self, chains: Sequence[str], blobs: Sequence[str]) -> AsyncIterator[None]:
        """What we bring is ours while the block lasts; if it fails, what no row names goes."""
        lease = self._leases.hold([*chains, *blobs])
        await in_thread(lease.__enter__)
        try:
            yield
        except BaseException:
            lease.__exit__(None, None, None)
            await in_thread(self._layers.collect_quietly, chains, blobs)
            raise
        lease.__exit__(None, None, None)


def _checked_config(data: bytes, resolved: Resolved) -> ImageConfig:
    try:
        config = decode_config(data)
    except InvalidArgument as error:
        raise RegistryMisbehaved(error.message) from error
    count = len(config.rootfs.diff_ids)
    if count != len(resolved.manifest.layers):
        raise RegistryMisbehaved(
            f"image config has {count} layers, its manifest {len(resolved.manifest.layers)}"
        )
    return config


def _check_platform(reference: Reference, config: ImageConfig, wanted: Platform) -> None:
    offered = Platform(config.architecture, config.os, config.variant)
    if config.architecture and not runs_on(offered, wanted):
        raise NotFound(
            f"image with reference {reference.familiar()} was found but does not match the "
            f"specified platform: wanted {format_platform(wanted)}, "
            f"actual: {format_platform(offered)}"
        )


def first_failure(failures: BaseExceptionGroup[Exception]) -> BaseException:
    """Side by side, the first failure cancels the rest: it alone says what happened."""
    first: BaseException = failures
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    return first
