from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from tiffin.core.image import Descriptor, digest_of
from tiffin.errors import EngineFailure, InvalidArgument, NotFound
from tiffin.storage.blobs import BlobStore, ContentMismatch


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    return BlobStore(str(tmp_path))


def leftovers(tmp_path: Path) -> list[str]:
    return os.listdir(tmp_path / "ingest")


def test_a_blob_is_there_once_it_is_verified(blobs: BlobStore, tmp_path: Path) -> None:
    digest = digest_of(b"hello")
    with blobs.ingest(Descriptor("text/plain", digest, 5)) as ingest:
        ingest.write(b"hel")
        assert not blobs.exists(digest)
        ingest.write(b"lo")
    assert blobs.read(digest) == b"hello"
    assert (blobs.size(digest), list(blobs)) == (5, [digest])
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("data", [b"hell", b"hullo", b"hello, world"])
def test_other_bytes_than_described_leave_nothing(
    blobs: BlobStore, tmp_path: Path, data: bytes
) -> None:
    with (
        pytest.raises(ContentMismatch),
        blobs.ingest(Descriptor("text/plain", digest_of(b"hello"), 5)) as ingest,
    ):
        ingest.write(data)
    assert list(blobs) == []
    assert leftovers(tmp_path) == []


def test_a_failure_on_the_way_leaves_nothing(blobs: BlobStore, tmp_path: Path) -> None:
    with pytest.raises(ConnectionError), blobs.ingest() as ingest:  # noqa: PT012
        ingest.write(b"half")
        raise ConnectionError
    assert list(blobs) == []
    assert leftovers(tmp_path) == []


def test_a_full_disk_is_named(blobs: BlobStore, tmp_path: Path) -> None:
    with pytest.raises(EngineFailure, match="no space left on device"), blobs.ingest():
        raise OSError(errno.ENOSPC, "No space left on device")
    assert leftovers(tmp_path) == []


def test_the_same_blob_twice_is_one(blobs: BlobStore) -> None:
    assert blobs.put(b"x") == blobs.put(b"x")
    with blobs.ingest() as ingest:
        ingest.write(b"x")
    assert list(blobs) == [digest_of(b"x")]


@pytest.mark.parametrize(
    "digest", ["", "sha256:abc", "sha256:../../etc/passwd", "md5:" + "0" * 32, "sha256:" + "A" * 64]
)
def test_what_is_no_digest_is_never_a_path(blobs: BlobStore, digest: str) -> None:
    with pytest.raises(InvalidArgument):
        blobs.exists(digest)
    with pytest.raises(InvalidArgument), blobs.ingest(Descriptor("x", digest, 1)):
        pass


def test_a_missing_blob_is_not_found(blobs: BlobStore) -> None:
    missing = digest_of(b"nothing")
    with pytest.raises(NotFound):
        blobs.read(missing)
    with pytest.raises(NotFound):
        blobs.size(missing)
    blobs.remove(missing)


def test_a_damaged_document_is_not_given_out(blobs: BlobStore) -> None:
    digest = blobs.put(b"good")
    Path(blobs.path(digest)).write_bytes(b"evil")
    with pytest.raises(EngineFailure, match="damaged"):
        blobs.read(digest)


def test_a_document_larger_than_the_limit_is_refused(blobs: BlobStore) -> None:
    digest = blobs.put(b"x" * 100)
    with pytest.raises(InvalidArgument):
        blobs.read(digest, limit=99)
    assert len(blobs.read(digest, limit=100)) == 100


def test_unfinished_ingests_are_swept(blobs: BlobStore, tmp_path: Path) -> None:
    (tmp_path / "ingest" / "4711-0").write_bytes(b"half")
    blobs.sweep()
    assert leftovers(tmp_path) == []
