"""From requested mounts to directories that exist: volumes made and filled, binds checked."""

from __future__ import annotations

import asyncio
import os
from contextlib import AsyncExitStack

import msgspec

from tiffin.core.container import Container, HostConfig, Mount, Volume
from tiffin.core.image import ContainerConfig
from tiffin.core.mounts import requested_mounts
from tiffin.engine.catalog import Catalog
from tiffin.engine.volumes import Volumes
from tiffin.errors import InvalidArgument, NotFound
from tiffin.kernel import rootpath
from tiffin.storage.snapshots import SnapshotStore


class Mounting:
    def __init__(self, catalog: Catalog, volumes: Volumes, snapshots: SnapshotStore) -> None:
        self._catalog = catalog
        self._volumes = volumes
        self._snapshots = snapshots

    async def resolve(
        self,
        config: ContainerConfig,
        host: HostConfig,
        snapshot: str,
        undo: AsyncExitStack,
    ) -> tuple[Mount, ...]:
        """Every mount with its source. Volumes that this made are taken back by `undo`."""
        mounts = {mount.destination: mount for mount in self._inherited(host)}
        for mount in requested_mounts(config, host):
            if mount.type == "volume":
                if not mount.name and mount.destination in mounts:
                    continue  # the image's VOLUME, given by --volumes-from
                mounts[mount.destination] = await self._with_volume(mount, snapshot, undo)
            elif mount.type == "bind":
                mounts[mount.destination] = await asyncio.to_thread(_checked_bind, mount)
            else:
                mounts[mount.destination] = mount
        return tuple(mounts.values())

    def _inherited(self, host: HostConfig) -> list[Mount]:
        found = []
        for text in host.volumes_from:
            name, _, mode = text.partition(":")
            if mode not in ("", "ro", "rw", "z", "Z"):
                raise InvalidArgument(f"invalid mode: {mode}")
            found += [
                msgspec.structs.replace(mount, rw=mount.rw and mode != "ro")
                for mount in self._catalog.get(name).mounts
            ]
        return found

    async def _with_volume(self, mount: Mount, snapshot: str, undo: AsyncExitStack) -> Mount:
        existing = await self._volumes.find(mount.name) if mount.name else None
        volume = existing or await self._volumes.create(mount.name)
        if existing is None:
            undo.push_async_callback(self._forget, volume)
        source = volume.mountpoint
        if "nocopy" not in mount.mode:
            await asyncio.to_thread(
                fill_volume, self._snapshots, snapshot, mount.destination, source
            )
        if mount.subpath:
            await asyncio.to_thread(_check_subpath, source, mount.subpath)
        return msgspec.structs.replace(mount, name=volume.name, source=source)

    async def _forget(self, volume: Volume) -> None:
        await self._volumes.remove(volume.name, force=True)

    async def remove_anonymous(self, container: Container) -> None:
        """Anonymous volumes end with their container (`rm -v`, `--rm`) unless another uses them."""
        for mount in container.mounts:
            volume = await self._volumes.find(mount.name) if mount.name else None
            if (
                volume is not None
                and volume.anonymous
                and not self._volumes.references(volume.name)
            ):
                await self._volumes.remove(volume.name, force=True)


def _checked_bind(mount: Mount) -> Mount:
    """`-v` makes a missing source, `--mount` refuses it, as Docker's do."""
    if mount.mode == "must-exist":
        if not os.path.lexists(mount.source):
            raise InvalidArgument(
                'invalid mount config for type "bind": '
                f"bind source path does not exist: {mount.source}"
            )
        return msgspec.structs.replace(mount, mode="")
    if not os.path.lexists(mount.source):
        try:
            os.makedirs(mount.source, 0o755, exist_ok=True)
        except OSError as error:
            raise InvalidArgument(
                f"error while creating mount source path '{mount.source}': "
                f"mkdir {mount.source}: {(error.strerror or str(error)).lower()}"
            ) from error
    return msgspec.structs.replace(mount, mode="" if mount.mode == "create" else mount.mode)


def fill_volume(
    snapshots: SnapshotStore, snapshot: str, destination: str, volume_path: str
) -> None:
    """Copy what the image has at `destination`, with owners and modes, into an empty volume."""
    if os.listdir(volume_path):
        return
    with snapshots.mounted(snapshot, read_only=True) as root:
        try:
            source = rootpath.open_in(root, destination, os.O_RDONLY | os.O_DIRECTORY)
        except (FileNotFoundError, NotADirectoryError):
            return
        try:
            target = os.open(volume_path, os.O_RDONLY | os.O_DIRECTORY)
            try:
                rootpath.copy_tree(source, "", target, "")
            finally:
                os.close(target)
        finally:
            os.close(source)


def _check_subpath(volume_path: str, subpath: str) -> None:
    """That it is there, for the user's sake: each start resolves it anew, inside the volume."""
    root = os.open(volume_path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.close(rootpath.open_in(root, subpath, os.O_PATH))
    except FileNotFoundError as error:
        raise NotFound(f"cannot access path {os.path.join(volume_path, subpath)}") from error
    finally:
        os.close(root)
