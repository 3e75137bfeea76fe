"""Progress: what a long verb says while it goes on, as the lines of Docker's JSON stream.

A verb is a coroutine that is given a `Reporter`; `stream` runs it and yields what it says. Who
stops listening cancels the verb. Amounts ("Downloading 3MB of 7MB") are dropped rather than queued
for a slow listener; everything else is told.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from typing import Any

Message = dict[str, Any]

_MAX_WAITING_AMOUNTS = 64
_STEP_BYTES = 512 * 1024


class Reporter:
    """Where a verb says how far it is. Any thread may call."""

    def __init__(self, put: Callable[[Message], None], waiting: Callable[[], int]) -> None:
        self._put = put
        self._waiting = waiting

    def say(self, message: Message) -> None:
        self._put(message)

    def status(self, status: str, identity: str = "") -> None:
        """A line of its own ("Pulling from x"), with the id that it is about."""
        self._put({"status": status, "id": identity} if identity else {"status": status})

    def step(self, identity: str, status: str) -> None:
        """The next state of one of several things that go on side by side."""
        self._put({"status": status, "progressDetail": {}, "id": identity})

    def amounts(self, identity: str, status: str, total: int) -> Callable[[int], None]:
        """A function to be called with the bytes done so far. A `total` of 0 is not known."""
        told = -_STEP_BYTES

        def tell(done: int) -> None:
            nonlocal told
            if (done < total or not total) and (
                done - told < _STEP_BYTES or self._waiting() > _MAX_WAITING_AMOUNTS
            ):
                return
            told = done
            message: Message = {
                "status": status,
                "progressDetail": {"current": done, "total": total} if total else {"current": done},
            }
            self._put({**message, "id": identity} if identity else message)

        return tell

    def stream(self, text: str) -> None:
        self._put({"stream": text})

    def aux(self, value: dict[str, Any]) -> None:
        self._put({"progressDetail": {}, "aux": value})


async def stream(work: Callable[[Reporter], Awaitable[None]]) -> AsyncGenerator[Message, None]:
    """Run the verb and yield its messages; its failure is raised after the last of them."""
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[Message | None] = asyncio.Queue()

    def put(message: Message | None) -> None:
        loop.call_soon_threadsafe(queue.put_nowait, message)

    async def run() -> None:
        try:
            await work(Reporter(put, queue.qsize))
        finally:
            put(None)

    task = asyncio.create_task(run())
    try:
        while (message := await queue.get()) is not None:
            yield message
        await task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await task
