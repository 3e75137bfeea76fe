"""File systems that are volumes: mounted on the volume's directory for who comes first.

They go with the last who uses them. Whatever is mounted stays when the daemon ends, as its
containers do.
"""

from __future__ import annotations

import ipaddress
import logging
import os
import re
import socket
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from urllib.parse import unquote, urlsplit

from tiffin.core.container import Container, Mount
from tiffin.core.volumeoptions import FileSystem
from tiffin.engine.locks import Locks
from tiffin.engine.naming import new_id
from tiffin.errors import InvalidArgument
from tiffin.kernel import mountinfo, mounts, mounttext
from tiffin.kernel.ownthread import may_hang

log = logging.getLogger(__name__)

_ADDRESS = re.compile(r"(?:^|,)addr=([^,]*)")
_PASSWORD = re.compile(r"(?<=password=)[^,]*")
_OVER_A_NETWORK = ("nfs", "cifs")


class VolumeMounts:
    """Who uses which. Containers by their ids; others for as long as a block lasts."""

    def __init__(self) -> None:
        self._users: dict[str, set[str]] = {}  # by the path that something is mounted on
        self._locks = Locks("mount of")

    async def take(self, container: Container) -> None:
        """Before it starts. Raises InvalidArgument, and gives back what it has taken already."""
        try:
            for mount in container.mounts:
                if mount.filesystem is not None:
                    await self._take(mount.source, mount.filesystem, container.id)
        except BaseException:
            await self.give_back(container.id)
            raise

    def keep(self, container: Container) -> None:
        """It runs since before this daemon."""
        for mount in container.mounts:
            if mount.filesystem is not None:
                self._users.setdefault(mount.source, set()).add(container.id)

    async def give_back(self, user: str) -> None:
        """Idempotent. What cannot be unmounted now is when it is next given back."""
        for path in [path for path, users in self._users.items() if user in users]:
            async with self._locks.of(path):
                users = self._users.get(path, set())
                users.discard(user)
                if not users and self._users.pop(path, None) is not None:
                    await self._unmount(path)

    @asynccontextmanager
    async def used(self, wanted: Iterable[Mount]) -> AsyncIterator[None]:
        """For who looks into them while nobody may have them mounted."""
        user = new_id()
        try:
            for mount in wanted:
                if mount.filesystem is not None:
                    await self._take(mount.source, mount.filesystem, user)
            yield
        finally:
            await self.give_back(user)

    async def unused(self, path: str) -> None:
        """Unmount what nobody uses, and an earlier daemon may have left behind."""
        async with self._locks.of(path):
            if path not in self._users:
                await self._unmount(path)

    def is_used(self, path: str) -> bool:
        return path in self._users

    async def _take(self, path: str, wanted: FileSystem, user: str) -> None:
        async with self._locks.of(path):
            if path not in self._users and not is_mounted(path):
                await _mount(path, wanted)
            self._users.setdefault(path, set()).add(user)

    async def _unmount(self, path: str) -> None:
        if not is_mounted(path):
            return
        try:
            await may_hang(mounts.umount, path, mounts.UMOUNT_NOFOLLOW)
        except OSError as error:
            log.warning("volume stays mounted path=%s: %s", path, error)


def is_mounted(path: str) -> bool:
    """Asks the kernel's table, not the file system, which may not answer."""
    return path in mountinfo.points_below([os.path.dirname(path)])


async def _mount(path: str, wanted: FileSystem) -> None:
    try:
        wanted = await may_hang(_resolved, wanted)
        await may_hang(mounttext.mount, wanted.device, path, wanted.type, wanted.options)
    except OSError as error:
        words = f"failed to mount local volume: {_words(path, wanted, error)}"
        raise InvalidArgument(f"error while mounting volume '{path}': {words}") from error


def _words(path: str, wanted: FileSystem, error: OSError) -> str:
    if isinstance(error, socket.gaierror):
        return f"error resolving passed in network volume address: {error.strerror}"
    flags, data = mounttext.parse_words(wanted.options)
    told = f"mount {wanted.device}:{path}" if wanted.device else f"mount {path}"
    told += f", flags: 0x{flags:x}" if flags else ""
    told += f", data: {_PASSWORD.sub('********', data)}" if data else ""
    return f"{told}: {(error.strerror or str(error)).lower()}"


def _resolved(wanted: FileSystem) -> FileSystem:
    """Blocking. The kernel knows no names of hosts. Raises socket.gaierror."""
    if wanted.type not in _OVER_A_NETWORK:
        return wanted
    named = _ADDRESS.search(wanted.options)
    if named is not None and named[1] and not _is_address(named[1]):
        found = f"addr={_address_of(named[1])}"
        options = wanted.options.replace(f"addr={named[1]}", found, 1)
        return FileSystem(wanted.device, wanted.type, options)
    if wanted.type != "cifs":
        return wanted
    host = urlsplit(wanted.device).hostname or ""
    if not host or _is_address(host):
        return wanted
    device = unquote(wanted.device.replace(host, _address_of(host), 1))
    return FileSystem(device, wanted.type, wanted.options)


def _address_of(host: str) -> str:
    try:
        return str(socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0][4][0])
    except UnicodeError as error:  # no name of a host can look so
        raise socket.gaierror(socket.EAI_NONAME, f"lookup {host}: no such host") from error


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
