"""tmpcopyup: a new file system begins with what lies below its mount point."""

from __future__ import annotations

import os
import stat

_CHUNK = 1 << 20


def copy_up(source: int, target: int) -> None:
    """Everything below one directory into another (both O_PATH); owners and modes kept.

    Of special files only what can be copied is: links and regular files.
    """
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    below = os.open(".", flags, dir_fd=source)
    try:
        into = os.open(".", flags, dir_fd=target)
        try:
            _copy_directory(below, into)
        finally:
            os.close(into)
    finally:
        os.close(below)


def _copy_directory(source: int, target: int) -> None:
    status = os.fstat(source)
    for name in os.listdir(source):
        _copy_entry(source, target, name)
    os.fchown(target, status.st_uid, status.st_gid)
    os.fchmod(target, stat.S_IMODE(status.st_mode))


def _copy_entry(source: int, target: int, name: str) -> None:
    status = os.stat(name, dir_fd=source, follow_symlinks=False)
    if stat.S_ISLNK(status.st_mode):
        os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
        os.chown(name, status.st_uid, status.st_gid, dir_fd=target, follow_symlinks=False)
    elif stat.S_ISDIR(status.st_mode):
        os.mkdir(name, 0o700, dir_fd=target)
        _in_both(source, target, name, os.O_RDONLY | os.O_DIRECTORY, _copy_directory)
    elif stat.S_ISREG(status.st_mode):
        os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=target))
        _in_both(source, target, name, os.O_RDWR, _copy_file)


def _in_both(source: int, target: int, name: str, flags: int, act: Copy) -> None:
    closed = os.O_CLOEXEC | os.O_NOFOLLOW
    reading = os.open(name, (flags & ~os.O_RDWR) | closed, dir_fd=source)
    try:
        writing = os.open(name, flags | closed, dir_fd=target)
        try:
            act(reading, writing)
        finally:
            os.close(writing)
    finally:
        os.close(reading)


def _copy_file(source: int, target: int) -> None:
    while chunk := os.read(source, _CHUNK):
        view = memoryview(chunk)
        while view:
            view = view[os.write(target, view) :]
    status = os.fstat(source)
    os.fchown(target, status.st_uid, status.st_gid)
    os.fchmod(target, stat.S_IMODE(status.st_mode))


TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Copy = Callable[[int, int], None]
