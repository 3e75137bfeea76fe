"""`cp`: files between us and a container, as tar archives."""

from __future__ import annotations

import os
import stat
import tarfile

from tiffin.cli.failures import CommandFailed, DaemonAnswered
from tiffin.cli.files import read_pieces
from tiffin.cli.jsontext import decode
from tiffin.cli.options import Arguments, Command
from tiffin.cli.output import STDOUT, complain, human_size, is_terminal, write
from tiffin.cli.targets import container_path
from tiffin.cli.tarwriter import END, Header, contents, file_header

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO, Any

    from tiffin.cli.client import Client, Response

# Go's os.FileMode bits, in which the daemon describes a path.
_DIRECTORY, _SYMLINK = 1 << 31, 1 << 27


def split_argument(text: str) -> tuple[str, str]:
    """`web:/etc` as container and path; a local path has no container."""
    name, colon, path = text.partition(":")
    if text.startswith("/") or not colon or name.startswith("."):
        return "", text
    return name, path


def copy(client: Client, arguments: Arguments) -> None:
    for word, what in zip(arguments.words, ("source", "destination"), strict=True):
        if not word:
            raise CommandFailed(f"{what} can not be empty")
    source, source_path = split_argument(arguments.words[0])
    target, target_path = split_argument(arguments.words[1])
    quiet = arguments.flag("quiet", default=not is_terminal(STDOUT))
    follow = arguments.flag("follow-link")
    if source and target:
        raise CommandFailed("copying between containers is not supported")
    if source:
        size = _copy_out(client, source, source_path, target_path, follow=follow)
        where = os.path.abspath(target_path)
    elif target:
        archive = arguments.flag("archive")
        size = _copy_in(client, source_path, target, target_path, follow=follow, archive=archive)
        where = arguments.words[1]
    else:
        raise CommandFailed("must specify at least one container source")
    if not quiet and target_path != "-":
        complain(f"Successfully copied {human_size(size, 3)} to {where}")


class _Stat:
    """What the daemon says of a path in a container."""

    def __init__(self, answer: Response):
        import binascii

        text = answer.headers.get("x-docker-container-path-stat", "")
        found: dict[str, Any] = decode(binascii.a2b_base64(text))
        self.name = str(found["name"])
        self.is_directory = bool(found["mode"] & _DIRECTORY)
        self.is_link = bool(found["mode"] & _SYMLINK)
        self.link = str(found.get("linkTarget", ""))


def _stat(client: Client, container: str, path: str) -> _Stat | None:
    try:
        answer = client.request("HEAD", container_path(container, "archive"), {"path": path})
    except DaemonAnswered:
        return None  # what is wrong with it comes out when it is used
    answer.read()
    return _Stat(answer)


# -- from a container -----------------------------------------------------------------------------


def _copy_out(client: Client, container: str, path: str, to: str, *, follow: bool) -> int:
    rename = ""
    if follow and (found := _stat(client, container, path)) and found.is_link:
        rename = path.rstrip("/").rpartition("/")[2]
        path = os.path.join(os.path.dirname(path), found.link)
    answer = client.request("GET", container_path(container, "archive"), {"path": path})
    if to == "-":
        size = 0
        for piece in answer.pieces():
            write(STDOUT, piece)
            size += len(piece)
        return size
    return _extract(answer, _Stat(answer), path, to, rename)


def _extract(answer: Response, found: _Stat, path: str, to: str, rename: str) -> int:
    """Puts the archive where `cp` would put what it holds."""
    only_contents = path.endswith(("/.", "/")) and path.endswith("/.")
    name = rename or found.name
    whole = os.path.abspath(to)
    if os.path.isdir(to):
        base = whole if only_contents and found.is_directory else os.path.join(whole, name)
    else:
        if to.endswith("/") and not found.is_directory:
            raise CommandFailed("destination directory must exist")
        if os.path.exists(to) and found.is_directory:
            raise CommandFailed("cannot copy directory")
        base = whole
    if not os.path.isdir(os.path.dirname(base)):
        raise CommandFailed(
            f'invalid output path: directory "{os.path.dirname(base)}" does not exist'
        )
    stream = _Reader(answer.pieces())
    with tarfile.open(fileobj=stream, mode="r|") as archive:  # type: ignore[call-overload]
        _extract_members(archive, base)
    return stream.count


