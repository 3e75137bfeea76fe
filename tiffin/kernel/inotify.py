"""Files that tell when they change: inotify, as a descriptor and its events."""

from __future__ import annotations

import ctypes
import os
import struct
from typing import NamedTuple

IN_MODIFY = 0x2
IN_MOVE_SELF = 0x800
IN_DELETE_SELF = 0x400
IN_CREATE = 0x100
IN_MOVED_TO = 0x80
IN_MOVED_FROM = 0x40
IN_Q_OVERFLOW = 0x4000

_libc = ctypes.CDLL(None, use_errno=True)
_header = struct.Struct("iIII")


class Event(NamedTuple):
    watch: int
    mask: int
    name: bytes


def open_inotify() -> int:
    """A non-blocking, close-on-exec descriptor. The caller closes it."""
    return _check(_libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC), "inotify_init1", None)


def watch(fd: int, path: str, mask: int) -> int:
    result = _libc.inotify_add_watch(fd, os.fsencode(path), ctypes.c_uint32(mask))
    return _check(result, "inotify_add_watch", path)


def read_events(fd: int) -> list[Event]:
    """What has happened since the last call; empty if nothing has."""
    try:
        data = os.read(fd, 65536)
    except BlockingIOError:
        return []
    events = []
    position = 0
    while position < len(data):
        number, mask, _cookie, length = _header.unpack_from(data, position)
        position += _header.size
        events.append(Event(number, mask, data[position : position + length].rstrip(b"\0")))
        position += length
    return events


def _check(result: int, call: str, path: str | None) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{call}: {os.strerror(number)}", path)
    return int(result)
