"""HTTP/1.1 as bytes: what a client's requests are, and what an answer looks like. No I/O here.

The head of a request is parsed by llhttp (httptools), strictly. Where its body ends is found here
(RFC 9112, 6 and 7.1), because whoever takes a connection over needs to know every byte that came
after it: llhttp does not tell where it stopped. Bytes go in as they arrive, at any boundary.
"""

from __future__ import annotations

import re

import httptools
import msgspec

from tiffin.errors import NotFound

MAX_HEAD_BYTES = 64 * 1024
MAX_CHUNK_LINE = 256  # a chunk's size and its extensions, which nobody uses
MAX_LENGTH_DIGITS = 18
LAST_CHUNK = b"0\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

_FIELD = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*")  # RFC 9110, 5.1
_HEX = frozenset(b"0123456789abcdefABCDEF")


class MalformedRequest(Exception):
    """What came is not HTTP. `status` is what to answer before the connection is closed."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


class Head(msgspec.Struct, frozen=True):
    """A request without its body. `target` as it was sent; names of headers in lower case."""

    method: str
    target: str
    headers: dict[str, str]
    http11: bool
    keep_alive: bool
    length: int | None  # of the body in bytes; None: chunked

    @property
    def upgrade(self) -> bool:
        return "upgrade" in self.headers

    @property
    def expects_continue(self) -> bool:
        return self.http11 and self.headers.get("expect", "").lower() == "100-continue"


class RequestReader:
    """The requests of one connection, one after the other: head, body, head, body ...

    `feed` takes what arrived. `head` gives the next request once it is whole. `body` gives what
    there is of its body, b"" while there is nothing yet, and None at its end; only then may `head`
    be asked again. All but `feed` raise MalformedRequest, after which nothing more can be read, and
    `head` raises NotFound for a method that nobody knows.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._searched = 0  # of a head that is not whole yet
        self._body: _Sized | _Chunked = _Sized(0)

    def __len__(self) -> int:
        """How many bytes wait to be read."""
        return len(self._buffer)

    def feed(self, data: bytes) -> None:
        self._buffer += data

    def head(self) -> Head | None:
        buffer = self._buffer
        if buffer and not 0x41 <= buffer[0] <= 0x5A:
            raise MalformedRequest("invalid method")
        end = buffer.find(b"\r\n\r\n", max(0, self._searched - 3))
        if end < 0 or end > MAX_HEAD_BYTES:
            self._refuse_what_is_no_head(end)
            self._searched = len(buffer)
            return None
        self._searched = 0
        head = _parse_head(bytes(memoryview(buffer)[: end + 4]))
        del buffer[: end + 4]
        self._body = _Chunked() if head.length is None else _Sized(head.length)
        return head

    def body(self) -> bytes | None:
        if self._body.ended:
            return None
        data = self._body.take(self._buffer)
        return None if not data and self._body.ended else data

    @property
    def body_ended(self) -> bool:
        return self._body.ended

    def rest(self) -> bytes:
        """What came after what was read, for who takes the connection over."""
        rest = bytes(self._buffer)
        self._buffer.clear()
        return rest

    def _refuse_what_is_no_head(self, end: int) -> None:
        """Say early what can never become one, instead of waiting for its end."""
        if end > MAX_HEAD_BYTES or len(self._buffer) > MAX_HEAD_BYTES:
            raise MalformedRequest("the request's headers are too long", 431)
        if b"\n\n" in self._buffer:
            raise MalformedRequest("a line ends without a carriage return")


class _Sized:
    """A body of a known number of bytes (RFC 9112, 6.2)."""

    def __init__(self, length: int) -> None:
        self._left = length
        self.ended = not length

    def take(self, buffer: bytearray) -> bytes:
        if len(buffer) <= self._left:
            data = bytes(buffer)
            buffer.clear()
        else:
            data = bytes(memoryview(buffer)[: self._left])
            del buffer[: self._left]
        self._left -= len(data)
        self.ended = not self._left
        return data


class _Chunked:
    """A body in chunks (RFC 9112, 7.1); extensions and trailers are read and forgotten."""

    def __init__(self) -> None:
        self._left = 0  # of the chunk that is being read
        self._after_data = False  # its line end is still to come
        self._trailer: int | None = None  # bytes of trailer seen, once the last chunk was
        self.ended = False

    def take(self, buffer: bytearray) -> bytes:
        views = [memoryview(buffer)]  # of all of it, and of each piece: nothing is copied twice
        position, size = 0, len(buffer)
        try:
            while position < size and not self.ended:
                if self._left:
                    part = views[0][position : position + self._left]
                    views.append(part)
                    position += len(part)
                    self._left -= len(part)
                    self._after_data = not self._left
                    continue
                stop = buffer.find(b"\r\n", position)
                if stop < 0:
                    self._refuse_long_line(size - position)
                    break
                self._line(buffer[position:stop])
                position = stop + 2
            data = b"".join(views[1:])
        finally:
            for view in views:  # or the buffer could not shrink
                view.release()
        del buffer[:position]
        return data

    def _line(self, line: bytearray) -> None:
        if self._after_data:
            if line:
                raise MalformedRequest("a chunk is longer than its size")
            self._after_data = False
        elif self._trailer is None:
            self._left = _chunk_size(line)
            if not self._left:
                self._trailer = 0
        elif line:
            if not _FIELD.fullmatch(line):
                raise MalformedRequest("invalid trailer")
            self._trailer += len(line)
            if self._trailer > MAX_HEAD_BYTES:
                raise MalformedRequest("the request's trailers are too long", 431)
        else:
            self.ended = True

    def _refuse_long_line(self, length: int) -> None:
        limit = MAX_CHUNK_LINE if self._trailer is None else MAX_HEAD_BYTES
        if self._after_data and length > 1:
            raise MalformedRequest("a chunk is longer than its size")
        if length > limit:
            raise MalformedRequest("a line of a chunk is too long")


