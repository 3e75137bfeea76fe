"""Which id ranges this machine's containers have, whatever engine runs them.

A byte of one file stands for each range, and a lock on it for a container that has the range. The
descriptor that holds the lock is the container's shim's, so the lock lasts as long as the container
does, whichever daemon dies before, and goes with it without anybody's help.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct

LEDGER = "/run/tiffin.ids"  # of the machine, and of this boot
_FLOCK = struct.Struct("hhqqi4x")  # fcntl(2): type, whence, start, length, and a pid that stays 0


class IdClaims:
    def __init__(self, path: str = LEDGER) -> None:
        self._path = path

    def take(self, number: int) -> int:
        """A descriptor that holds range `number`; -1 if somebody has it. Raises OSError."""
        claim = self._opened()
        try:
            _lock(claim, fcntl.F_OFD_SETLK, fcntl.F_WRLCK, number)  # nobody has it;
            _lock(claim, fcntl.F_OFD_SETLK, fcntl.F_RDLCK, number)  # others may join
        except OSError as error:
            os.close(claim)
            if error.errno in (errno.EAGAIN, errno.EACCES):
                return -1
            raise
        return claim

    def join(self, number: int) -> int:
        """A descriptor that holds, too, what another container has."""
        claim = self._opened()
        try:
            _lock(claim, fcntl.F_OFD_SETLKW, fcntl.F_RDLCK, number)  # waits for who tries `take`
        except OSError:
            os.close(claim)
            raise
        return claim

    def _opened(self) -> int:
        """Each by an open of its own: a lock belongs to that."""
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        return os.open(self._path, flags, 0o600)


def _lock(claim: int, command: int, kind: int, number: int) -> None:
    fcntl.fcntl(claim, command, _FLOCK.pack(kind, os.SEEK_SET, number, 1, 0))
