"""A directory tree becomes a layer: what differs from the tree beneath.

Two kinds of tree. An overlay's upper directory *is* the difference: 0:0 devices say "deleted", the
opaque xattr says "nothing from beneath". A full copy is compared with the tree that it was copied
from. Both become the same sequence of `Difference`s, in order of paths, from which the tar (see
storage.treetar) and `docker diff` are made. Equal trees give equal bytes.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from typing import NamedTuple

from tiffin.errors import Conflict
from tiffin.kernel import rootpath
from tiffin.storage.furniture import MOUNT_TABLE_TARGET, PLACES
from tiffin.storage.treetar import DIRECTORY_FLAGS, FILE_FLAGS, Difference, is_gone, xattrs_of
from tiffin.storage.unpack import OPAQUE, is_whiteout

MODIFIED, ADDED, DELETED = 0, 1, 2  # docker diff's numbers

_DEFAULT_ROOT = (0o755, 0, 0)


class Change(NamedTuple):
    """A line of `docker diff`. `path` starts with "/"; `kind` is MODIFIED, ADDED or DELETED."""

    path: str
    kind: int


_SHOWN = 200  # of a path that is too long


def differences(upper_fd: int, lower_fd: int = -1) -> Iterator[Difference]:
    """What an overlay's upper directory says about the merged tree beneath (-1: there is none)."""
    root = _changed_root(upper_fd, lower_fd)
    if root is not None:
        yield root
    for path, status in rootpath.walk(upper_fd):
        if is_whiteout(status):
            if lower_fd >= 0:
                yield Difference(path, None)
        elif stat.S_ISDIR(status.st_mode):
            # Overlayfs marks each directory that it makes; it only matters over another one.
            opaque = _is_opaque(upper_fd, path) and _is_directory(lower_fd, path)
            yield Difference(path, status, opaque)
        else:
            yield Difference(path, status)


def comparison(new_fd: int, old_fd: int = -1) -> Iterator[Difference]:
    """The same for two full trees (-1: an empty one), told apart by their attributes and times.

    A directory comes with what changed in it, so that its own attributes are always known.
    """
    root = _changed_root(new_fd, old_fd)
    if root is not None:
        yield root
    held: list[Difference] = []  # directories that have not changed themselves, outermost first
    for change in _compared(new_fd, old_fd):
        difference, changed = change
        while held and not difference.path.startswith(held[-1].path + b"/"):
            held.pop()
        if not changed:
            held.append(difference)
            continue
        yield from held
        held.clear()
        yield difference


@contextlib.contextmanager
def path_limit() -> Iterator[None]:
    """Programs can make what is too deep to be opened by its path, and no archive can hold that."""
    try:
        yield
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        start = os.fsdecode(error.filename or "")[:_SHOWN]
        raise Conflict(f"/{start}...: file name too long") from error


def clamp_times(dir_fd: int, latest_ns: int) -> None:
    """Set later modification times in the tree to `latest_ns` (SOURCE_DATE_EPOCH)."""
    for path, status in rootpath.walk(dir_fd):
        if status.st_mtime_ns <= latest_ns or is_whiteout(status):
            continue
        head, _, name = path.rpartition(b"/")
        parent = rootpath.open_beneath(dir_fd, head, os.O_PATH | os.O_DIRECTORY)
        try:
            times = (latest_ns, latest_ns)
            os.utime(name, ns=times, dir_fd=parent, follow_symlinks=False)
        finally:
            os.close(parent)


def furniture_bytes(dir_fd: int) -> int:
    """What of a container's content_bytes is not its own doing."""
    try:
        target = rootpath.read_link_in(dir_fd, b"etc/mtab")
    except OSError:
        return 0
    return len(target) if target == MOUNT_TABLE_TARGET.encode() else 0


def content_bytes(dir_fd: int) -> int:
    """What the files in a tree hold, hard links counted once; however deep the tree is."""
    seen: set[tuple[int, int]] = set()
    total = 0
    for status in rootpath.statuses(dir_fd):
        if stat.S_ISDIR(status.st_mode):
            continue
        if status.st_nlink > 1:
            key = (status.st_dev, status.st_ino)
            if key in seen:
                continue
            seen.add(key)
        total += status.st_size
    return total


