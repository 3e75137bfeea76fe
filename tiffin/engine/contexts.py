"""Where build contexts arrive: a scratch directory, and a jailed child that fills it from a stream.

Starting the child costs more than a small context does, so the next build's receiver is made ahead
and kept for a while. It holds nothing of any client: an empty directory, and a child that has not
read a byte.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import os
import socket
import threading
from collections.abc import AsyncIterator, Coroutine
from contextlib import ExitStack
from typing import Any, BinaryIO, cast

from tiffin.engine.buildhost import finish
from tiffin.errors import TiffinError
from tiffin.storage import jail, unpack
from tiffin.storage.store import Storage

log = logging.getLogger(__name__)

SPARE_SECONDS = 60.0


class Receiver:
    """One context's. Made blocking, in a thread; `close` takes everything away."""

    def __init__(self, storage: Storage) -> None:
        self._snapshots = storage.snapshots
        self._unpacked: concurrent.futures.Future[None] = concurrent.futures.Future()
        # Who waits for it may go, and cancel that: the end of the thread is told all the same.
        self._unpacked.set_running_or_notify_cancel()
        self._active = self._snapshots.prepare(None)
        with ExitStack() as undoing:
            undoing.callback(self._snapshots.remove, self._active)
            upper = self._snapshots.overlay(self._active).upper
            self.root = os.open(upper, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            undoing.callback(os.close, self.root)
            self._reading, self._writing = socket.socketpair()
            undoing.enter_context(self._reading)
            undoing.enter_context(self._writing)
            threading.Thread(target=self._unpack, name="context", daemon=True).start()
            undoing.pop_all()

    def _unpack(self) -> None:
        try:
            with self._reading, self._reading.makefile("rb", buffering=0) as stream:
                archive = cast(BinaryIO, stream)
                # Owners do not travel with a context: all of it is root's, as BuildKit has it.
                jail.unpack(archive, self.root, whiteouts=unpack.NAMES, owner=(0, 0))
        except BaseException as error:  # noqa: BLE001 - `receive` raises it
            self._unpacked.set_exception(error)
        else:
            self._unpacked.set_result(None)

    async def receive(self, stream: AsyncIterator[bytes]) -> None:
        """Raises InvalidArgument for what is no archive, and whatever the stream raises."""
        loop = asyncio.get_running_loop()
        self._writing.setblocking(False)
        unpacked = asyncio.wrap_future(self._unpacked)
        with self._writing:
            async for chunk in stream:
                # A client reads our answer only after it has sent all, so the rest is taken too.
                if chunk and not unpacked.done():
                    await self._send(loop, chunk)
        await unpacked

    async def _send(self, loop: asyncio.AbstractEventLoop, chunk: bytes) -> None:
        try:
            await loop.sock_sendall(self._writing, chunk)
        except (BrokenPipeError, ConnectionResetError):
            return  # the unpacking has ended and says why itself

    async def close(self) -> None:
        self._writing.close()
        await finish(asyncio.to_thread(self._take_away))

    def _take_away(self) -> None:
        concurrent.futures.wait([self._unpacked])
        os.close(self.root)
        self._snapshots.remove(self._active)


class Receivers:
    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._spare: Receiver | None = None
        self._expiry: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    async def take(self) -> Receiver:
        spare, self._spare = self._spare, None
        if spare is not None:
            return spare
        return await asyncio.to_thread(Receiver, self._storage)

    def make_spare(self) -> None:
        """In the background; it is given up when nobody takes it for a while."""
        if self._expiry is not None:
            self._expiry.cancel()
        if not self._closed:
            loop = asyncio.get_running_loop()
            self._expiry = loop.call_later(SPARE_SECONDS, self._expire)
            self._start(self._fill())

    async def close(self) -> None:
        self._closed = True
        if self._expiry is not None:
            self._expiry.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._drop()

    async def _fill(self) -> None:
        if self._spare is not None:
            return
        try:
            made = await asyncio.to_thread(Receiver, self._storage)
        except (TiffinError, OSError) as error:
            log.info(
                "no receiver made ahead: %s", error
            )  # the next build tries again, and says why
            return
        if self._spare is not None or self._closed:
            await made.close()
        else:
            self._spare = made

    def _expire(self) -> None:
        self._start(self._drop())

    async def _drop(self) -> None:
        spare, self._spare = self._spare, None
        if spare is not None:
            await spare.close()

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