class _Reader:
    """Pieces as a file that `tarfile` reads."""

    def __init__(self, pieces: Iterator[bytes]):
        self.pieces = pieces
        self.rest = b""
        self.count = 0

    def read(self, size: int) -> bytes:
        while len(self.rest) < size and (piece := next(self.pieces, b"")):
            self.rest += piece
            self.count += len(piece)
        taken, self.rest = self.rest[:size], self.rest[size:]
        return taken


def _extract_members(archive: tarfile.TarFile, base: str) -> None:
    """Members under their first name's place, which becomes `base`. Nothing leaves `base`."""
    directories: list[tuple[str, tarfile.TarInfo]] = []
    for member in archive:
        parts = _below_first(member.name)
        path = os.path.join(base, *parts)
        _refuse_links_on_the_way(base, parts[:-1])
        if member.isdir():
            if not os.path.isdir(path):
                os.mkdir(path, 0o700)
            directories.append((path, member))
            continue
        if member.islnk():
            first = _below_first(member.linkname)
            _refuse_links_on_the_way(base, first[:-1])
            _replace(path)
            os.link(os.path.join(base, *first), path, follow_symlinks=False)
            continue
        _make(archive, member, path)
    for path, member in reversed(directories):
        _finish(path, member)


def _below_first(name: str) -> list[str]:
    """The path without its first part, which is the name of what is copied, or `.`."""
    parts = [part for part in name.split("/") if part]
    if ".." in parts:
        raise CommandFailed(f"the archive reaches outside: {name}")
    return [part for part in parts[1:] if part != "."]


def _refuse_links_on_the_way(base: str, parts: list[str]) -> None:
    path = base
    for part in parts:
        path = os.path.join(path, part)
        if os.path.islink(path):
            raise CommandFailed(f"the archive writes through a link: {path}")


def _replace(path: str) -> None:
    if os.path.lexists(path):
        if os.path.isdir(path) and not os.path.islink(path):
            raise CommandFailed(f"cannot overwrite directory {path} with a file")
        os.unlink(path)


def _make(archive: tarfile.TarFile, member: tarfile.TarInfo, path: str) -> None:
    _replace(path)
    if member.issym():
        os.symlink(member.linkname, path)
    elif member.isfile():
        source: IO[bytes] | None = archive.extractfile(member)
        assert source is not None
        with open(path, "xb") as file:
            while piece := source.read(1 << 18):
                file.write(piece)
        _finish(path, member)
    elif member.isfifo():
        os.mkfifo(path)
        _finish(path, member)
    else:
        kind = stat.S_IFCHR if member.ischr() else stat.S_IFBLK
        os.mknod(path, kind | 0o600, os.makedev(member.devmajor, member.devminor))
        _finish(path, member)


def _finish(path: str, member: tarfile.TarInfo) -> None:
    os.chmod(path, stat.S_IMODE(member.mode))
    os.utime(path, (member.mtime, member.mtime))


# -- to a container -------------------------------------------------------------------------------


def _copy_in(
    client: Client, path: str, container: str, to: str, *, follow: bool, archive: bool
) -> int:
    found = _stat(client, container, to)
    if found is not None and found.is_link:
        to = os.path.join(os.path.dirname(to), found.link)
        found = _stat(client, container, to)
    is_directory = found is not None and found.is_directory
    counted = [0]
    if path == "-":
        if not is_directory:
            raise CommandFailed(f'destination "{container}:{to}" must be a directory')
        pieces, into = read_pieces(), to
    else:
        pieces, into = _prepare(
            path, to, exists=found is not None, is_directory=is_directory, follow=follow
        )
    query = {"path": into, "noOverwriteDirNonDir": "true"}
    if archive:
        query["copyUIDGID"] = "true"

    def count() -> Iterator[bytes]:
        for piece in pieces:
            counted[0] += len(piece)
            yield piece

    client.upload(
        "PUT",
        container_path(container, "archive"),
        query,
        count(),
        {"Content-Type": "application/x-tar"},
    ).read()
    return counted[0]


