"""The bytes of layers. Nobody can write a foreign tar again, so the blob that it came in is kept.

Layers of our own are written anew from their directories, always the same; compressed they become
blobs too, once a push or a save asks. One blob a layer: it is found by diff ID.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator
from typing import Any, BinaryIO

from isal import isal_zlib

from tiffin.core.image import DOCKER_LAYER_GZIP, Descriptor
from tiffin.errors import EngineFailure, InvalidArgument
from tiffin.storage import compression
from tiffin.storage.blobs import BlobStore
from tiffin.storage.database import Database, LayerBlob

Write = Callable[[bytes], object]

_GZIP_LEVEL = 2
_GZIP_WINDOW = 31  # zlib's way to say "with gzip's header", which then holds no time
_READ_BYTES = 1 << 18


class LayerBytes:
    """`make(write)` in these methods writes the layer's tar from its directory."""

    def __init__(self, database: Database, blobs: BlobStore):
        self._database = database
        self._blobs = blobs

    def keep(self, diff_id: str, source: Descriptor) -> None:
        """`source`, a stored blob, gives the layer's bytes, unless another one does already."""
        if self._database.find_layer_blob(diff_id) is None:
            self._put(diff_id, source)

    def store(self, stream: BinaryIO, media_type: str) -> Descriptor:
        """Store a stream as a blob."""
        with self._blobs.ingest() as ingest:
            for data in _chunks(stream):
                ingest.write(data)
        return Descriptor(media_type, ingest.digest, ingest.size)

    def discard(self, source: Descriptor, diff_id: str) -> None:
        """Remove a blob unless it has become the one of this layer."""
        kept = self._database.find_layer_blob(diff_id)
        if kept is None or kept.digest != source.digest:
            self._blobs.remove(source.digest)

    def write(self, diff_id: str, make: Callable[[Write], None], out: Any) -> None:
        """The uncompressed tar to `out.write`. Raises EngineFailure if it is not what it was."""
        check = hashlib.sha256()

        def write(data: bytes) -> None:
            check.update(data)
            out.write(data)

        kept = self._database.find_layer_blob(diff_id)
        if kept is not None and self._blobs.exists(kept.digest):
            self._write_from_blob(kept, write)
        else:
            make(write)
        if "sha256:" + check.hexdigest() != diff_id:
            raise EngineFailure(f"layer {diff_id} is damaged")

    def compressed(self, diff_id: str, make: Callable[[Write], None]) -> Descriptor:
        """The compressed blob: the one that the layer came in, or made now and kept."""
        kept = self._database.find_layer_blob(diff_id)
        if kept is not None and kept.digest != diff_id and self._blobs.exists(kept.digest):
            return Descriptor(kept.media_type, kept.digest, kept.size)
        with self._blobs.ingest() as ingest:
            out = _Gzip(ingest.write)
            self.write(diff_id, make, out)
            out.finish()
        made = Descriptor(DOCKER_LAYER_GZIP, ingest.digest, ingest.size)
        self._put(diff_id, made)
        if kept is not None:
            self._blobs.remove(kept.digest)  # the plain tar, whose bytes the new one gives
        return made

    def forget(self, diff_id: str) -> None:
        kept = self._database.find_layer_blob(diff_id)
        if kept is not None:
            self._database.delete_layer_blob(diff_id)
            self._blobs.remove(kept.digest)

    def forget_all_but(self, diff_ids: Collection[str]) -> None:
        for kept in self._database.layer_blobs():
            if kept.diff_id not in diff_ids:
                self.forget(kept.diff_id)

    def _put(self, diff_id: str, blob: Descriptor) -> None:
        self._database.put_layer_blob(LayerBlob(diff_id, blob.digest, blob.media_type, blob.size))

    def _write_from_blob(self, kept: LayerBlob, write: Callable[[bytes], None]) -> None:
        with self._blobs.open(kept.digest) as file:
            first = file.read(compression.MAGIC_BYTES)
            file.seek(0)
            try:
                for chunk in compression.decoder_for(first)(_chunks(file)):
                    write(chunk)
            except InvalidArgument as error:
                raise EngineFailure(f"blob {kept.digest} is damaged") from error


class _Gzip:
    """A file to write to that compresses."""

    def __init__(self, write: Write):
        self._write = write
        self._compressor = isal_zlib.compressobj(_GZIP_LEVEL, wbits=_GZIP_WINDOW)

    def write(self, data: bytes) -> None:
        self._write(self._compressor.compress(data))

    def finish(self) -> None:
        self._write(self._compressor.flush())


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    while data := file.read(_READ_BYTES):
        yield data