def _chunk_size(line: bytearray) -> int:
    digits, _, extension = line.partition(b";")
    digits = digits.rstrip(b" \t")
    if not 1 <= len(digits) <= 15 or not _HEX.issuperset(digits):
        raise MalformedRequest("invalid size of a chunk")
    if len(line) > MAX_CHUNK_LINE or b"\n" in extension or b"\r" in extension:
        raise MalformedRequest("invalid extension of a chunk")
    return int(digits, 16)


class _Collector:
    """What llhttp calls back with."""

    def __init__(self) -> None:
        self.target = b""
        self.fields: list[tuple[bytes, bytes]] = []
        self.complete = False

    def on_url(self, part: bytes) -> None:
        self.target += part

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name, value))

    def on_headers_complete(self) -> None:
        self.complete = True


def _parse_head(data: bytes) -> Head:
    seen = _Collector()
    parser = httptools.HttpRequestParser(seen)
    try:
        parser.feed_data(data)
    except httptools.HttpParserUpgrade:
        pass  # to another protocol, after this head
    except httptools.HttpParserInvalidMethodError as error:
        raise NotFound("page not found") from error
    except httptools.HttpParserError as error:
        raise MalformedRequest(str(error) or "not HTTP") from error
    version = parser.get_http_version()
    if not seen.complete or version not in ("1.1", "1.0"):
        raise MalformedRequest("not HTTP/1.1")
    headers = _headers(seen.fields)
    http11 = version == "1.1"
    if http11 and "host" not in headers:
        raise MalformedRequest("missing Host header")
    try:
        target = seen.target.decode("ascii")
    except UnicodeDecodeError as error:
        raise MalformedRequest("invalid character in the target") from error
    return Head(
        parser.get_method().decode("ascii"),
        target,
        headers,
        http11,
        http11 and "close" not in headers.get("connection", "").lower(),
        _length(headers),
    )


# Twice any of these is a request that two parsers may read in two ways.
_ONCE = frozenset({"host", "content-length", "transfer-encoding"})


def _headers(fields: list[tuple[bytes, bytes]]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for raw_name, value in fields:
        name = raw_name.decode("ascii").lower()
        if name not in headers:  # of several, the first counts, as for Go
            headers[name] = value.decode("latin-1").strip(" \t")
        elif name in _ONCE:
            raise MalformedRequest(f"more than one {raw_name.decode('ascii')} header")
    return headers


def _length(headers: dict[str, str]) -> int | None:
    coding, length = headers.get("transfer-encoding"), headers.get("content-length")
    if coding is not None:
        if length is not None:
            raise MalformedRequest("both Transfer-Encoding and Content-Length are given")
        if coding.lower() != "chunked":
            raise MalformedRequest(f"unsupported transfer encoding: {coding!r}", 501)
        return None
    if length is None:
        return 0
    if not (length.isascii() and length.isdigit() and len(length) <= MAX_LENGTH_DIGITS):
        raise MalformedRequest("invalid Content-Length")
    return int(length)


# Answers.


def head_of_answer(status: int, headers: list[tuple[str, str]]) -> bytes:
    """The status line and `headers`. Raises ValueError for a value that would not stay one line."""
    lines = [f"HTTP/1.1 {status} {REASONS.get(status, 'Unknown')}"]
    lines += [f"{name}: {value}" for name, value in headers]
    text = "\r\n".join(lines)
    if text.count("\n") != len(headers) or text.count("\r") != len(headers):
        raise ValueError(f"line break in a header of an answer: {headers!r}")
    return text.encode("latin-1") + b"\r\n\r\n"


def chunk(data: bytes) -> tuple[bytes, bytes, bytes]:
    """One chunk of an answer in pieces, so that long data need not be copied. Never empty."""
    return b"%x\r\n" % len(data), data, b"\r\n"


REASONS = {
    101: "UPGRADED",
    200: "OK",
    201: "Created",
    202: "Accepted",
    204: "No Content",
    301: "Moved Permanently",
    304: "Not Modified",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    406: "Not Acceptable",
    409: "Conflict",
    413: "Request Entity Too Large",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    501: "Not Implemented",
    503: "Service Unavailable",
}
