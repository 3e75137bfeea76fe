"""The shim's event loop: epoll, descriptors with callbacks, a few timers. One thread."""

from __future__ import annotations

import select
import time

READ = select.EPOLLIN
WRITE = select.EPOLLOUT
GONE = select.EPOLLHUP | select.EPOLLERR

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Handler = Callable[[int], None]


class Loop:
    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._handlers: dict[int, Handler] = {}
        self._timers: list[tuple[float, Callable[[], None]]] = []

    def add(self, fd: int, events: int, handler: Handler) -> None:
        """With events 0 the handler still hears of GONE."""
        self._epoll.register(fd, events)
        self._handlers[fd] = handler

    def change(self, fd: int, events: int) -> None:
        self._epoll.modify(fd, events)

    def remove(self, fd: int) -> None:
        """Before the descriptor is closed. Nothing happens if it is not there."""
        if self._handlers.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def later(self, seconds: float, act: Callable[[], None]) -> None:
        self._timers.append((time.monotonic() + seconds, act))

    def run_once(self) -> None:
        """Wait for something and handle it."""
        for fd, events in self._epoll.poll(self._timeout()):
            handler = self._handlers.get(fd)  # an earlier one of this round may have removed it
            if handler is not None:
                handler(events)
        if self._timers:
            self._act_when_due()

    def _act_when_due(self) -> None:
        now = time.monotonic()
        due = [timer for timer in self._timers if timer[0] <= now]
        for timer in due:
            self._timers.remove(timer)
            timer[1]()

    def _timeout(self) -> float:
        if not self._timers:
            return -1
        return max(0.0, min(timer[0] for timer in self._timers) - time.monotonic())
