"""What tests write into snapshots, and how they read it."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

from tests.unit.storage.archives import archive, directory, file
from tiffin.core.image import OCI_LAYER, digest_of
from tiffin.storage.snapshots import Committed, SnapshotStore
from tiffin.storage.store import Storage


def unpack(snapshots: SnapshotStore, data: bytes, parent: str | None = None) -> Committed:
    return snapshots.unpack(io.BytesIO(data), OCI_LAYER, parent, digest_of(data))


def layer_of(snapshots: SnapshotStore, chain: str) -> bytes:
    out = io.BytesIO()
    snapshots.write_layer(chain, out)
    return out.getvalue()


def names_in(data: bytes) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return tar.getnames()


def tree(snapshots: SnapshotStore, chain: str) -> list[str]:
    out = io.BytesIO()
    snapshots.export(chain, out)
    return names_in(out.getvalue())


def write(root: int, path: str, data: bytes = b"", mode: int = 0o644) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode, dir_fd=root)
    os.write(fd, data)
    os.close(fd)


def read(root: int, path: str) -> bytes:
    fd = os.open(path, os.O_RDONLY, dir_fd=root)
    try:
        return os.read(fd, 1 << 20)
    finally:
        os.close(fd)


def directories(storage: Storage) -> list[str]:
    """What is in snapshots/, but the stock of empty ones."""
    root = Path(storage.data_root, "snapshots")
    known = {*storage.snapshots.actives(), *(str(row.id) for row in storage.database.snapshots())}
    return [
        path.name
        for path in root.iterdir()
        if path.name not in ("empty", "furniture")
        and (path.name in known or any((path / "fs").iterdir()))
    ]


BASE = archive(
    directory("etc"),
    file("etc/passwd", b"root", 0o640),
    file("etc/shadow", b"secret"),
    directory("var"),
    directory("var/cache", 0o1777),
    file("var/cache/a", b"a"),
    file("var/cache/b", b"b"),
    file("bin", b"\x7fELF", 0o4755),
)


def reopened(storage: Storage) -> Storage:
    storage.close()
    return Storage.open(storage.data_root)
