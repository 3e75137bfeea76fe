"""From requested mounts to what exists: volumes made and filled, binds checked, images prepared."""

from __future__ import annotations

import asyncio
import os
from contextlib import AsyncExitStack, suppress

import msgspec

from tiffin.core.container import Container, HostConfig, Mount, Volume
from tiffin.core.image import ContainerConfig
from tiffin.core.mounts import WantedMount, parse_volumes_from, requested_mounts
from tiffin.core.volumeoptions import volume_options
from tiffin.core.workload import Overlay
from tiffin.engine.catalog import Catalog
from tiffin.engine.images import Images
from tiffin.engine.volumemounts import VolumeMounts
from tiffin.engine.volumes import Volumes, check_driver
from tiffin.errors import Conflict, InvalidArgument, NotFound
from tiffin.kernel import rootpath, treecopy
from tiffin.kernel.ownthread import may_hang
from tiffin.storage.snapshots import SnapshotStore

Wanted = tuple[WantedMount, ...]

_IN_MEMORY = ("tmpfs", "ramfs")


class Mounting:
    def __init__(
        self,
        catalog: Catalog,
        volumes: Volumes,
        snapshots: SnapshotStore,
        images: Images,
        volume_mounts: VolumeMounts,
    ) -> None:
        self._catalog = catalog
        self._volumes = volumes
        self._snapshots = snapshots
        self._images = images
        self._volume_mounts = volume_mounts

    async def check(
        self, config: ContainerConfig, host: HostConfig, *, shallow_read_only: bool = False
    ) -> Wanted:
        """What the request names. Raises InvalidArgument, before anything is made."""
        wanted = requested_mounts(config, host)
        if shallow_read_only:
            wanted = tuple(map(_shallow, wanted))
        self._inherited(host)
        for one in wanted:
            if one.mount.type == "bind" and not one.mount.make_source:
                await may_hang(_check_source, one.mount)
        return wanted

    async def resolve(
        self,
        wanted: Wanted,
        host: HostConfig,
        snapshot: str,
        undo: AsyncExitStack,
        container_id: str,
    ) -> tuple[Mount, ...]:
        """Every mount with its source. What this made is taken back by `undo`."""
        mounts = {mount.destination: mount for mount in self._inherited(host)}
        for mount in mounts.values():
            if mount.type == "image":
                mounts[mount.destination] = await self._with_image(mount, undo)
        for one in wanted:
            mount = one.mount
            if mount.type == "volume":
                if not mount.name and not one.mount.subpath and mount.destination in mounts:
                    continue  # the image's VOLUME, given by --volumes-from
                mounts[mount.destination] = await self._with_volume(
                    one, snapshot, undo, container_id
                )
            elif mount.type == "image":
                mounts[mount.destination] = await self._with_image(mount, undo)
            else:
                if mount.make_source:
                    await may_hang(_make_source, mount)
                mounts[mount.destination] = mount
        return tuple(mounts.values())

    def _inherited(self, host: HostConfig) -> list[Mount]:
        found = []
        for text in host.volumes_from:
            name, read_only = parse_volumes_from(text)
            try:
                mounts = self._catalog.get(name).mounts
            except NotFound as error:
                raise InvalidArgument(error.message) from error
            found += [
                msgspec.structs.replace(mount, rw=mount.rw and not read_only, mode="")
                for mount in mounts
            ]
        return found

    async def _with_volume(
        self, wanted: WantedMount, snapshot: str, undo: AsyncExitStack, container_id: str
    ) -> Mount:
        mount = wanted.mount
        existing = await self._volumes.find(mount.name) if mount.name else None
        if existing is not None:
            check_driver(existing.name, mount.driver)
        volume = existing or await self._volumes.create(
            mount.name,
            driver=mount.driver,
            labels=wanted.labels,
            options=wanted.driver_options,
            made_for=container_id,
        )
        if existing is None:
            undo.push_async_callback(self._forget, volume)
        options = volume_options(volume.name, volume.options)
        mount = msgspec.structs.replace(
            mount,
            name=volume.name,
            source=volume.mountpoint,
            driver=volume.driver,
            device=options.bound,
            filesystem=options.mounted,
        )
        if wanted.copy and not self._forgets(mount):
            in_thread = may_hang if mount.filesystem is not None else asyncio.to_thread
            async with self._volume_mounts.used([mount]):
                await in_thread(
                    fill_volume,
                    self._snapshots,
                    snapshot,
                    mount.destination,
                    mount.host_path,
                    mount.subpath,
                )
        return mount

    def _forgets(self, mount: Mount) -> bool:
        """Whether what is written to it now is gone again at once."""
        kind = mount.filesystem.type if mount.filesystem is not None else ""
        return kind in _IN_MEMORY and not self._volume_mounts.is_used(mount.source)

    async def _forget(self, volume: Volume) -> None:
        await self._volumes.remove(volume.name, force=True)

    async def _with_image(self, mount: Mount, undo: AsyncExitStack) -> Mount:
        """A snapshot of its own on the image's layers keeps those for as long as it is there."""
        image = await self._images.get(mount.name)
        active = await asyncio.to_thread(self._snapshots.prepare, image.chain_id)
        undo.push_async_callback(asyncio.to_thread, self._snapshots.remove, active)
        if mount.subpath:
            await asyncio.to_thread(_check_in_image, self._snapshots, active, mount)
        source = self._snapshots.overlay(active).upper
        return msgspec.structs.replace(mount, source=source, snapshot=active)

    def drop_images(self, container: Container) -> None:
        """Blocking. Give up what the container mounts of images. Idempotent."""
        for mount in container.mounts:
            if mount.snapshot:
                with suppress(NotFound):
                    self._snapshots.remove(mount.snapshot)

    async def keep_anonymous(self, container: Container) -> None:
        """Before a container goes without its volumes."""
        for mount in container.mounts:
            if mount.type == "volume":
                await self._volumes.let_go(mount.name)

    async def remove_anonymous(self, container: Container) -> None:
        """Anonymous volumes end with their container (`rm -v`, `--rm`) unless another uses them."""
        for mount in container.mounts:
            if mount.type != "volume":
                continue
            volume = await self._volumes.find(mount.name)
            if (
                volume is not None
                and volume.anonymous
                and not self._volumes.references(volume.name)
            ):
                with suppress(Conflict):  # somebody has begun to use it
                    await self._volumes.remove(volume.name, force=True)


