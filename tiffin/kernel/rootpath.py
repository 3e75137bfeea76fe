"""Paths inside a root, resolved by the kernel so that nothing in the root can lead out of it.

A root is a directory descriptor. Links that start with "/" or climb with ".." stay inside, as they
would after chroot; magic links of /proc are refused. `*_in` functions follow links inside the root;
`*_beneath` follow none at all, for trees whose names we listed ourselves and that somebody may be
changing meanwhile. Every function raises OSError with the path in it.
"""

from __future__ import annotations

import errno
import fcntl
import itertools
import os
import stat

from tiffin.kernel.mounts import (
    RESOLVE_BENEATH,
    RESOLVE_IN_ROOT,
    RESOLVE_NO_MAGICLINKS,
    RESOLVE_NO_SYMLINKS,
    RESOLVE_NO_XDEV,
    openat2,
    start_writeback,
)

TYPE_CHECKING = False  # typing's own, without the 5 ms that importing typing costs
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Path = str | bytes

MAX_LINKS = 40  # the kernel's own limit on links in one path
_IN_ROOT = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS
_BENEATH = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_RETRIES = 128
_PIECE_BYTES = 4000  # of a longer path, which the kernel refuses, one after the other is opened
_PASSED_OVER = frozenset((errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EACCES, errno.ESTALE))
_LEVELS_OPEN = 64  # directories in each other, before `statuses` has to find its way back
_FICLONE = 0x40049409
_COPY_BYTES = 1 << 30
_LARGE_BYTES = 8 << 20


def open_in(root_fd: int, path: Path, flags: int, mode: int = 0, *, follow: bool = True) -> int:
    """open(2) of `path` as if `root_fd` were "/". follow=False: ELOOP if it ends in a link."""
    if not follow:
        flags |= os.O_NOFOLLOW
    return _open(root_fd, path, flags, mode, _IN_ROOT)


def open_below(dir_fd: int, path: Path, flags: int) -> int:
    """open(2) of a relative path. Links are followed; EXDEV where one leads out of `dir_fd`."""
    return _open(dir_fd, path, flags, 0, RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS)


def open_beneath(dir_fd: int, path: Path, flags: int, *, one_mount: bool = False) -> int:
    """open(2) of a relative path in which nothing is a link, "" being `dir_fd` itself.

    However long it is. `one_mount`: EXDEV where something is mounted on the way, or at its end.
    """
    resolve = _BENEATH | (RESOLVE_NO_XDEV if one_mount else 0)
    if len(path) <= _PIECE_BYTES:
        return _open(dir_fd, path, flags, 0, resolve)
    return _open_long(dir_fd, os.fsencode(path), flags, resolve)


def _open_long(dir_fd: int, path: bytes, flags: int, resolve: int) -> int:
    directory = os.dup(dir_fd)
    try:
        while len(path) > _PIECE_BYTES:
            end = path.rfind(b"/", 0, _PIECE_BYTES)
            if end <= 0:
                break  # no name is as long: the kernel says so
            inner = _open(directory, path[:end], os.O_PATH | os.O_DIRECTORY, 0, resolve)
            os.close(directory)
            directory, path = inner, path[end + 1 :]
        return _open(directory, path, flags, 0, resolve)
    finally:
        os.close(directory)


def open_parent_in(root_fd: int, path: Path) -> tuple[int, bytes]:
    """The directory that holds `path` (an O_PATH descriptor, links resolved) and the last name.

    The name is not resolved. EINVAL where there is none: "/", "..", "a/..".
    """
    head, _, name = os.fsencode(path).rstrip(b"/").rpartition(b"/")
    if name in (b"", b".", b".."):
        raise OSError(errno.EINVAL, "path has no last component", os.fsdecode(path))
    return open_in(root_fd, head or b".", os.O_PATH | os.O_DIRECTORY), name


def stat_in(root_fd: int, path: Path, *, follow: bool = True) -> os.stat_result:
    fd = open_in(root_fd, path, os.O_PATH, follow=follow)
    try:
        return os.fstat(fd)
    finally:
        os.close(fd)


