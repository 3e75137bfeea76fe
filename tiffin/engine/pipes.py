"""Bytes between threads and the loop: what a thread writes comes out as a stream, bounded."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

_CHUNK_BYTES = 256 * 1024
_WAITING_CHUNKS = 4


class _AbandonedError(Exception):
    """Nobody reads any more."""


class _Outlet:
    """A file to write to in a thread, whose bytes come out on the loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._room = threading.Semaphore(_WAITING_CHUNKS)
        self.queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._held = bytearray()
        self._abandoned = False

    def write(self, data: bytes) -> int:
        self._held += data
        if len(self._held) >= _CHUNK_BYTES:
            self.flush()
        return len(data)

    def flush(self) -> None:
        self._room.acquire()
        if self._abandoned:
            raise _AbandonedError
        data, self._held = bytes(self._held), bytearray()
        if data:
            self._loop.call_soon_threadsafe(self.queue.put_nowait, data)
        else:
            self._room.release()

    def taken(self) -> None:
        self._room.release()

    def abandon(self) -> None:
        self._abandoned = True
        self._room.release()


async def produced(write_to: Callable[[_Outlet], None]) -> AsyncGenerator[bytes, None]:
    """What `write_to` writes, run in a thread. Its failure is raised after what it wrote before."""
    loop = asyncio.get_running_loop()
    outlet = _Outlet(loop)

    def run() -> None:
        try:
            write_to(outlet)
            outlet.flush()
        finally:
            loop.call_soon_threadsafe(outlet.queue.put_nowait, None)

    # A thread of its own: a client that reads slowly must not use up those that all share.
    pool = ThreadPoolExecutor(1, thread_name_prefix="writer")
    work = loop.run_in_executor(pool, run)
    try:
        while (data := await outlet.queue.get()) is not None:
            outlet.taken()
            yield data
        await work
    finally:
        outlet.abandon()
        with suppress(Exception, asyncio.CancelledError):
            await asyncio.wait([work])
            work.exception()
        pool.shutdown(wait=False)