def mounted_images(container: Container, snapshots: SnapshotStore) -> dict[str, Overlay]:
    """What it mounts of images, by destination."""
    return {
        mount.destination: snapshots.overlay(mount.snapshot)
        for mount in container.mounts
        if mount.snapshot
    }


def _shallow(wanted: WantedMount) -> WantedMount:
    mount = msgspec.structs.replace(wanted.mount, read_only_below=False)
    return msgspec.structs.replace(wanted, mount=mount)


def _check_source(mount: Mount) -> None:
    """`--mount` refuses a missing source; `-v` makes it."""
    if not os.path.lexists(mount.source):
        raise InvalidArgument(
            f'invalid mount config for type "bind": bind source path does not exist: {mount.source}'
        )


def _check_in_image(snapshots: SnapshotStore, active: str, mount: Mount) -> None:
    with snapshots.mounted(active, read_only=True) as root:
        try:
            os.close(rootpath.open_in(root, mount.subpath, os.O_PATH))
        except OSError as error:
            words = os.strerror(error.errno or 0).lower()
            raise InvalidArgument(
                f"cannot access path {mount.subpath} in image {mount.name}: {words}"
            ) from error


def _make_source(mount: Mount) -> None:
    if os.path.lexists(mount.source):
        return
    try:
        os.makedirs(mount.source, 0o755, exist_ok=True)
    except OSError as error:
        raise InvalidArgument(
            f"error while creating mount source path '{mount.source}': "
            f"mkdir {mount.source}: {(error.strerror or str(error)).lower()}"
        ) from error


def fill_volume(
    snapshots: SnapshotStore,
    snapshot: str,
    destination: str,
    volume_path: str,
    subpath: str = "",
) -> None:
    """Copy what the image has at `destination`, with owners and modes, into an empty volume.

    Into the directory `subpath` of it where that is given and there. Raises InvalidArgument where
    the image has a file there.
    """
    try:
        target = _open_below(volume_path, subpath)
    except (FileNotFoundError, NotADirectoryError):
        return  # whether it is there is asked when it is mounted
    try:
        if os.listdir(target):
            return
        with snapshots.mounted(snapshot, read_only=True) as root:
            source = _open_image_path(root, destination)
            if source >= 0:
                try:
                    treecopy.copy_tree(source, "", target, "")
                finally:
                    os.close(source)
    finally:
        os.close(target)


def _open_below(volume_path: str, subpath: str) -> int:
    volume = os.open(volume_path, os.O_RDONLY | os.O_DIRECTORY)
    if not subpath:
        return volume
    try:
        return rootpath.open_in(volume, subpath, os.O_RDONLY | os.O_DIRECTORY)
    finally:
        os.close(volume)


def _open_image_path(root: int, destination: str) -> int:
    """-1 where the image has nothing there."""
    try:
        return rootpath.open_in(root, destination, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return -1
    except NotADirectoryError as error:
        raise InvalidArgument(
            f"cannot mount volume over existing file, file exists {destination}"
        ) from error
    except OSError as error:
        words = os.strerror(error.errno or 0).lower()
        raise InvalidArgument(f"cannot mount volume at {destination}: {words}") from error