def exists_in(root_fd: int, path: Path, *, follow: bool = True) -> bool:
    try:
        stat_in(root_fd, path, follow=follow)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            return False
        raise
    return True


def is_mounted_on(dir_fd: int, name: Path) -> bool:
    """Whether something is mounted on `name` in `dir_fd`, or on anything in it."""
    name = os.fsencode(name)
    if _is_mount_point(dir_fd, name):
        return True
    if not stat.S_ISDIR(_status(dir_fd, name).st_mode):
        return False
    top = open_beneath(dir_fd, name, _DIRECTORY)
    try:
        return any(_is_mount_point(top, path) for path, _ in walk(top))
    finally:
        os.close(top)


def _is_mount_point(dir_fd: int, path: bytes) -> bool:
    try:
        os.close(open_beneath(dir_fd, path, os.O_PATH | os.O_NOFOLLOW, one_mount=True))
    except FileNotFoundError:
        return False  # gone meanwhile
    except OSError as error:
        if error.errno == errno.EXDEV:
            return True
        raise
    return False


def read_link_in(root_fd: int, path: Path) -> bytes:
    """The target of a link as it is written there."""
    parent, name = open_parent_in(root_fd, path)
    try:
        return os.readlink(name, dir_fd=parent)
    finally:
        os.close(parent)


def make_directories(
    root_fd: int, path: Path, mode: int = 0o755, uid: int = 0, gid: int = 0
) -> list[bytes]:
    """Make `path` a directory, with what is missing on the way; the paths made, outermost first.

    Links are followed inside the root, also those whose target is yet to be made. ENOTDIR where a
    component is something else. What exists keeps its mode and owner.
    """
    made: list[bytes] = []
    links = 0
    done = b""
    left = [part for part in reversed(os.fsencode(path).split(b"/")) if part not in (b"", b".")]
    while left:
        part = left.pop()
        target = b"%s/%s" % (done, part)
        if _is_directory(root_fd, target):
            done = target
            continue
        parent = open_in(root_fd, done or b".", os.O_PATH | os.O_DIRECTORY)
        try:
            if _make_directory(parent, part, mode, uid, gid):
                made.append(target)
                done = target
                continue
            link = os.readlink(part, dir_fd=parent)
        except OSError as error:
            number = errno.ENOTDIR if error.errno == errno.EINVAL else error.errno
            raise OSError(number, os.strerror(number or 0), os.fsdecode(target)) from error
        finally:
            os.close(parent)
        links += 1
        if links > MAX_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), os.fsdecode(path))
        if link.startswith(b"/"):
            done = b""
        left += [part for part in reversed(link.split(b"/")) if part not in (b"", b".")]
    return made


def walk(
    dir_fd: int, shut: Callable[[bytes, os.stat_result], bool] | None = None
) -> Iterator[tuple[bytes, os.stat_result]]:
    """Everything beneath, in order of names, a directory before what is in it; links not followed.

    What is in a directory that is `shut` is left out, as is what disappears meanwhile. Holds no
    descriptor between steps. No depth is too much for it: it keeps the names alone.
    """
    head = b""
    pending = [(0, iter(_listed(dir_fd, b"")))]
    while pending:
        length, listed = pending[-1]
        head = head[:length]
        for name, status in listed:
            path = head + name
            yield path, status
            if stat.S_ISDIR(status.st_mode) and not (shut and shut(path, status)):
                head = path + b"/"
                pending.append((len(head), iter(_listed(dir_fd, path))))
                break
        else:
            pending.pop()


def statuses(dir_fd: int) -> Iterator[os.stat_result]:
    """What `walk` finds without where it is, in no order: at any depth, for what there is alone.

    What is moved meanwhile, or may not be looked into (a server's files), is left out.
    """
    levels = [_Level(os.dup(dir_fd))]
    try:
        while levels:
            level = levels[-1]
            if not level.listed:
                yield from level.list()
            inner = level.enter()
            if inner >= 0:
                if len(levels) > _LEVELS_OPEN:
                    level.close()
                levels.append(_Level(inner))
            else:
                _leave(levels)
    finally:
        for level in levels:
            level.close()


