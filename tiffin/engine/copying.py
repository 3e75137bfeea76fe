"""Files in and out of a container's tree: `docker cp`, `docker export`.

Every path is resolved inside the tree by the kernel. What volumes hold is not part of the tree.
"""

from __future__ import annotations

import asyncio
import os
import stat
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import BinaryIO, NamedTuple

from tiffin.core.container import Container
from tiffin.core.lifecycle import LIVE
from tiffin.core.timestamps import rfc3339
from tiffin.engine.pipes import produced
from tiffin.errors import InvalidArgument, NotFound, Unsupported
from tiffin.kernel import rootpath
from tiffin.storage import jail, layers, unpack
from tiffin.storage.layers import Difference
from tiffin.storage.snapshots import SnapshotStore

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC

# Go's os.FileMode, which Docker's PathStat carries (pkg.go.dev/io/fs#FileMode).
_GO_KINDS = {
    stat.S_IFDIR: 1 << 31,
    stat.S_IFLNK: 1 << 27,
    stat.S_IFBLK: 1 << 26,
    stat.S_IFCHR: 1 << 26 | 1 << 21,
    stat.S_IFIFO: 1 << 25,
    stat.S_IFSOCK: 1 << 24,
}
_GO_BITS = {stat.S_ISUID: 1 << 23, stat.S_ISGID: 1 << 22, stat.S_ISVTX: 1 << 20}


class PathStat(NamedTuple):
    """What HEAD /containers/{id}/archive tells. `mode` is Go's, `mtime` RFC 3339."""

    name: str
    size: int
    mode: int
    mtime: str
    link_target: str


class Copying:
    def __init__(self, snapshots: SnapshotStore) -> None:
        self._snapshots = snapshots

    def export(self, container: Container) -> AsyncIterator[bytes]:
        """The whole tree as a tar."""
        return produced(lambda out: self._snapshots.export(container.snapshot, out))

    async def stat_path(self, container: Container, path: str) -> PathStat:
        """Raises NotFound in Docker's words. A link at the end is told, not followed."""
        return await asyncio.to_thread(self._stat, container, path)

    def _stat(self, container: Container, path: str) -> PathStat:
        with self._tree(container) as root, _named(container, path):
            status = rootpath.stat_in(root, path, follow=path.endswith(("/", "/.")))
            target = ""
            if stat.S_ISLNK(status.st_mode):
                target = os.fsdecode(rootpath.read_link_in(root, path))
        name = os.path.basename(os.path.normpath(path)) or "/"
        return PathStat(
            name, status.st_size, go_mode(status.st_mode), rfc3339(status.st_mtime_ns), target
        )

    async def read(self, container: Container, path: str) -> tuple[PathStat, AsyncIterator[bytes]]:
        """What is at `path` as a tar, its names starting with the path's last component."""
        found = await self.stat_path(container, path)

        def write_to(out: BinaryIO) -> None:
            with self._tree(container) as root, _named(container, path):
                _write_subtree(root, path, out)

        return found, produced(write_to)  # type: ignore[arg-type]

    async def write(
        self,
        container: Container,
        path: str,
        archive: AsyncIterator[bytes],
        *,
        no_overwrite: bool = False,
    ) -> None:
        """Unpack a tar, compressed or not, into the directory at `path`.

        Raises NotFound, InvalidArgument (no directory, hostile archive), Unsupported while it runs.
        """
        if container.state.status in LIVE:
            raise Unsupported("copying into a running container is not supported yet")
        if container.host_config.readonly_rootfs:
            raise InvalidArgument("container rootfs is marked read-only")
        with tempfile.TemporaryFile() as spool:
            async for chunk in archive:
                await asyncio.to_thread(spool.write, chunk)
            spool.seek(0)
            await asyncio.to_thread(self._unpack, container, path, spool, no_overwrite)

    def _unpack(
        self, container: Container, path: str, archive: BinaryIO, no_overwrite: bool
    ) -> None:
        with self._snapshots.mounted(container.snapshot) as root, _named(container, path):
            try:
                directory = rootpath.open_in(root, path, _DIRECTORY)
            except NotADirectoryError as error:
                raise InvalidArgument("extraction point is not a directory") from error
            try:
                jail.unpack(archive, directory, whiteouts=unpack.NAMES, keep_kinds=no_overwrite)
            finally:
                os.close(directory)

    @contextmanager
    def _tree(self, container: Container) -> Iterator[int]:
        with self._snapshots.mounted(container.snapshot, read_only=True) as root:
            yield root


@contextmanager
def _named(container: Container, path: str) -> Iterator[None]:
    """A path that is not there, in Docker's words."""
    try:
        yield
    except FileNotFoundError as error:
        raise NotFound(f"Could not find the file {path} in container {container.name}") from error
    except OSError as error:
        raise InvalidArgument(f"{path}: {error.strerror}") from error


def _write_subtree(root: int, path: str, out: BinaryIO) -> None:
    if path.endswith(("/", "/.")) or os.path.normpath(path) == ".":
        fd = rootpath.open_in(root, path, _DIRECTORY)
        found = _everything(fd)
    else:
        fd, name = rootpath.open_parent_in(root, path)
        found = _below(fd, name)
    try:
        layers.write_tar(fd, found, out.write)
    finally:
        os.close(fd)


def _everything(fd: int) -> Iterator[Difference]:
    yield Difference(b"", os.fstat(fd))
    yield from layers.tree(fd)


def _below(parent: int, name: bytes) -> Iterator[Difference]:
    status = os.stat(name, dir_fd=parent, follow_symlinks=False)
    yield Difference(name, status)
    if not stat.S_ISDIR(status.st_mode):
        return
    fd = rootpath.open_beneath(parent, name, _DIRECTORY)
    try:
        for path, found in rootpath.walk(fd):
            yield Difference(name + b"/" + path, found)
    finally:
        os.close(fd)


def go_mode(mode: int) -> int:
    """A mode as Go's os.FileMode."""
    bits = sum(go for unix, go in _GO_BITS.items() if mode & unix)
    return mode & 0o777 | _GO_KINDS.get(stat.S_IFMT(mode), 0) | bits
