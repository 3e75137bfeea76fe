"""`--chown` and USER as numbers, looked up in the tree that they are for.

The files come from an image: they are read without blocking, up to a limit, inside the root.
"""

from __future__ import annotations

import os
import stat

from tiffin.errors import InvalidArgument
from tiffin.kernel import rootpath

_MAX_BYTES = 1 << 20
_MAX_ID = 2**32 - 2  # the last one means "unchanged" to chown


def find_owner(root: int, text: str, *, strict: bool = True) -> tuple[int, int]:
    """ "user[:group]", names or numbers; a lone uid is the gid too. Raises InvalidArgument.

    With `strict` false an unknown name is root, as WORKDIR takes it.
    """
    user, colon, group = text.partition(":")
    uid, gid = _user(root, user, strict=strict)
    if colon:
        gid = _group(root, group, strict=strict)
    return uid, gid


def _user(root: int, user: str, *, strict: bool) -> tuple[int, int]:
    number = _number(user)
    if number is not None:
        return number, number
    for fields in _records(root, "/etc/passwd", 4):
        if fields[0] == user:
            uid, gid = _number(fields[2]), _number(fields[3])
            if uid is not None and gid is not None:
                return uid, gid
    if strict:
        raise InvalidArgument(f"unable to find user {user}: no matching entries in passwd file")
    return 0, 0


def _group(root: int, group: str, *, strict: bool) -> int:
    number = _number(group)
    if number is not None:
        return number
    for fields in _records(root, "/etc/group", 3):
        gid = _number(fields[2])
        if fields[0] == group and gid is not None:
            return gid
    if strict:
        raise InvalidArgument(f"unable to find group {group}: no matching entries in group file")
    return 0


def _number(text: str) -> int | None:
    if text == "root":
        return 0
    if not (text.isascii() and text.isdecimal()):
        return None
    if int(text[:11]) > _MAX_ID:
        raise InvalidArgument(f"uids and gids must be in range 0-{_MAX_ID}: {text}")
    return int(text)


def _records(root: int, path: str, count: int) -> list[list[str]]:
    try:
        fd = rootpath.open_in(root, path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return []  # an image without the file knows no names
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return []
        data = os.read(fd, _MAX_BYTES)
    finally:
        os.close(fd)
    lines = (line.split(":") for line in data.decode("utf-8", "surrogateescape").split("\n"))
    return [fields for fields in lines if len(fields) >= count]
