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
_DIRECTORY = 0o04  # the top bits of st_mode
_NOT_WRITTEN = {
    0o01: "a named pipe (FIFO)",
    0o02: "a character device file",
    _DIRECTORY: "a directory",
    0o06: "a block device file",
    0o12: "a symbolic link directly",
    0o14: "a socket",
}


def save_stream(ask: Callable[[], Response], path: str, purpose: str) -> None:
    """Writes the answer's body to stdout or to `path`, which appears when it is complete."""
    if not path:
        if is_terminal(STDOUT):
            raise CommandFailed(
                "cowardly refusing to save to a terminal. Use the -o flag or redirect"
            )
        for piece in ask().pieces():
            write(STDOUT, piece)
        return
    try:
        _check_output(path)
    except ValueError as error:
        raise CommandFailed(f"failed to {purpose}: {error}") from error
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


def _check_output(path: str) -> None:
    """The file is renamed to `path`: what lies there and is no file would be gone."""
    directory = path.rpartition("/")[0]
    try:
        if directory and posix.stat(directory).st_mode >> 12 != _DIRECTORY:
            raise ValueError(f"invalid output path: stat {directory}: not a directory")
    except OSError as error:
        words = (error.strerror or "").lower()
        raise ValueError(f"invalid output path: stat {directory}: {words}") from error
    try:
        kind = posix.lstat(path).st_mode >> 12
    except FileNotFoundError:
        return
    except OSError as error:
        raise ValueError(f"lstat {path}: {(error.strerror or '').lower()}") from error
    if kind in _NOT_WRITTEN:
        raise ValueError(f"cannot write to {_NOT_WRITTEN[kind]}")


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
        descriptor = posix.open(path, posix.O_RDONLY)
    except OSError as error:
        raise CommandFailed(f"open {path}: {(error.strerror or '').lower()}") from error
    if posix.fstat(descriptor).st_mode >> 12 == _DIRECTORY:
        raise CommandFailed(f"read {path}: is a directory")
    return descriptor
