"""Files in and out of a container's tree: `docker cp`, `docker export`.

Every path is resolved inside the tree by the kernel. The tree is what the container's processes
see, volumes and all, with owners shifted; of one that does not run it is what they would see.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import posixpath
import stat
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, NamedTuple

from tiffin.core.container import Container
from tiffin.core.lifecycle import LIVE
from tiffin.core.timestamps import rfc3339
from tiffin.engine.assembly import Bind, assembled, binds_of, possible_places
from tiffin.engine.incoming import Incoming
from tiffin.engine.pipes import consumed, produced
from tiffin.errors import Conflict, InvalidArgument, NotFound
from tiffin.kernel import rootpath, syscalls
from tiffin.kernel.ownthread import may_hang
from tiffin.kernel.realpath import real_path_in
from tiffin.runtime import targets, users
from tiffin.storage import jail, layers, treetar, unpack
from tiffin.storage.blobs import no_space_is_named
from tiffin.storage.idmap import IdMap
from tiffin.storage.snapshots import SnapshotStore
from tiffin.storage.treetar import Difference

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


# What a running container has mounted there is no file of its own.
_MACHINERY = frozenset((b"dev", b"proc", b"sys"))

_SPLICE_BYTES = 1 << 20
_LEAVING_SECONDS = 10.0

# An archive of files grows with what is sent; a compressed one must not grow without end.
MAX_COPY_BYTES = 1 << 42


class Kept(NamedTuple):
    """A container as it is while nobody else may change it, and whether somebody would."""

    container: Container
    is_wanted: Callable[[], bool]


Still = Callable[[Container], contextlib.AbstractAsyncContextManager[Kept]]


def _alone(container: Container) -> contextlib.AbstractAsyncContextManager[Kept]:
    return contextlib.nullcontext(Kept(container, lambda: False))


class PathStat(NamedTuple):
    """What HEAD /containers/{id}/archive tells. `mode` is Go's, `mtime` RFC 3339."""

    name: str
    size: int
    mode: int
    mtime: str
    link_target: str