class _Level:
    """One of the directories that `statuses` is in, from the outermost to the one it looks at."""

    __slots__ = ("_directories", "_identity", "fd", "listed")

    def __init__(self, fd: int):
        self.fd = fd  # -1: too many are open, and this one is found again from the one inside
        status = os.fstat(fd)
        self._identity = (status.st_dev, status.st_ino)
        self._directories: list[str] = []
        self.listed = False

    def list(self) -> Iterator[os.stat_result]:
        self.listed = True
        for name in os.listdir(self.fd):
            try:
                status = os.stat(name, dir_fd=self.fd, follow_symlinks=False)
            except OSError as error:
                if error.errno not in _PASSED_OVER:
                    raise
                continue
            if stat.S_ISDIR(status.st_mode):
                self._directories.append(name)
            yield status

    def enter(self) -> int:
        """The next directory in it; -1 after the last."""
        while self._directories:
            try:
                return os.open(self._directories.pop(), _DIRECTORY | os.O_NOFOLLOW, dir_fd=self.fd)
            except OSError as error:
                if error.errno not in _PASSED_OVER:
                    raise
        return -1

    def found_above(self, fd: int) -> bool:
        """Open again as the parent of `fd`. False if that is another directory by now."""
        above = os.open("..", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=fd)
        status = os.fstat(above)
        if (status.st_dev, status.st_ino) != self._identity:
            os.close(above)
            return False
        self.fd = above
        return True

    def close(self) -> None:
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)


