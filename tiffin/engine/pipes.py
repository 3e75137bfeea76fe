"""Bytes between threads and the loop, bounded both ways: `produced` comes out of what a thread
writes, `consumed` feeds what a thread, or a child of it, reads.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import suppress
from typing import BinaryIO

from tiffin.kernel.ownthread import in_own_thread

_CHUNK_BYTES = 256 * 1024
_WAITING_CHUNKS = 4
_PIPE_BYTES = 1 << 20


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
        if not self._held and len(data) >= _CHUNK_BYTES:
            self._put(bytes(data))  # no copy of what is bytes already
            return len(data)
        self._held += data
        if len(self._held) >= _CHUNK_BYTES:
            self.flush()
        return len(data)

    def flush(self) -> None:
        data, self._held = bytes(self._held), bytearray()
        self._put(data)

    def _put(self, data: bytes) -> None:
        self._room.acquire()
        if self._abandoned:
            raise _AbandonedError
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
    work = in_own_thread(run)
    try:
        while (data := await outlet.queue.get()) is not None:
            outlet.taken()
            yield data
        await asyncio.shield(work)
    finally:
        outlet.abandon()
        with suppress(Exception, asyncio.CancelledError):
            await asyncio.wait([work])
            work.exception()


class Begun:
    """Chunks of which the first is here already, and a word once nobody reads them any more."""

    def __init__(
        self, first: bytes | None, rest: AsyncGenerator[bytes, None], then: Callable[[], None]
    ) -> None:
        self._first = first
        self._rest = rest
        self._then = then

    def __aiter__(self) -> Begun:
        return self

    async def __anext__(self) -> bytes:
        first, self._first = self._first, None
        if first is not None:
            return first
        try:
            return await anext(self._rest)
        except StopAsyncIteration:
            self._end()
            raise

    async def aclose(self) -> None:
        try:
            await self._rest.aclose()
        finally:
            self._end()

    def _end(self) -> None:
        then, self._then = self._then, _nothing
        then()


def _nothing() -> None: ...


async def begun(chunks: AsyncGenerator[bytes, None], then: Callable[[], None] = _nothing) -> Begun:
    """What fails before the first chunk is raised here, while an answer can still tell of it."""
    try:
        first = await anext(chunks, None)
    except BaseException:
        then()
        raise
    return Begun(first, chunks, then)


async def consumed(source: AsyncIterator[bytes], read_from: Callable[[BinaryIO], None]) -> None:
    """Run `read_from` in a thread, on a pipe through which all of `source` goes.

    Where it fails before the end the rest of `source` is read and dropped, so that a client gets to
    see the answer. Returns, and raises, only once the thread has ended.
    """
    reading, writing = os.pipe2(os.O_CLOEXEC)
    with suppress(OSError):  # a user's share of pipe memory may be used up
        fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    os.set_blocking(writing, False)

    def run() -> None:
        with open(reading, "rb", buffering=0) as pipe:
            read_from(pipe)

    try:
        # A thread of its own: a client that sends slowly must not use up those that all share.
        work = in_own_thread(run)
    except RuntimeError:
        os.close(reading)
        os.close(writing)
        raise
    try:
        try:
            await _pour(source, writing)
        finally:
            os.close(writing)
        await asyncio.shield(work)
    finally:
        with suppress(Exception, asyncio.CancelledError):
            await asyncio.wait([work])
            work.exception()


async def _pour(source: AsyncIterator[bytes], writing: int) -> None:
    wanted = True
    async for chunk in source:
        view = memoryview(chunk)
        while wanted and view:
            try:
                view = view[os.write(writing, view) :]
            except BlockingIOError:
                await _writable(writing)
            except BrokenPipeError:
                wanted = False


async def _writable(descriptor: int) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    loop.add_writer(descriptor, lambda: None if ready.done() else ready.set_result(None))
    try:
        await ready
    finally:
        loop.remove_writer(descriptor)
