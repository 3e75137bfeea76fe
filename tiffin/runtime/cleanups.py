"""What an ended container has left, taken away: its cgroups and its run directory."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from functools import cached_property

from tiffin.kernel import cgroup, trees
from tiffin.kernel.workers import in_thread
from tiffin.runtime import programs
from tiffin.runtime.shimclient import KILL_DEADLINE_SECONDS, Shim
from tiffin.runtime.survivors import Survivors

log = logging.getLogger(__name__)


class Cleanups:
    """Those under way, by container id."""

    def __init__(self, survivors: Survivors) -> None:
        self._survivors = survivors
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._deletions: set[asyncio.Future[None]] = set()

    @cached_property
    def _named(self) -> list[str]:
        return cgroup.named()

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
        if self._deletions:
            await asyncio.gather(*self._deletions, return_exceptions=True)

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
            moved = await in_thread(self._put_aside, container_id, group)
            if moved:
                self._delete(moved)
        finally:
            if self._tasks.get(container_id) is asyncio.current_task():
                del self._tasks[container_id]

    def _delete(self, directory: str) -> None:
        """Nobody waits: a file takes half a millisecond on some disks."""
        deletion = asyncio.get_running_loop().run_in_executor(None, trees.remove, directory)
        self._deletions.add(deletion)
        deletion.add_done_callback(self._deletions.discard)

    def clean(self, container_id: str, group: cgroup.Cgroup | None) -> None:
        """Blocks while processes are killed."""
        moved = self._put_aside(container_id, group)
        if moved:
            trees.remove(moved)

    def _put_aside(self, container_id: str, group: cgroup.Cgroup | None) -> str:
        """Where the run directory lies now, to be deleted; "" where there is none any more."""
        directory = self._survivors.directory(container_id)
        group = group or self._survivors.group(container_id)
        if group is not None:
            try:
                if group.exists():  # its shim could not
                    group.kill()
                    group.remove()
            except OSError as error:
                log.warning("cgroup stays container=%s: %s", container_id, error)
            programs.remove_named(group.path, self._named)
        aside = self._survivors.aside(container_id)
        try:
            os.rename(directory, aside)
        except OSError:
            trees.remove(directory)
            return ""
        return aside
