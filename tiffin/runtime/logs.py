"""How a container's output becomes records: cut into lines, and written as Docker or we write them.

json-file is Docker's: one JSON object a line, {"log": text, "stream": "stdout", "time": RFC 3339},
with "attrs" before the time where labels, variables or a tag were asked for: log shippers read it.
A line of output longer than 16 KB becomes several records, of which only the last one's text ends
with a newline; output that stops without a newline ends without one. Text that is not UTF-8 is kept
as U+FFFD. local is our own and keeps every byte: a record holds all lines that came at once,

    length of the data (4) | time in nanoseconds (8) | stream (1) | data | length again (4)

in network order, so that it can be read from both ends.

Encoding line by line would cost more than everything else that a shim does, so a block of lines is
encoded at once, without leaving bytes: all of them carry one time.
"""

from __future__ import annotations

from struct import Struct
from time import gmtime

MAX_LINE_BYTES = 16 * 1024
LOCAL_HEAD = Struct(">IQB")
LOCAL_TAIL = Struct(">I")
STREAMS = {"stdout": 1, "stderr": 2}

# What JSON leaves alone, and the newline, which ends a record.
_PLAIN = bytes(c for c in range(0x20, 0x100) if c not in b'"\\') + b"\n"
_SHORT = {0x22: b'\\"', 0x5C: b"\\\\", 0x08: b"\\b", 0x09: b"\\t", 0x0C: b"\\f", 0x0D: b"\\r"}


class Lines:
    """Cuts a stream of bytes into blocks of whole records: what a log may take as they are."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """Records that are complete now: each one or more lines, or a 16 KB piece of one."""
        if self._rest:
            data = self._rest + data
        end = data.rfind(b"\n") + 1
        complete, self._rest = data[:end], data[end:]
        blocks = _without_long_lines(complete) if complete else []
        while len(self._rest) > MAX_LINE_BYTES:
            cut = _character_boundary(self._rest, MAX_LINE_BYTES)
            blocks.append(self._rest[:cut])
            self._rest = self._rest[cut:]
        return blocks

    @property
    def unfinished(self) -> bytes:
        """What was fed and is in no block yet."""
        return self._rest

    def finish(self) -> bytes:
        """The last piece, without a newline; empty if there is none."""
        rest, self._rest = self._rest, b""
        return rest


def _without_long_lines(block: bytes) -> list[bytes]:
    if _has_no_long_line(block):
        return [block]
    found = []
    for line in _lines(block):
        piece = line
        while len(piece) > MAX_LINE_BYTES:
            cut = _character_boundary(piece, MAX_LINE_BYTES)
            found.append(piece[:cut])
            piece = piece[cut:]
        found.append(piece)
    return found


def _lines(block: bytes) -> list[bytes]:
    return [line + b"\n" for line in block[:-1].split(b"\n")]


def _character_boundary(data: bytes, at: int) -> int:
    """`at`, or up to three bytes before it, so that no UTF-8 character is cut in two."""
    for back in range(4):
        if data[at - back] & 0xC0 != 0x80:
            return at - back
    return at


def _has_no_long_line(block: bytes) -> bool:
    """Found by a newline in each stretch of that length, which is far less than one a line."""
    start = 0
    while len(block) - start > MAX_LINE_BYTES:
        end = block.rfind(b"\n", start, start + MAX_LINE_BYTES)
        if end < 0:
            return False
        start = end + 1
    return True


def encode_block(block: bytes, stream: str, time_ns: int, attrs: str = "") -> bytes:
    """json-file records for a block of whole ones."""
    if not block.isascii():
        block = _text(block)
    for code in sorted(set(block.translate(None, _PLAIN)), reverse=True):  # the backslash first
        block = block.replace(bytes((code,)), _SHORT.get(code) or b"\\u%04x" % code)
    told = f'"stream":"{stream}","attrs":{attrs}' if attrs else f'"stream":"{stream}"'
    end = f'",{told},"time":"{format_time(time_ns)}"}}\n'.encode()
    if block.endswith(b"\n"):
        end = b"\\n" + end
        return b'{"log":"%b%b' % (block[:-1].replace(b"\n", end + b'{"log":"'), end)
    lines = block.replace(b"\n", b"\\n" + end + b'{"log":"')
    return b'{"log":"%b%b' % (lines, end)


def _text(block: bytes) -> bytes:
    try:
        block.decode()
    except UnicodeDecodeError:
        return block.decode("utf-8", "replace").encode()
    return block


def encode_local(block: bytes, stream: str, time_ns: int) -> bytes:
    """A record of the local driver."""
    head = LOCAL_HEAD.pack(len(block), time_ns, STREAMS[stream])
    return b"%b%b%b" % (head, block, LOCAL_TAIL.pack(len(block)))


def format_time(time_ns: int) -> str:
    """RFC 3339 with nanoseconds, UTC."""
    seconds, nanoseconds = divmod(time_ns, 1_000_000_000)
    t = gmtime(seconds)
    return f"{t[0]:04}-{t[1]:02}-{t[2]:02}T{t[3]:02}:{t[4]:02}:{t[5]:02}.{nanoseconds:09}Z"
