"""Load and import: archives from a client become images.

What the client sends is spooled into an unnamed file first, inflated and bounded; then it is
read like a registry's answer: documents, layers in order, verified, the row, the tags last.
Layers are kept compressed, so that their bytes can be given out again.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import BinaryIO

from isal import isal_zlib

from tiffin.core.image import (
    OCI_LAYER_GZIP,
    Descriptor,
    Platform,
    check_platform,
    decode_config,
)
from tiffin.core.reference import Reference
from tiffin.engine.archives import Bundle, LayerMember, Loadable, find_images
from tiffin.engine.imagecatalog import ImageCatalog, chains_of, short
from tiffin.engine.layerstore import LayerStore
from tiffin.engine.leases import Leases
from tiffin.engine.progress import Reporter
from tiffin.errors import InvalidArgument
from tiffin.registry.threads import in_thread
from tiffin.storage import compression
from tiffin.storage.blobs import Ingest, no_space_is_named
from tiffin.storage.database import LayerBlob
from tiffin.storage.store import Storage

_GZIP_LEVEL = 1
_GZIP_WINDOW = 31  # zlib's way to say "with gzip's header"
_READ_BYTES = 1024 * 1024
# An archive that inflates to more than this and more than this many times is a bomb.
_FREE_BYTES = 4 * 1024**3
_MAX_RATIO = 200


class Intake:
    def __init__(
        self, storage: Storage, catalog: ImageCatalog, layers: LayerStore, leases: Leases
    ) -> None:
        self._storage = storage
        self._catalog = catalog
        self._layers = layers
        self._leases = leases

    # -- load --------------------------------------------------------------------------------

    async def load(
        self,
        archive: AsyncIterator[bytes],
        platform: Platform,
        report: Reporter,
        *,
        quiet: bool,
        only: bool,
    ) -> AsyncIterator[tuple[str, tuple[Reference, ...]]]:
        """Each image loaded and its names. Raises InvalidArgument; the images before it stay.

        `only`: another platform's image is refused (NotFound), not just passed over in an index.
        """
        with self._spool() as file:
            await self._receive(archive, file)
            bundle = await in_thread(_inflated_bundle, file, self._spool)
            for loadable in await in_thread(find_images, bundle, platform):
                if only:
                    check_platform(
                        _name_of(loadable), decode_config(loadable.config_bytes), platform
                    )
                await self._load(bundle, loadable, report, quiet=quiet)
                yield loadable.id, loadable.names

    async def _load(
        self, bundle: Bundle, image: Loadable, report: Reporter, *, quiet: bool
    ) -> None:
        chains = chains_of(tuple(layer.diff_id for layer in image.layers))
        documents = [image.id]
        lease = self._leases.hold([*chains, *documents])
        await in_thread(lease.__enter__)
        try:
            for index, layer in enumerate(image.layers):
                parent = chains[index - 1] if index else None
                if not await in_thread(self._storage.snapshots.exists, chains[index]):
                    await in_thread(self._load_layer, bundle, layer, parent, report, quiet=quiet)
            await in_thread(self._record, image, report)
        except BaseException:
            lease.__exit__(None, None, None)
            await in_thread(self._layers.collect_quietly, chains, documents)
            raise
        lease.__exit__(None, None, None)

    def _load_layer(
        self,
        bundle: Bundle,
        layer: LayerMember,
        parent: str | None,
        report: Reporter,
        *,
        quiet: bool,
    ) -> None:
        tell: Callable[[int], None] = lambda _: None  # noqa: E731
        if not quiet:
            tell = report.amounts(
                short(layer.diff_id), "Loading layer", bundle.get(layer.name).size
            )
        expected = Descriptor("", layer.digest, layer.size) if layer.digest else None
        blob = self._keep(_counted(bundle.chunks(layer.name), tell), expected)
        self._unpack(blob, parent, layer.diff_id)

    def _record(self, image: Loadable, report: Reporter) -> None:
        self._storage.blobs.put(image.config_bytes)
        self._catalog.add(image.config_bytes, image.id)
        for name in image.names:
            before = self._storage.database.tag(str(name))
            if before not in (None, image.id):
                report.stream(
                    f"The image {name.familiar()} already exists, renaming the old one with ID "
                    f"{before} to empty string\n"
                )
            self._storage.database.put_tag(str(name), image.id)
            report.stream(f"Loaded image: {name.familiar()}\n")
        if not image.names:
            report.stream(f"Loaded image ID: {image.id}\n")

    # -- import ------------------------------------------------------------------------------

    @asynccontextmanager
    async def layer(self, archive: AsyncIterator[bytes]) -> AsyncIterator[LayerBlob]:
        """The archive as a layer on nothing, leased while the block lasts."""
        with self._spool() as file:
            await self._receive(archive, file)
            diff_id = await in_thread(_diff_id, file)
            lease = self._leases.hold([diff_id])
            await in_thread(lease.__enter__)
            try:
                yield await in_thread(self._import_layer, file, diff_id)
            except BaseException:
                lease.__exit__(None, None, None)
                await in_thread(self._layers.collect_quietly, [diff_id], [])
                raise
            lease.__exit__(None, None, None)

    def _import_layer(self, file: BinaryIO, diff_id: str) -> LayerBlob:
        file.seek(0)
        blob = self._keep(_chunks(file), None)
        self._unpack(blob, None, diff_id)
        return LayerBlob(diff_id, blob.digest, blob.media_type, blob.size)

    def _unpack(self, blob: Descriptor, parent: str | None, diff_id: str) -> None:
        try:
            self._storage.snapshots.unpack_stored(blob, parent, diff_id)
        finally:  # it was refused, or another blob gives the layer's bytes already
            self._layers.collect_quietly([], [blob.digest])

    # -- bytes -------------------------------------------------------------------------------

    def _spool(self) -> BinaryIO:
        """A file without a name: gone with the process, whatever happens."""
        directory = os.path.join(self._storage.data_root, "ingest")
        with no_space_is_named("spool archive"):
            return tempfile.TemporaryFile(dir=directory)

    async def _receive(self, archive: AsyncIterator[bytes], file: BinaryIO) -> None:
        held = bytearray()
        async for chunk in archive:
            held += chunk
            if len(held) >= _READ_BYTES:
                await in_thread(_write, file, bytes(held))
                held.clear()
        await in_thread(_write, file, bytes(held))

    def _keep(self, chunks: Iterator[bytes], expected: Descriptor | None) -> Descriptor:
        """Into the content store: gzip and zstd as they come, everything else as gzip.

        Bytes that have a digest to be checked against are checked, whether they are kept or not.
        """
        first, chunks = _peeked(chunks)
        kind = compression.name_of(first)
        if kind == "gzip":
            with self._storage.blobs.ingest(expected) as ingest:
                _pour(chunks, ingest)
            return Descriptor(OCI_LAYER_GZIP, ingest.digest, ingest.size)
        if kind == "zstd":
            with self._storage.blobs.ingest(expected) as ingest:
                _pour(chunks, ingest)
            return Descriptor(OCI_LAYER_GZIP.replace("gzip", "zstd"), ingest.digest, ingest.size)
        with self._storage.blobs.ingest() as ingest:
            compressor = isal_zlib.compressobj(_GZIP_LEVEL, wbits=_GZIP_WINDOW)
            for chunk in compression.decoder_for(first)(chunks):
                ingest.write(compressor.compress(chunk))
            ingest.write(compressor.flush())
        return Descriptor(OCI_LAYER_GZIP, ingest.digest, ingest.size)


def _write(file: BinaryIO, data: bytes) -> None:
    with no_space_is_named("spool archive"):
        file.write(data)


def _pour(chunks: Iterator[bytes], ingest: Ingest) -> None:
    for chunk in chunks:
        ingest.write(chunk)


def _counted(chunks: Iterator[bytes], tell: Callable[[int], None]) -> Iterator[bytes]:
    done = 0
    for chunk in chunks:
        yield chunk
        done += len(chunk)
        tell(done)


def _peeked(chunks: Iterator[bytes]) -> tuple[bytes, Iterator[bytes]]:
    first = next(chunks, b"")

    def whole() -> Iterator[bytes]:
        if first:
            yield first
        yield from chunks

    return first[: compression.MAGIC_BYTES], whole()


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    while data := file.read(_READ_BYTES):
        yield data


def _inflated(file: BinaryIO) -> Iterator[bytes]:
    """The plain bytes of a possibly compressed file, up to what no honest archive reaches."""
    size = os.fstat(file.fileno()).st_size
    file.seek(0)
    first, chunks = _peeked(_chunks(file))
    total = 0
    for chunk in compression.decoder_for(first)(chunks):
        total += len(chunk)
        if total > _FREE_BYTES and total > size * _MAX_RATIO:
            raise InvalidArgument("archive inflates too far: refused")
        yield chunk


def _inflated_bundle(file: BinaryIO, spool: Callable[[], BinaryIO]) -> Bundle:
    file.seek(0)
    first = file.read(compression.MAGIC_BYTES)
    if not first:
        raise InvalidArgument("unexpected EOF")
    if not compression.name_of(first):
        file.seek(0)
        return Bundle(file)
    plain = spool()
    for chunk in _inflated(file):
        _write(plain, chunk)
    plain.seek(0)
    return Bundle(plain)


def _diff_id(file: BinaryIO) -> str:
    digest = hashlib.sha256()
    for chunk in _inflated(file):
        digest.update(chunk)
    return f"sha256:{digest.hexdigest()}"


def _name_of(image: Loadable) -> str:
    return image.names[0].familiar() if image.names else image.id
