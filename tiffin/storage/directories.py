"""The directories that snapshots are: snapshots/<n>/{fs,work}, numbered and never numbered twice.

A few empty ones are made ahead, since mkdir takes 0.3 ms on some disks and a container's start
waits for it. What is thrown away is gone at once and deleted in the background.
"""

from __future__ import annotations

import contextlib
import os
import stat
import threading
from collections import deque
from collections.abc import Callable, Iterator

from tiffin.errors import InvalidArgument
from tiffin.kernel import mounts, quota, treecopy
from tiffin.storage.background import Background
from tiffin.storage.blobs import no_space_is_named
from tiffin.storage.trash import Trash

EMPTY = "empty"  # a directory for ever empty: the lower one of an overlay that stands on nothing
FURNITURE = "furniture"  # storage.furniture's own
_SPARES = 4
_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class Directories:
    """One per DATA_ROOT. What a number means is for others to know."""

    def __init__(self, data_root: str):
        self._root = os.path.join(data_root, "snapshots")
        self._lock = threading.Lock()
        self._spares: deque[int] = deque()
        self._last = 0
        os.makedirs(os.path.join(self._root, EMPTY), exist_ok=True)
        os.chmod(self._root, 0o700)
        self.empty = os.path.join(self._root, EMPTY)
        self.furniture = os.path.join(self._root, FURNITURE)
        self.background = Background()
        self._trash = Trash(os.path.join(data_root, "trash"), self.background)

    def close(self) -> None:
        self.background.close()
        self._trash.close()

    def sweep(self, known: set[int], last: int) -> None:
        """Throw away all but the known ones; numbers after `last` will be given out."""
        names = set(os.listdir(self._root)) - {EMPTY, FURNITURE}
        self._last = max([last, *(int(name) for name in names if name.isdigit())])
        for name in names - {str(number) for number in known}:
            self._trash.throw(os.path.join(self._root, name))
        for number in known:
            self._trash.throw(self._passing(number))
        self.background.do(self._make_spares)

    def numbers(self) -> set[int]:
        return {int(name) for name in os.listdir(self._root) if name.isdigit()}

    def take(self) -> int:
        """An empty directory, from the stock if there is one."""
        self.background.do(self._make_spares)
        try:
            return self._spares.popleft()
        except IndexError:
            return self._make()

    def throw(self, number: int) -> None:
        self._trash.throw(self._path(number))

    def throw_path(self, path: str) -> None:
        self._trash.throw(path)

    def throw_work(self, number: int) -> None:
        self._trash.throw(self.work(number))

    def fs(self, number: int) -> str:
        return f"{self._root}/{number}/fs"

    def work(self, number: int) -> str:
        return f"{self._root}/{number}/work"

    @contextlib.contextmanager
    def passing_work(self, number: int) -> Iterator[str]:
        """A work directory for one mount of ours. One that a crash has left is cleared first."""
        path = self._passing(number)
        self._trash.throw(path)
        with no_space_is_named("make snapshot"):
            os.mkdir(path, 0o700)
        try:
            yield path
        finally:
            self._trash.throw(path)

    @contextlib.contextmanager
    def opened(self, number: int) -> Iterator[int]:
        fd = os.open(self.fs(number), _OPEN)
        try:
            yield fd
        finally:
            os.close(fd)

    def copy(
        self, source: int, target: int, *, keep_xattr: Callable[[str], bool] | None = None
    ) -> None:
        with (
            no_space_is_named("copy snapshot"),
            self.opened(source) as source_fd,
            self.opened(target) as target_fd,
        ):
            treecopy.copy_tree(source_fd, "", target_fd, "", keep_xattr=keep_xattr)

    def imitate_root(self, source: int, target: int) -> None:
        """Give the root of one fs the mode and owner of another's."""
        status = os.stat(self.fs(source))
        if (status.st_uid, status.st_gid) != (0, 0):
            os.chown(self.fs(target), status.st_uid, status.st_gid)
        if stat.S_IMODE(status.st_mode) != 0o755:
            os.chmod(self.fs(target), stat.S_IMODE(status.st_mode))

    def limit(self, number: int, size_bytes: int) -> None:
        """Bound what is written into it. Raises InvalidArgument where no file system counts."""
        # A project of its own: no other directory of this file system has the number.
        project = os.stat(self._path(number)).st_ino & 0xFFFF_FFFF
        try:
            for path in (self.fs(number), self.work(number)):
                fd = os.open(path, _OPEN)
                try:
                    quota.join_project(fd, project)
                    quota.limit_project(fd, project, size_bytes)
                finally:
                    os.close(fd)
        except OSError as error:
            if error.errno not in quota.ABSENT:
                raise
            raise InvalidArgument(
                "--storage-opt is supported only for overlay over ext4 or xfs "
                "with 'prjquota' or 'pquota' mount option"
            ) from error

    def sync(self) -> None:
        """Bring everything to the disk."""
        fd = os.open(self._root, _OPEN)
        try:
            mounts.syncfs(fd)
        finally:
            os.close(fd)

    def _path(self, number: int) -> str:
        return f"{self._root}/{number}"

    def _passing(self, number: int) -> str:
        return f"{self.work(number)}/passing"

    def _make_spares(self) -> None:
        while len(self._spares) < _SPARES and not self.background.closing:
            self._spares.append(self._make())

    def _make(self) -> int:
        with self._lock:
            self._last += 1
            number = self._last
        with no_space_is_named("make snapshot"):
            os.mkdir(self._path(number), 0o700)
            os.mkdir(self.fs(number), 0o755)
            os.chmod(self.fs(number), 0o755)  # whatever the umask
            os.mkdir(self.work(number), 0o700)
        return number
