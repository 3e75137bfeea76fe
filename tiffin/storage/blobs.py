"""Content store: blobs named by digest in an OCI image layout, invisible until verified.

Knows no tags. A blob is written to ingest/, checked, synced and renamed to blobs/sha256/<hex>: a
crash leaves a file in ingest/, never a blob that is not what its name says.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import itertools
import os
import time
from collections.abc import Iterator
from typing import BinaryIO

from tiffin.core.image import MAX_DOCUMENT_BYTES, Descriptor, Digest, is_digest
from tiffin.errors import EngineFailure, InvalidArgument, NotFound
from tiffin.kernel import failpoints

_LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'
_EMPTY_INDEX = (
    b'{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}'
)


class ContentMismatch(InvalidArgument):
    """The bytes are not what their descriptor says."""


class Ingest:
    """A blob being written. `digest` and `size` are of what was written so far."""

    def __init__(self, file: BinaryIO, expected: Descriptor | None):
        self._file = file
        self._expected = expected
        self._hash = hashlib.sha256()
        self.size = 0

    @property
    def digest(self) -> Digest:
        return Digest("sha256:" + self._hash.hexdigest())

    def write(self, data: bytes) -> int:
        """Raises ContentMismatch as soon as there is more than was declared."""
        self.size += len(data)
        if self._expected is not None and self.size > self._expected.size:
            raise ContentMismatch(
                f"{self._expected.digest}: more than the declared {self._expected.size} bytes"
            )
        self._hash.update(data)
        with no_space_is_named("write blob"):
            self._file.write(data)
        return len(data)

    def verify(self) -> None:
        expected = self._expected
        if expected is None:
            return
        if self.size != expected.size:
            raise ContentMismatch(f"{expected.digest}: {self.size} bytes, not {expected.size}")
        if self.digest != expected.digest:
            raise ContentMismatch(f"{expected.digest}: the content has digest {self.digest}")


class BlobStore:
    """One per DATA_ROOT. Any thread may call; the same blob may be written twice at a time."""

    def __init__(self, data_root: str):
        self._blobs = os.path.join(data_root, "blobs", "sha256")
        self._ingests = os.path.join(data_root, "ingest")
        self._numbers = itertools.count()
        self.swept: list[str] = []  # at the start
        os.makedirs(self._blobs, mode=0o700, exist_ok=True)
        os.makedirs(self._ingests, mode=0o700, exist_ok=True)
        _write_once(os.path.join(data_root, "oci-layout"), _LAYOUT)
        _write_once(os.path.join(data_root, "index.json"), _EMPTY_INDEX)

    def sweep(self) -> None:
        """Delete what unfinished ingests have left. Only while nothing is being ingested."""
        self.swept = sorted(os.listdir(self._ingests))
        for name in self.swept:
            self.drop_unfinished(name)

    def unfinished(self) -> list[str]:
        """What ingests of other processes have left."""
        ours = f"{os.getpid()}-"
        return [name for name in sorted(os.listdir(self._ingests)) if not name.startswith(ours)]

    def drop_unfinished(self, name: str) -> None:
        """Idempotent."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(self._ingests, name))

    def age_seconds(self, digest: str) -> float:
        """Since it was written; 0 for one that is not there."""
        with contextlib.suppress(OSError):
            return max(time.time() - os.stat(self.path(digest)).st_mtime, 0.0)
        return 0.0

    @contextlib.contextmanager
    def ingest(self, expected: Descriptor | None = None) -> Iterator[Ingest]:
        """Write a blob; it exists once the block ends well, and not at all if it does not.

        Raises ContentMismatch (an InvalidArgument) unless size and digest are as expected.
        """
        if expected is not None:
            self.path(expected.digest)
        temporary = os.path.join(self._ingests, f"{os.getpid()}-{next(self._numbers)}")
        try:
            with no_space_is_named("write blob"), open(temporary, "xb") as file:
                ingest = Ingest(file, expected)
                yield ingest
                ingest.verify()
                file.flush()
                failpoints.reach("blob-written")
                os.fsync(file.fileno())
            os.chmod(temporary, 0o600)
            os.rename(temporary, self.path(ingest.digest))
            failpoints.reach("blob-renamed")
            _sync_directory(self._blobs)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)

    def put(self, data: bytes) -> Digest:
        """Store a document; its digest. Idempotent."""
        digest = Digest("sha256:" + hashlib.sha256(data).hexdigest())
        if not self.exists(digest):
            with self.ingest() as ingest:
                ingest.write(data)
        return digest

    def read(self, digest: str, limit: int = MAX_DOCUMENT_BYTES) -> bytes:
        """A document's bytes. Raises NotFound; EngineFailure where the disk has other bytes."""
        with self.open(digest) as file:
            data = file.read(limit + 1)
        if len(data) > limit:
            raise InvalidArgument(f"{digest}: larger than {limit} bytes")
        if "sha256:" + hashlib.sha256(data).hexdigest() != digest:
            raise EngineFailure(f"blob {digest} is damaged")
        return data

    def open(self, digest: str) -> BinaryIO:
        """The blob as a file, for the caller to close."""
        try:
            return open(self.path(digest), "rb")
        except FileNotFoundError as error:
            raise NotFound(f"blob {digest} not found") from error

    def exists(self, digest: str) -> bool:
        return os.path.exists(self.path(digest))

    def size(self, digest: str) -> int:
        try:
            return os.stat(self.path(digest)).st_size
        except FileNotFoundError as error:
            raise NotFound(f"blob {digest} not found") from error

    def descriptor_of(self, file: BinaryIO, media_type: str) -> Descriptor | None:
        """The descriptor of a blob that `open` gave; None for any other file."""
        name = getattr(file, "name", None)
        if not isinstance(name, str) or os.path.dirname(name) != self._blobs:
            return None
        digest = "sha256:" + os.path.basename(name)
        return Descriptor(media_type, digest, os.fstat(file.fileno()).st_size)

    def remove(self, digest: str) -> None:
        """Idempotent. Who has it open can read on."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path(digest))

    def path(self, digest: str) -> str:
        """Raises InvalidArgument for what is no sha256 digest: digests become file names."""
        if not is_digest(digest):
            raise InvalidArgument(f"invalid digest: {digest[:100]!r}")
        return os.path.join(self._blobs, digest.removeprefix("sha256:"))

    def __iter__(self) -> Iterator[Digest]:
        for name in sorted(os.listdir(self._blobs)):
            yield Digest("sha256:" + name)


@contextlib.contextmanager
def no_space_is_named(what: str) -> Iterator[None]:
    """A full disk is the machine's fault, and said so."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise EngineFailure(f"{what}: no space left on device") from error
        raise


def _write_once(path: str, data: bytes) -> None:
    if os.path.exists(path):
        return
    with open(path + ".new", "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.rename(path + ".new", path)


def _sync_directory(path: str) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
