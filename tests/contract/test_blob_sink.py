"""The port BlobSink: what the registry client needs of it, on the content store and on the fake."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from tests.fakes.sinks import MemoryStore
from tiffin.core.image import OCI_LAYER, Descriptor
from tiffin.errors import InvalidArgument
from tiffin.registry.client import BlobSink
from tiffin.storage.blobs import BlobStore

DATA = b"some bytes of a layer"
DESCRIPTOR = Descriptor(OCI_LAYER, "sha256:" + hashlib.sha256(DATA).hexdigest(), len(DATA))


@pytest.fixture(params=["content store", "fake"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> BlobStore | MemoryStore:
    return BlobStore(str(tmp_path)) if request.param == "content store" else MemoryStore()


def test_the_size_is_what_was_written_so_far(store: BlobStore | MemoryStore) -> None:
    with store.ingest(DESCRIPTOR) as ingest:
        sink: BlobSink = ingest
        sizes = [sink.size]
        for part in (DATA[:5], DATA[5:]):
            sink.write(part)
            sizes.append(sink.size)

    assert sizes == [0, 5, len(DATA)]


def test_a_blob_is_there_once_it_is_whole(store: BlobStore | MemoryStore) -> None:
    with store.ingest(DESCRIPTOR) as sink:
        sink.write(DATA)
        before = store.exists(DESCRIPTOR.digest)

    assert (before, store.exists(DESCRIPTOR.digest)) == (False, True)


@pytest.mark.parametrize(
    "data", [DATA[:-1], DATA[:-1] + b"?", DATA + b"?"], ids=["short", "wrong", "long"]
)
def test_other_bytes_are_refused(store: BlobStore | MemoryStore, data: bytes) -> None:
    with pytest.raises(InvalidArgument), store.ingest(DESCRIPTOR) as sink:
        sink.write(data)

    assert not store.exists(DESCRIPTOR.digest)


def test_what_fails_leaves_nothing(store: BlobStore | MemoryStore) -> None:
    def fail() -> None:
        with store.ingest(DESCRIPTOR) as sink:
            sink.write(DATA)
            raise KeyError

    with pytest.raises(KeyError):
        fail()

    assert not store.exists(DESCRIPTOR.digest)
