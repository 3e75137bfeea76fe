"""The tar format, read as a stream and written deterministically. PURE: bytes in, bytes out.

Read: ustar, GNU (long names, sparse, base-256 numbers), pax (records, sparse 0.0, 0.1 and 1.0, the
xattrs of SCHILY). Global pax headers are skipped, as by the field's other engines.
Written: ustar, with a pax header only where ustar has no room. Names are bytes throughout.
"""

from __future__ import annotations

import struct
import zlib

from tiffin.errors import InvalidArgument

TYPE_CHECKING = False  # typing's own, without the 5 ms that importing typing costs
if TYPE_CHECKING:
    from collections.abc import Iterator

BLOCK = 512
REGULAR, HARD_LINK, SYMLINK = b"0", b"1", b"2"
CHARACTER, BLOCK_DEVICE, DIRECTORY, FIFO = b"3", b"4", b"5", b"6"
END = bytes(2 * BLOCK)
XATTR_PREFIX = b"SCHILY.xattr."

MAX_EXTENSION_BYTES = 1024 * 1024  # one pax header or long name; Go's limit too
MAX_SPARSE_SEGMENTS = 100_000

_FIELDS = struct.Struct("100s8s8s8s12s12s8s1s100s8s32s32s8s8s155s12x")
_ZERO = bytes(BLOCK)
_ADLER = 65521
_WITHOUT_BODY = (HARD_LINK, SYMLINK, CHARACTER, BLOCK_DEVICE, DIRECTORY, FIFO)
_KINDS = {b"0": REGULAR, b"\0": REGULAR, b"7": REGULAR, b"S": REGULAR, b"D": DIRECTORY}
_KINDS.update({kind: kind for kind in _WITHOUT_BODY})
_MAX_ID = 2**32 - 2  # the last one means "unchanged" to chown


class Entry:
    """One member. `size` is what the file will have; its segments say where the body's bytes go."""

    __slots__ = (
        "gid",
        "kind",
        "link",
        "major",
        "minor",
        "mode",
        "mtime_ns",
        "name",
        "segments",
        "size",
        "uid",
        "xattrs",
    )

    def __init__(
        self,
        name: bytes,
        kind: bytes,
        *,
        mode: int = 0o644,
        uid: int = 0,
        gid: int = 0,
        size: int = 0,
        mtime_ns: int = 0,
        link: bytes = b"",
        device: tuple[int, int] = (0, 0),
    ):
        self.name = name
        self.kind = kind
        self.mode = mode
        self.uid = uid
        self.gid = gid
        self.size = size
        self.mtime_ns = mtime_ns
        self.link = link
        self.major, self.minor = device
        self.xattrs: dict[bytes, bytes] = {}
        self.segments: list[tuple[int, int]] | None = None  # sparse: (offset, length), in order


class Source:
    """A byte stream cut to measure. Raises InvalidArgument where the stream ends too early."""

    def __init__(self, chunks: Iterator[bytes]):
        self._chunks = chunks
        self._chunk: memoryview[int] = memoryview(b"")
        self._at = 0

    def read(self, count: int) -> bytes:
        """Exactly `count` bytes."""
        end = self._at + count
        if end <= len(self._chunk):
            data = bytes(self._chunk[self._at : end])
            self._at = end
            return data
        return b"".join(self.pieces(count))

    def pieces(self, count: int) -> Iterator[memoryview[int]]:
        """`count` bytes as they lie in memory: no copies."""
        while count:
            if self._at == len(self._chunk) and not self._next():
                raise InvalidArgument("unexpected EOF in archive")
            piece = self._chunk[self._at : self._at + count]
            self._at += len(piece)
            count -= len(piece)
            yield piece

    def skip(self, count: int) -> None:
        for _ in self.pieces(count):
            pass

    def skip_padding(self, count: int) -> None:
        """Like `skip`, but the stream may end here: docker's `build -f` sends no last padding."""
        while count and (self._at < len(self._chunk) or self._next()):
            skipped = min(count, len(self._chunk) - self._at)
            self._at += skipped
            count -= skipped

    def block(self) -> bytes | None:
        """The next header block; None at a clean end of the stream."""
        if self._at == len(self._chunk) and not self._next():
            return None
        return self.read(BLOCK)

    def drain(self) -> None:
        """Read to the end, so that whoever hashes the stream has seen all of it."""
        while self._next():
            pass

    def _next(self) -> bool:
        for chunk in self._chunks:
            if chunk:
                self._chunk = memoryview(chunk)
                self._at = 0
                return True
        self._chunk = memoryview(b"")
        self._at = 0
        return False


