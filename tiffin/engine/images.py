"""Images: found, named, brought in, sent out, removed.

Whatever makes an image writes documents and layers first, then the row, the tags last. What
is on its way is leased; what no row reaches any more is collected.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing

import msgspec

from tiffin.core import image as documents
from tiffin.core.container import Container
from tiffin.core.image import (
    ContainerConfig,
    History,
    ImageConfig,
    ImageID,
    Platform,
    RootFS,
    decode_config,
    machine_platform,
    parse_platform,
)
from tiffin.core.reference import Reference, parse
from tiffin.core.timestamps import rfc3339
from tiffin.engine import imports
from tiffin.engine.events import Events
from tiffin.engine.imagecatalog import Image, ImageCatalog, created_ns
from tiffin.engine.intake import Intake
from tiffin.engine.layerstore import EMPTY_DIFF_ID, LayerStore
from tiffin.engine.leases import Leases
from tiffin.engine.locks import NamedLock
from tiffin.engine.outlet import Outlet
from tiffin.engine.progress import Message, Reporter, stream
from tiffin.engine.pulls import Pulls
from tiffin.engine.pushes import Pushes
from tiffin.engine.removals import Record, Removal
from tiffin.errors import Conflict, InvalidArgument, NotFound
from tiffin.registry import download
from tiffin.registry.client import RegistryClient
from tiffin.registry.credentials import AuthSource, Credentials, credentials_for
from tiffin.registry.search import SearchResult, search, split_term
from tiffin.registry.threads import in_thread
from tiffin.storage.snapshots import Committed
from tiffin.storage.store import Storage

__all__ = ["HistoryEntry", "Image", "Images"]


class HistoryEntry(msgspec.Struct, frozen=True):
    """A line of `docker history`. `id` is "<missing>" for all but the image itself."""

    id: str
    created_ns: int
    created_by: str
    comment: str
    size: int
    tags: tuple[str, ...] = ()


_NO_TAG = "refusing to create a tag with a digest reference"
_NO_IMPORT = "cannot import digest reference"

# In the body of Images the word `list` is its method.
ImageList = list[Image]
HistoryList = list[HistoryEntry]
Removed = list[Record]
Digests = list[str]
Problems = list[tuple[str, str]]


class Images:
    """`in_use` gives the containers of an image. All of it is called on the loop."""

    def __init__(
        self,
        storage: Storage,
        registry: RegistryClient,
        events: Events,
        in_use: Callable[[str], list[Container]],
    ) -> None:
        self._storage = storage
        self._registry = registry
        self._events = events
        self._in_use = in_use
        self.leases = Leases()
        self._catalog = ImageCatalog(storage)
        self._layers = LayerStore(storage, self._catalog, self.leases)
        self._pulls = Pulls(storage, self._catalog, self._layers, self.leases, registry, events)
        self._pushes = Pushes(storage, self._catalog, registry, events)
        self._intake = Intake(storage, self._catalog, self._layers, self.leases)
        self._outlet = Outlet(storage, self._catalog)
        self._removing = NamedLock("image removal")
        self.platform = machine_platform(os.uname().machine)

    def transfer(self, *, downloads: int, uploads: int) -> None:
        """How many layers travel at a time, from the next pull and push on."""
        self._pulls.parallel = downloads
        self._pushes.parallel = uploads

    # -- looking -----------------------------------------------------------------------------

    async def list(self) -> ImageList:
        """Newest first."""
        return await asyncio.to_thread(self._catalog.all)

    async def get(self, reference: str) -> Image:
        """By name, name@digest, ID or start of an ID. Raises NotFound, InvalidArgument."""
        known = self._catalog.remembered(reference)
        if known is not None:
            return known
        return await asyncio.to_thread(self._catalog.get, reference)

    async def exists(self, image_id: str) -> bool:
        """By whole ID; cheaper than `get`, which reads the image's documents."""
        if self._catalog.remembered(image_id):
            return True
        row = await asyncio.to_thread(self._storage.database.find_image, image_id)
        return row is not None

    async def history(self, reference: str) -> HistoryList:
        """Newest first."""
        return await asyncio.to_thread(self._history, reference)

    def _history(self, reference: str) -> HistoryList:
        image = self._catalog.get(reference)
        chains = iter(image.chains)
        entries = []
        for item in _history_of(image.config):
            chain = "" if item.empty_layer else next(chains, "")
            size = self._storage.snapshots.layer_size(chain) if chain else 0
            entries.append(
                HistoryEntry(
                    id="<missing>",
                    created_ns=created_ns(ImageConfig(created=item.created)),
                    created_by=item.created_by,
                    comment=item.comment,
                    size=size,
                )
            )
        entries.reverse()
        # As in Docker: a step for each image of the line of those committed from one another.
        for place, (entry, one) in enumerate(zip(entries, self._line_of(image), strict=False)):
            entries[place] = msgspec.structs.replace(entry, id=one.id, tags=one.tags)
        return entries

    def _line_of(self, image: Image) -> Iterator[Image]:
        """The image, the one it was committed from, and so on, while they are here."""
        yield image
        while image.config.parent:
            try:
                image = self._catalog.get(image.config.parent)
            except NotFound:
                return
            yield image

    async def layers_size(self) -> int:
        """Bytes of all images' layers, shared ones counted once."""

        def total() -> int:
            chains = {chain for image in self._catalog.all() for chain in image.chains}
            return sum(map(self._storage.snapshots.layer_size, chains))

        return await asyncio.to_thread(total)

    async def shared_sizes(self, images: Sequence[Image]) -> dict[str, int]:
        """By image id: bytes of the layers that another one of `images` has, too."""

        def shared() -> dict[str, int]:
            users = Counter(chain for image in images for chain in set(image.chains))
            sizes = {
                chain: self._storage.snapshots.layer_size(chain)
                for chain, count in users.items()
                if count > 1
            }
            return {
                image.id: sum(sizes.get(chain, 0) for chain in set(image.chains))
                for image in images
            }

        return await asyncio.to_thread(shared)

    # -- names -------------------------------------------------------------------------------

    async def tag(self, source: str, repository: str, tag: str = "") -> None:
        """Raises NotFound, InvalidArgument in Docker's words."""
        image = await self.get(source)
        reference = _new_name(repository, tag)
        await in_thread(self._storage.database.put_tag, str(reference), image.id)
        await self._emit("tag", image.id, reference.familiar())

    async def remove(
        self,
        reference: str,
        *,
        force: bool = False,
        noprune: bool = False,  # noqa: ARG002 - there are no parent images to prune
    ) -> Removed:
        """[{"Untagged": ...}, {"Deleted": ...}]. Raises NotFound, Conflict in Docker's words."""
        async with self._removing:
            image = await self.get(reference)
            removal = self._removal(image)
            try:
                return await in_thread(removal.remove, reference, force=force)
            finally:
                self._tell(image, removal)

    async def prune(
        self, matches: Callable[[Image], bool] = lambda _: True, *, dangling: bool = True
    ) -> tuple[Removed, int]:
        """Images that no container uses, `dangling`: only untagged ones. What went, its bytes."""
        records: Removed = []
        before = await self.layers_size()
        for image in await self.list():
            wanted = not (dangling and image.tags) and matches(image)
            if not wanted or self._in_use(image.id):
                continue
            async with self._removing:
                removal = self._removal(image)
                try:
                    records += await in_thread(removal.delete)
                except Conflict:
                    continue  # a container came meanwhile
                finally:
                    self._tell(image, removal)
        reclaimed = before - await self.layers_size()
        self._events.emit("image", "prune", "", {"reclaimed": str(reclaimed)})
        return records, reclaimed

    async def sweep(self, older_than_seconds: float = 0.0) -> None:
        """Remove layers and blobs that nothing reaches: what a crash or a container left."""
        await in_thread(self._layers.sweep, older_than_seconds)

    def unreached(self, older_than_seconds: float) -> tuple[Digests, Digests]:
        """The layers and blobs that `sweep` would remove."""
        return self._layers.unreached(older_than_seconds)

    def damaged(self) -> Problems:
        """(image ID, what is wrong) of images whose configuration cannot be read any more."""
        return self._catalog.damaged()

    def forget(self, image_id: str) -> None:
        """Remove the record of a damaged image, with its names: it can be pulled anew."""
        self._storage.database.delete_image(image_id)

    async def release(self, chain_id: str | None) -> None:
        """A container is gone: so are the layers beneath it that its image has left to it alone."""
        if chain_id is not None:
            await in_thread(self._layers.release, chain_id)

    def _removal(self, image: Image) -> Removal:
        users = self._in_use(image.id)
        return Removal(self._storage, self._catalog, self._layers, image, users)

    async def _emit(self, action: str, image_id: str, name: str) -> None:
        """With the image's labels, by which events are filtered."""
        image = await in_thread(self._catalog.find, image_id)
        labels = image.labels if image else {}
        self._events.emit("image", action, image_id, {**labels, "name": name})

    def _tell(self, image: Image, removal: Removal) -> None:
        for action in removal.happened:
            labels = image.labels if action == "untag" else {}
            self._events.emit("image", action, image.id, {**labels, "name": image.id})

    # -- making ------------------------------------------------------------------------------

    async def create_from_layers(self, config: ImageConfig, tags: Sequence[str] = ()) -> ImageID:
        """An image of layers that are committed. Its tags move from other images to it."""
        references = [_nameable(parse(tag).tagged()) for tag in tags]
        documents.check_depth(len(config.rootfs.diff_ids))
        config_bytes = documents.encode(config)
        image_id = ImageID(documents.digest_of(config_bytes))
        await in_thread(self._put, config_bytes, image_id, references)
        for reference in references:
            await self._emit("tag", image_id, reference.familiar())
        return image_id

    async def create_from_build(
        self, document: ImageConfig, chain_id: str | None, tags: Sequence[str] = ()
    ) -> ImageID:
        """As create_from_layers, for a build's result; the chain must be the document's."""
        assert chain_id == documents.chain_id(document.rootfs.diff_ids)
        return await self.create_from_layers(document, tags)

    async def commit(
        self,
        image_id: str,
        committed: Committed,
        config: ContainerConfig,
        *,
        author: str = "",
        comment: str = "",
        created_by: str = "",
        reference: str = "",
    ) -> ImageID:
        """The image with one layer more and the config."""
        now = rfc3339(time.time_ns())
        base = await self._base_of(image_id, committed)
        is_empty = committed.diff_id == EMPTY_DIFF_ID
        step = History(
            created=now,
            created_by=created_by,
            author=author,
            comment=comment,
            empty_layer=is_empty,
        )
        diff_ids = base.rootfs.diff_ids + (() if is_empty else (committed.diff_id,))
        document = msgspec.structs.replace(
            base,
            architecture=base.architecture or self.platform.architecture,
            os=base.os or "linux",
            created=now,
            author=author,
            comment=comment,
            docker_version="",
            parent=image_id,
            config=_of_an_image(config),
            rootfs=RootFS(diff_ids=diff_ids),
            history=(*_history_of(base), step),
        )
        if is_empty:
            await in_thread(self._layers.collect_quietly, [committed.chain_id])
        try:
            return await self.create_from_layers(document, [reference] if reference else [])
        except InvalidArgument:
            await in_thread(self._layers.collect_quietly, [committed.chain_id])
            raise

    async def _base_of(self, image_id: str, committed: Committed) -> ImageConfig:
        try:
            return (await self.get(image_id)).config
        except NotFound:
            # The image was removed by force under its container: its layers are still beneath.
            parent = await asyncio.to_thread(self._storage.snapshots.parent, committed.chain_id)
            return ImageConfig(rootfs=RootFS(diff_ids=await in_thread(self._stack, parent)))

    def _stack(self, chain: str | None) -> tuple[str, ...]:
        found: list[str] = []
        while chain is not None:
            found.append(self._storage.snapshots.diff_id(chain))
            chain = self._storage.snapshots.parent(chain)
        return tuple(reversed(found))

    def _put(self, config_bytes: bytes, image_id: str, references: Sequence[Reference]) -> None:
        with self.leases.hold([image_id]):
            self._storage.blobs.put(config_bytes)
            self._catalog.add(config_bytes, image_id)
            for reference in references:
                self._storage.database.put_tag(str(reference), image_id)

    # -- registries --------------------------------------------------------------------------

    def pull(
        self, reference: str, platform: str = "", auth: AuthSource = None, *, all_tags: bool = False
    ) -> AsyncGenerator[Message, None]:
        """Bring an image here. A failure before the first message is the first `anext`'s."""

        async def work(report: Reporter) -> None:
            named = parse(reference)
            credentials = credentials_for(auth, named.domain)
            wanted = parse_platform(platform, self.platform)
            if all_tags and not named.tag and not named.digest:
                await self._pulls.pull_all_tags(named, wanted, credentials, report)
                return
            await self._pulls.pull(
                named.tagged(), wanted, credentials, report, platform_is_asked=bool(platform)
            )

        return stream(work)

    def push(self, reference: str, auth: AuthSource = None) -> AsyncGenerator[Message, None]:
        """Send a tag, or without one all tags of the repository."""

        async def work(report: Reporter) -> None:
            named = parse(reference)
            await self._pushes.push(named, credentials_for(auth, named.domain), report)

        return stream(work)

    async def distribution(self, reference: str, auth: AuthSource = None) -> dict[str, object]:
        """What the registry says of a name, without pulling it."""
        named = parse(reference).tagged()
        credentials = credentials_for(auth, named.domain)
        repository = self._registry.repository(named, credentials)
        described = await repository.describe()
        platforms = described.platforms
        if described.config is not None:
            config = decode_config(await repository.read_document(described.config))
            platforms = (Platform(config.architecture, config.os, variant=config.variant),)
        return {
            "Descriptor": {
                "mediaType": described.descriptor.media_type,
                "digest": described.descriptor.digest,
                "size": described.descriptor.size,
            },
            "Platforms": [msgspec.to_builtins(platform) for platform in platforms],
        }

    async def login(self, address: str, username: str, password: str) -> str:
        """Raises Unauthorized if the registry refuses. An identity token, "" for none."""
        await self._registry.login(address, Credentials(username, password))
        return ""

    async def search(
        self, term: str, limit: int, auth: AuthSource = None
    ) -> tuple[SearchResult, ...]:
        """What the registry in the term, or Docker Hub, knows. `limit` 0 is its default."""
        credentials = credentials_for(auth, split_term(term)[0])
        return await search(self._registry, term, limit, credentials)

    # -- archives ----------------------------------------------------------------------------

    async def save(self, references: Sequence[str]) -> AsyncGenerator[bytes, None]:
        """One archive of the images. NotFound is raised before the first byte."""
        async with aclosing(self._outlet.save(references)) as chunks:
            async for chunk in chunks:
                yield chunk
        for name in references:
            found = await in_thread(self._catalog.find_id_of, name)
            await self._emit("save", found or name, name)

    def load(
        self,
        archive: AsyncIterator[bytes],
        *,
        quiet: bool = True,
        platform: Platform | None = None,
    ) -> AsyncGenerator[Message, None]:
        """Read what `save` wrote, here or in Docker, or an OCI layout: of it, the platform's."""
        wanted = platform or self.platform

        async def work(report: Reporter) -> None:
            async for image, references in self._intake.load(
                archive, wanted, report, quiet=quiet, only=platform is not None
            ):
                for reference in references:
                    await self._emit("load", image, reference.familiar())
                if not references:
                    await self._emit("load", image, image)

        return stream(work)

    def import_(
        self,
        archive: AsyncIterator[bytes],
        *,
        source: str = "-",
        repository: str = "",
        tag: str = "",
        message: str = "",
        platform: str = "",
        changes: Callable[[ContainerConfig], ContainerConfig] = lambda config: config,
    ) -> AsyncGenerator[Message, None]:
        """A root file system's tar becomes an image of one layer; says its ID.

        The tar is the `archive`, or what is at the address `source`.
        """

        async def work(report: Reporter) -> None:
            reference = _new_name(repository, tag, _NO_IMPORT) if repository else None
            config = changes(ContainerConfig())
            wanted = parse_platform(platform, self.platform)
            if wanted.os != "linux":
                raise InvalidArgument("operating system is not supported")
            comment = message or f"Imported from {download.shown(source)}"
            async with (
                imports.source(archive, source, self._registry, report) as chunks,
                self._intake.layer(chunks) as blob,
            ):
                now = rfc3339(time.time_ns())
                document = imports.document(blob, config, wanted, comment, now)
                image_id = await self.create_from_layers(
                    document, [reference.familiar()] if reference else []
                )
            report.status(image_id)
            await self._emit("import", image_id, image_id)

        return stream(work)