def changes(found: Iterator[Difference], lower_fd: int) -> list[Change]:
    """As `docker diff` tells them: attributes compared, parents of changes counted as modified.

    What was copied up and is as before is no change. Costs what changed, not what there is.
    """
    return _Changes(lower_fd).collect(found)


def without_mount_points(
    found: Iterator[Difference], upper_fd: int, lower_fd: int
) -> Iterator[Difference]:
    """Leave out what only is there because a container had something mounted on it."""
    left_out: bytes | None = None
    for difference in found:
        path = difference.path
        if left_out is not None and path.startswith(left_out):
            continue
        if path in PLACES and _is_mount_point(upper_fd, lower_fd, path):
            left_out = path + b"/"
            continue
        yield difference


def remove_mount_points(upper_fd: int, lower_fd: int, *, drop_copied_up: bool) -> None:
    """Delete the same from a tree.

    In an overlay's upper directory a directory that was copied up only for them should go too.
    """
    for path in sorted(PLACES, reverse=True):  # what is in a directory before it
        if not _is_mount_point(upper_fd, lower_fd, path):
            continue
        head, _, name = path.rpartition(b"/")
        parent = rootpath.open_beneath(upper_fd, head, DIRECTORY_FLAGS)
        try:
            before = os.fstat(parent)
            rootpath.remove_tree(parent, name)
            os.utime(parent, ns=(before.st_atime_ns, before.st_mtime_ns))
            copied_up = drop_copied_up and not os.listdir(parent) and not _is_opaque(parent, b"")
        finally:
            os.close(parent)
        below = _lower_status(lower_fd, head) if head and copied_up else None
        if below is not None and not _differs(before, below):
            os.rmdir(head, dir_fd=upper_fd)


def _is_mount_point(upper_fd: int, lower_fd: int, path: bytes) -> bool:
    """New, and empty but for other ones; or furniture that the container has deleted."""
    status = _lower_status(upper_fd, path)
    if status is None or _lower_status(lower_fd, path) is not None:
        return False
    if is_whiteout(status):
        return True
    if stat.S_ISREG(status.st_mode):
        return status.st_size == 0
    if stat.S_ISLNK(status.st_mode):
        return rootpath.read_link_in(upper_fd, path) == MOUNT_TABLE_TARGET.encode()
    return stat.S_ISDIR(status.st_mode) and all(
        path + b"/" + name in PLACES and _is_mount_point(upper_fd, lower_fd, path + b"/" + name)
        for name in _lower_names(upper_fd, path)
    )


class _Changes:
    def __init__(self, lower_fd: int):
        self._lower = lower_fd
        self._kinds: dict[bytes, int] = {}
        self._inside: dict[bytes, set[bytes]] = {}  # opaque directories: the names that they have

    def collect(self, found: Iterator[Difference]) -> list[Change]:
        for difference in found:
            if difference.path:
                self._one(difference)
        for directory, names in self._inside.items():
            self._replaced(directory, names)
        ordered = sorted(self._kinds.items(), key=lambda item: item[0].split(b"/"))
        return [Change("/" + os.fsdecode(path), kind) for path, kind in ordered]

    def _one(self, difference: Difference) -> None:
        path, status, opaque = difference
        parent, _, name = path.rpartition(b"/")
        if parent in self._inside:
            self._inside[parent].add(name)
        before = _lower_status(self._lower, path)
        if status is None:
            if before is not None:
                self._note(path, DELETED)
        elif before is None:
            self._note(path, ADDED)
        else:
            if _differs(status, before):
                self._note(path, MODIFIED)
            if stat.S_ISDIR(before.st_mode) and (opaque or not stat.S_ISDIR(status.st_mode)):
                self._inside[path] = set()

    def _replaced(self, directory: bytes, names: set[bytes]) -> None:
        for name in _lower_names(self._lower, directory):
            if name not in names:
                self._note(directory + b"/" + name, DELETED)

    def _note(self, path: bytes, kind: int) -> None:
        self._kinds[path] = kind
        parent = path.rpartition(b"/")[0]
        while parent and parent not in self._kinds:
            self._kinds[parent] = MODIFIED
            parent = parent.rpartition(b"/")[0]


