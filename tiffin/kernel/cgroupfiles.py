"""The files of a cgroup: small texts, read and written. Everything raises OSError."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


def tree(directory: str) -> list[str]:
    """A directory and all below it, parents first; empty where it is not there."""
    try:
        with os.scandir(directory) as entries:
            below = [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return []
    return [directory, *(path for child in below for path in tree(child))]


def members_of(directory: str) -> list[int]:
    found: list[int] = []
    for member in tree(directory):
        found += map(int, read_or(f"{member}/cgroup.procs").split())
    return found


def make(directory: str) -> None:
    try:
        os.mkdir(directory, 0o755)
    except FileExistsError:
        return
    except FileNotFoundError:
        os.makedirs(directory, 0o755, exist_ok=True)


def write(path: str, text: str) -> None:
    write_each(path, (text,))


def write_each(path: str, texts: Iterable[str]) -> None:
    """Each in a write(2) of its own: that is what the kernel's files take."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        for text in texts:
            try:
                os.write(descriptor, text.encode())
            except OSError as error:
                raise OSError(error.errno, f"{error.strerror}: write {text!r}", path) from error
    finally:
        os.close(descriptor)


def try_write(path: str, text: str) -> None:
    try:
        write(path, text)
    except OSError:
        return


def read(path: str) -> str:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        chunks = []
        while chunk := os.read(descriptor, 65536):
            chunks.append(chunk)
    finally:
        os.close(descriptor)
    return b"".join(chunks).decode()


def read_or(path: str, default: str = "") -> str:
    try:
        return read(path)
    except OSError:
        return default


def read_number(path: str) -> int:
    """0 for "max" and for a file that is not there."""
    text = read_or(path).strip()
    return int(text) if text.isdigit() else 0


def read_pairs(path: str) -> dict[str, int]:
    """The lines "name number" of a file such as memory.stat; none where it is not there."""
    found = {}
    for line in read_or(path).splitlines():
        name, _, value = line.partition(" ")
        if value.lstrip("-").isdigit():
            found[name] = int(value)
    return found
