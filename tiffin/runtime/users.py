"""Who a process runs as: Docker's "user[:group]" looked up in the image's own passwd and group.

Parsed by hand: the C library's look-ups would load code and configuration from the image. The rules
and the words of the errors are those of moby/sys/user (GetExecUser, GetAdditionalGroups).
"""

from __future__ import annotations

import errno
import os
import stat

MAX_ID = 2**31 - 1
MAX_FILE_BYTES = 16 * 1024 * 1024


class UnknownUser(ValueError):
    """The message is Docker's."""


class Identity:
    """uid, gid, supplementary groups (the gid among them) and home directory."""

    __slots__ = ("gid", "groups", "home", "uid")

    def __init__(self, uid: int, gid: int, groups: list[int], home: str) -> None:
        self.uid = uid
        self.gid = gid
        self.groups = groups
        self.home = home

    def same_as(self, other: Identity) -> bool:
        return all(getattr(self, name) == getattr(other, name) for name in self.__slots__)

    def __repr__(self) -> str:
        return f"Identity({self.uid}, {self.gid}, {self.groups}, {self.home!r})"


def resolve(spec: str, added: list[str], passwd: bytes, group: bytes) -> Identity:
    """Raises UnknownUser. `added` are --group-add's names and numbers."""
    wanted_user, _, wanted_group = spec.partition(":")
    entry = _find_user(wanted_user or "0", passwd)
    number = _number(wanted_user or "0")
    if entry is not None:
        name, uid, gid, home = entry
    elif number is None:
        raise UnknownUser(f"unable to find user {wanted_user}: no matching entries in passwd file")
    else:
        name, uid, gid, home = "", _in_range(number), 0, ""
    groups: list[int] = []
    if wanted_group:
        gid = _find_group(wanted_group, group)
    elif name:
        groups = [g for _, g, members in _groups(group) if name in members]
    groups += [_find_group(word, group) for word in added]
    # The primary group is in the list too: else a process could shed one that denies
    # (CVE-2022-36109).
    return Identity(uid, gid, list(dict.fromkeys([gid, *groups])), home or "/")


def home_of(uid: int, passwd: bytes) -> str:
    """Of the first entry with this number; "/" where there is none."""
    for line in _lines(passwd):
        fields = line.split(":")
        if len(fields) > 5 and _field(fields, 2) == uid:
            return fields[5] or "/"
    return "/"


def _find_user(wanted: str, passwd: bytes) -> tuple[str, int, int, str] | None:
    number = _number(wanted)
    for line in _lines(passwd):
        fields = line.split(":")
        uid, gid = _field(fields, 2), _field(fields, 3)
        if uid is None or gid is None:
            continue
        if fields[0] == wanted or uid == number:
            home = fields[5] if len(fields) > 5 else ""
            return fields[0], _in_range(uid), _in_range(gid), home
    return None


def _find_group(wanted: str, group: bytes) -> int:
    number = _number(wanted)
    for name, gid, _ in _groups(group):
        if name == wanted or gid == number:
            return _in_range(gid)
    if number is None:
        raise UnknownUser(f"unable to find group {wanted}: no matching entries in group file")
    return _in_range(number)


def _groups(group: bytes) -> list[tuple[str, int, list[str]]]:
    found = []
    for line in _lines(group):
        fields = line.split(":")
        gid = _field(fields, 2)
        if gid is not None:
            members = fields[3].split(",") if len(fields) > 3 else []
            found.append((fields[0], gid, members))
    return found


def _lines(data: bytes) -> list[str]:
    lines = data.decode("utf-8", "surrogateescape").split("\n")
    return [line for line in lines if line.strip() and not line.startswith("#")]


def _field(fields: list[str], index: int) -> int | None:
    text = fields[index] if len(fields) > index else ""
    return None if text.startswith("-") else _number(text)


def _number(text: str) -> int | None:
    digits = text.removeprefix("-")
    return int(text) if digits.isascii() and digits.isdigit() and len(digits) < 20 else None


def _in_range(number: int) -> int:
    if not 0 <= number <= MAX_ID:
        raise UnknownUser("uids and gids must be in range 0-2147483647")
    return number


def read_database(path: str) -> bytes:
    """The image's file, or nothing where it has none. Never blocks, never reads a pipe or a device.

    To be called with the container's root as one's own, so that a link in it leads nowhere else.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EACCES, errno.ENXIO):
            return b""
        raise
    return read_database_from(fd)


def read_database_from(fd: int) -> bytes:
    """The same of an opened file, which is closed; it was opened without blocking."""
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_FILE_BYTES:
            return b""
        chunks = []
        left = MAX_FILE_BYTES
        piece = max(status.st_size, 4096)  # no more memory than there is to read
        while left > 0 and (chunk := os.read(fd, min(left, piece))):
            chunks.append(chunk)
            left -= len(chunk)
        return b"".join(chunks)
    finally:
        os.close(fd)
