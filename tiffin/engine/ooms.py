"""Who was killed for want of memory while the container goes on: told when it happens.

Of containers with a limit of memory only. What happens while no daemon runs is told by the shim,
with the end of the container.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable

from tiffin.core.container import Container
from tiffin.kernel import inotify, oom
from tiffin.kernel.cgroup import Cgroup

log = logging.getLogger(__name__)


class OOMWatch:
    def __init__(
        self, group_of: Callable[[str], Cgroup | None], tell: Callable[[str], None]
    ) -> None:
        """`tell` is called on the loop with the container's id, each time."""
        self._group_of = group_of
        self._tell = tell
        self._told: set[str] = set()
        self._events: dict[str, int] = {}  # v1: eventfd of a container
        self._notifier = -1  # v2: one inotify for all
        self._watches: dict[int, str] = {}
        self._kills: dict[str, int] = {}

    def watch(self, container: Container) -> None:
        """Idempotent; nothing happens to who has no limit, not even a look at its cgroup."""
        if not container.host_config.memory:
            return
        container_id = container.id
        group = self._group_of(container_id)
        if group is None or container_id in self._kills or not group.memory_limit():
            return
        self._kills[container_id] = group.oom_kills()
        try:
            if group.layout.version == 2:
                self._watch_v2(container_id, group)
            else:
                self._watch_v1(container_id, group)
        except OSError as error:  # it has ended, or there are no descriptors left
            log.warning("no news of memory container=%s: %s", container_id, error)

    def _watch_v1(self, container_id: str, group: Cgroup) -> None:
        event = oom.open_event_v1(group.directory("memory"))
        self._events[container_id] = event
        asyncio.get_running_loop().add_reader(event, self._on_event_v1, container_id, event)

    def _on_event_v1(self, container_id: str, event: int) -> None:
        try:
            os.eventfd_read(event)
        except BlockingIOError:
            return
        group = self._group_of(container_id)
        if group is None or not group.exists():
            self._close(container_id)  # that was the cgroup's end
        else:
            self._note(container_id)

    def _watch_v2(self, container_id: str, group: Cgroup) -> None:
        if self._notifier < 0:
            self._notifier = inotify.open_inotify()
            asyncio.get_running_loop().add_reader(self._notifier, self._on_events_v2)
        self._watches[oom.watch_v2(self._notifier, group.directory("memory"))] = container_id

    def _on_events_v2(self) -> None:
        changed = {event.watch for event in inotify.read_events(self._notifier)}
        for watch in changed & self._watches.keys():
            container_id = self._watches[watch]
            group = self._group_of(container_id)
            kills = group.oom_kills() if group is not None else 0
            if kills > self._kills.get(container_id, kills):
                self._kills[container_id] = kills
                self._note(container_id)

    def _note(self, container_id: str) -> None:
        self._told.add(container_id)
        self._tell(container_id)

    def ended(self, container_id: str, *, oom_killed: bool) -> bool:
        """Forget it. True if it was killed so and nobody has been told."""
        self._close(container_id)
        self._kills.pop(container_id, None)
        told = container_id in self._told
        self._told.discard(container_id)
        return oom_killed and not told

    def _close(self, container_id: str) -> None:
        event = self._events.pop(container_id, -1)
        if event >= 0:
            asyncio.get_running_loop().remove_reader(event)
            os.close(event)
        self._watches = {w: one for w, one in self._watches.items() if one != container_id}

    def close(self) -> None:
        for container_id in list(self._events):
            self._close(container_id)
        if self._notifier >= 0:
            asyncio.get_running_loop().remove_reader(self._notifier)
            os.close(self._notifier)
            self._notifier = -1
