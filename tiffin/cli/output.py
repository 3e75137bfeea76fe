"""Our own standard streams: lines said and complained, and the terminal they may be."""

from __future__ import annotations

import posix

from tiffin.cli.failures import CommandFailed

STDIN, STDOUT, STDERR = 0, 1, 2
_PLACES = {STDOUT: "write /dev/stdout", STDERR: "write /dev/stderr"}


def keep_standard_streams() -> None:
    """Those that we were started without are /dev/null: no socket may stand in their place."""
    for descriptor in (STDIN, STDOUT, STDERR):
        try:
            posix.fstat(descriptor)
        except OSError:
            posix.open("/dev/null", posix.O_RDWR)  # the lowest that is free


def write(descriptor: int, data: bytes) -> None:
    """All of `data`, nothing kept back. OSError names the stream."""
    view = memoryview(data)
    while view:
        try:
            view = view[posix.write(descriptor, view) :]
        except BlockingIOError:
            wait_until_writable(descriptor)
        except OSError as error:
            error.filename = _PLACES.get(descriptor)
            raise


def wait_until_writable(descriptor: int) -> None:
    """For a terminal or pipe that somebody else made non-blocking."""
    import select

    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    poll.poll()


def say(text: str) -> None:
    """A line, or lines, on stdout."""
    write(STDOUT, f"{text}\n".encode("utf-8", "surrogateescape"))


def complain(text: str) -> None:
    """A line, or lines, on stderr."""
    write(STDERR, f"{text}\n".encode("utf-8", "surrogateescape"))


def is_terminal(descriptor: int) -> bool:
    return posix.isatty(descriptor)


def refuse_without_terminal() -> None:
    """Where a terminal of ours is to become the container's."""
    if not is_terminal(STDIN):
        raise CommandFailed("the input device is not a TTY")


def terminal_size(descriptor: int) -> tuple[int, int]:
    """Rows and columns, (0, 0) where there is no terminal."""
    try:
        size = posix.get_terminal_size(descriptor)
    except OSError:
        return 0, 0
    return size[1], size[0]
