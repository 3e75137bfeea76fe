"""What an ended container has left, taken away: its cgroups and its run directory."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil

from tiffin.kernel import cgroup
from tiffin.runtime import programs
from tiffin.runtime.shimclient import KILL_DEADLINE_SECONDS, Shim
from tiffin.runtime.survivors import Survivors

log = logging.getLogger(__name__)


class Cleanups:
    """Those under way, by container id."""

    def __init__(self, survivors: Survivors) -> None:
        self._survivors = survivors
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def __contains__(self, container_id: str) -> bool:
        return container_id in self._tasks

    def begin(self, container_id: str, shim: Shim | None) -> None:
        """Off the path of whoever removes: a new container of that id waits for it."""
        task = asyncio.get_running_loop().create_task(self._clean_after(container_id, shim))
        self._tasks[container_id] = task

    async def settled(self, container_id: str) -> None:
        """Until what the container's last run has left is gone."""
        task = self._tasks.get(container_id)
        if task is not None:
            await asyncio.wait((task,))

    async def close(self) -> None:
        if self._tasks:
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _clean_after(self, container_id: str, shim: Shim | None) -> None:
        try:
            if shim is not None:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(KILL_DEADLINE_SECONDS):
                        await shim.released
                # It may go on serving a client that reads slowly.
                if not shim.owed:
                    shim.connection.close()
            group = shim.group if shim is not None else None
            await asyncio.to_thread(self.clean, container_id, group)
        finally:
            if self._tasks.get(container_id) is asyncio.current_task():
                del self._tasks[container_id]

    def clean(self, container_id: str, group: cgroup.Cgroup | None) -> None:
        """Blocks while processes are killed."""
        directory = self._survivors.directory(container_id)
        group = group or self._survivors.group(container_id)
        if group is not None:
            try:
                group.kill()
                group.remove()
            except OSError as error:
                log.warning("cgroup stays container=%s: %s", container_id, error)
            programs.remove_named(group.path)
        shutil.rmtree(directory, ignore_errors=True)