class Copying:
    def __init__(self, snapshots: SnapshotStore, directory: str) -> None:
        """Each container has a directory in `directory`, with its files for /etc."""
        self._snapshots = snapshots
        self._directory = directory

    def export(self, container: Container) -> AsyncGenerator[bytes, None]:
        """The whole tree as a tar."""
        return produced(lambda out: self._snapshots.export(container.snapshot, out))

    async def stat_path(self, container: Container, path: str) -> PathStat:
        """Raises NotFound in Docker's words. A link at the end is told, not followed."""
        return await may_hang(self._stat, container, path)

    def _stat(self, container: Container, path: str) -> PathStat:
        place = cleaned(path)
        with self._tree(container) as (root, _), _named(container, path):
            status = rootpath.stat_in(root, place, follow=_follows(place))
            target = _leads_to(root, place) if stat.S_ISLNK(status.st_mode) else ""
        mode, mtime = go_mode(status.st_mode), rfc3339(status.st_mtime_ns)
        return PathStat(last_name(place), status.st_size, mode, mtime, target)

    async def read(
        self, container: Container, path: str
    ) -> tuple[PathStat, AsyncGenerator[bytes, None]]:
        """What is at `path` as a tar, its names starting with the path's last component."""
        found = await self.stat_path(container, path)

        def write_to(out: BinaryIO) -> None:
            with self._tree(container) as (root, ids), _named(container, path):
                _write_subtree(root, cleaned(path), out, ids)

        return found, produced(write_to)  # type: ignore[arg-type]

    async def write(
        self,
        container: Container,
        path: str,
        archive: AsyncIterator[bytes],
        *,
        no_overwrite: bool = False,
        copy_owner: bool = False,
        still: Still = _alone,
    ) -> None:
        """Unpack a tar, compressed or not, into the directory at `path`.

        `copy_owner` makes all of it the container's user's, where it has one (Docker's copyUIDGID).
        `still` keeps a container that does not run as it is. Raises NotFound, InvalidArgument (no
        directory, read-only, hostile archive).
        """
        await may_hang(self._check_target, container, path)

        def unpack_from(file: BinaryIO, now: Container) -> None:
            self._unpack(now, path, file, no_overwrite=no_overwrite, copy_owner=copy_owner)

        if container.state.status in LIVE:
            await consumed(archive, lambda file: unpack_from(file, container))
            return
        incoming = Incoming(archive)
        if await incoming.begins_fast():
            async with still(container) as (now, is_wanted):
                with incoming.watched(is_wanted):
                    await _left_if_it_hangs(consumed(incoming, lambda file: unpack_from(file, now)))
            return
        # Its lock must not wait for a client: all that is to come is here before it is taken.
        with tempfile.TemporaryFile(dir=self._directory) as spool:
            await consumed(incoming, lambda file: _keep(file, spool))
            spool.seek(0)
            async with still(container) as (now, _):
                await may_hang(unpack_from, spool, now)

    def _check_target(self, container: Container, path: str) -> None:
        """Before the client sends it all."""
        with (
            self._tree(container) as (root, _),
            _opened_target(container, root, path) as (directory, place),
        ):
            mounted = _is_mounted(container, os.fsdecode(place))
            if mounted or container.state.status in LIVE:
                read_only = bool(os.fstatvfs(directory).f_flag & os.ST_RDONLY)
            else:
                read_only = container.host_config.readonly_rootfs
            if read_only and mounted:
                raise InvalidArgument("mounted volume is marked read-only")
            if read_only and container.host_config.readonly_rootfs:
                raise InvalidArgument("container rootfs is marked read-only")
            if read_only:  # as /sys is
                raise InvalidArgument(f"{path}: read-only file system")

    def _unpack(
        self,
        container: Container,
        path: str,
        archive: BinaryIO,
        *,
        no_overwrite: bool,
        copy_owner: bool,
    ) -> None:
        with (
            self._tree(container, read_only=False) as (root, ids),
            _opened_target(container, root, path) as (directory, place),
        ):
            user = container.config.user if copy_owner else ""
            jail.unpack(
                archive,
                directory,
                whiteouts=unpack.NAMES,
                owner=_owner_in(root, user) if user else None,
                keep_kinds=no_overwrite,
                budget_bytes=MAX_COPY_BYTES,
                digest=False,
                ids=ids,
                within=unpack.Within(root, place),
                in_use=container.state.status in LIVE,
            )

    @contextmanager
    def _tree(
        self, container: Container, *, read_only: bool = True
    ) -> Iterator[tuple[int, IdMap | None]]:
        """The root as a descriptor, and how owners in it are shifted."""
        if container.state.status in LIVE:
            with self._snapshots.kept(container.snapshot):
                root, ids = open_live_root(container)
                try:
                    yield root, ids
                finally:
                    os.close(root)
            return
        binds = binds_of(container, os.path.join(self._directory, container.id))
        if read_only:
            snapshot = self._snapshots.scratch(container.snapshot)
        else:
            snapshot = self._snapshots.mounted(container.snapshot)
        with snapshot as tree:
            if read_only:
                _make_etc(tree, binds)
            with assembled(tree, binds, is_mount=self._snapshots.uses_overlay) as root:
                yield root, None


async def _left_if_it_hangs(work: Coroutine[Any, Any, None]) -> None:
    """Whoever gives up waits for the end; not for ever, as its files may (kernel.ownthread)."""
    task = asyncio.ensure_future(work)
    task.add_done_callback(lambda done: done.cancelled() or done.exception())
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        task.cancel()
        await asyncio.wait([task], timeout=_LEAVING_SECONDS)
        raise


def _keep(archive: BinaryIO, spool: BinaryIO) -> None:
    """What comes through a pipe, in a file; it never passes through this process again."""
    with no_space_is_named("spool archive"):
        while os.splice(archive.fileno(), spool.fileno(), _SPLICE_BYTES):
            pass


def _make_etc(root: int, binds: list[Bind]) -> None:
    """A container that never ran has empty ones of these, as in Docker."""
    for bind in binds:
        if bind.target.startswith("/etc/") and not os.path.lexists(bind.source):
            with possible_places():
                os.close(targets.open_target(root, bind.target, directory=False))