def _leave(levels: list[_Level]) -> None:
    """Go on in the directory around the last one; if that is lost, in the next that is open."""
    left = levels.pop()
    if levels and levels[-1].fd < 0 and not levels[-1].found_above(left.fd):
        while levels[-1].fd < 0:
            levels.pop()
    left.close()


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
    tree, devices and fifos are kept; sockets are left out. An existing directory is merged into and
    takes the attributes of the copied one; an existing file is replaced; a directory never replaces
    a file nor a file a directory (EEXIST, EISDIR). `select(path)` tells, by the path relative to
    `source`, what to copy; a directory that it refuses is not looked into.
    """
    copy = _Copy(source_fd, target_fd, owner, mode, keep_xattr)
    source, target = os.fsencode(source), os.fsencode(target)
    status = _status(source_fd, source)
    copy.one(source, target, status)
    if stat.S_ISDIR(status.st_mode):
        top = open_beneath(source_fd, source, _DIRECTORY)
        try:
            copy.children(top, source, target, select)
        finally:
            os.close(top)
    copy.finish()


def remove_tree(dir_fd: int, name: Path, *, stop: Callable[[], bool] | None = None) -> None:
    """Delete `name` in `dir_fd` with all beneath it, however deep. Missing is fine.

    Where `stop()` turns true it returns early, leaving a rest for another call.
    """
    name = os.fsencode(name)
    try:
        os.unlink(name, dir_fd=dir_fd)
    except FileNotFoundError:
        return
    except OSError as error:
        # EPERM is what unlink(2) of a directory gives on some file systems.
        if error.errno not in (errno.EISDIR, errno.EPERM):
            raise
        _remove_directory(dir_fd, name, stop)


def empty_directory(dir_fd: int, *, stop: Callable[[], bool] | None = None) -> None:
    for name in os.listdir(dir_fd):
        remove_tree(dir_fd, os.fsencode(name), stop=stop)


def _open(dir_fd: int, path: Path, flags: int, mode: int, resolve: int) -> int:
    for _ in range(_RETRIES):
        try:
            return openat2(dir_fd, path or b".", flags, mode, resolve)
        except BlockingIOError:
            continue  # EAGAIN: something was renamed on the way, so the kernel could not be sure
    raise OSError(errno.EAGAIN, "openat2: path keeps changing", os.fsdecode(path))


def _is_directory(root_fd: int, path: bytes) -> bool:
    try:
        os.close(open_in(root_fd, path, os.O_PATH | os.O_DIRECTORY))
    except FileNotFoundError:
        return False
    return True


def _make_directory(parent: int, name: bytes, mode: int, uid: int, gid: int) -> bool:
    """False if something has the name already."""
    try:
        os.mkdir(name, mode & 0o777, dir_fd=parent)
    except FileExistsError:
        return False
    fd = os.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
    try:
        _set_owner(fd, uid, gid)
        os.fchmod(fd, mode)  # mkdir(2) minds the umask and forgets the setgid bit
    finally:
        os.close(fd)
    return True


def _set_owner(fd: int, uid: int, gid: int) -> None:
    status = os.fstat(fd)
    if (status.st_uid, status.st_gid) != (uid, gid):
        os.fchown(fd, uid, gid)


def _status(dir_fd: int, path: bytes) -> os.stat_result:
    fd = open_beneath(dir_fd, path, os.O_PATH | os.O_NOFOLLOW) if path else os.dup(dir_fd)
    try:
        return os.fstat(fd)
    finally:
        os.close(fd)


def _listed(dir_fd: int, path: bytes) -> list[tuple[bytes, os.stat_result]]:
    """The names in it, in order."""
    try:
        fd = open_beneath(dir_fd, path, _DIRECTORY)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP) and path:
            return []  # gone, or something else by now
        raise
    found = []
    try:
        for name in sorted(os.fsencode(name) for name in os.listdir(fd)):
            try:
                status = os.stat(name, dir_fd=fd, follow_symlinks=False)
            except FileNotFoundError:
                continue
            found.append((name, status))
    finally:
        os.close(fd)
    return found


def _remove_directory(dir_fd: int, name: bytes, stop: Callable[[], bool] | None) -> None:
    """Depth first: a directory in a directory is moved to the top, where it is one more name.

    So any depth is a depth of one, and a tree deeper than PATH_MAX is no special case.
    """
    top = os.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=dir_fd)
    try:
        pending = _remove_files(top)
        first = set(pending)
        fresh = (number for number in itertools.count() if b"%d" % number not in first)
        while pending:
            if stop is not None and stop():
                return
            child = pending.pop()
            inner = os.open(child, _DIRECTORY | os.O_NOFOLLOW, dir_fd=top)
            try:
                for grandchild in _remove_files(inner):
                    moved = b"%d" % next(fresh)
                    os.rename(grandchild, moved, src_dir_fd=inner, dst_dir_fd=top)
                    pending.append(moved)
            finally:
                os.close(inner)
            os.rmdir(child, dir_fd=top)
    finally:
        os.close(top)
    os.rmdir(name, dir_fd=dir_fd)


def _remove_files(fd: int) -> list[bytes]:
    """Unlink what is no directory; the names of the directories."""
    directories = []
    with os.scandir(fd) as entries:
        listed = [
            (os.fsencode(entry.name), entry.is_dir(follow_symlinks=False)) for entry in entries
        ]
    for name, is_directory in listed:
        if is_directory:
            directories.append(name)
        else:
            os.unlink(name, dir_fd=fd)
    return directories


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
            self.one(_join(source, path), _join(target, path), status)

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
        finally:
            os.close(parent)

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
        origin = open_beneath(self._source_fd, source, _DIRECTORY)
        try:
            self._chown(into, status)
            self._copy_xattrs(origin, into)
        finally:
            os.close(into)
            os.close(origin)
        self._directories.append((target, status))

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
            origin = open_beneath(self._source_fd, source, os.O_PATH | os.O_NOFOLLOW)
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
        origin = open_beneath(self._source_fd, source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            if not stat.S_ISREG(os.fstat(origin).st_mode):
                return
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
        _set_owner(fd, *(self._owner or (status.st_uid, status.st_gid)))

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
