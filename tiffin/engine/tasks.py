"""Work that goes on without whoever began it: each task has an owner, and ends with it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, TypeVar

_T = TypeVar("_T")

log = logging.getLogger(__name__)


class Tasks:
    def __init__(self) -> None:
        self._cut_short: set[asyncio.Task[Any]] = set()
        self._finished: set[asyncio.Task[Any]] = set()
        self.closing = False

    def keep(self, work: Coroutine[Any, Any, _T]) -> asyncio.Task[_T]:
        """Somebody awaits it, who may go away; it goes on."""
        task = asyncio.get_running_loop().create_task(work)
        self._cut_short.add(task)
        task.add_done_callback(self._cut_short.discard)
        return task

    def own(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Nobody awaits it: a failure is logged."""
        task = asyncio.get_running_loop().create_task(work)
        self._cut_short.add(task)
        task.add_done_callback(self._note_end)
        return task

    def finish(self, work: Coroutine[Any, Any, None]) -> None:
        """What nobody waits for but `close`."""
        task = asyncio.get_running_loop().create_task(work)
        self._finished.add(task)
        task.add_done_callback(self._note_end)

    def _note_end(self, task: asyncio.Task[None]) -> None:
        self._cut_short.discard(task)
        self._finished.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("background step failed", exc_info=task.exception())

    async def close(self) -> None:
        self.closing = True
        for task in list(self._cut_short):
            task.cancel()
        await asyncio.gather(*self._cut_short, return_exceptions=True)
        await asyncio.gather(*self._finished, return_exceptions=True)
