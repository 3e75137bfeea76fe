"""Room that the database has of its own, so that a full disk can be told of and mended.

To give anything back a deletion must be written, and to tell how a container ended its row must.
SQLite writes first to its log and later, at a checkpoint, to the file. Both get blocks ahead: the
log is made long once and then overwritten from its beginning (a checkpoint that does not truncate
leaves it its length), and the file has free pages (no vacuum gives them back). At rest, when SQLite
has deleted the log, a file of no use stands in for it.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3

BYTES = 1 << 20
_PAGES = BYTES // 4096
_STAND_IN_BYTES = BYTES + BYTES // 4  # the log has headers, and an index beside it


class Headroom:
    """Of one open database in WAL mode with automatic checkpoints off."""

    def __init__(self, connection: sqlite3.Connection, path: str):
        self._connection = connection
        self._log = path + "-wal"

    def take(self) -> bool:
        """At open: make the log long, and pages free with the next checkpoint.

        False on a disk that is full already.
        """
        try:
            if not self.has_pages() or os.path.getsize(self._log) < BYTES:
                self._connection.execute("CREATE TABLE headroom (bytes BLOB)")
                self._connection.execute("INSERT INTO headroom VALUES (zeroblob(?))", (BYTES,))
        except sqlite3.OperationalError:
            return False
        finally:
            with contextlib.suppress(sqlite3.OperationalError):
                self._connection.execute("DROP TABLE IF EXISTS headroom")
        return True

    def has_pages(self) -> bool:
        """True from the first time on; after a crash the log too is as long as it was."""
        free: int = self._connection.execute("PRAGMA freelist_count").fetchone()[0]
        return free >= _PAGES

    def renew(self) -> None:
        """Move the log's pages into the file; the next write begins the log again. May raise."""
        self._connection.execute("PRAGMA wal_checkpoint(RESTART)")


def leave_stand_in(path: str) -> None:
    """After the database at `path` was closed."""
    with contextlib.suppress(OSError), open(_stand_in(path), "wb") as file:
        os.posix_fallocate(file.fileno(), 0, _STAND_IN_BYTES)


def remove_stand_in(path: str) -> None:
    """Before it is opened."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(_stand_in(path))


def _stand_in(path: str) -> str:
    return path + "-reserve"
