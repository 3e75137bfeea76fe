"""What every container's tree has, whatever its image: places for its mounts, and two signs.

By `/.dockerenv` many programs know where they run, and by `/etc/mtab` some (Java's among them) what
is mounted; the rest is where a start mounts something. As dockerd's init layer has it. It is no
change of the container's, and in no image.

It lies between the image and the container, in a layer that all containers of an image share:
making files takes a disk longer than all else that a container's creation does.
"""

from __future__ import annotations

import os
import shutil
import stat
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from tiffin.storage.blobs import no_space_is_named
from tiffin.storage.lookup import is_opaque
from tiffin.storage.unpack import is_whiteout

MARK = ".dockerenv"
MOUNT_TABLE_TARGET = "/proc/mounts"


class _Directory(NamedTuple):
    """What is in it."""

    files: tuple[str, ...] = ()
    links: tuple[str, ...] = ()  # to MOUNT_TABLE_TARGET
    directories: tuple[str, ...] = ()

    def names(self) -> tuple[str, ...]:
        return (*self.files, *self.links, *self.directories)


_FURNISHED = {
    "proc": _Directory(),
    "sys": _Directory(),
    "dev": _Directory(files=("console",), directories=("mqueue", "pts", "shm")),
    "etc": _Directory(files=("hosts", "hostname", "resolv.conf"), links=("mtab",)),
}
# All of it, for who leaves it out of a container's changes.
PLACES = frozenset(
    path.encode()
    for path in (
        MARK,
        *_FURNISHED,
        *(f"{name}/{entry}" for name, each in _FURNISHED.items() for entry in each.names()),
    )
)


class FurnitureLayers:
    """DIRECTORY/<n>: what the stack whose top is snapshot n lacks; 0 stands on nothing.

    Never synced: what the machine went down with is made anew, and comes out the same.
    """

    def __init__(self, directory: str, throw: Callable[[str], None]):
        self._directory = directory
        self._throw = throw
        self._lock = threading.Lock()
        self._made: set[int] = set()
        os.makedirs(directory, mode=0o700, exist_ok=True)

    def sweep(self, known: set[int]) -> None:
        """Throw away what is not for one of the known snapshots. Once, before the first `layer`."""
        for name in os.listdir(self._directory):
            if name.isdigit() and int(name) in known:
                self._made.add(int(name))
            else:
                self._throw(f"{self._directory}/{name}")

    def layer(self, number: int, lower: Sequence[str]) -> str:
        """The directory to put on top of `lower`, made where there is none yet."""
        path = f"{self._directory}/{number}"
        if number in self._made:
            return path
        with self._lock:
            if number not in self._made:
                with no_space_is_named("make furniture"):
                    half = f"{path}.half"
                    shutil.rmtree(half, ignore_errors=True)
                    _make_directory(half)
                    furnish(lower, half)
                    os.rename(half, path)
                self._made.add(number)
        return path

    def forget(self, number: int) -> None:
        """Of a snapshot that is gone."""
        with self._lock:
            if number in self._made:
                self._made.discard(number)
                self._throw(f"{self._directory}/{number}")


def furnish(lower: Sequence[str], target: str) -> None:
    """Add to `target` what `lower`, first on top, lacks. `target` may be the only one of those.

    Follows no link: an `/etc` that is one keeps what it leads to.
    """
    if not _has(lower, MARK):
        _make_file(f"{target}/{MARK}", 0o755)
    for name, wanted in _FURNISHED.items():
        below = _directories(lower, name)
        if below is not None:
            _furnish_directory(below, f"{target}/{name}", wanted)


def _furnish_directory(below: Sequence[str], path: str, wanted: _Directory) -> None:
    lacking = {name for name in wanted.names() if not _has(below, name)}
    if below and not lacking:
        return
    with _own_directory(below, path) as own:
        for entry in lacking.intersection(wanted.files):
            _make_file(f"{own}/{entry}", 0o644)
        for entry in lacking.intersection(wanted.links):
            os.symlink(MOUNT_TABLE_TARGET, f"{own}/{entry}")
        for entry in lacking.intersection(wanted.directories):
            _make_directory(f"{own}/{entry}")


@contextmanager
def _own_directory(below: Sequence[str], own: str) -> Iterator[str]:
    """`own`, with the attributes and times of the uppermost one below it."""
    if not below:
        _make_directory(own)
    elif below[0] != own:
        _copy_up(below[0], own)
    before = os.stat(own)
    yield own
    os.utime(own, ns=(before.st_atime_ns, before.st_mtime_ns))


def _directories(layers: Sequence[str], name: str) -> list[str] | None:
    """Those that lie over one another, the first on top; None: there is something else."""
    found: list[str] = []
    for layer in layers:
        status = _status(layer, name)
        if status is None:
            continue
        if not stat.S_ISDIR(status.st_mode):
            return found if found or is_whiteout(status) else None
        found.append(f"{layer}/{name}")
        if is_opaque(found[-1]):
            break
    return found


def _has(layers: Sequence[str], name: str) -> bool:
    for layer in layers:
        status = _status(layer, name)
        if status is not None:
            return not is_whiteout(status)
    return False


def _make_file(path: str, mode: int) -> None:
    flags = os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_WRONLY
    fd = os.open(path, flags, mode)
    try:
        os.fchmod(fd, mode)  # whatever the umask
    finally:
        os.close(fd)


def _make_directory(path: str) -> None:
    os.mkdir(path, 0o755)
    os.chmod(path, 0o755)


def _copy_up(source: str, target: str) -> None:
    status = os.stat(source)
    os.mkdir(target, 0o700)
    os.chown(target, status.st_uid, status.st_gid)
    os.chmod(target, stat.S_IMODE(status.st_mode))
    for name in os.listxattr(source):
        if not name.startswith("trusted.overlay."):
            os.setxattr(target, name, os.getxattr(source, name))
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))


def _status(directory: str, name: str) -> os.stat_result | None:
    try:
        return os.lstat(f"{directory}/{name}")
    except FileNotFoundError:
        return None
