"""An archive of a container's files comes to lie here. What it holds is the container's word.

Nothing is written through a link that the archive, or somebody else, has put in the way, and a
directory is not replaced by something else nor the other way round. Owners are ours.
"""

from __future__ import annotations

import os
import stat

from tiffin.cli import tarreader
from tiffin.cli.copyrules import Landing, below_first, joined
from tiffin.cli.failures import CommandFailed
from tiffin.cli.tarreader import Member, TarReader


def extract(archive: TarReader, landing: Landing, *, of_root: bool) -> None:
    """Put what the archive holds where it belongs. Raises CommandFailed."""
    directories: list[tuple[str, Member]] = []
    for member in archive:
        place = joined(landing.name, below_first(member.name, of_root=of_root))
        path = os.path.join(clean_directory(landing.directory), place) if place else ""
        if member.kind == tarreader.DIRECTORY:
            if _make_directory(landing.directory, place):
                directories.append((path, member))
            continue
        _refuse_links_on_the_way(landing.directory, place)
        if member.kind == tarreader.HARD_LINK:
            target = joined(landing.name, below_first(member.link, of_root=of_root))
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


def _make(archive: TarReader, member: Member, path: str, directory: str) -> None:
    _clear(path, directory)
    if member.kind == tarreader.SYMLINK:
        os.symlink(member.link, path)
        os.utime(path, (member.mtime, member.mtime), follow_symlinks=False)
        return
    if member.kind == tarreader.FILE:
        with open(path, "xb", buffering=0) as file:
            for piece in archive.body():
                while piece:
                    piece = piece[file.write(piece) or 0 :]  # noqa: PLW2901 - what is left of it
    elif member.kind == tarreader.FIFO:
        os.mkfifo(path)
    elif member.kind in (tarreader.CHARACTER, tarreader.BLOCK_DEVICE):
        kind = stat.S_IFCHR if member.kind == tarreader.CHARACTER else stat.S_IFBLK
        os.mknod(path, kind | 0o600, os.makedev(*member.device))
    else:
        raise CommandFailed(f"unhandled tar header type {member.kind}")
    _finish(path, member)


def _finish(path: str, member: Member) -> None:
    os.chmod(path, member.mode)
    if member.capability is not None:
        try:
            os.setxattr(path, "security.capability", member.capability)
        except OSError:
            pass  # ours to give only as root, and on some file systems not at all
    os.utime(path, (member.mtime, member.mtime))
