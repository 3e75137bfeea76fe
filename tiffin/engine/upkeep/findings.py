"""What is found out of order, and what would mend it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import msgspec

from tiffin.errors import TiffinError

log = logging.getLogger(__name__)


class Finding(msgspec.Struct, frozen=True, rename="pascal"):
    """For people and programs. `error` says why it could not be mended; "" also if not tried."""

    kind: str  # container, image, volume, snapshot, link, cgroup, ...
    subject: str  # which
    problem: str
    mended: bool = False
    error: str = ""


class Leftover:
    """One thing out of order. Without `mend` a person has to decide."""

    def __init__(
        self,
        kind: str,
        subject: str,
        problem: str,
        mend: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        self.kind = kind
        self.subject = subject
        self.problem = problem
        self._mend = mend

    @property
    def key(self) -> tuple[str, str, str]:
        return self.kind, self.subject, self.problem

    def seen(self) -> Finding:
        return Finding(*self.key)

    async def mended(self) -> Finding:
        """What became of the attempt; never raises for one that fails."""
        if self._mend is None:
            return self.seen()
        try:
            await self._mend()
        except (TiffinError, OSError) as error:
            words = error.message if isinstance(error, TiffinError) else str(error)
            log.warning("not mended %s=%s: %s", self.kind, self.subject, words)
            return Finding(*self.key, error=words)
        log.info("mended %s=%s problem=%s", *self.key)
        return Finding(*self.key, mended=True)


class Once:
    """One mending for many leftovers: the first has it done, all are told what came of it."""

    def __init__(self, work: Callable[[], Coroutine[Any, Any, object]]) -> None:
        self._work = work
        self._task: asyncio.Task[object] | None = None

    async def __call__(self) -> None:
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._work())
        await asyncio.shield(self._task)


Inspector = Callable[[], Awaitable[list[Leftover]]]