def _history_of(config: ImageConfig) -> tuple[History, ...]:
    """The history, with a line for each layer that it does not speak of."""
    told = sum(not item.empty_layer for item in config.history)
    missing = max(0, len(config.rootfs.diff_ids) - told)
    return (History(created=config.created),) * missing + config.history


def _new_name(repository: str, tag: str, no_digest: str = _NO_TAG) -> Reference:
    """`docker tag`'s target. The repository may carry the tag itself."""
    reference = parse(repository)
    if reference.digest:
        raise InvalidArgument(no_digest)
    if tag:
        reference = reference.with_tag(tag)
    return _nameable(reference.tagged())


def _nameable(reference: Reference) -> Reference:
    if reference.familiar_name == "sha256":  # what "sha256:..." would be of, nobody could tell
        words = "refusing to create an ambiguous tag using digest algorithm as name"
        raise InvalidArgument(words)
    return reference


def _of_an_image(config: ContainerConfig) -> ContainerConfig:
    """A container's config without what is only the container's."""
    return msgspec.structs.replace(
        config,
        hostname="",
        domainname="",
        attach_stdin=False,
        attach_stdout=False,
        attach_stderr=False,
        tty=False,
        open_stdin=False,
        stdin_once=False,
        image="",
        network_disabled=False,
        mac_address="",
    )
