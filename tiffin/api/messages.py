"""What a route handler sees and gives back: requests, responses, streams.

A handler takes a Request and returns an Answer. It knows no sockets: a hijack is asked for.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Protocol
from urllib.parse import parse_qsl

import msgspec

from tiffin.api.versions import NEWEST, Version
from tiffin.core.timestamps import parse_time
from tiffin.errors import InvalidArgument

MAX_JSON_BYTES = 8 * 1024 * 1024
JSON = "application/json"
TAR = "application/x-tar"
RAW_STREAM = "application/vnd.docker.raw-stream"
MULTIPLEXED_STREAM = "application/vnd.docker.multiplexed-stream"

_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2}).{0,2}", re.DOTALL)
_NO_TEXT = re.compile("[\ud800-\udfff]")
_DIGITS = re.compile(r"[+-]?[0-9]+", re.ASCII)
_FALSE_WORDS = frozenset({"", "0", "no", "false", "none"})


class Query:
    """The query of a request, with Go's ideas of true and false."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._values: dict[str, list[str]] = {}
        if not text:
            return
        if wrong := _BAD_ESCAPE.search(text):
            raise InvalidArgument(f'invalid URL escape "{wrong[0]}"')
        try:
            pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=1000)
        except ValueError as error:
            raise InvalidArgument(f"invalid query: {error}") from error
        for key, value in pairs:
            self._values.setdefault(key, []).append(value)

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def get(self, key: str, default: str = "") -> str:
        values = self._values.get(key)
        return values[0] if values else default

    def path(self, key: str) -> str:
        """A file's name: bytes that are no UTF-8 are escaped as os.fsencode wants them."""
        pairs = parse_qsl(self.text, keep_blank_values=True, errors="surrogateescape")
        return next((value for name, value in pairs if name == key), "")

    def all(self, key: str) -> list[str]:
        return self._values.get(key, [])

    def boolean(self, key: str, default: bool = False) -> bool:
        """Docker's httputils.BoolValue: everything but these few words is true."""
        if key not in self._values:
            return default
        return self.get(key).strip().lower() not in _FALSE_WORDS

    def integer(self, key: str, default: int = 0) -> int:
        text = self.get(key)
        if not text:
            return default
        digits = text[1:] if text[0] in "+-" else text
        if not (digits.isascii() and digits.isdigit()):
            raise InvalidArgument(f'strconv.Atoi: parsing "{text}": invalid syntax')
        if len(digits) > 19 or not -(2**63) <= int(text) < 2**63:
            raise InvalidArgument(f'strconv.Atoi: parsing "{text}": value out of range')
        return int(text)

    def moment(self, key: str, now_ns: int) -> int:
        """A time, refused as by Docker, which reads nothing but seconds here."""
        text = self.get(key)
        try:
            return parse_time(text, now_ns)
        except InvalidArgument as error:
            seconds, _, fraction = text.partition(".")
            digits = fraction if _DIGITS.fullmatch(seconds) and fraction else seconds
            why = "value out of range" if _DIGITS.fullmatch(digits) else "invalid syntax"
            raise InvalidArgument(f'strconv.ParseInt: parsing "{digits}": {why}') from error


class Body(Protocol):
    """A request's body, read once, with back-pressure on the client."""

    def __aiter__(self) -> AsyncIterator[bytes]: ...

    async def read(self, limit: int) -> bytes:
        """All of it. Raises InvalidArgument beyond `limit` bytes."""
        ...


class HijackedConnection(msgspec.Struct, frozen=True):
    """A client's connected socket that is ours alone now. Whoever holds it closes `descriptor`."""

    descriptor: int
    early: bytes  # input that came with the request


class Request(msgspec.Struct):
    method: str
    path: str
    query: Query
    headers: Mapping[str, str]  # names in lower case
    body: Body
    # Takes the stream's content type; or a whole head of an answer, to be sent instead of ours.
    hijack: Callable[..., Awaitable[HijackedConnection]]
    version: Version = NEWEST
    id: str = ""
    chunks: bool = True  # the client knows of chunked answers: HTTP/1.1
    parameters: dict[str, str] = msgspec.field(default_factory=dict)

    def header(self, name: str) -> str:
        return self.headers.get(name, "")


class Response(msgspec.Struct, frozen=True):
    """A whole answer."""

    status: int = 200
    body: bytes = b""
    content_type: str = ""
    headers: Mapping[str, str] = msgspec.field(default_factory=dict)


class Stream(msgspec.Struct, frozen=True):
    """An answer whose headers are sent at once and whose chunks are flushed one by one.

    `failure` makes the last chunk out of an error that came after the headers; without it the
    connection is cut, so that the client sees that the answer is incomplete.
    """

    chunks: AsyncIterator[bytes]
    content_type: str
    headers: Mapping[str, str] = msgspec.field(default_factory=dict)
    failure: Callable[[BaseException], bytes] | None = None
    status: int = 200


class Hijacked(msgspec.Struct, frozen=True):
    """The handler took the connection; nothing is left to answer."""


Answer = Response | Stream | Hijacked
Handler = Callable[[Request], Awaitable[Answer]]


def to_json(value: Any) -> bytes:
    """What is no UTF-8, as a file's name may be, is told as U+FFFD, as by Go's encoder."""
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:
        return msgspec.json.encode(_legible(msgspec.to_builtins(value)))


def _legible(value: Any) -> Any:
    if isinstance(value, str):
        return _NO_TEXT.sub("\ufffd", value)
    if isinstance(value, dict):
        return {_legible(key): _legible(item) for key, item in value.items()}
    return list(map(_legible, value)) if isinstance(value, list | tuple) else value


def json_response(
    value: Any, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    return Response(status, to_json(value) + b"\n", JSON, headers or {})


def error_response(status: int, message: str) -> Response:
    if status in (204, 304):
        return Response(status)
    return json_response({"message": message}, status)


NO_CONTENT = Response(204)
