"""`cp`: files between here and a container, or between two containers, as tar archives."""

from __future__ import annotations

import os

from tiffin.cli import copyrules
from tiffin.cli.copyrules import Landing, Place
from tiffin.cli.failures import CommandFailed, DaemonAnswered
from tiffin.cli.files import read_pieces
from tiffin.cli.jsontext import decode
from tiffin.cli.options import Arguments, Command
from tiffin.cli.output import STDOUT, complain, is_terminal, write
from tiffin.cli.targets import container_path
from tiffin.cli.uploading import upload
from tiffin.cli.wording import human_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from tiffin.cli.client import Client, Response


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
    follow, archive = arguments.flag("follow-link"), arguments.flag("archive")
    if source and target:
        size, where = _copy_between(
            client, (source, source_path), (target, target_path), follow=follow, archive=archive
        )
    elif source:
        size, where = _copy_out(client, source, source_path, target_path, follow=follow)
    elif target:
        size, where = _copy_in(
            client, source_path, target, target_path, follow=follow, archive=archive
        )
    else:
        raise CommandFailed("must specify at least one container source")
    if not quiet and where:
        complain(f"Successfully copied {human_size(size, 3)} to {where}")


class _Stat:
    """What the daemon says of a path in a container."""

    def __init__(self, answer: Response):
        import binascii

        text = answer.headers.get("x-docker-container-path-stat", "")
        found: dict[str, Any] = decode(binascii.a2b_base64(text))
        mode = found["mode"]
        self.is_directory = bool(mode & copyrules.MODE_DIRECTORY)
        self.is_link = bool(mode & copyrules.MODE_SYMLINK)
        self.is_device = bool(mode & copyrules.MODE_DEVICE)
        self.is_irregular = bool(mode & copyrules.MODE_IRREGULAR)
        self.link = str(found.get("linkTarget", ""))


def _stat(client: Client, container: str, path: str) -> _Stat | None:
    try:
        answer = client.request("HEAD", container_path(container, "archive"), {"path": path})
    except DaemonAnswered:
        return None  # what is wrong with it comes out when it is used
    answer.read()
    return _Stat(answer)


def _led(path: str, link: str) -> str:
    """Where a link in a container leads."""
    if link.startswith("/"):
        return link
    return copyrules.clean(os.path.join(copyrules.split_entry(path)[0], link))


# -- from a container -----------------------------------------------------------------------------


class _Taken:
    """An archive on its way out of a container, and what it is of."""

    def __init__(self, client: Client, container: str, path: str, *, follow: bool):
        rebase = ""
        if follow and (found := _stat(client, container, path)) and found.is_link:
            path, rebase = copyrules.rebased(path, _led(path, found.link))
        self.answer = client.request("GET", container_path(container, "archive"), {"path": path})
        is_directory = _Stat(self.answer).is_directory
        self.place = Place(path, exists=True, is_directory=is_directory, rebase=rebase)
        self.of_root = copyrules.clean("/" + path) == "/" and not copyrules.means_contents(path)


def _copy_out(
    client: Client, container: str, path: str, to: str, *, follow: bool
) -> tuple[int, str]:
    """How many bytes went where; nowhere if to standard output."""
    if to == "-":
        size = 0
        for piece in _Taken(client, container, path, follow=follow).answer.pieces():
            write(STDOUT, piece)
            size += len(piece)
        return size, ""
    to = copyrules.absolute(to)
    copyrules.check_output(to)
    taken = _Taken(client, container, path, follow=follow)
    from tiffin.cli.tarreader import TarReader
    from tiffin.cli.untar import extract

    archive = TarReader(taken.answer.pieces())
    landing = copyrules.landing(taken.place, copyrules.local_target(to))
    extract(archive, landing, of_root=taken.of_root)
    return archive.count, to


# -- to a container -------------------------------------------------------------------------------


def _target_in(client: Client, container: str, asked: str) -> Place:
    found, path = _stat(client, container, asked), asked
    if found is not None and found.is_link:
        path = _led(asked, found.link)
        found = _stat(client, container, path)
    if found is not None and (found.is_device or found.is_irregular):
        what = "a device" if found.is_device else "an irregular file"
        raise CommandFailed(
            f'destination "{container}:{asked}" must be a directory or a regular file: got {what}'
        )
    return Place(path, exists=found is not None, is_directory=bool(found and found.is_directory))


def _copy_in(
    client: Client, path: str, container: str, to: str, *, follow: bool, archive: bool
) -> tuple[int, str]:
    target = _target_in(client, container, to)
    if path == "-":
        if not target.is_directory:
            raise CommandFailed(f'destination "{container}:{to}" must be a directory')
        pieces, directory = read_pieces(), target.path
    else:
        source = copyrules.local_source(copyrules.absolute(path), follow=follow)
        landing = copyrules.landing(source, target)
        from tiffin.cli.localtar import LocalTar

        name = os.fsencode(landing.name)
        pieces = LocalTar().stream(os.fsencode(source.path), name)
        directory = landing.directory
    size = _put(client, container, directory, pieces, archive=archive)
    return size, f"{container}:{target.path}"


def _put(
    client: Client, container: str, directory: str, pieces: Iterator[bytes], *, archive: bool
) -> int:
    query = {"path": directory, "noOverwriteDirNonDir": "true"}
    if archive:
        query["copyUIDGID"] = "true"
    counted = [0]

    def count() -> Iterator[bytes]:
        for piece in pieces:
            counted[0] += len(piece)
            yield piece

    upload(
        client,
        "PUT",
        container_path(container, "archive"),
        query,
        count(),
        {"Content-Type": "application/x-tar"},
    ).read()
    return counted[0]


# -- from one to another --------------------------------------------------------------------------


def _copy_between(
    client: Client, source: tuple[str, str], target: tuple[str, str], *, follow: bool, archive: bool
) -> tuple[int, str]:
    """Beyond Docker. What is read is written at once: nothing lies here in between."""
    container, path = target
    into = _target_in(client, container, path)
    taken = _Taken(client, *source, follow=follow)
    landing = copyrules.landing(taken.place, into)
    # It would be read while it is written, and grow.
    if (
        taken.place.is_directory
        and copyrules.is_within(landing.directory, taken.place.path)
        and _are_same(client, source[0], container)
    ):
        raise CommandFailed(f"cannot copy a directory, '{source[1]}', into itself, '{path}'")
    pieces = taken.answer.pieces()
    if not _lands_as_it_is(taken, landing):
        from tiffin.cli.retar import renamed

        pieces = renamed(pieces, landing.name, of_root=taken.of_root)
    size = _put(client, container, landing.directory, pieces, archive=archive)
    return size, f"{container}:{into.path}"


def _are_same(client: Client, one: str, other: str) -> bool:
    ids = {client.again().get(container_path(name, "json"))["Id"] for name in (one, other)}
    return len(ids) == 1


def _lands_as_it_is(taken: _Taken, landing: Landing) -> bool:
    named = copyrules.split_entry(taken.place.path)[1]
    return landing.name == ("" if named in (".", "/") else named)


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
