"""`--restart on-unhealthy`: what its health check gives up is ended, to be started again.

Listens for the events by which that can come to be: the health turned, or the policy was changed
for a container that was unhealthy already.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from tiffin.core.health import UNHEALTHY
from tiffin.core.lifecycle import gives_up_unhealthy
from tiffin.engine.catalog import Catalog
from tiffin.engine.events import Event, Events
from tiffin.errors import TiffinError

log = logging.getLogger(__name__)

_TURNED = f"health_status: {UNHEALTHY}"


class UnhealthyRestarts:
    """`end` is what ends a container by its id; it looks again, under the container's lock."""

    def __init__(
        self, catalog: Catalog, events: Events, end: Callable[[str], Awaitable[None]]
    ) -> None:
        self._catalog = catalog
        self._end = end
        self._tasks: dict[str, asyncio.Task[None]] = {}
        events.watch(self._on_event)

    def resume(self) -> None:
        """What turned unhealthy just before the last daemon ended."""
        for container in self._catalog.live():
            self._consider(container.id)

    async def close(self) -> None:
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _on_event(self, event: Event) -> None:
        if event.type == "container" and event.action in (_TURNED, "update"):
            self._consider(event.actor_id)

    def _consider(self, container_id: str) -> None:
        container = self._catalog.find_id(container_id)
        if container is None or container_id in self._tasks:
            return
        if gives_up_unhealthy(container.host_config.restart_policy, container.state):
            task = asyncio.get_running_loop().create_task(self._carry_out(container_id))
            self._tasks[container_id] = task
            task.add_done_callback(lambda _: self._tasks.pop(container_id, None))

    async def _carry_out(self, container_id: str) -> None:
        try:
            await self._end(container_id)
        except TiffinError as error:
            log.warning("unhealthy and not ended container=%s: %s", container_id, error.message)
