"""Streams to and from files: whole or not at all."""

from __future__ import annotations

import posix

from tiffin.cli.failures import CommandFailed
from tiffin.cli.output import STDIN, STDOUT, is_terminal, write

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tiffin.cli.client import Response

PIECE = 1 << 18


def save_stream(ask: Callable[[], Response], path: str) -> None:
    """Writes the answer's body to stdout or to `path`, which appears when it is complete."""
    if not path:
        if is_terminal(STDOUT):
            raise CommandFailed(
                "cowardly refusing to save to a terminal. Use the -o flag or redirect"
            )
        for piece in ask().pieces():
            write(STDOUT, piece)
        return
    partial = f"{path}.{posix.getpid()}.part"
    descriptor = _create(partial, path)
    try:
        for piece in ask().pieces():
            write(descriptor, piece)
        posix.close(descriptor)
        posix.rename(partial, path)
    except BaseException:
        posix.unlink(partial)
        raise


def _create(partial: str, path: str) -> int:
    try:
        return posix.open(partial, posix.O_WRONLY | posix.O_CREAT | posix.O_TRUNC, 0o600)
    except OSError as error:
        words = (error.strerror or "").lower()
        raise CommandFailed(f"invalid output path: {path}: {words}") from error


def read_pieces(descriptor: int = STDIN) -> Iterator[bytes]:
    while piece := posix.read(descriptor, PIECE):
        yield piece


def open_input(path: str) -> int:
    try:
        return posix.open(path, posix.O_RDONLY)
    except OSError as error:
        raise CommandFailed(f"open {path}: {(error.strerror or '').lower()}") from error
