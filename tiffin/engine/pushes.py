"""Push: an image leaves for a registry. Only what the other side lacks is sent, the manifest last.

The manifest is made when an image first leaves and kept, so every push of it has one digest; an
image that was pulled goes out with the manifest that it came with, while its blobs are still here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from tiffin.core import image as images
from tiffin.core.image import Descriptor, Manifest, decode_manifest, digest_of
from tiffin.core.reference import Reference, parse
from tiffin.engine.events import Events
from tiffin.engine.imagecatalog import Image, ImageCatalog, short
from tiffin.engine.progress import Reporter
from tiffin.engine.pulls import first_failure
from tiffin.errors import EngineFailure, InvalidArgument, NotFound
from tiffin.registry.client import RegistryClient, Repository, Upload
from tiffin.registry.credentials import Credentials
from tiffin.registry.threads import in_thread
from tiffin.storage.store import Storage

PARALLEL_UPLOADS = 5
_GZIPPED = (images.DOCKER_LAYER_GZIP, images.OCI_LAYER_GZIP)


class Outgoing(NamedTuple):
    """An image as it leaves: its manifest's bytes and what they name."""

    media_type: str
    body: bytes
    manifest: Manifest
    diff_ids: tuple[str, ...]


class Pushes:
    def __init__(
        self, storage: Storage, catalog: ImageCatalog, registry: RegistryClient, events: Events
    ) -> None:
        self._storage = storage
        self._catalog = catalog
        self._registry = registry
        self._events = events
        self.parallel = PARALLEL_UPLOADS

    async def push(
        self, reference: Reference, credentials: Credentials | None, report: Reporter
    ) -> None:
        """The tag, or without one all tags of the repository."""
        report.status(f"The push refers to repository [{reference.name}]")
        for tagged in await in_thread(self._tags_to_push, reference):
            image = await in_thread(self._catalog.get, tagged.familiar())
            await self._push_tag(tagged, image, credentials, report)

    def _tags_to_push(self, reference: Reference) -> list[Reference]:
        if reference.digest:
            raise InvalidArgument("cannot push a digest reference")
        tags = [parse(name) for name in self._storage.database.tags()]
        ours = [tag for tag in tags if tag.name == reference.name]
        if not ours:
            raise NotFound(f"An image does not exist locally with the tag: {reference.name}")
        if reference.tag:
            if reference not in ours:
                raise NotFound(f"tag does not exist: {reference.familiar()}")
            return [reference]
        return ours

    async def _push_tag(
        self,
        reference: Reference,
        image: Image,
        credentials: Credentials | None,
        report: Reporter,
    ) -> None:
        elsewhere = await in_thread(self._elsewhere, reference, image)
        repository = self._registry.repository(
            reference, credentials, to_push=True, mount_from=sorted(set(elsewhere.values()))
        )
        await repository.connect()
        for diff_id in reversed(image.config.rootfs.diff_ids):
            report.step(short(diff_id), "Preparing")
        outgoing = await in_thread(self.outgoing, image)
        await self._push_layers(repository, outgoing, elsewhere, report)
        config = outgoing.manifest.config
        await repository.push_blob(config, lambda: self._storage.blobs.open(config.digest))
        await repository.push_manifest(reference, outgoing.media_type, outgoing.body)
        digest = digest_of(outgoing.body)
        await in_thread(self._storage.database.put_repo_digest, reference.name, digest, image.id)
        size = len(outgoing.body)
        report.status(f"{reference.tag}: digest: {digest} size: {size}")
        report.aux({"Tag": reference.tag, "Digest": digest, "Size": size})
        self._events.emit("image", "push", reference.familiar(), {"name": reference.familiar_name})

    async def _push_layers(
        self,
        repository: Repository,
        outgoing: Outgoing,
        elsewhere: dict[str, str],
        report: Reporter,
    ) -> None:
        slots = asyncio.Semaphore(self.parallel)
        pairs = list(zip(outgoing.diff_ids, outgoing.manifest.layers, strict=True))
        for diff_id, _ in reversed(pairs[: max(0, len(pairs) - self.parallel)]):
            report.step(short(diff_id), "Waiting")

        async def push(diff_id: str, blob: Descriptor) -> None:
            async with slots:
                await self._push_layer(repository, diff_id, blob, elsewhere, report)

        try:
            async with asyncio.TaskGroup() as group:
                for diff_id, blob in dict(reversed(pairs)).items():
                    group.create_task(push(diff_id, blob))
        except ExceptionGroup as failures:
            raise first_failure(failures) from failures

    async def _push_layer(
        self,
        repository: Repository,
        diff_id: str,
        blob: Descriptor,
        elsewhere: dict[str, str],
        report: Reporter,
    ) -> None:
        identity = short(diff_id)
        origin = elsewhere.get(diff_id, "")
        done = await repository.push_blob(
            blob,
            lambda: self._storage.blobs.open(blob.digest),
            report.amounts(identity, "Pushing", blob.size),
            mount_from=origin,
        )
        report.step(identity, f"{done.value} {origin}" if done is Upload.MOUNTED else done.value)

    def _elsewhere(self, reference: Reference, image: Image) -> dict[str, str]:
        """Diff ID -> path of another repository at the same registry that has had the layer."""
        found: dict[str, str] = {}
        wanted = set(image.config.rootfs.diff_ids)
        for other in self._catalog.all():
            shared = wanted.intersection(other.config.rootfs.diff_ids)
            if not shared:
                continue
            for known in map(parse, other.repo_digests):
                if known.domain == reference.domain and known.path != reference.path:
                    found.update(dict.fromkeys(shared, known.path))
        return found

    # -- the manifest ------------------------------------------------------------------------

    def outgoing(self, image: Image) -> Outgoing:
        """The image's manifest: the one it came with or was given before, or made and kept now."""
        kept = self._kept_manifest(image)
        if kept is not None:
            return kept
        layers = [self._storage.snapshots.layer_blob(chain) for chain in image.chains]
        config = Descriptor("", image.id, len(image.config_bytes))
        manifest = make_manifest(config, layers)
        body = images.encode(manifest)
        digest = self._storage.blobs.put(body)
        if self._storage.database.find_image(image.id) is None:
            raise EngineFailure(f"No such image: {image.id}")
        self._catalog.add(image.config_bytes, image.id, digest)
        return Outgoing(manifest.media_type, body, manifest, image.config.rootfs.diff_ids)

    def _kept_manifest(self, image: Image) -> Outgoing | None:
        digest = image.manifest_digest
        blobs = self._storage.blobs
        if not digest or not blobs.exists(digest):
            return None
        body = blobs.read(digest)
        manifest = decode_manifest(body)
        if not all(blobs.exists(layer.digest) for layer in manifest.layers):
            return None
        media_type = manifest.media_type or images.OCI_MANIFEST
        return Outgoing(media_type, body, manifest, image.config.rootfs.diff_ids)


def make_manifest(config: Descriptor, layers: Sequence[Descriptor]) -> Manifest:
    """Docker's schema 2 where all layers are gzip, which every registry takes; OCI's otherwise."""
    if all(layer.media_type in _GZIPPED for layer in layers):
        return Manifest(
            config=Descriptor(images.DOCKER_CONFIG, config.digest, config.size),
            layers=tuple(
                Descriptor(images.DOCKER_LAYER_GZIP, layer.digest, layer.size) for layer in layers
            ),
            schema_version=2,
            media_type=images.DOCKER_MANIFEST,
        )
    return Manifest(
        config=Descriptor(images.OCI_CONFIG, config.digest, config.size),
        layers=tuple(
            Descriptor(_oci_layer(layer.media_type), layer.digest, layer.size) for layer in layers
        ),
        schema_version=2,
        media_type=images.OCI_MANIFEST,
    )


def _oci_layer(media_type: str) -> str:
    if media_type in _GZIPPED:
        return images.OCI_LAYER_GZIP
    return images.OCI_LAYER if media_type == images.DOCKER_LAYER else media_type
