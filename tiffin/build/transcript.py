"""What each stage says, told stage after stage though they run side by side.

A stage that is ahead of its turn is heard up to a limit; then it waits. Nothing can wait in a
circle: a stage needs only stages before it, and those are told first.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator

from tiffin.build.host import Message

_LIMIT = 256  # messages


class Transcript:
    """One stage's messages. One writer, one reader."""

    def __init__(self, *, heard: bool = True):
        self._heard = heard
        self._messages: deque[Message] = deque()
        self._written = asyncio.Event()
        self._read = asyncio.Event()
        self._closed = False

    async def put(self, message: Message) -> None:
        if not self._heard:
            return
        while len(self._messages) >= _LIMIT and not self._closed:
            self._read.clear()
            await self._read.wait()
        self.put_now(message)

    def put_now(self, message: Message) -> None:
        """Without waiting for the reader: for the few and short."""
        if self._heard:
            self._messages.append(message)
            self._written.set()

    async def say(self, text: str) -> None:
        await self.put({"stream": text})

    def close(self) -> None:
        self._closed = True
        self._written.set()

    async def __aiter__(self) -> AsyncIterator[Message]:
        while True:
            while self._messages:
                message = self._messages.popleft()
                self._read.set()
                yield message
            if self._closed:
                return
            self._written.clear()
            await self._written.wait()