class Reader:
    """Iterate for entries; `body()` gives the current one's bytes; what is not read is skipped."""

    def __init__(self, source: Source):
        self._source = source
        self._left = 0
        self._padding = 0

    def __iter__(self) -> Iterator[Entry]:
        while (entry := self._next()) is not None:
            yield entry
        self._source.drain()

    def body(self) -> Iterator[memoryview[int]]:
        """The stored bytes of the entry last given: for a sparse one its segments, end to end."""
        for piece in self._source.pieces(self._left):
            self._left -= len(piece)
            yield piece

    def _next(self) -> Entry | None:
        self._skip_rest()
        pax: dict[bytes, bytes] = {}
        long_name = long_link = b""
        while True:
            block = self._source.block()
            if block is None:
                return None
            if block == _ZERO:
                return None
            fields = _checked_fields(block)
            kind = fields[7]
            if kind in (b"x", b"X"):
                pax = _pax_records(self._extension(fields[4]))
            elif kind == b"g":
                self._extension(fields[4])
            elif kind == b"L":
                long_name = self._extension(fields[4]).partition(b"\0")[0]
            elif kind == b"K":
                long_link = self._extension(fields[4]).partition(b"\0")[0]
            else:
                return self._entry(block, fields, pax, long_name, long_link)

    def _skip_rest(self) -> None:
        if self._left or self._padding:
            self._source.skip(self._left)
            self._source.skip_padding(self._padding)
            self._left = self._padding = 0

    def _extension(self, size_field: bytes) -> bytes:
        size = _number(size_field)
        if not 0 <= size <= MAX_EXTENSION_BYTES:
            raise InvalidArgument("invalid archive: extended header is too large")
        data = self._source.read(size)
        self._source.skip(-size % BLOCK)
        return data

    def _entry(
        self,
        block: bytes,
        fields: tuple[bytes, ...],
        pax: dict[bytes, bytes],
        long_name: bytes,
        long_link: bytes,
    ) -> Entry:
        kind = _KINDS.get(fields[7])
        if kind is None:
            letter = fields[7].decode("latin-1")
            raise InvalidArgument(f"invalid archive: unknown entry type {letter!r}")
        name = long_name or _plain_name(fields)
        size = _number(fields[4])
        if kind == REGULAR and fields[7] == b"\0" and name.endswith(b"/"):
            kind = DIRECTORY
        entry = Entry(
            name,
            kind,
            mode=_number(fields[1]) & 0o7777,
            uid=_number(fields[2]),
            gid=_number(fields[3]),
            size=size,
            mtime_ns=_number(fields[5]) * 1_000_000_000,
            link=long_link or fields[8].partition(b"\0")[0],
        )
        if kind in (CHARACTER, BLOCK_DEVICE):
            entry.major, entry.minor = _number(fields[12]), _number(fields[13])
        if pax:
            _apply_pax(entry, pax)
        _check_ranges(entry)
        if kind in _WITHOUT_BODY:
            entry.size = 0
        self._left = entry.size
        if fields[7] == b"D":
            self._left = size  # a GNU dump directory: a list of names, of no use here
        self._padding = -self._left % BLOCK
        if kind == REGULAR:
            self._sparse(entry, block, fields, pax)
        return entry

    def _sparse(
        self, entry: Entry, block: bytes, fields: tuple[bytes, ...], pax: dict[bytes, bytes]
    ) -> None:
        if fields[7] == b"S":
            self._gnu_sparse(entry, block)
        elif b"GNU.sparse.major" in pax:
            if (pax[b"GNU.sparse.major"], pax.get(b"GNU.sparse.minor", b"0")) != (b"1", b"0"):
                raise InvalidArgument("invalid archive: unknown sparse format")
            entry.segments = self._sparse_map_in_body()
            entry.size = _decimal(pax.get(b"GNU.sparse.realsize", b""))
        elif b"GNU.sparse.map" in pax or b"GNU.sparse.numblocks" in pax:
            numbers = pax.get(b"GNU.sparse.map", b"")
            entry.segments = _pairs([_decimal(part) for part in numbers.split(b",") if part])
            entry.size = _decimal(pax.get(b"GNU.sparse.size", b""))
        else:
            return
        _check_segments(entry, self._left)

    def _gnu_sparse(self, entry: Entry, block: bytes) -> None:
        segments = _gnu_segments(block, 386, 4)
        extended = block[482]
        entry.size = _number(block[483:495])
        while extended:
            more = self._source.read(BLOCK)
            segments += _gnu_segments(more, 0, 21)
            extended = more[504]
            if len(segments) > MAX_SPARSE_SEGMENTS:
                raise InvalidArgument("invalid archive: sparse map is too large")
        entry.segments = segments

    def _sparse_map_in_body(self) -> list[tuple[int, int]]:
        """Pax sparse 1.0: decimal lines at the start of the body, padded to whole blocks."""
        data = b""
        wanted = 1
        while data.count(b"\n") < wanted:
            if self._left < BLOCK or len(data) > MAX_EXTENSION_BYTES:
                raise InvalidArgument("invalid archive: bad sparse map")
            data += self._source.read(BLOCK)
            self._left -= BLOCK
            if wanted == 1 and b"\n" in data:
                wanted = 1 + 2 * _decimal(data.partition(b"\n")[0])
        return _pairs([_decimal(line) for line in data.split(b"\n")[1:wanted]])


