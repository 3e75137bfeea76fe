"""An archive on its way from one container to another, under another name. Nothing is kept."""

from __future__ import annotations

import tarfile

from tiffin.cli.copyrules import below_first, joined

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO

_PIECE = 1 << 20


class _Reader:
    """Pieces as a file that `tarfile` reads."""

    def __init__(self, pieces: Iterator[bytes]):
        self._pieces = pieces
        self._rest = b""

    def read(self, size: int) -> bytes:
        while len(self._rest) < size and (piece := next(self._pieces, b"")):
            self._rest += piece
        taken, self._rest = self._rest[:size], self._rest[size:]
        return taken


def renamed(pieces: Iterator[bytes], name: str, *, of_root: bool) -> Iterator[bytes]:
    """Each entry below `name` instead of its first part."""
    stream = _Reader(pieces)
    with tarfile.open(fileobj=stream, mode="r|", bufsize=_PIECE) as archive:  # type: ignore[call-overload]
        for member in archive:
            member.name = joined(name, below_first(member.name, of_root=of_root)) or "."
            if member.islnk():
                member.linkname = joined(name, below_first(member.linkname, of_root=of_root))
            stale = ("path", "linkpath", "size")
            kept = {key: value for key, value in member.pax_headers.items() if key not in stale}
            member.pax_headers = kept
            yield member.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
            if member.isfile():
                source: IO[bytes] | None = archive.extractfile(member)
                assert source is not None
                yield from _body(source, member.size)
    yield bytes(2 * tarfile.BLOCKSIZE)


def _body(source: IO[bytes], size: int) -> Iterator[bytes]:
    while piece := source.read(_PIECE):
        yield piece
    if size % tarfile.BLOCKSIZE:
        yield bytes(-size % tarfile.BLOCKSIZE)
