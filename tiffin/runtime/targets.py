"""Where in a root that is still being built something is put: resolved by the kernel, held by fd.

The image chose the names, and its links are followed, but only below the root. A target that the
kernel's own file systems go on may lie behind no link at all: whoever could turn the link between
two steps (a volume is shared) would have /proc in one place and its masks in another.
"""

from __future__ import annotations

import errno
import os

from tiffin.kernel import mounts

IN_ROOT = mounts.RESOLVE_IN_ROOT | mounts.RESOLVE_NO_MAGICLINKS
ORDINARY = IN_ROOT | mounts.RESOLVE_NO_SYMLINKS
BELOW = mounts.RESOLVE_BENEATH | mounts.RESOLVE_NO_MAGICLINKS
_MAX_LINKS = 40


def open_target(
    root: int, path: str, *, directory: bool, resolve: int = IN_ROOT, mode: int = 0o755
) -> int:
    """A mount target below `root` (O_PATH), made where missing. ORDINARY: ELOOP for a link.

    `mode` is that of a directory, less the umask.
    """
    for _ in range(_MAX_LINKS):
        try:
            return _resolve(root, path, resolve)
        except FileNotFoundError:
            path = _make(root, path, mode if directory else 0, resolve)
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)


def open_existing(root: int, path: str, resolve: int = IN_ROOT) -> int:
    """-1 where there is no such path."""
    try:
        return _resolve(root, path, resolve)
    except (FileNotFoundError, NotADirectoryError):
        return -1


def _make(root: int, path: str, mode: int, resolve: int) -> str:
    """Make the last part of `path`; where that is a dangling link, nothing but where it leads.

    `mode`: of a directory; 0 for a file.
    """
    parent, _, name = path.rstrip("/").rpartition("/")
    if name in ("", ".", ".."):
        raise OSError(errno.ENOENT, os.strerror(errno.ENOENT), path)
    above = open_target(root, parent or "/", directory=True, resolve=resolve)
    try:
        link = _read_link(above, name)
        if link:
            return link if link.startswith("/") else f"{parent}/{link}"
        if mode:
            os.mkdir(name, mode, dir_fd=above)
        else:
            flags = os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_WRONLY
            os.close(os.open(name, flags, 0o644, dir_fd=above))
    finally:
        os.close(above)
    return path


def _read_link(directory: int, name: str) -> str:
    try:
        return os.readlink(name, dir_fd=directory)
    except OSError:
        return ""


def _resolve(root: int, path: str, resolve: int) -> int:
    while True:
        try:
            return mounts.openat2(root, path, os.O_PATH, resolve=resolve)
        except BlockingIOError:  # raced a rename
            continue
