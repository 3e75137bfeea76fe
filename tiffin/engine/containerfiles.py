"""What is in a container: its files in and out, what it changed, all of it as a tar or an image."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import msgspec

from tiffin.core.container import Container, Status
from tiffin.core.image import ContainerConfig
from tiffin.engine.catalog import Catalog
from tiffin.engine.containerevents import emit_container
from tiffin.engine.copying import Copying, Kept, PathStat
from tiffin.engine.events import Events
from tiffin.engine.images import Images
from tiffin.engine.pipes import begun
from tiffin.engine.ports import ContainerRuntime
from tiffin.engine.supervisor import Supervisor
from tiffin.engine.useevents import volumes_mounted
from tiffin.errors import Conflict
from tiffin.kernel import failpoints
from tiffin.storage.snapshots import SnapshotStore


class ContainerFiles:
    """Of all containers: `Containers.files`."""

    def __init__(
        self,
        catalog: Catalog,
        supervisor: Supervisor,
        images: Images,
        runtime: ContainerRuntime,
        snapshots: SnapshotStore,
        events: Events,
        directory: str,
    ) -> None:
        self._catalog = catalog
        self._supervisor = supervisor
        self._images = images
        self._runtime = runtime
        self._snapshots = snapshots
        self._events = events
        self._copying = Copying(snapshots, directory)

    async def export(self, reference: str) -> AsyncIterator[bytes]:
        container = self._catalog.get(reference)
        self._emit(container, "export")
        return await begun(self._copying.export(container))

    async def stat_path(self, reference: str, path: str) -> PathStat:
        container = self._as_asked(reference)
        async with self._with_volumes(container):
            return await self._copying.stat_path(container, path)

    @asynccontextmanager
    async def _with_volumes(self, container: Container) -> AsyncIterator[None]:
        async with self._supervisor.volume_mounts.used(container.mounts):
            with volumes_mounted(self._events, container):
                yield

    def _as_asked(self, reference: str) -> Container:
        """Named as the client does: the errors about its files say it so."""
        return msgspec.structs.replace(self._catalog.get(reference), name=reference)

    async def read_archive(
        self, reference: str, path: str
    ) -> tuple[PathStat, AsyncIterator[bytes]]:
        container = self._as_asked(reference)
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._with_volumes(container))
            found, chunks = await self._copying.read(container, path)
            until_read = stack.pop_all()
        self._emit(self._catalog.get(reference), "archive-path")
        tasks = self._supervisor.tasks
        return found, await begun(chunks, lambda: tasks.finish(until_read.aclose()))

    async def write_archive(
        self,
        reference: str,
        path: str,
        archive: AsyncIterator[bytes],
        *,
        no_overwrite: bool = False,
        copy_owner: bool = False,
    ) -> None:
        """`copy_owner` gives all of it to the container's user, where it has one."""
        container = self._catalog.get(reference)
        async with self._with_volumes(container):
            await self._copying.write(
                self._as_asked(reference),
                path,
                archive,
                no_overwrite=no_overwrite,
                copy_owner=copy_owner,
                still=self._kept_still,
            )
            self._emit(container, "extract-to-dir")

    @asynccontextmanager
    async def _kept_still(self, container: Container) -> AsyncIterator[Kept]:
        lock = self._catalog.lock(container.id)
        async with lock:
            yield Kept(self._catalog.get(container.id), lambda: lock.is_wanted)

    async def changes(self, reference: str) -> list[tuple[str, int]]:
        """(path, kind) of what differs from the image: 0 modified, 1 added, 2 deleted."""
        container = self._catalog.get(reference)
        found = await asyncio.to_thread(self._snapshots.changes, container.snapshot)
        return [(change.path, change.kind) for change in found]

    async def commit(
        self,
        reference: str,
        *,
        name: str = "",
        author: str = "",
        comment: str = "",
        pause: bool = True,
        changes: Callable[[ContainerConfig], ContainerConfig] = lambda config: config,
    ) -> str:
        """A new image's id: the container's image, one layer more, its config with `changes`."""
        container = self._catalog.get(reference)
        running = container.state.status is Status.RUNNING
        async with AsyncExitStack() as stack:
            if pause and running:
                await self._hold_still(container, stack)
                failpoints.reach("commit-paused")
            config = changes(container.config)
            committed = await asyncio.to_thread(self._snapshots.commit_copy, container.snapshot)
            failpoints.reach("commit-layer")
            image_id = await self._images.commit(
                container.image_id,
                committed,
                config,
                author=author,
                comment=comment,
                created_by=" ".join(container.config.cmd or ()),
                reference=name,
            )
            self._emit(container, "commit", comment=comment, imageID=image_id, imageRef=name)
        return image_id

    async def _hold_still(self, container: Container, stack: AsyncExitStack) -> None:
        """Frozen until the stack ends. One that exits meanwhile changes nothing any more either."""
        try:
            await self._supervisor.freeze(container.id)
        except Conflict:
            return
        stack.push_async_callback(self._go_on, container)
        self._emit(container, "pause")

    async def _go_on(self, container: Container) -> None:
        with suppress(Conflict):
            await self._runtime.unpause(container.id)
            self._emit(container, "unpause")

    def _emit(self, container: Container, action: str, **more: str) -> None:
        emit_container(self._events, container, action, **more)
