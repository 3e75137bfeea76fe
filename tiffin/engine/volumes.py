"""Volumes: directories that outlive containers.

A volume is DATA_ROOT/volumes/<name>/_data and a row. An empty volume takes what the image has at
its destination on first use, as in Docker.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import time
from collections.abc import Callable
from contextlib import suppress

import msgspec

from tiffin.core.container import Container, Volume
from tiffin.core.labels import check_labels
from tiffin.core.mounts import check_volume_name
from tiffin.core.volumeoptions import volume_options
from tiffin.engine.catalog import Rows
from tiffin.engine.events import Events
from tiffin.engine.locks import NamedLock
from tiffin.engine.naming import new_id
from tiffin.engine.volumemounts import VolumeMounts, is_mounted
from tiffin.errors import Conflict, InvalidArgument, NotFound
from tiffin.kernel import mountinfo, quota
from tiffin.kernel.ownthread import may_hang
from tiffin.kernel.syscalls import boot_id
from tiffin.storage.layers import content_bytes

log = logging.getLogger(__name__)

Names = list[str]  # in the body of Volumes the word `list` is its method


class Volumes:
    def __init__(
        self,
        rows: Rows,
        data_root: str,
        events: Events,
        users: Callable[[str], list[Container]],
        mounts: VolumeMounts,
    ) -> None:
        self._rows = rows
        self._directory = os.path.join(data_root, "volumes")
        self._events = events
        self._users = users  # containers that mount the volume of this name
        self._mounts = mounts
        self._lock = NamedLock("volumes")

    async def list(self) -> list[Volume]:
        return await self._rows.run(self._rows.database.volumes)

    async def find(self, name: str) -> Volume | None:
        return await self._rows.run(self._rows.database.find_volume, name)

    async def get(self, name: str) -> Volume:
        volume = await self.find(name)
        if volume is None:
            raise NotFound(f"get {name}: no such volume")
        return volume

    def references(self, name: str) -> int:
        return len(self._users(name))

    async def create(
        self,
        name: str = "",
        *,
        driver: str = "local",
        labels: dict[str, str] | None = None,
        options: dict[str, str] | None = None,
        made_for: str = "",
    ) -> Volume:
        """Ensure: an existing volume is returned as it is. No name: an anonymous one.

        `made_for`: the container that is being made, and takes an anonymous one with it if it never
        is (`abandoned`).
        """
        anonymous = not name
        name = check_volume_name(name or new_id())
        check_driver(name, driver)
        limit = volume_options(name, options or {}).limit_bytes
        check_labels(labels)
        async with self._lock:
            existing = await self.find(name)
            if existing is not None:
                return existing
            path = os.path.join(self._directory, name, "_data")
            await asyncio.to_thread(os.makedirs, path, 0o755, True)
            if limit:
                await asyncio.to_thread(_limit, name, path, limit)
            volume = Volume(
                name, time.time_ns(), path, labels or {}, options or {}, "local", anonymous
            )
            if anonymous and made_for:
                volume = msgspec.structs.replace(volume, made_for=made_for, made_in=boot_id())
            await self._rows.run(self._rows.database.put_volume, volume)
        self._events.emit("volume", "create", name, {"driver": "local"})
        return volume

    async def remove(self, name: str, *, force: bool = False) -> None:
        # A file system that does not answer keeps nobody from other volumes.
        await self._unmount_unused(name)
        async with self._lock:
            volume = await self.find(name)
            if volume is None:
                if force:
                    return
                raise NotFound(f"get {name}: no such volume")
            users = self._users(name)
            if users:
                ids = ", ".join(container.id for container in users)
                raise Conflict(f"remove {name}: volume is in use - [{ids}]")
            if is_mounted(volume.mountpoint):  # its files are no longer ours to remove
                raise Conflict(f"remove {name}: volume has active mounts")
            await self._rows.run(self._rows.database.delete_volume, name)
            await asyncio.to_thread(
                shutil.rmtree, os.path.join(self._directory, name), ignore_errors=True
            )
        self._events.emit("volume", "destroy", name, {"driver": "local"})

    async def let_go(self, name: str) -> None:
        """Its container goes without it: from here on it is somebody's data."""
        async with self._lock:
            volume = await self.find(name)
            if volume is not None and volume.made_for:
                kept = msgspec.structs.replace(volume, made_for="", made_in="")
                await self._rows.run(self._rows.database.put_volume, kept)

    async def abandoned(self, exists: Callable[[str], bool]) -> Names:
        """Those whose container was killed in the making, or together with its volumes."""
        return [
            volume.name
            for volume in await self.list()
            if volume.made_for
            and volume.made_in == boot_id()
            and not exists(volume.made_for)
            and not self._users(volume.name)
        ]

    def directories(self) -> set[str]:
        """Names of all that has a directory with data.

        Nothing is asked of that itself: what is mounted on it may not answer.
        """
        with os.scandir(self._directory) as entries:
            return {
                entry.name
                for entry in entries
                if entry.is_dir(follow_symlinks=False) and "_data" in os.listdir(entry.path)
            }

    async def left_mounted(self) -> Names:
        """Those with something mounted on them that nobody uses."""
        points = set(await asyncio.to_thread(mountinfo.points_below, [self._directory]))
        return [
            volume.name
            for volume in (await self.list() if points else ())
            if volume.mountpoint in points
            and not self._mounts.is_used(volume.mountpoint)
            and volume_options(volume.name, volume.options).mounted is not None
        ]

    async def unmount(self, name: str) -> None:
        await self._unmount_unused((await self.get(name)).name)

    async def _unmount_unused(self, name: str) -> None:
        volume = await self.find(name)
        if volume is not None and volume_options(name, volume.options).mounted is not None:
            await self._mounts.unused(volume.mountpoint)

    def husks(self) -> set[str]:
        """Of directories that have lost their data: a removal did not come to its end."""
        with os.scandir(self._directory) as entries:
            return {
                entry.name
                for entry in entries
                if entry.is_dir(follow_symlinks=False) and not os.listdir(entry.path)
            }

    async def drop_husk(self, name: str) -> None:
        async with self._lock:
            if await self.find(name) is None:
                with suppress(OSError):  # somebody has put something there
                    await asyncio.to_thread(os.rmdir, os.path.join(self._directory, name))

    async def restore(self, volume: Volume) -> None:
        """Give a volume that has lost its directory an empty one."""
        await asyncio.to_thread(os.makedirs, volume.mountpoint, 0o755, True)

    async def adopt(self, name: str) -> None:
        """Give a directory that no record names one; an empty one was never a volume."""
        path = os.path.join(self._directory, name, "_data")
        async with self._lock:
            if await self.find(name) is not None:
                return
            if not await asyncio.to_thread(os.listdir, path):
                await asyncio.to_thread(shutil.rmtree, os.path.dirname(path))
                return
            volume = Volume(check_volume_name(name), time.time_ns(), path)
            await self._rows.run(self._rows.database.put_volume, volume)

    async def prune(self, matches: Callable[[Volume], bool]) -> tuple[Names, int]:
        """Remove unused volumes that match; their names and the bytes given back."""
        removed, reclaimed = [], 0
        for volume in await self.list():
            if self._users(volume.name) or not matches(volume):
                continue
            size = await volume_size(volume)
            try:
                await self.remove(volume.name, force=True)
            except Conflict as error:  # used since, or with something mounted on it
                log.warning("volume not pruned name=%s: %s", volume.name, error.message)
                continue
            removed.append(volume.name)
            reclaimed += size
        self._events.emit("volume", "prune", "", {"reclaimed": str(reclaimed)})
        return removed, reclaimed


def check_driver(name: str, driver: str) -> None:
    """Also of a volume that is there already: it is not what was asked for."""
    if driver not in ("", "local"):
        raise NotFound(
            f'create {name}: error looking up volume plugin {driver}: plugin "{driver}" not found'
        )


def _limit(name: str, path: str, size_bytes: int) -> None:
    """Raises InvalidArgument where no file system counts."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        # A project of its own: no other directory of this file system has the number.
        project = os.fstat(fd).st_ino & 0xFFFF_FFFF
        quota.join_project(fd, project)
        quota.limit_project(fd, project, size_bytes)
    except OSError as error:
        shutil.rmtree(os.path.dirname(path), ignore_errors=True)
        if error.errno not in quota.ABSENT:
            raise
        words = f"create {name}: quota size requested but no quota support"
        raise InvalidArgument(words) from error
    finally:
        os.close(fd)


async def volume_size(volume: Volume) -> int:
    return await may_hang(tree_size, volume.mountpoint)


def tree_size(directory: str) -> int:
    """Bytes of the files below `directory`, each once however many links it has."""
    try:
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return 0  # a volume that has lost its directory holds nothing
    try:
        return content_bytes(fd)
    finally:
        os.close(fd)
