"""Waits with limits of their own, cheap enough for one before every request."""

from __future__ import annotations

import asyncio


class Patience:
    """Waits of one task for one thing, each with a limit of its own, on one timer.

    A timer for each wait would cost more than the wait. So the timer runs to the earliest limit
    that it was ever set to, and then looks whether that still holds.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiter: asyncio.Future[bool] | None = None
        self._limit: float | None = None  # of this wait
        self._timer: asyncio.TimerHandle | None = None

    def now(self) -> float:
        """Seconds on the loop's clock."""
        return self._loop.time()

    def reward(self) -> None:
        """What was waited for is here."""
        self._settle(True)

    async def wait(self, seconds: float | None) -> bool:
        """True when it is here, False when `seconds` have passed before."""
        self._limit = None if seconds is None else self.now() + seconds
        if self._limit is not None:
            self._arm(self._limit)
        self._waiter = self._loop.create_future()
        try:
            return await self._waiter
        finally:
            self._waiter = self._limit = None

    def end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _arm(self, limit: float) -> None:
        if self._timer is not None and self._timer.when() > limit:
            self._timer.cancel()
            self._timer = None
        if self._timer is None:
            self._timer = self._loop.call_at(limit, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._limit is None:
            return  # the next wait with a limit sets it again
        if self._limit <= self.now():
            self._settle(False)
        else:
            self._arm(self._limit)

    def _settle(self, here: bool) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(here)