def _changed_root(new_fd: int, old_fd: int) -> Difference | None:
    """The root itself, only where its mode or owner says something new."""
    status = os.fstat(new_fd)
    before = os.fstat(old_fd) if old_fd >= 0 else None
    attributes = (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid)
    if before is None:
        same = attributes == _DEFAULT_ROOT
    else:
        same = attributes == (stat.S_IMODE(before.st_mode), before.st_uid, before.st_gid)
    return None if same else Difference(b"", status)


def _compared(new_fd: int, old_fd: int) -> Iterator[tuple[Difference, bool]]:
    """Both trees at once, in order; the flag is False for a directory that only may be needed."""
    old = rootpath.walk(old_fd) if old_fd >= 0 else iter(())
    old_path, old_status = next(old, (None, None))
    gone: bytes | None = None  # a deleted directory: what was in it needs no word
    for path, status in rootpath.walk(new_fd):
        key = path.split(b"/")
        while old_path is not None and old_path.split(b"/") < key:
            if gone is None or not old_path.startswith(gone):
                yield Difference(old_path, None), True
                gone = old_path + b"/"
            old_path, old_status = next(old, (None, None))
        if old_path != path or old_status is None:
            yield Difference(path, status), True
            continue
        changed = _differs(status, old_status) or (
            _may_have_capabilities(status)
            and _capabilities(new_fd, path) != _capabilities(old_fd, path)
        )
        is_directory = stat.S_ISDIR(status.st_mode)
        if changed or is_directory:
            yield Difference(path, status), changed
        if stat.S_ISDIR(old_status.st_mode) and not is_directory:
            gone = path + b"/"  # replaced: the new entry deletes all that was in it
        old_path, old_status = next(old, (None, None))
    while old_path is not None:
        if gone is None or not old_path.startswith(gone):
            yield Difference(old_path, None), True
            gone = old_path + b"/"
        old_path, old_status = next(old, (None, None))


def _differs(new: os.stat_result, old: os.stat_result) -> bool:
    """moby's rule: a directory's size and time are no measure of a change."""
    if (new.st_mode, new.st_uid, new.st_gid, new.st_rdev) != (
        old.st_mode,
        old.st_uid,
        old.st_gid,
        old.st_rdev,
    ):
        return True
    if stat.S_ISDIR(new.st_mode):
        return False
    return (new.st_size, new.st_mtime_ns) != (old.st_size, old.st_mtime_ns)


def _may_have_capabilities(status: os.stat_result) -> bool:
    return stat.S_ISREG(status.st_mode) and bool(status.st_mode & 0o111)


def _capabilities(tree_fd: int, path: bytes) -> bytes | None:
    fd = rootpath.open_beneath(tree_fd, path, FILE_FLAGS)
    try:
        return xattrs_of(fd).get(b"security.capability")
    finally:
        os.close(fd)


def _is_opaque(upper_fd: int, path: bytes) -> bool:
    try:
        fd = rootpath.open_beneath(upper_fd, path, DIRECTORY_FLAGS)
    except OSError as error:
        if is_gone(error):
            return False
        raise
    try:
        return os.getxattr(fd, OPAQUE) == b"y"
    except OSError as error:
        if error.errno in (errno.ENODATA, errno.ENOTSUP):
            return False
        raise
    finally:
        os.close(fd)


def _is_directory(lower_fd: int, path: bytes) -> bool:
    status = _lower_status(lower_fd, path)
    return status is not None and stat.S_ISDIR(status.st_mode)


def _lower_status(lower_fd: int, path: bytes) -> os.stat_result | None:
    if lower_fd < 0:
        return None
    try:
        fd = rootpath.open_beneath(lower_fd, path, os.O_PATH | os.O_NOFOLLOW)
    except OSError as error:
        if is_gone(error):
            return None
        raise
    try:
        return os.fstat(fd)
    finally:
        os.close(fd)


def _lower_names(lower_fd: int, path: bytes) -> list[bytes]:
    fd = rootpath.open_beneath(lower_fd, path, DIRECTORY_FLAGS)
    try:
        return [os.fsencode(name) for name in os.listdir(fd)]
    finally:
        os.close(fd)
