"""Streaming answers: JSON lines, log frames, and how a failure ends one."""

from __future__ import annotations

import logging
import struct
from collections.abc import AsyncIterator, Mapping
from typing import Any

from tiffin.api.messages import JSON, Answer, Response, Stream, to_json
from tiffin.api.versions import Version
from tiffin.errors import TiffinError

log = logging.getLogger(__name__)

_FRAME = struct.Struct(">BxxxL")


def frame(stream: int, data: bytes) -> bytes:
    """Docker's multiplexed stream: one byte of stream (1 stdout, 2 stderr), length, payload."""
    return _FRAME.pack(stream, len(data)) + data


_SHORT = 1024
_HEADS = [[_FRAME.pack(stream, length) for length in range(_SHORT)] for stream in range(3)]


def frames(streams: list[int], lines: list[bytes]) -> bytes:
    """A frame for each line: clients take one for a line. Made for millions of them."""
    if streams.count(streams[0]) == len(streams):
        heads, pack, stream = _HEADS[streams[0]], _FRAME.pack, streams[0]
        return b"".join(
            [
                (heads[size] if (size := len(line)) < _SHORT else pack(stream, size)) + line
                for line in lines
            ]
        )
    return b"".join(map(frame, streams, lines))


def json_line(value: Mapping[str, Any]) -> bytes:
    return to_json(value) + b"\r\n"


def failure_line(error: BaseException) -> bytes:
    message = error.message if isinstance(error, TiffinError) else "internal error"
    return json_line({"errorDetail": {"message": message}, "error": message})


async def progress(messages: AsyncIterator[Mapping[str, Any]], version: Version) -> Answer:
    """A pull's, push's, load's or build's messages, one object a chunk.

    Waits for the first, so that what fails before anything was said is a status code; what fails
    later is the last line. What the engine reports as an error message ends the stream too.
    """
    try:
        first = await anext(messages)
    except StopAsyncIteration:
        return Response(200, b"", JSON)
    return Stream(_lines(first, messages, version), JSON, failure=failure_line)


def progress_at_once(messages: AsyncIterator[Mapping[str, Any]], version: Version) -> Answer:
    """As `progress`, for a load: Docker says 200 before it looks at the archive."""
    return Stream(_lines(None, messages, version), JSON, failure=failure_line)


async def _lines(
    first: Mapping[str, Any] | None, rest: AsyncIterator[Mapping[str, Any]], version: Version
) -> AsyncIterator[bytes]:
    try:
        if first is not None:
            yield json_line(_for_version(first, version))
        async for message in rest:
            yield json_line(_for_version(message, version))
    finally:
        close = getattr(rest, "aclose", None)
        if close is not None:
            await close()


def _for_version(message: Mapping[str, Any], version: Version) -> Mapping[str, Any]:
    """Up to 1.47 clients read the rendered `progress` and `error`; both are given throughout."""
    detail = message.get("progressDetail")
    if detail and "progress" not in message and version.before("1.48"):
        return {**message, "progress": rendered_progress(detail)}
    return message


def rendered_progress(detail: Mapping[str, Any]) -> str:
    """The bar that old clients print: "[==>      ]  1.2MB/9.9MB"."""
    current, total = int(detail.get("current", 0)), int(detail.get("total", 0))
    if total <= 0:
        return human_size(current).rjust(8) if current > 0 else ""
    percent = min(50, current * 50 // total)
    bar = "=" * percent + ">" + " " * (50 - percent)
    return f"[{bar[:51]}] {human_size(current).rjust(8)}/{human_size(total)}"


def human_size(size: float) -> str:
    """Go's units.HumanSize: four significant digits, decimal units."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if size < 1000:
            return f"{size:.4g}{unit}"
        size /= 1000
    return f"{size:.4g}PB"
