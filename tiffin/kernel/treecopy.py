"""A tree copied into another, each below a descriptor: nothing in either leads out of it."""

from __future__ import annotations

import errno
import fcntl
import os
import stat

from tiffin.kernel.mounts import start_writeback
from tiffin.kernel.rootpath import Path, open_beneath, set_owner, status_beneath, walk

TYPE_CHECKING = False  # typing's own, without the 5 ms that importing typing costs
if TYPE_CHECKING:
    from collections.abc import Callable

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
# What the kernel says of what was listed and is not there any more, or something else by now.
_GONE = frozenset((errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO))
_FICLONE = 0x40049409
_COPY_BYTES = 1 << 30
_LARGE_BYTES = 8 << 20


def copy_tree(
    source_fd: int,
    source: Path,
    target_fd: int,
    target: Path,
    *,
    owner: tuple[int, int] | None = None,
    mode: int | None = None,
    select: Callable[[bytes], bool] | None = None,
    keep_xattr: Callable[[str], bool] | None = None,
) -> None:
    """Copy `source` beneath one directory to `target` beneath another, as `cp -a` does.

    Both are relative and free of links ("" for the directory itself); the parent of `target`
    exists. Contents (shared where the file system can), holes, times, xattrs, hard links within the
    tree, devices and fifos are kept; sockets are left out, as is what disappears meanwhile. An
    existing directory is merged into and takes the attributes of the copied one; an existing file
    is replaced; a directory never replaces a file nor a file a directory (EEXIST, EISDIR).
    `select(path)` tells, by the path relative to `source`, what to copy; a directory that it
    refuses is not looked into.
    """
    copy = _Copy(source_fd, target_fd, owner, mode, keep_xattr)
    source, target = os.fsencode(source), os.fsencode(target)
    status = status_beneath(source_fd, source)
    copy.one(source, target, status)
    if stat.S_ISDIR(status.st_mode):
        top = open_beneath(source_fd, source, _DIRECTORY)
        try:
            copy.children(top, source, target, select)
        finally:
            os.close(top)
    copy.finish()


class _GoneError(OSError):
    """What was listed is not there any more, or is something else by now."""


