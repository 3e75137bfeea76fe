"""Locks with names, for the loop. Who waits long for one is in the log, with the holder's stack."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Literal
from weakref import WeakValueDictionary

from tiffin.engine import stacks

log = logging.getLogger(__name__)

LONG_WAIT_SECONDS = 30.0


class NamedLock(asyncio.Lock):
    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self._holder: asyncio.Task[Any] | None = None
        self._waiting = 0

    @property
    def is_wanted(self) -> bool:
        """Whether somebody waits for it."""
        return self._waiting > 0

    async def acquire(self) -> Literal[True]:
        if self.locked():
            watch = _Watch(self)
            self._waiting += 1
            try:
                await super().acquire()
            finally:
                self._waiting -= 1
                watch.end()
        else:
            await super().acquire()
        self._holder = asyncio.current_task()
        return True

    def release(self) -> None:
        self._holder = None
        super().release()

    def holder(self) -> str:
        """Its name and where it is."""
        if self._holder is None:
            return "nobody\n"
        return f"{self._holder.get_name()}\n{stacks.of_task(self._holder)}"


class _Watch:
    """Complains after a long wait, and again whenever that has doubled."""

    def __init__(self, lock: NamedLock) -> None:
        self._lock = lock
        self._waiter = asyncio.current_task()
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self._timer = self._loop.call_later(LONG_WAIT_SECONDS, self._complain)

    def _complain(self) -> None:
        waited = self._loop.time() - self._began
        name = self._waiter.get_name() if self._waiter is not None else ""
        log.warning(
            "long wait for a lock lock=%s seconds=%.0f waiter=%s holder=%s",
            *(self._lock.name, waited, name, self._lock.holder()),
        )
        self._timer = self._loop.call_later(waited, self._complain)

    def end(self) -> None:
        self._timer.cancel()


class Locks:
    """One for each name, for as long as anybody holds or waits for it."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._locks: WeakValueDictionary[str, NamedLock] = WeakValueDictionary()

    def __len__(self) -> int:
        return len(self._locks)

    def of(self, name: str) -> NamedLock:
        lock = self._locks.get(name)
        if lock is None:
            lock = self._locks[name] = NamedLock(f"{self._kind} {name}")
        return lock
