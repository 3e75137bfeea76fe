"""A tar archive as a stream of bytes: headers of ustar, and of pax where those are too small.

Small on purpose: `tarfile` costs a third of a cached build's client time to import.
"""

from __future__ import annotations

import posix
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

BLOCK = 512
PIECE = 1 << 18
END = bytes(2 * BLOCK)

_TYPES = {
    stat.S_IFREG: b"0",
    stat.S_IFLNK: b"2",
    stat.S_IFCHR: b"3",
    stat.S_IFBLK: b"4",
    stat.S_IFDIR: b"5",
    stat.S_IFIFO: b"6",
}
_LARGEST = 0o77777777777


class Header:
    """What an entry says of itself."""

    def __init__(self, name: bytes, mode: int, *, size: int = 0, mtime: int = 0):
        self.name = name
        self.mode = mode
        self.size = size
        self.mtime = max(mtime, 0)
        self.uid = 0
        self.gid = 0
        self.link = b""
        self.hard = False
        self.device = (0, 0)
        self.capability = b""  # the attribute security.capability

    def encode(self) -> bytes:
        kind = b"1" if self.hard else _TYPES[stat.S_IFMT(self.mode)]
        pax = {}
        if len(self.name) > 100 or not self.name.isascii():
            pax[b"path"] = self.name
        if len(self.link) > 100 or not self.link.isascii():
            pax[b"linkpath"] = self.link
        if self.size > _LARGEST:
            pax[b"size"] = b"%d" % self.size
        if self.capability:
            pax[b"SCHILY.xattr.security.capability"] = self.capability
        for key, number in ((b"uid", self.uid), (b"gid", self.gid)):
            if number > 0o7777777:
                pax[key] = b"%d" % number
        return (self._extension(pax) if pax else b"") + self._block(kind)

    def _extension(self, records: dict[bytes, bytes]) -> bytes:
        data = b"".join(_record(key, records[key]) for key in sorted(records))
        head = Header(b"PaxHeaders.0/" + self.name.rpartition(b"/")[2][:80], 0o644, size=len(data))
        return head._block(b"x") + padded(data)

    def _block(self, kind: bytes) -> bytes:
        block = bytearray(BLOCK)
        for start, field in (
            (0, self.name[:100]),
            (100, b"%07o" % (stat.S_IMODE(self.mode))),
            (108, b"%07o" % min(self.uid, 0o7777777)),
            (116, b"%07o" % min(self.gid, 0o7777777)),
            (124, b"%011o" % (self.size if self.size <= _LARGEST else 0)),
            (136, b"%011o" % self.mtime),
            (148, b"        "),
            (156, kind),
            (157, self.link[:100]),
            (257, b"ustar\x0000"),
            (329, b"%07o" % self.device[0]),
            (337, b"%07o" % self.device[1]),
        ):
            block[start : start + len(field)] = field
        block[148:156] = b"%06o\0 " % sum(block)
        return bytes(block)


def _record(key: bytes, value: bytes) -> bytes:
    """`LENGTH KEY=VALUE\\n`, the length counting itself."""
    size = len(key) + len(value) + 3
    length = size + len(str(size))
    if size + len(str(length)) != length:
        length = size + len(str(length))
    return b"%d %b=%b\n" % (length, key, value)


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % BLOCK)


def file_header(name: bytes, status: posix.stat_result) -> Header:
    header = Header(name, status.st_mode, mtime=int(status.st_mtime))
    if stat.S_ISREG(status.st_mode):
        header.size = status.st_size
    elif stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode):
        header.device = (posix.major(status.st_rdev), posix.minor(status.st_rdev))
    return header


def contents(path: bytes, size: int) -> Iterator[bytes]:
    """Exactly `size` bytes of the file, padded: what grew is cut, what shrank is filled."""
    descriptor = posix.open(path, posix.O_RDONLY | posix.O_NOFOLLOW)
    try:
        left = size
        while left:
            piece = posix.read(descriptor, min(left, PIECE))
            if not piece:
                piece = bytes(min(left, PIECE))
            left -= len(piece)
            yield piece
    finally:
        posix.close(descriptor)
    if size % BLOCK:
        yield bytes(-size % BLOCK)
