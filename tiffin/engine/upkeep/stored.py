"""What lies on the disk: records, layers, blobs, directories of containers and volumes.

What no record names is garbage, except a volume's directory: that is somebody's data, and gets its
record back. What a record names and is gone cannot be made up: the record says so, or goes.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import msgspec

from tiffin.core import lifecycle
from tiffin.core.container import Container, Status
from tiffin.engine.catalog import Catalog, Rows
from tiffin.engine.images import Images
from tiffin.engine.upkeep.findings import Finding, Inspector, Leftover, Once
from tiffin.engine.volumes import Volumes
from tiffin.errors import Conflict, NotFound
from tiffin.storage.store import Storage

_NOBODYS = "belongs to no container"


class StoredState:
    def __init__(
        self,
        catalog: Catalog,
        rows: Rows,
        storage: Storage,
        images: Images,
        volumes: Volumes,
        in_use: Callable[[str], bool],
    ) -> None:
        """`in_use`: whether a container or build step of that id is under way without a record."""
        self._catalog = catalog
        self._rows = rows
        self._storage = storage
        self._images = images
        self._volumes = volumes
        self._in_use = in_use
        self.minimum_age_seconds = 0.0  # of garbage: later there may be something in the making

    def inspectors(self) -> list[Inspector]:
        return [
            self.records,
            self.layers_of_containers,
            self.snapshots,
            self.container_directories,
            self.volume_directories,
            self.volume_mounts,
            self.abandoned_volumes,
            self.image_records,
            self.garbage,
        ]

    def dropped(self) -> list[Finding]:
        """What opening the storage has thrown away already."""
        ingests, lost = self._storage.blobs.swept, self._storage.snapshots.lost
        found = [Finding("ingest", name, "was never finished", mended=True) for name in ingests]
        return found + [Finding("layer", name, "its files are gone", mended=True) for name in lost]

    async def records(self) -> list[Leftover]:
        """Rows that cannot be read are kept beside the database, for a person to look at."""
        database = self._rows.database
        return [
            Leftover(
                "record",
                f"{table} {key}",
                "cannot be read",
                partial(self._query, database.set_aside, table, key),
            )
            for table, key in await self._rows.run(database.damaged)
        ]

    async def _query(self, work: Callable[..., None], *arguments: str) -> None:
        await self._rows.run(work, *arguments)

    async def layers_of_containers(self) -> list[Leftover]:
        actives = set(await asyncio.to_thread(self._storage.snapshots.actives))
        return [
            Leftover(
                "container",
                container.name,
                "its writable layer is gone",
                partial(self._give_up, container),
            )
            for container in self._catalog.all()
            if container.snapshot not in actives
            and container.state.status not in lifecycle.LIVE
            and container.state.status is not Status.DEAD
        ]

    async def _give_up(self, container: Container) -> None:
        """It can be looked at and removed, and that is all."""
        async with self._catalog.lock(container.id):
            now = self._catalog.get(container.id)
            state = msgspec.structs.replace(
                now.state, status=Status.DEAD, error="the writable layer is gone"
            )
            await self._catalog.put_state(now, state)

    async def snapshots(self) -> list[Leftover]:
        """Writable layers from before this engine's start; later ones may be just in the making."""
        containers = self._catalog.all()
        used = {container.snapshot for container in containers}
        used |= {mount.snapshot for container in containers for mount in container.mounts}
        snapshots = self._storage.snapshots
        return [
            Leftover("snapshot", active, _NOBODYS, partial(_in_thread, snapshots.remove, active))
            for active in await asyncio.to_thread(snapshots.inherited)
            if active not in used
        ]

    async def container_directories(self) -> list[Leftover]:
        directory = os.path.join(self._storage.data_root, "containers")
        return [
            Leftover(
                "container directory",
                name,
                _NOBODYS,
                partial(_in_thread, _delete_tree, os.path.join(directory, name)),
            )
            for name in sorted(await asyncio.to_thread(os.listdir, directory))
            if self._catalog.find_id(name) is None and not self._in_use(name)
        ]

    async def volume_directories(self) -> list[Leftover]:
        recorded = {volume.name: volume for volume in await self._volumes.list()}
        present = await asyncio.to_thread(self._volumes.directories)
        found = [
            Leftover(
                "volume", name, "its directory is gone", partial(self._volumes.restore, volume)
            )
            for name, volume in recorded.items()
            if name not in present
        ]
        husks = await asyncio.to_thread(self._volumes.husks)
        found += [
            Leftover("volume", name, "is empty", partial(self._volumes.drop_husk, name))
            for name in sorted(husks - recorded.keys())
        ]
        return found + [
            Leftover("volume", name, "has no record", partial(self._volumes.adopt, name))
            for name in sorted(present - recorded.keys())
        ]

    async def volume_mounts(self) -> list[Leftover]:
        return [
            Leftover("volume", name, "is mounted", partial(self._volumes.unmount, name))
            for name in await self._volumes.left_mounted()
        ]

    async def abandoned_volumes(self) -> list[Leftover]:
        # A name is claimed before anything is made: what is being made has one.
        known = set(self._catalog.names().values())
        return [
            Leftover("volume", name, "its container is gone", partial(self._end_volume, name))
            for name in await self._volumes.abandoned(known.__contains__)
        ]

    async def _end_volume(self, name: str) -> None:
        with suppress(NotFound, Conflict):  # somebody removed it, or uses it
            await self._volumes.remove(name)

    async def image_records(self) -> list[Leftover]:
        found = []
        for image_id, problem in await asyncio.to_thread(self._images.damaged):
            forget = partial(_in_thread, self._images.forget, image_id)
            found.append(Leftover("image", image_id, problem, forget))
        return found

    async def garbage(self) -> list[Leftover]:
        found = []
        for name in await asyncio.to_thread(self._storage.blobs.unfinished):
            drop = partial(_in_thread, self._storage.blobs.drop_unfinished, name)
            found.append(Leftover("ingest", name, "was never finished", drop))
        chains, blobs = await asyncio.to_thread(self._images.unreached, self.minimum_age_seconds)
        sweep = Once(partial(self._images.sweep, self.minimum_age_seconds))
        found += [Leftover("layer", chain, "nothing reaches it", sweep) for chain in chains]
        found += [Leftover("blob", digest, "nothing reaches it", sweep) for digest in blobs]
        return found


def _delete_tree(path: str) -> None:
    shutil.rmtree(path, ignore_errors=True)


async def _in_thread(work: Callable[[str], None], subject: str) -> None:
    await asyncio.to_thread(work, subject)