def _plain_name(fields: tuple[bytes, ...]) -> bytes:
    name = fields[0].partition(b"\0")[0]
    if fields[9].startswith(b"ustar\0"):  # not GNU's "ustar  ", which keeps other things there
        prefix = fields[14].partition(b"\0")[0]
        if prefix:
            return prefix + b"/" + name
    return name


def _checked_fields(block: bytes) -> tuple[bytes, ...]:
    fields = _FIELDS.unpack(block)
    given = _number(fields[6])
    # Adler's first half is 1 + the sum of all bytes modulo 65521: the checksum at C's speed. The
    # checksum's own field counts as eight spaces.
    blanked = block[:148] + b"        " + block[156:]
    if zlib.adler32(blanked) & 0xFFFF != (1 + given) % _ADLER and given != _signed_sum(blanked):
        raise InvalidArgument("invalid archive: header checksum does not match")
    return fields


def _signed_sum(block: bytes) -> int:
    """Some old writers summed signed characters."""
    return sum(byte - 256 if byte > 127 else byte for byte in block)


def _number(field: bytes) -> int:
    """Octal digits or, with the top bit set, GNU's base 256."""
    if field[0] & 0x80:
        value = int.from_bytes(field, "big")
        bits = 8 * len(field)
        if field[0] & 0x40:
            return value - (1 << bits)
        return value & ~(1 << (bits - 1))
    digits = field.strip(b" \0").partition(b"\0")[0].rstrip()
    if not digits:
        return 0
    try:
        value = int(digits, 8)
    except ValueError as error:
        raise InvalidArgument("invalid archive: bad number in header") from error
    if value < 0:
        raise InvalidArgument("invalid archive: bad number in header")
    return value


def _decimal(text: bytes) -> int:
    if not text.isdigit() or len(text) > 20:
        raise InvalidArgument("invalid archive: bad number in extended header")
    return int(text)


def _time_ns(text: bytes) -> int:
    """ "-1.5" or "1350244992.023960108" in nanoseconds, exactly."""
    sign = -1 if text.startswith(b"-") else 1
    seconds, _, fraction = text.removeprefix(b"-").partition(b".")
    if fraction and not fraction.isdigit():
        raise InvalidArgument("invalid archive: bad time in extended header")
    return sign * (_decimal(seconds or b"0") * 1_000_000_000 + int(fraction[:9].ljust(9, b"0")))


def _pax_records(data: bytes) -> dict[bytes, bytes]:
    records: dict[bytes, bytes] = {}
    sparse: list[bytes] = []
    at = 0
    while at < len(data):
        space = data.find(b" ", at, at + 20)
        length = _decimal(data[at:space]) if space > at else 0
        record = data[space + 1 : at + length]
        if length < 5 or at + length > len(data) or record[-1:] != b"\n":
            raise InvalidArgument("invalid archive: bad extended header record")
        key, equals, value = record[:-1].partition(b"=")
        if not equals or not key:
            raise InvalidArgument("invalid archive: bad extended header record")
        if key in (b"GNU.sparse.offset", b"GNU.sparse.numbytes"):
            sparse.append(value)  # format 0.0: one record per number, so the last must not win
        records[key] = value
        at += length
    if sparse:
        records[b"GNU.sparse.map"] = b",".join(sparse)
    return records


def _apply_pax(entry: Entry, pax: dict[bytes, bytes]) -> None:
    for key, value in pax.items():
        if not value:
            continue  # an empty value deletes the record: the plain header counts
        if key in (b"path", b"GNU.sparse.name"):
            entry.name = pax.get(b"GNU.sparse.name", value)
        elif key == b"linkpath":
            entry.link = value
        elif key == b"size":
            entry.size = _decimal(value)
        elif key == b"uid":
            entry.uid = _decimal(value)
        elif key == b"gid":
            entry.gid = _decimal(value)
        elif key == b"mtime":
            entry.mtime_ns = _time_ns(value)
        elif key.startswith(XATTR_PREFIX):
            entry.xattrs[key[len(XATTR_PREFIX) :]] = value


