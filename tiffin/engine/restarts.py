"""Restarts by policy: those that wait for their moment, and how long they wait."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from tiffin.core import lifecycle
from tiffin.core.container import Container, Status
from tiffin.engine.catalog import Catalog
from tiffin.engine.linking import needed
from tiffin.engine.tasks import Tasks
from tiffin.errors import TiffinError

log = logging.getLogger(__name__)


class Restarts:
    def __init__(
        self, catalog: Catalog, tasks: Tasks, start: Callable[[str], Awaitable[object]]
    ) -> None:
        """`start` is not cut short by a restart that is called off."""
        self._catalog = catalog
        self._tasks = tasks
        self._start = start
        self._waiting: dict[str, asyncio.Task[None]] = {}
        self._backoff_seconds: dict[str, float] = {}

    def __contains__(self, container_id: str) -> bool:
        return container_id in self._waiting

    def schedule(self, container: Container, uptime_seconds: float) -> None:
        delay = lifecycle.next_backoff(self._backoff_seconds.get(container.id, 0.0), uptime_seconds)
        self._backoff_seconds[container.id] = delay
        self._waiting[container.id] = self._tasks.own(self._start_later(container.id, delay))

    def cancel(self, container_id: str) -> None:
        task = self._waiting.pop(container_id, None)
        if task is not None and task is not asyncio.current_task():
            task.cancel()

    def forget_backoff(self, container_id: str) -> None:
        """The next one waits as briefly as a first."""
        self._backoff_seconds.pop(container_id, None)

    def with_daemon(self) -> None:
        """Start what its policy says runs whenever the daemon does, and what was to start again."""
        # The oldest first: who links or joins another came later, and waits for it.
        for container in reversed(self._catalog.all()):
            if container.state.status in lifecycle.LIVE:
                continue
            if container.state.status is Status.RESTARTING or lifecycle.restarts_with_daemon(
                container.host_config.restart_policy, container.state
            ):
                others = [self._waiting[one] for one in needed(container) if one in self._waiting]
                task = self._tasks.own(self._start_after(container.id, others))
                self._waiting[container.id] = task

    async def _start_after(self, container_id: str, others: list[asyncio.Task[None]]) -> None:
        if others:
            await asyncio.wait(others)
        await self._start_later(container_id, 0)

    async def _start_later(self, container_id: str, delay_seconds: float) -> None:
        await asyncio.sleep(delay_seconds)
        self._waiting.pop(container_id, None)
        try:
            await self._start(container_id)
        except TiffinError as error:
            log.warning("restart failed container=%s: %s", container_id, error.message)
