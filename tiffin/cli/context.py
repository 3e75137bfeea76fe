"""The build context: a directory as a tar stream, without what `.dockerignore` leaves out.

The same tree gives the same bytes: entries are sorted, owned by root, times in whole seconds.
"""

from __future__ import annotations

import os
import stat

from tiffin.cli.failures import CommandFailed
from tiffin.cli.tarwriter import END, Header, contents, file_header, padded

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from tiffin.core.pathmatch import PathMatcher

IGNORE_FILE = ".dockerignore"
# A Dockerfile from elsewhere goes into the context under a name that nobody has.
FOREIGN_DOCKERFILE = ".dockerfile.tiffin"

_MAGIC = (b"\x1f\x8b\x08", b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd")


class LocalContext:
    """A directory, the Dockerfile's name in it, or the text of a Dockerfile from elsewhere."""

    def __init__(self, directory: str, dockerfile: str):
        if not os.path.isdir(directory):
            if not os.path.exists(directory):
                raise CommandFailed(f'unable to prepare context: path "{directory}" not found')
            raise CommandFailed(
                "unable to prepare context: context must be a directory: "
                f"{os.path.abspath(directory)}"
            )
        self.root = os.path.realpath(directory)
        self.foreign: bytes | None = None
        self.dockerfile = self._locate(dockerfile)

    def _locate(self, given: str) -> str:
        if given == "-":
            return FOREIGN_DOCKERFILE
        path = os.path.abspath(given) if given else self._default()
        try:
            path = os.path.realpath(path, strict=True)
        except OSError as error:
            words = (error.strerror or "").lower()
            raise CommandFailed(
                "unable to prepare context: unable to evaluate symlinks in Dockerfile path: "
                f"lstat {path}: {words}"
            ) from error
        name = os.path.relpath(path, self.root)
        if name.startswith("../"):
            with open(path, "rb") as file:
                self.foreign = file.read()
            return FOREIGN_DOCKERFILE
        return name

    def _default(self) -> str:
        path = os.path.join(self.root, "Dockerfile")
        other = os.path.join(self.root, "dockerfile")
        return other if not os.path.lexists(path) and os.path.lexists(other) else path

    def stream(self) -> Iterator[bytes]:
        """The archive, a piece after the other."""
        matcher = self._matcher()
        links: dict[tuple[int, int], bytes] = {}
        yield from self._directory(b"", matcher, (), links)
        if self.foreign is not None:
            yield from _text_entry(FOREIGN_DOCKERFILE.encode(), self.foreign)
            yield from _text_entry(IGNORE_FILE.encode(), self._ignore_text())
        yield END

    def _ignore_text(self) -> bytes:
        """The ignore file that goes along: the Dockerfile from elsewhere is not to be copied."""
        try:
            with open(os.path.join(self.root, IGNORE_FILE), "rb") as file:
                text = file.read()
        except FileNotFoundError:
            text = IGNORE_FILE.encode()
        return text + b"\n" + FOREIGN_DOCKERFILE.encode() + b"\n"

    def _matcher(self) -> PathMatcher | None:
        """What to leave out. What the daemon needs to read is never left out."""
        try:
            with open(os.path.join(self.root, IGNORE_FILE), "rb") as file:
                data = file.read()
        except FileNotFoundError:
            return None
        from tiffin.core.pathmatch import PathMatcher, parse_ignore_file
        from tiffin.errors import InvalidArgument

        try:
            patterns = parse_ignore_file(data)
            for name in (IGNORE_FILE, self.dockerfile):
                if PathMatcher(patterns).matches(name):
                    patterns.append(f"!{name}")
            return PathMatcher(patterns)
        except InvalidArgument as error:
            raise CommandFailed(f"error checking context: {error.message}") from error

    def _directory(
        self,
        path: bytes,
        matcher: PathMatcher | None,
        above: tuple[bool, ...],
        links: dict[tuple[int, int], bytes],
    ) -> Iterator[bytes]:
        whole = os.path.join(os.fsencode(self.root), path)
        try:
            names = sorted(os.listdir(whole))
        except PermissionError as error:
            raise CommandFailed(
                f"error checking context: can't stat '{os.fsdecode(whole)}'"
            ) from error
        for name in names:
            inner = os.path.join(path, name)
            verdicts: tuple[bool, ...] = ()
            left_out = False
            if matcher is not None:
                left_out, verdicts = matcher.matches_below(above, os.fsdecode(inner))
            if self.foreign is not None and inner == IGNORE_FILE.encode():
                continue
            yield from self._entry(inner, matcher, verdicts, links, left_out=left_out)

    def _entry(
        self,
        path: bytes,
        matcher: PathMatcher | None,
        verdicts: tuple[bool, ...],
        links: dict[tuple[int, int], bytes],
        *,
        left_out: bool,
    ) -> Iterator[bytes]:
        whole = os.path.join(os.fsencode(self.root), path)
        status = os.lstat(whole)
        is_directory = stat.S_ISDIR(status.st_mode)
        if left_out:
            # An exception further down (`!docs/README`) can still want something of it.
            if is_directory and matcher is not None and matcher.has_exceptions:
                yield from self._directory(path, matcher, verdicts, links)
            return
        if stat.S_ISSOCK(status.st_mode):
            return
        header = file_header(path + b"/" if is_directory else path, status)
        if stat.S_ISLNK(status.st_mode):
            header.link = os.readlink(whole)
        elif stat.S_ISREG(status.st_mode):
            if status.st_nlink > 1:
                first = links.setdefault((status.st_dev, status.st_ino), path)
                if first != path:
                    header.link, header.hard, header.size = first, True, 0
            if header.size:
                yield from _file_entry(header, whole)
                return
        yield header.encode()
        if is_directory:
            yield from self._directory(path, matcher, verdicts, links)


def _file_entry(header: Header, path: bytes) -> Iterator[bytes]:
    try:
        pieces = contents(path, header.size)
        first = next(pieces)
    except PermissionError as error:
        raise CommandFailed(
            f"error checking context: no permission to read from '{os.fsdecode(path)}'"
        ) from error
    yield header.encode() + first
    yield from pieces


def _text_entry(name: bytes, text: bytes) -> Iterator[bytes]:
    yield Header(name, stat.S_IFREG | 0o600, size=len(text)).encode() + padded(text)


def single_dockerfile(text: bytes) -> Iterator[bytes]:
    """A context that has nothing but a Dockerfile."""
    yield from _text_entry(b"Dockerfile", text)
    yield END


def is_archive(start: bytes) -> bool:
    """Whether the first kilobyte of a context looks like a tar archive, compressed or not."""
    if start.startswith(_MAGIC):
        return True
    if len(start) < 512:
        return False
    block = start[:512]
    if not any(block):
        return True
    claimed = block[148:156].strip(b" \0")
    actual = sum(block[:148]) + 8 * 32 + sum(block[156:])
    return claimed.isdigit() and int(claimed, 8) == actual
