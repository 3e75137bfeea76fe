"""What belongs to running containers: records, run directories, shims, cgroups, links, ids, mounts.

Containers that run, and build steps, are alive to the runtime or attached to a network; whatever
bears another's name is nobody's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from tiffin.core import lifecycle
from tiffin.core.container import Container, Status
from tiffin.engine.attachments import Attachments
from tiffin.engine.catalog import Catalog
from tiffin.engine.idranges import IdRanges
from tiffin.engine.recovery import Recoveries
from tiffin.engine.upkeep.findings import Inspector, Leftover, Once
from tiffin.kernel import mountinfo, mounts
from tiffin.network.bridge import Bridge
from tiffin.runtime.client import Runtime

_NOBODYS = "belongs to no container"


class RunningState:
    def __init__(
        self,
        catalog: Catalog,
        recoveries: Recoveries,
        runtime: Runtime,
        attachments: Attachments,
        id_ranges: IdRanges,
        bridge: Bridge,
        roots: tuple[str, ...],
    ) -> None:
        """`roots`: directories below which nothing is ever mounted."""
        self._catalog = catalog
        self._recoveries = recoveries
        self._runtime = runtime
        self._survivors = runtime.survivors
        self._attachments = attachments
        self._id_ranges = id_ranges
        self._bridge = bridge
        self._roots = roots

    def inspectors(self) -> list[Inspector]:
        return [
            self.containers,
            self.run_directories,
            self.shims,
            self.cgroups,
            self.network,
            self.reservations,
            self.mounts,
        ]

    async def containers(self) -> list[Leftover]:
        found = []
        for container in self._catalog.all():
            problem = self._problem(container)
            if problem:
                again = partial(self._recoveries.one, container)
                found.append(Leftover("container", container.name, problem, again))
        return found

    def _problem(self, container: Container) -> str:
        status = container.state.status
        if status in lifecycle.LIVE and not self._runtime.tracks(container.id):
            return "recorded as running, and nothing runs"
        if status is Status.REMOVING:
            return "its removal was not finished"
        if status is Status.EXITED and container.host_config.auto_remove:
            return "it has ended and was to be removed then"
        return ""

    async def run_directories(self) -> list[Leftover]:
        return [
            Leftover("run directory", key, _NOBODYS, partial(self._forget_run, key))
            for key in await asyncio.to_thread(self._survivors.known)
            if not self._is_alive(key)
        ]

    async def _forget_run(self, key: str) -> None:
        await self._recoveries.forget_run(key)
        # What is being cleaned up counts as alive: those who look next would not see its cgroup.
        await self._runtime.cleaned_up(key)

    async def shims(self) -> list[Leftover]:
        shims = await asyncio.to_thread(self._survivors.shims)
        return [
            Leftover("shim", f"{pid} of {key}", _NOBODYS, partial(self._end_shim, pid))
            for pid, key in shims.items()
            if not self._is_alive(key)
        ]

    async def _end_shim(self, pid: int) -> None:
        await asyncio.to_thread(self._survivors.end_shim, pid)

    async def cgroups(self) -> list[Leftover]:
        names = await asyncio.to_thread(self._survivors.cgroups)
        return [
            Leftover(
                "cgroup", name, _NOBODYS, partial(_in_thread, self._survivors.end_cgroup, name)
            )
            for name in sorted(names)
            if not self._is_alive(name)
        ]

    async def network(self) -> list[Leftover]:
        alive = {container.id for container in self._catalog.live()} | self._attachments.held()
        sweep = Once(partial(self._bridge.sweep, alive))
        strays = await self._bridge.strays(alive)
        return [Leftover(kind, subject, _NOBODYS, sweep) for kind, subject in strays]

    async def reservations(self) -> list[Leftover]:
        """In memory only: what a failed step did not give back."""
        found = []
        for key in self._attachments.held():
            if not self._is_alive(key):
                release = partial(self._attachments.release, key)
                found.append(Leftover("address", key, _NOBODYS, release))
        for key in self._id_ranges.held():
            if not self._is_alive(key):
                release = partial(self._release_ids, key)
                found.append(Leftover("id range", key, _NOBODYS, release))
        return found

    async def _release_ids(self, key: str) -> None:
        self._id_ranges.release(key)

    async def mounts(self) -> list[Leftover]:
        points = await asyncio.to_thread(mountinfo.points_below, self._roots)
        return [
            Leftover("mount", point, "is mounted", partial(_in_thread, _unmount, point))
            for point in reversed(points)
        ]

    def _is_alive(self, key: str) -> bool:
        if self._runtime.tracks(key):
            return True
        container = self._catalog.find_id(key)
        return container is not None and container.state.status in lifecycle.LIVE


def _unmount(point: str) -> None:
    mounts.umount(point, mounts.MNT_DETACH)


async def _in_thread(work: Callable[[str], None], subject: str) -> None:
    await asyncio.to_thread(work, subject)
