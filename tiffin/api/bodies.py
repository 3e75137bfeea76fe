"""Bodies that are read whole: small ones by everybody, large ones as far as there is room for all.

Who sends a large one slowly, or never to its end, takes room from others that are large, and from
nobody else.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tiffin.api.messages import Request
from tiffin.errors import InvalidArgument, Unavailable

SMALL_BYTES = 64 * 1024
LARGE_AT_A_TIME = 6
PATIENCE_SECONDS = 30.0

_large: asyncio.Semaphore | None = None  # of the loop that runs; made with the first


@asynccontextmanager
async def whole(request: Request, limit: int) -> AsyncIterator[bytes]:
    """The body, in memory for as long as the block lasts.

    Raises InvalidArgument for one of more than `limit` bytes, Unavailable where others that are
    large leave no room.
    """
    declared = request.header("content-length")
    if declared.isdecimal() and int(declared[:18]) > limit:
        raise InvalidArgument(f"request body is larger than {limit} bytes")
    parts = bytearray()
    room: asyncio.Semaphore | None = None
    try:
        async for data in request.body:
            if room is None and len(parts) + len(data) > SMALL_BYTES:
                room = await _room()
            parts += data
            if len(parts) > limit:
                raise InvalidArgument(f"request body is larger than {limit} bytes")
        yield bytes(parts)
    finally:
        if room is not None:
            room.release()


async def _room() -> asyncio.Semaphore:
    global _large  # noqa: PLW0603 (memory is the process's)
    if _large is None:
        _large = asyncio.Semaphore(LARGE_AT_A_TIME)
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await _large.acquire()
    except TimeoutError as error:
        raise Unavailable(
            f"{LARGE_AT_A_TIME} requests with bodies of more than {SMALL_BYTES} bytes are being "
            "received: try again later"
        ) from error
    return _large
