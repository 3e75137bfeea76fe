"""An archive on its way in, for a container whose lock is held while it is unpacked.

What comes as fast as from a client next door is unpacked as it comes; for the rest the lock would
wait for the client, so it has to be kept first.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager

from tiffin.errors import Conflict

HEAD_BYTES = 4 << 20
HEAD_SECONDS = 0.1
STALL_SECONDS = 5.0


class Incoming:
    """The chunks of `archive`, once."""

    def __init__(self, archive: AsyncIterator[bytes]) -> None:
        self._rest = archive
        self._head: deque[bytes] = deque()
        self._limit: asyncio.Timeout | None = None  # of the wait for a chunk
        self._since = 0.0  # when that began

    async def begins_fast(self) -> bool:
        """Whether the first of it came fast; or all of it is here."""
        loop = asyncio.get_running_loop()
        size, began = 0, loop.time()
        async for chunk in self._rest:
            self._head.append(chunk)
            size += len(chunk)
            if size >= HEAD_BYTES:
                return loop.time() - began <= HEAD_SECONDS
        return True

    @contextmanager
    def watched(self, is_wanted: Callable[[], bool]) -> Iterator[None]:
        """Meanwhile a client that stops sending is given up as soon as `is_wanted`.

        Then the next chunk is Conflict.
        """
        watch = asyncio.create_task(self._watch(is_wanted))
        try:
            yield
        finally:
            watch.cancel()

    async def _watch(self, is_wanted: Callable[[], bool]) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(STALL_SECONDS / 5)
            waits_long = loop.time() - self._since > STALL_SECONDS
            if self._limit is not None and waits_long and is_wanted():
                self._limit.reschedule(loop.time())

    def __aiter__(self) -> Incoming:
        return self

    async def __anext__(self) -> bytes:
        if self._head:
            return self._head.popleft()
        self._since = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(None) as self._limit:
                return await anext(self._rest)
        except TimeoutError as error:
            raise Conflict(
                "the archive does not go on, and another request waits for the container"
            ) from error
        finally:
            self._limit = None
