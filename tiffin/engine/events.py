"""Events: what happened, told once to whoever listens and kept for a while for who asks later.

Types, actions and attributes are the Engine API's. The last 256 are kept, as in Docker; a listener
that falls 1,024 behind is dropped rather than waited for.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable

import msgspec

KEPT = 256
LISTENER_BACKLOG = 1024


class Event(msgspec.Struct, frozen=True):
    type: str  # container, image, volume, network, builder, daemon
    action: str  # create, start, die, ...; "exec_start: sh"
    actor_id: str
    attributes: dict[str, str]
    time_ns: int
    scope: str = "local"


class Events:
    def __init__(self, clock_ns: Callable[[], int] = time.time_ns) -> None:
        self._clock_ns = clock_ns
        self._kept: deque[Event] = deque(maxlen=KEPT)
        self._listeners: set[asyncio.Queue[Event | None]] = set()
        self._watchers: list[Callable[[Event], None]] = []

    def emit(
        self, kind: str, action: str, actor_id: str, attributes: dict[str, str] | None = None
    ) -> None:
        event = Event(kind, action, actor_id, dict(attributes or {}), self._clock_ns())
        self._kept.append(event)
        for watcher in self._watchers:
            watcher(event)
        for queue in list(self._listeners):
            try:
                queue.put_nowait(event)
            except asyncio.QueueFull:
                self._listeners.discard(queue)

    def watch(self, watcher: Callable[[Event], None]) -> None:
        """For a part of the engine: called at once with each event, and must not fail."""
        self._watchers.append(watcher)

    @property
    def listener_count(self) -> int:
        return len(self._listeners)

    async def subscribe(
        self,
        matches: Callable[[Event], bool] = lambda _: True,
        *,
        since_ns: int | None = None,
        until_ns: int | None = None,
        ready: Callable[[], None] = lambda: None,
    ) -> AsyncIterator[Event]:
        """Kept events from `since_ns`, then new ones until `until_ns`; without both, the new alone.

        `ready` is called once the listener is in place: nothing that happens after it is missed.
        """
        queue: asyncio.Queue[Event | None] = asyncio.Queue(LISTENER_BACKLOG)
        asked = since_ns is not None or until_ns is not None
        past = [event for event in self._kept if asked and event.time_ns >= (since_ns or 0)]
        self._listeners.add(queue)
        ready()
        try:
            for event in past:
                if (not until_ns or event.time_ns <= until_ns) and matches(event):
                    yield event
            async for event in self._fresh(queue, until_ns):
                if matches(event):
                    yield event
        finally:
            self._listeners.discard(queue)

    async def _fresh(
        self, queue: asyncio.Queue[Event | None], until_ns: int | None
    ) -> AsyncIterator[Event]:
        while queue in self._listeners or not queue.empty():
            left = None if until_ns is None else (until_ns - self._clock_ns()) / 1e9
            if left is not None and left <= 0:
                return
            try:
                event = await asyncio.wait_for(queue.get(), left)
            except TimeoutError:
                return
            if event is None:
                return
            yield event

    def close(self) -> None:
        """End all listeners."""
        for queue in list(self._listeners):
            self._listeners.discard(queue)
            if queue.full():
                queue.get_nowait()
            queue.put_nowait(None)
