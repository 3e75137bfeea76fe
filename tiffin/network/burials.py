"""Links of containers that have ended, taken away while nobody is being connected.

To take a link away, or a network namespace with all that is in it, the kernel locks its network
configuration for tens of milliseconds, and whoever starts a container meanwhile waits. A namespace
that is held open outlives its last process: so the end of both is put off until nobody has been
connected for a moment. Of many namespaces the kernel then makes one piece of work.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable, Collection

QUIET_SECONDS = 0.2  # since the last connection
LONGEST_SECONDS = 2.0  # however busy it is
MOST = 32  # that wait at a time
HELD_AT_MOST = 128  # descriptors: of the youngest, who most of those that end soon are
KERNEL_SECONDS = 1.0  # a link that is there for longer is in a namespace that others live in

Delete = Callable[[list[str]], Awaitable[None]]


class Burials:
    """`delete` takes away the links of these containers, where there are any left."""

    def __init__(self, delete: Delete) -> None:
        self._delete = delete
        self._held: dict[str, int] = {}  # namespaces of those that run, the oldest first
        self._guard = threading.Lock()  # of those
        self._ended: dict[str, int] = {}  # and of those that wait; -1 where we do not hold it
        self._buried: set[str] = set()  # whose links the kernel takes away now
        self._last_connection = 0.0
        self._first_end = 0.0
        self._many = asyncio.Event()
        self._deleting = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    def waiting(self) -> set[str]:
        """Containers that have ended, whose links may still be there."""
        return self._ended.keys() | self._buried

    def connecting(self) -> None:
        self._last_connection = asyncio.get_running_loop().time()

    def hold(self, container_id: str, namespace: int) -> None:
        """Of a container that runs now; `namespace` belongs to us. May be called in a thread."""
        with self._guard:
            released = [self._held.pop(container_id, -1)]
            self._held[container_id] = namespace
            if len(self._held) > HELD_AT_MOST:
                released.append(self._held.pop(next(iter(self._held))))
        for one in released:
            _close(one)

    def begin_all_but(self, living: Collection[str]) -> None:
        with self._guard:
            ended = [one for one in self._held if one not in living]
        for container_id in ended:
            self.begin(container_id)

    def begin(self, container_id: str) -> None:
        """It has ended."""
        if not self._ended:
            self._first_end = asyncio.get_running_loop().time()
        with self._guard:
            namespace = self._held.pop(container_id, self._ended.get(container_id, -1))
        self._ended[container_id] = namespace
        if len(self._ended) >= MOST:
            self._many.set()
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._bury_when_quiet())

    async def at_once(self, container_id: str) -> None:
        """It is connected again: the link before has the same name."""
        if container_id in self.waiting():
            async with self._deleting:
                _close(self._ended.pop(container_id, -1))
                self._buried.discard(container_id)
                await self._delete([container_id])

    async def close(self) -> None:
        """Take away all that waits, and let go of those that run."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        waiting = sorted(self.waiting())
        for namespace in (*self._ended.values(), *self._held.values()):
            _close(namespace)
        self._ended.clear()
        self._buried.clear()
        self._held.clear()
        if waiting:
            await self._delete(waiting)

    async def _bury_when_quiet(self) -> None:
        while self._ended:
            await self._until_quiet()
            await self._bury()

    async def _until_quiet(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            moment = min(self._last_connection + QUIET_SECONDS, self._first_end + LONGEST_SECONDS)
            left = moment - loop.time()
            if left <= 0 or len(self._ended) >= MOST:
                return
            self._many.clear()
            try:
                async with asyncio.timeout(left):
                    await self._many.wait()
            except TimeoutError:
                continue

    async def _bury(self) -> None:
        ended, self._ended = self._ended, {}
        self._buried |= ended.keys()
        for namespace in ended.values():
            _close(namespace)
        if any(namespace >= 0 for namespace in ended.values()):
            await asyncio.sleep(KERNEL_SECONDS)
        async with self._deleting:
            left = sorted(ended.keys() & self._buried)
            await self._delete(left)
            self._buried.difference_update(left)


def _close(descriptor: int) -> None:
    if descriptor >= 0:
        os.close(descriptor)
