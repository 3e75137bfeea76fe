"""A tar archive that comes as pieces: ustar, with what pax and GNU tar say before an entry.

`tarfile` reads it as well, at twice the time and with several copies of every byte.
"""

from __future__ import annotations

from tiffin.cli.failures import CommandFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

BLOCK = 512
FILE, HARD_LINK, SYMLINK, CHARACTER, BLOCK_DEVICE, DIRECTORY, FIFO = "0123456"
_MAX_EXTENSION = 1 << 20
_CAPABILITY = b"SCHILY.xattr.security.capability"


class Member:
    """One entry. `mtime` is in seconds."""

    def __init__(self, block: bytes, said: dict[bytes, bytes]) -> None:
        name, prefix = _text(block[0:100]), _text(block[345:500])
        if prefix and block[257:263] == b"ustar\0":
            name = prefix + b"/" + name
        self.kind = chr(block[156] or ord(FILE)).replace("7", FILE)
        self.name = said.get(b"path", name).decode("utf-8", "surrogateescape")
        self.link = said.get(b"linkpath", _text(block[157:257])).decode("utf-8", "surrogateescape")
        self.mode = _number(block[100:108]) & 0o7777
        self.size = int(said[b"size"]) if b"size" in said else _number(block[124:136])
        if self.kind != FILE:
            self.size = 0 if self.kind in "123456" else self.size
        if self.size < 0:
            raise ValueError(self.size)
        self.mtime = float(said[b"mtime"]) if b"mtime" in said else float(_number(block[136:148]))
        self.device = (_number(block[329:337]), _number(block[337:345]))
        self.capability = said.get(_CAPABILITY)
        if self.kind == FILE and self.name.endswith("/"):
            self.kind = DIRECTORY  # as before there was ustar


class TarReader:
    """Iterate for the members; `body` gives a file's bytes before the next one is asked for.

    `count` is how many bytes came. Raises CommandFailed for what is no archive.
    """

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = memoryview(b"")
        self._left = 0  # of the current body
        self._padding = 0
        self.count = 0

    def __iter__(self) -> Iterator[Member]:
        said: dict[bytes, bytes] = {}
        while (block := self._block()) is not None:
            kind, size = chr(block[156]), _number(block[124:136])
            if kind in "xLKg":
                said |= self._extension(kind, size)
                continue
            try:
                member = Member(block, said)
            except ValueError as error:
                raise CommandFailed("archive/tar: invalid tar header") from error
            said = {}
            self._left, self._padding = member.size, -member.size % BLOCK
            yield member
            for _ in self.body():
                pass
            self._exactly(self._padding)
        for piece in self._pieces:  # so that the connection ends well
            self.count += len(piece)

    def body(self) -> Iterator[memoryview]:
        while self._left:
            piece = self._some(self._left)
            self._left -= len(piece)
            yield piece

    def _block(self) -> bytes | None:
        """A header; None at the end."""
        if not self._fill():
            return None
        block = self._exactly(BLOCK)
        if not any(block):
            return None
        total = sum(block) - sum(block[148:156]) + 8 * 0x20
        if total != _number(block[148:156]):
            raise CommandFailed("archive/tar: invalid tar header")
        return block

    def _extension(self, kind: str, size: int) -> dict[bytes, bytes]:
        if size > _MAX_EXTENSION:
            raise CommandFailed("archive/tar: header field too long")
        data = self._exactly(size)
        self._exactly(-size % BLOCK)
        if kind == "g":
            return {}
        if kind == "x":
            return _records(data)
        return {b"path" if kind == "L" else b"linkpath": data.rstrip(b"\0")}

    def _fill(self) -> bool:
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return False
            self.count += len(piece)
            self._rest = memoryview(piece)
        return True

    def _some(self, size: int) -> memoryview:
        if not self._fill():
            raise CommandFailed("unexpected EOF")
        taken, self._rest = self._rest[:size], self._rest[size:]
        return taken

    def _exactly(self, size: int) -> bytes:
        found = b""
        while len(found) < size:
            found += self._some(size - len(found))
        return found


def _text(field: bytes) -> bytes:
    return field.partition(b"\0")[0]


def _number(field: bytes) -> int:
    if field and field[0] & 0x80:  # base 256
        return int.from_bytes(bytes([field[0] & 0x7F]) + field[1:], "big")
    digits = field.strip(b" \0")
    if digits.strip(b"01234567"):
        raise CommandFailed("archive/tar: invalid tar header")
    return int(digits or b"0", 8)


def _records(data: bytes) -> dict[bytes, bytes]:
    """`LENGTH KEY=VALUE\\n`, again and again."""
    found: dict[bytes, bytes] = {}
    at = 0
    while at < len(data):
        length, space, _ = data[at : at + 20].partition(b" ")
        if not space or not length.isdigit() or not int(length) > len(length):
            raise CommandFailed("archive/tar: invalid tar header")
        record = data[at + len(length) + 1 : at + int(length) - 1]
        key, _, value = record.partition(b"=")
        found[key] = value
        at += int(length)
    return found
