"""DATA_ROOT: who has it open, and its database, content store and snapshots as one thing."""

from __future__ import annotations

import errno
import fcntl
import os

from tiffin.errors import EngineFailure
from tiffin.kernel import syscalls
from tiffin.kernel.placement import spread_children
from tiffin.storage.blobs import BlobStore
from tiffin.storage.database import Database
from tiffin.storage.snapshots import SnapshotStore


class Storage:
    """One engine per DATA_ROOT: the lock is held from `open` to `close`, or the process's end."""

    def __init__(self, data_root: str, lock: int):
        self.data_root = data_root
        self._lock = lock
        self.database = Database(os.path.join(data_root, "tiffin.db"))
        try:
            self.blobs = BlobStore(data_root)
            self.blobs.sweep()
            self.snapshots = SnapshotStore(data_root, self.database, self.blobs)
            for name in ("containers", "snapshots"):
                spread_children(os.path.join(data_root, name))
        except BaseException:
            self.database.close()
            raise

    @classmethod
    def open(cls, data_root: str) -> Storage:
        """Make what is missing, take the lock, migrate, throw away what a crash has left.

        Raises EngineFailure if another process has it.
        """
        data_root = os.path.realpath(data_root)
        os.makedirs(data_root, mode=0o710, exist_ok=True)
        for name in ("volumes", "containers"):
            os.makedirs(os.path.join(data_root, name), mode=0o710, exist_ok=True)
        lock = _locked(data_root)
        try:
            return cls(data_root, lock)
        except BaseException:
            os.close(lock)
            raise

    def close(self) -> None:
        """Idempotent."""
        if self._lock < 0:
            return
        self.snapshots.close()
        self.database.close()
        os.close(self._lock)
        self._lock = -1


def _locked(data_root: str) -> int:
    """Raises EngineFailure. The lock of an engine that was killed is nobody's."""
    path = os.path.join(data_root, "lock")
    directory = os.open(data_root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)  # one at a time looks whether the other has ended
        try:
            return _lock(path)
        except EngineFailure:
            # A thread of it that hangs in the kernel holds the file, and with it the lock.
            if not _holder_has_ended(path):
                raise
            os.unlink(path)
            return _lock(path)
    finally:
        os.close(directory)


def _holder_has_ended(path: str) -> bool:
    with open(path, encoding="ascii", errors="replace") as file:
        holder = file.read(32).strip()
    return holder.isdecimal() and syscalls.has_ended(int(holder))


def _lock(path: str) -> int:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.pread(fd, 32, 0).decode(errors="replace").strip()
        os.close(fd)
        if error.errno != errno.EWOULDBLOCK:
            raise
        who = f" (process {holder})" if holder else ""
        raise EngineFailure(
            f"{os.path.dirname(path)} is in use by another tiffin engine{who}"
        ) from error
    os.ftruncate(fd, 0)
    os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
    return fd
