"""Paths inside a root, resolved by the kernel so that nothing in the root can lead out of it.

A root is a directory descriptor. Links that start with "/" or climb with ".." stay inside, as they
would after chroot; magic links of /proc are refused. `*_in` functions follow links inside the root;
`*_beneath` follow none at all, for trees whose names we listed ourselves and that somebody may be
changing meanwhile. Every function raises OSError with the path in it.
"""

from __future__ import annotations

import errno
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
    if not stat.S_ISDIR(status_beneath(dir_fd, name).st_mode):
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
        set_owner(fd, uid, gid)
        os.fchmod(fd, mode)  # mkdir(2) minds the umask and forgets the setgid bit
    finally:
        os.close(fd)
    return True


def set_owner(fd: int, uid: int, gid: int) -> None:
    status = os.fstat(fd)
    if (status.st_uid, status.st_gid) != (uid, gid):
        os.fchown(fd, uid, gid)


def status_beneath(dir_fd: int, path: bytes) -> os.stat_result:
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