def _prepare(
    path: str, to: str, *, exists: bool, is_directory: bool, follow: bool
) -> tuple[Iterator[bytes], str]:
    """The archive to send, and the directory to unpack it in: the rules of `cp`."""
    only_contents = path.endswith("/.") or path == "."
    local = path
    if follow or path.endswith("/"):
        local = os.path.realpath(path)
    try:
        status = os.lstat(local if not only_contents else os.path.realpath(path))
    except OSError as error:
        raise CommandFailed(
            f"lstat {os.path.abspath(path)}: {(error.strerror or '').lower()}"
        ) from error
    local_is_directory = stat.S_ISDIR(status.st_mode)
    name = os.path.basename(os.path.abspath(path))
    if is_directory:
        renamed, into = ("" if only_contents and local_is_directory else name), to
    elif exists:
        if local_is_directory:
            raise CommandFailed("cannot copy directory")
        renamed, into = _split(to)
    else:
        if to.endswith("/") and not local_is_directory:
            raise CommandFailed("no such directory")
        renamed, into = _split(to)
    source = os.path.realpath(path) if only_contents else local
    return _Tar().stream(os.fsencode(source), os.fsencode(renamed)), into


def _split(to: str) -> tuple[str, str]:
    directory, _, name = to.rstrip("/").rpartition("/")
    return name, directory or "/"


class _Tar:
    """The archive of a local file or directory, hard links within it kept."""

    def __init__(self) -> None:
        self.links: dict[tuple[int, int], bytes] = {}

    def stream(self, source: bytes, name: bytes) -> Iterator[bytes]:
        """`source` under the name `name`; without one only what is in it."""
        if name:
            yield from self.entry(source, name)
        else:
            for each in sorted(os.listdir(source)):
                yield from self.entry(os.path.join(source, each), each)
        yield END

    def entry(self, path: bytes, name: bytes) -> Iterator[bytes]:
        status = os.lstat(path)
        is_directory = stat.S_ISDIR(status.st_mode)
        if stat.S_ISSOCK(status.st_mode):
            return
        header: Header = file_header(name + b"/" if is_directory else name, status)
        header.uid, header.gid = status.st_uid, status.st_gid
        if stat.S_ISLNK(status.st_mode):
            header.link = os.readlink(path)
        elif status.st_nlink > 1 and not is_directory:
            first = self.links.setdefault((status.st_dev, status.st_ino), name)
            if first != name:
                header.link, header.hard, header.size = first, True, 0
        yield header.encode()
        if header.size:
            yield from contents(path, header.size)
        if is_directory:
            for each in sorted(os.listdir(path)):
                yield from self.entry(os.path.join(path, each), name + b"/" + each)


CP = Command(
    copy,
    " [OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-\n [OPTIONS] SRC_PATH|- CONTAINER:DEST_PATH",
    "Copy files/folders between a container and the local filesystem",
    (
        ("archive", "a", "bool", "Archive mode (copy all uid/gid information)"),
        ("follow-link", "L", "bool", "Always follow symbol link in SRC_PATH"),
        (
            "quiet",
            "q",
            "bool",
            (
                "Suppress progress output during copy. Progress output is automatically suppressed "
                "if no terminal is attached"
            ),
        ),
    ),
    least=2,
    most=2,
    details="Copy files/folders between a container and the local filesystem\n\n"
    "Use '-' as the source to read a tar archive from stdin\n"
    "and extract it to a directory destination in a container.\n"
    "Use '-' as the destination to stream a tar archive of a\n"
    "container source to stdout.",
)
