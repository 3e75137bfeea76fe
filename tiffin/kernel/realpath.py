"""Where a path in a root leads in the end, as a path of that root. What is missing stays."""

from __future__ import annotations

import errno
import os

from tiffin.kernel.rootpath import MAX_LINKS, Path, open_in


def real_path_in(root_fd: int, path: Path) -> bytes:
    """All links resolved inside the root: absolute, clean. ELOOP where they go round."""
    done, links = b"", 0
    left = _parts(os.fsencode(path))
    while left:
        part = left.pop()
        if part == b"..":
            done = done.rpartition(b"/")[0]
            continue
        link = _link_at(root_fd, done, part)
        if link is None:
            done = done + b"/" + part
            continue
        links += 1
        if links > MAX_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), os.fsdecode(path))
        if link.startswith(b"/"):
            done = b""
        left += _parts(link)
    return done or b"/"


def _parts(path: bytes) -> list[bytes]:
    """The last first."""
    return [part for part in reversed(path.split(b"/")) if part not in (b"", b".")]


def _link_at(root_fd: int, directory: bytes, name: bytes) -> bytes | None:
    """None where there is something else, or nothing."""
    try:
        parent = open_in(root_fd, directory or b".", os.O_PATH | os.O_DIRECTORY)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        return os.readlink(name, dir_fd=parent)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        if error.errno == errno.EINVAL:
            return None
        raise
    finally:
        os.close(parent)
