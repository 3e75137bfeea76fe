"""An archive of a container's files comes to lie here. What it holds is the container's word.

Nothing is written through a link that the archive, or somebody else, has put in the way, and a
directory is not replaced by something else nor the other way round. Owners are ours.
"""

from __future__ import annotations

import os
import stat
import tarfile

from tiffin.cli.copyrules import Landing, below_first, joined
from tiffin.cli.failures import CommandFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO

_PIECE = 1 << 20
_CAPABILITY = "SCHILY.xattr.security.capability"


class Reader:
    """Pieces as a file that `tarfile` reads; `count` is how many bytes they were."""

    def __init__(self, pieces: Iterator[bytes]):
        self._pieces = pieces
        self._rest = memoryview(b"")
        self.count = 0

    def read(self, size: int) -> bytes:
        if len(self._rest) >= size:
            taken, self._rest = self._rest[:size], self._rest[size:]
            return bytes(taken)
        found, missing = [self._rest], size - len(self._rest)
        self._rest = memoryview(b"")
        while missing > 0 and (piece := next(self._pieces, b"")):
            self.count += len(piece)
            found.append(memoryview(piece)[:missing])
            self._rest = memoryview(piece)[missing:]
            missing -= len(found[-1])
        return b"".join(found)


def opened(stream: Reader) -> tarfile.TarFile:
    return tarfile.open(fileobj=stream, mode="r|", bufsize=_PIECE)  # type: ignore[call-overload,no-any-return]


def extract(stream: Reader, landing: Landing, *, of_root: bool) -> None:
    """Put what the stream holds where it belongs. Raises CommandFailed."""
    directories: list[tuple[str, tarfile.TarInfo]] = []
    with opened(stream) as archive:
        for member in archive:
            place = joined(landing.name, below_first(member.name, of_root=of_root))
            path = os.path.join(clean_directory(landing.directory), place) if place else ""
            if member.isdir():
                if _make_directory(landing.directory, place):
                    directories.append((path, member))
                continue
            _refuse_links_on_the_way(landing.directory, place)
            if member.islnk():
                target = joined(landing.name, below_first(member.linkname, of_root=of_root))
                _link(landing.directory, target, path)
            else:
                _make(archive, member, path, landing.directory)
    for path, member in reversed(directories):
        _finish(path, member)


def clean_directory(path: str) -> str:
    return os.path.normpath(path)


def _make_directory(directory: str, place: str) -> bool:
    """Whether it is one whose attributes come from the archive."""
    path = os.path.join(clean_directory(directory), place) if place else clean_directory(directory)
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        _refuse_links_on_the_way(directory, place)
        os.makedirs(path, 0o700)
        return True
    if not stat.S_ISDIR(status.st_mode):
        raise CommandFailed(
            f'cannot overwrite non-directory "{path}" with directory "{clean_directory(directory)}"'
        )
    return bool(place)


def _refuse_links_on_the_way(directory: str, place: str) -> None:
    path = clean_directory(directory)
    for part in place.split("/")[:-1]:
        path = os.path.join(path, part)
        if os.path.islink(path):
            raise CommandFailed(f"the archive writes through a link: {path}")


def _link(directory: str, target: str, path: str) -> None:
    _refuse_links_on_the_way(directory, target)
    _clear(path, directory)
    os.link(os.path.join(clean_directory(directory), target), path, follow_symlinks=False)


def _clear(path: str, directory: str) -> None:
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return
    if stat.S_ISDIR(status.st_mode):
        where = clean_directory(directory)
        raise CommandFailed(f'cannot overwrite directory "{path}" with non-directory "{where}"')
    os.unlink(path)


def _make(archive: tarfile.TarFile, member: tarfile.TarInfo, path: str, directory: str) -> None:
    _clear(path, directory)
    if member.issym():
        os.symlink(member.linkname, path)
        os.utime(path, (member.mtime, member.mtime), follow_symlinks=False)
        return
    if member.isfile():
        source: IO[bytes] | None = archive.extractfile(member)
        assert source is not None
        with open(path, "xb") as file:
            while piece := source.read(_PIECE):
                file.write(piece)
    elif member.isfifo():
        os.mkfifo(path)
    else:
        kind = stat.S_IFCHR if member.ischr() else stat.S_IFBLK
        os.mknod(path, kind | 0o600, os.makedev(member.devmajor, member.devminor))
    _finish(path, member)


def _finish(path: str, member: tarfile.TarInfo) -> None:
    os.chmod(path, stat.S_IMODE(member.mode))
    capability = member.pax_headers.get(_CAPABILITY)
    if capability is not None:
        try:
            os.setxattr(path, "security.capability", capability.encode("utf-8", "surrogateescape"))
        except OSError:
            pass  # ours to give only as root, and on some file systems not at all
    os.utime(path, (member.mtime, member.mtime))
