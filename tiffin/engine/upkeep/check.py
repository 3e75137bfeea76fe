"""`tiffin system check`: looks at everything that the engine has made, and mends it if asked to.

At the engine's start one look is enough: nothing is under way. Later something may be just being
made or taken apart, so what is out of order is only that which still is at a second look. Safe to
run at any time and any number of times; a second repair finds what the first could not mend.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from tiffin.core.container import Container
from tiffin.core.lifecycle import Recovery
from tiffin.engine.locks import NamedLock
from tiffin.engine.upkeep.findings import Finding, Inspector, Leftover
from tiffin.engine.upkeep.running import RunningState
from tiffin.engine.upkeep.stored import StoredState
from tiffin.errors import TiffinError

log = logging.getLogger(__name__)

SECOND_LOOK_SECONDS = 2.0
GARBAGE_AGE_SECONDS = 600.0  # a younger blob may be about to get its record

_PROBLEMS = {
    Recovery.MARK_EXITED: "recorded as running, and had ended",
    Recovery.FINISH_REMOVAL: "its removal was not finished",
}


class Check:
    """Inspectors are asked in order, each after what the ones before have mended."""

    def __init__(self, running: RunningState, stored: StoredState) -> None:
        self._stored = stored
        self._inspectors = [*running.inspectors(), *stored.inspectors()]
        self._lock = NamedLock("check")
        self.at_start: list[Finding] = []  # what the engine's start has found, and mended

    async def start(self, recovered: Sequence[tuple[Container, Recovery]]) -> None:
        """Mend, while nothing is under way. `recovered`: what became of containers already."""
        self.at_start = [*_of_recovery(recovered), *self._stored.dropped()]
        for inspector in self._inspectors:
            for leftover in await _look(inspector):
                self.at_start.append(await leftover.mended())
        self._stored.minimum_age_seconds = GARBAGE_AGE_SECONDS

    async def run(self, *, repair: bool) -> list[Finding]:
        async with self._lock:
            first = [await _look(inspector) for inspector in self._inspectors]
            if not any(first):
                return []
            await asyncio.sleep(SECOND_LOOK_SECONDS)
            findings = []
            for inspector, before in zip(self._inspectors, first, strict=True):
                known = {leftover.key for leftover in before}
                still = [found for found in await _look(inspector) if found.key in known]
                findings += [await s.mended() if repair else s.seen() for s in still]
            return findings


def _of_recovery(recovered: Sequence[tuple[Container, Recovery]]) -> list[Finding]:
    return [
        Finding("container", container.name, _PROBLEMS[decision], mended=True)
        for container, decision in recovered
        if decision in _PROBLEMS
    ]


async def _look(inspector: Inspector) -> list[Leftover]:
    """One that cannot look does not keep the others from it, nor the engine from its start."""
    try:
        return await inspector()
    except (TiffinError, OSError) as error:
        name = getattr(inspector, "__name__", "inspector")
        log.exception("cannot inspect: %s", name)
        words = error.message if isinstance(error, TiffinError) else str(error)
        return [Leftover("check", name, f"cannot be made: {words}")]
