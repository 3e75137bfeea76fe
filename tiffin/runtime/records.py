"""Small files in RUN_ROOT that are whole or not there: written beside, then renamed.

RUN_ROOT is a tmpfs as a rule, and it may be full by the time that a container ends. What must be
written then has its room from the container's start on.
"""

from __future__ import annotations

import os

ROOM_BYTES = 4096


def reserve(path: str) -> None:
    """Have room for a later `write`. Raises OSError."""
    fd = _open(path)
    try:
        os.posix_fallocate(fd, 0, ROOM_BYTES)
    finally:
        os.close(fd)


def write(path: str, data: bytes) -> None:
    """Raises OSError; the file is then as it was."""
    fd = _open(path)
    try:
        done = 0
        while done < len(data):
            done += os.pwrite(fd, data[done:], done)
        os.ftruncate(fd, len(data))
    finally:
        os.close(fd)
    os.rename(f"{path}.new", path)


def _open(path: str) -> int:
    return os.open(f"{path}.new", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