class _Copy:
    """One run of copy_tree: the hard links seen so far, and directories, whose times come last."""

    def __init__(
        self,
        source_fd: int,
        target_fd: int,
        owner: tuple[int, int] | None,
        mode: int | None,
        keep_xattr: Callable[[str], bool] | None,
    ):
        self._source_fd = source_fd
        self._target_fd = target_fd
        self._owner = owner
        self._mode = mode
        self._keep_xattr = keep_xattr
        self._links: dict[tuple[int, int], bytes] = {}
        self._directories: list[tuple[bytes, os.stat_result]] = []

    def children(
        self, top: int, source: bytes, target: bytes, select: Callable[[bytes], bool] | None
    ) -> None:
        refused: bytes | None = None
        for path, status in walk(top):
            if refused is not None and path.startswith(refused):
                continue
            if select is not None and not select(path):
                refused = path + b"/" if stat.S_ISDIR(status.st_mode) else None
                continue
            try:
                self.one(_join(source, path), _join(target, path), status)
            except _GoneError:
                refused = path + b"/" if stat.S_ISDIR(status.st_mode) else None

    def one(self, source: bytes, target: bytes, status: os.stat_result) -> None:
        kind = stat.S_IFMT(status.st_mode)
        if kind == stat.S_IFSOCK:
            return
        if kind == stat.S_IFDIR:
            self._directory(source, target, status)
            return
        head, _, name = target.rpartition(b"/")
        parent = open_beneath(self._target_fd, head, os.O_PATH | os.O_DIRECTORY)
        try:
            _unlink_existing(parent, name)
            if not self._hard_link(status, target, parent, name):
                self._create(source, parent, name, status)
        except _GoneError:
            self._links.pop((status.st_dev, status.st_ino), None)
            raise
        finally:
            os.close(parent)

    def _origin(self, source: bytes, flags: int) -> int:
        try:
            return open_beneath(self._source_fd, source, flags)
        except OSError as error:
            if error.errno not in _GONE:
                raise
            raise _GoneError(error.errno, error.strerror, error.filename) from error

    def finish(self) -> None:
        """Times of directories, after nothing more is put into them."""
        for target, status in reversed(self._directories):
            fd = open_beneath(self._target_fd, target, _DIRECTORY)
            try:
                os.fchmod(fd, self._mode_of(status))
                os.utime(fd, ns=(status.st_atime_ns, status.st_mtime_ns))
            finally:
                os.close(fd)

    def _directory(self, source: bytes, target: bytes, status: os.stat_result) -> None:
        origin = self._origin(source, _DIRECTORY)
        try:
            self._make_directory(origin, target, status)
        finally:
            os.close(origin)
        self._directories.append((target, status))

    def _make_directory(self, origin: int, target: bytes, status: os.stat_result) -> None:
        if target:
            head, _, name = target.rpartition(b"/")
            parent = open_beneath(self._target_fd, head, os.O_PATH | os.O_DIRECTORY)
            try:
                os.mkdir(name, 0o700, dir_fd=parent)
            except FileExistsError:
                if not stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
                    raise
            finally:
                os.close(parent)
        into = open_beneath(self._target_fd, target, _DIRECTORY)
        try:
            self._chown(into, status)
            self._copy_xattrs(origin, into)
        finally:
            os.close(into)

    def _hard_link(self, status: os.stat_result, target: bytes, parent: int, name: bytes) -> bool:
        if status.st_nlink < 2:
            return False
        key = (status.st_dev, status.st_ino)
        first = self._links.setdefault(key, target)
        if first == target:
            return False
        head, _, first_name = first.rpartition(b"/")
        holder = open_beneath(self._target_fd, head, os.O_PATH | os.O_DIRECTORY)
        try:
            os.link(first_name, name, src_dir_fd=holder, dst_dir_fd=parent, follow_symlinks=False)
        finally:
            os.close(holder)
        return True

    def _create(self, source: bytes, parent: int, name: bytes, status: os.stat_result) -> None:
        kind = stat.S_IFMT(status.st_mode)
        if kind == stat.S_IFREG:
            self._file(source, parent, name, status)
            return
        uid, gid = self._owner or (status.st_uid, status.st_gid)
        if kind == stat.S_IFLNK:
            origin = self._origin(source, os.O_PATH | os.O_NOFOLLOW)
            try:
                os.symlink(os.readlink(b"", dir_fd=origin), name, dir_fd=parent)
            finally:
                os.close(origin)
        else:
            os.mknod(name, kind | 0o600, status.st_rdev, dir_fd=parent)
        os.chown(name, uid, gid, dir_fd=parent, follow_symlinks=False)
        if kind != stat.S_IFLNK:
            os.chmod(name, self._mode_of(status), dir_fd=parent)
        times = (status.st_atime_ns, status.st_mtime_ns)
        os.utime(name, ns=times, dir_fd=parent, follow_symlinks=False)

    def _file(self, source: bytes, parent: int, name: bytes, status: os.stat_result) -> None:
        # O_NONBLOCK: if the file has become a fifo meanwhile, opening it must not wait.
        origin = self._origin(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            if not stat.S_ISREG(os.fstat(origin).st_mode):
                raise _GoneError(errno.ENOENT, os.strerror(errno.ENOENT), os.fsdecode(source))
            create = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            copy = os.open(name, create, 0o600, dir_fd=parent)
            try:
                copy_contents(origin, copy)
                self._chown(copy, status)
                os.fchmod(copy, self._mode_of(status))
                self._copy_xattrs(origin, copy)  # after chown, which drops capabilities
                os.utime(copy, ns=(status.st_atime_ns, status.st_mtime_ns))
            finally:
                os.close(copy)
        finally:
            os.close(origin)

    def _mode_of(self, status: os.stat_result) -> int:
        return stat.S_IMODE(status.st_mode) if self._mode is None else self._mode

    def _chown(self, fd: int, status: os.stat_result) -> None:
        set_owner(fd, *(self._owner or (status.st_uid, status.st_gid)))

    def _copy_xattrs(self, origin: int, copy: int) -> None:
        for key in os.listxattr(origin):
            if self._keep_xattr is None or self._keep_xattr(key):
                try:
                    os.setxattr(copy, key, os.getxattr(origin, key))
                except OSError as error:
                    if error.errno not in (errno.ENOTSUP, errno.ENODATA):
                        raise


def copy_contents(origin: int, copy: int) -> None:
    """The bytes of one regular file to another that is empty, by reflink where the disk can."""
    try:
        fcntl.ioctl(copy, _FICLONE, origin)
    except OSError:
        pass
    else:
        return
    size = os.fstat(origin).st_size
    os.ftruncate(copy, size)
    _copy_data(origin, copy, size)
    if size >= _LARGE_BYTES:
        # Their way to the disk begins now: whoever syncs later finds much of it done.
        start_writeback(copy)


def _copy_data(origin: int, copy: int, size: int) -> None:
    at = 0
    while at < size:
        try:
            at = os.lseek(origin, at, os.SEEK_DATA)
            hole = os.lseek(origin, at, os.SEEK_HOLE)
        except OSError as error:
            if error.errno == errno.ENXIO:  # holes only, up to the end
                return
            raise
        at = _copy_range(origin, copy, at, hole)


def _copy_range(origin: int, copy: int, at: int, end: int) -> int:
    os.lseek(copy, at, os.SEEK_SET)
    while at < end:
        try:
            done = os.copy_file_range(origin, copy, min(end - at, _COPY_BYTES), at, at)
        except OSError as error:
            if error.errno not in (errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS):
                raise
            done = os.pwrite(copy, os.pread(origin, min(end - at, 1 << 20), at), at)
        if not done:  # the file became shorter meanwhile
            return 1 << 63
        at += done
    return at


def _unlink_existing(parent: int, name: bytes) -> None:
    try:
        os.unlink(name, dir_fd=parent)
    except FileNotFoundError:
        return


def _join(head: bytes, tail: bytes) -> bytes:
    return head + b"/" + tail if head and tail else head or tail
