"""BlobSink in memory: the fake that unit tests of the registry client use."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

from tiffin.core.image import Descriptor
from tiffin.storage.blobs import ContentMismatch


class MemorySink:
    def __init__(self) -> None:
        self.data = b""

    @property
    def size(self) -> int:
        return len(self.data)

    def write(self, data: bytes) -> int:
        self.data += data
        return len(data)


class MemoryStore:
    """As storage.BlobStore: a blob exists only after its block ended well."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}

    @contextmanager
    def ingest(self, expected: Descriptor) -> Iterator[MemorySink]:
        sink = MemorySink()
        yield sink
        digest = "sha256:" + hashlib.sha256(sink.data).hexdigest()
        if (digest, sink.size) != (expected.digest, expected.size):
            raise ContentMismatch(f"{expected.digest}: not what was announced")
        self.blobs[digest] = sink.data

    def exists(self, digest: str) -> bool:
        return digest in self.blobs