def _check_ranges(entry: Entry) -> None:
    if b"\0" in entry.name or b"\0" in entry.link:
        raise InvalidArgument("invalid archive: NUL in a name")
    if not (0 <= entry.uid <= _MAX_ID and 0 <= entry.gid <= _MAX_ID):
        raise InvalidArgument(f"invalid archive: owner {entry.uid}:{entry.gid} is out of range")
    if not 0 <= entry.size < 2**63:
        raise InvalidArgument("invalid archive: number out of range")
    if not 0 <= entry.mtime_ns < 2**63:
        entry.mtime_ns = 0  # as Docker: no clock has it, which is no reason to refuse a file
    if not (0 <= entry.major < 2**12 and 0 <= entry.minor < 2**20):
        raise InvalidArgument("invalid archive: device number out of range")


def _gnu_segments(block: bytes, at: int, count: int) -> list[tuple[int, int]]:
    found = []
    for position in range(at, at + 24 * count, 24):
        offset, length = block[position : position + 12], block[position + 12 : position + 24]
        if offset[0] == 0:
            break
        found.append((_number(offset), _number(length)))
    return found


def _pairs(numbers: list[int]) -> list[tuple[int, int]]:
    if len(numbers) % 2 or len(numbers) > 2 * MAX_SPARSE_SEGMENTS:
        raise InvalidArgument("invalid archive: bad sparse map")
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def _check_segments(entry: Entry, stored: int) -> None:
    end = total = 0
    for offset, length in entry.segments or ():
        if offset < end or length < 0:
            raise InvalidArgument("invalid archive: sparse segments overlap")
        end = offset + length
        total += length
    if end > entry.size or total != stored or entry.size >= 2**63:
        raise InvalidArgument("invalid archive: sparse map does not fit")


def encode_header(entry: Entry) -> bytes:
    """The header blocks of `entry`: ustar, after a pax header if something does not fit in it."""
    records = _needed_records(entry)
    header = _ustar(entry, entry.name[:100], entry.link[:100])
    if not records:
        return header
    body = b"".join(_record(key, value) for key, value in sorted(records.items()))
    extension = Entry(_extension_name(entry.name), b"x", size=len(body))
    return _ustar(extension, extension.name, b"") + body + bytes(-len(body) % BLOCK) + header


def _needed_records(entry: Entry) -> dict[bytes, bytes]:
    records = {XATTR_PREFIX + key: value for key, value in entry.xattrs.items()}
    if len(entry.name) > 100 or not entry.name.isascii():
        records[b"path"] = entry.name
    if len(entry.link) > 100 or not entry.link.isascii():
        records[b"linkpath"] = entry.link
    if entry.size > 0o77777777777:
        records[b"size"] = b"%d" % entry.size
    if entry.uid > 0o7777777:
        records[b"uid"] = b"%d" % entry.uid
    if entry.gid > 0o7777777:
        records[b"gid"] = b"%d" % entry.gid
    seconds, fraction = divmod(entry.mtime_ns, 1_000_000_000)
    if fraction or not 0 <= seconds <= 0o77777777777:
        records[b"mtime"] = _time_text(entry.mtime_ns)
    return records


def _time_text(time_ns: int) -> bytes:
    seconds, fraction = divmod(abs(time_ns), 1_000_000_000)
    text = b"-%d" % seconds if time_ns < 0 else b"%d" % seconds
    return text + b"." + (b"%09d" % fraction).rstrip(b"0") if fraction else text


def _record(key: bytes, value: bytes) -> bytes:
    """ "<length> key=value\\n", where the length counts its own digits."""
    plain = len(key) + len(value) + 3
    length = plain + len(str(plain))
    if len(str(length)) != len(str(plain)):
        length = plain + len(str(length))
    return b"%d %s=%s\n" % (length, key, value)


def _extension_name(name: bytes) -> bytes:
    return b"PaxHeaders.0/" + name.rstrip(b"/").rpartition(b"/")[2][:80]


def _ustar(entry: Entry, name: bytes, link: bytes) -> bytes:
    seconds = entry.mtime_ns // 1_000_000_000
    block = _FIELDS.pack(
        name,
        b"%07o" % (entry.mode & 0o7777),
        b"%07o" % (entry.uid if entry.uid <= 0o7777777 else 0),
        b"%07o" % (entry.gid if entry.gid <= 0o7777777 else 0),
        b"%011o" % (entry.size if entry.size <= 0o77777777777 else 0),
        b"%011o" % (seconds if 0 <= seconds <= 0o77777777777 else 0),
        b"        ",
        entry.kind,
        link,
        b"ustar\x0000",
        b"",
        b"",
        b"%07o" % entry.major,
        b"%07o" % entry.minor,
        b"",
    )
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]