def open_live_root(container: Container) -> tuple[int, IdMap | None]:
    """What the container's first process has for a root. Caller closes. Raises Conflict."""
    pid = container.state.pid
    try:
        root = os.open(f"/proc/{pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise Conflict(f"container {container.id} is not running") from error
    try:
        with open(f"/proc/{pid}/uid_map", encoding="ascii") as file:
            ids = IdMap.parse(file.read())
        # Only now: as long as it lived, nobody else had its pid.
        same = syscalls.start_ticks(pid) == container.state.start_ticks
    except (OSError, ValueError):
        same = False
    if not same:
        os.close(root)
        raise Conflict(f"container {container.id} is not running")
    return root, ids


@contextmanager
def _opened_target(container: Container, root: int, path: str) -> Iterator[tuple[int, bytes]]:
    """The directory, and where it is once all links are followed."""
    with _named(container, path):
        try:
            place = real_path_in(root, cleaned(path))
            directory = rootpath.open_in(root, place, _DIRECTORY)
        except NotADirectoryError as error:
            raise InvalidArgument("extraction point is not a directory") from error
    try:
        yield directory, place
    finally:
        os.close(directory)


def _is_mounted(container: Container, place: str) -> bool:
    """Whether it is in a volume or a bind of the container's, running or not."""
    targets = [mount.destination for mount in container.mounts if mount.type in ("bind", "volume")]
    return any(place == each or place.startswith(each.rstrip("/") + "/") for each in targets)


@contextmanager
def _named(container: Container, path: str) -> Iterator[None]:
    """A path that is not there, in Docker's words."""
    try:
        yield
    except FileNotFoundError as error:
        raise NotFound(f"Could not find the file {path} in container {container.name}") from error
    except OSError as error:
        words = os.strerror(error.errno).lower() if error.errno else str(error)
        raise InvalidArgument(f"{path}: {words}") from error


def cleaned(path: str) -> str:
    """Absolute, and "." and ".." resolved by the text alone; what asks for a directory at its end
    ("/", "/.") is kept.
    """
    clean = "/" + posixpath.normpath("/" + path).lstrip("/")
    if last_name(path) == ".":
        return clean.rstrip("/") + "/."
    return clean if clean == "/" or not path.endswith("/") else clean + "/"


def last_name(path: str) -> str:
    """Go's filepath.Base."""
    return path.rstrip("/").rpartition("/")[2] or ("/" if path else ".")


def _follows(clean: str) -> bool:
    return clean.endswith(("/", "/."))


def _leads_to(root: int, link: str) -> str:
    """Where a link leads in the end; what it says where that is nowhere."""
    try:
        return os.fsdecode(real_path_in(root, link))
    except OSError:
        return os.fsdecode(rootpath.read_link_in(root, link))


def _owner_in(root: int, user: str) -> tuple[int, int]:
    """The ids of the container's user, by its own files."""
    files = [_read_in(root, path) for path in ("/etc/passwd", "/etc/group")]
    try:
        found = users.resolve(user, [], *files)
    except users.UnknownUser as error:
        raise InvalidArgument(str(error)) from error
    return found.uid, found.gid


def _read_in(root: int, path: str) -> bytes:
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    try:
        return users.read_database_from(rootpath.open_in(root, path, flags))
    except OSError:
        return b""


def _write_subtree(root: int, path: str, out: BinaryIO, ids: IdMap | None) -> None:
    """Names start with the path's last component; a "/" at its end follows a link."""
    status = rootpath.stat_in(root, path, follow=_follows(path))
    if stat.S_ISDIR(status.st_mode):
        flags = _DIRECTORY if _follows(path) else _DIRECTORY | os.O_NOFOLLOW
        fd = rootpath.open_in(root, path, flags)
        whole = os.path.samestat(os.fstat(fd), os.fstat(root))
        found, below = _everything(fd, whole=whole), os.fsencode(last_name(path))
    else:
        fd, last = rootpath.open_parent_in(root, path)
        found, below = _below(fd, last), b""
    try:
        with layers.path_limit():
            treetar.write_files(fd, found, out.write, below=below, ids=ids)
    finally:
        os.close(fd)


def _everything(fd: int, *, whole: bool) -> Iterator[Difference]:
    """The directory and what is in it; the `whole` tree of a container is what its files are."""
    top = os.fstat(fd)

    def shut(path: bytes, status: os.stat_result) -> bool:
        return whole and path in _MACHINERY and status.st_dev != top.st_dev

    yield Difference(b"", top)
    for path, status in rootpath.walk(fd, shut):
        yield Difference(path, status)


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
