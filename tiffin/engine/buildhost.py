"""The machine as one build sees it: build.host.BuildHost on storage, images and the runtime."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import struct
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from msgspec.structs import replace as with_fields

from tiffin.build.actions import RunCommand
from tiffin.build.host import BaseImage, Draft, Layer, Message, Recollection, Report
from tiffin.build.plan import parse_platform
from tiffin.build.state import SCRIPT_DIRECTORY
from tiffin.core.container import HostConfig, Mount
from tiffin.core.image import ContainerConfig, ImageConfig, chain_id
from tiffin.core.workload import Attachment, Exit, Overlay, Workload
from tiffin.engine.idranges import IdRanges
from tiffin.engine.layerstore import EMPTY_DIFF_ID
from tiffin.engine.leases import Leases
from tiffin.engine.naming import new_id
from tiffin.engine.ports import ContainerRuntime
from tiffin.engine.stepports import StepNetworks
from tiffin.errors import Conflict, EngineFailure, InvalidArgument, NotFound
from tiffin.kernel import rootpath
from tiffin.registry.credentials import AuthSource
from tiffin.storage import compression, jail, tar, unpack
from tiffin.storage.database import CacheRecord
from tiffin.storage.store import Storage

_R = TypeVar("_R")

_FRAME = struct.Struct(">BxxxL")
_READ_BYTES = 1 << 16
_ETC_FILES = ("etc/hosts", "etc/resolv.conf", "etc/hostname")
_MOUNT_POINTS = ("proc", "sys", "dev")


class FoundImage(Protocol):
    @property
    def id(self) -> str: ...

    @property
    def config(self) -> ImageConfig: ...


class BaseImages(Protocol):
    """What a build asks of engine.images."""

    async def get(self, reference: str) -> FoundImage: ...

    @property
    def leases(self) -> Leases: ...

    def pull(
        self, reference: str, platform: str = "", auth: AuthSource = None
    ) -> AsyncIterator[Message]: ...


class Exits:
    """Who waits for the end of which step. One per engine."""

    def __init__(self, runtime: ContainerRuntime) -> None:
        self._waiting: dict[str, asyncio.Future[Exit]] = {}
        runtime.on_exit(self._ended)

    def expect(self, step_id: str) -> asyncio.Future[Exit]:
        future = asyncio.get_running_loop().create_future()
        self._waiting[step_id] = future
        return future

    def forget(self, step_id: str) -> None:
        self._waiting.pop(step_id, None)

    def _ended(self, end: Exit) -> None:
        future = self._waiting.get(end.container_id)
        if future is not None and not end.exec_id and not future.done():
            future.set_result(end)


class Turns:
    """A lock for each cache key in use, over all builds."""

    def __init__(self) -> None:
        self._locks: dict[str, asyncio.Lock] = {}
        self._users: defaultdict[str, int] = defaultdict(int)

    @asynccontextmanager
    async def only_one(self, key: str) -> AsyncIterator[None]:
        lock = self._locks.setdefault(key, asyncio.Lock())
        self._users[key] += 1
        try:
            async with lock:
                yield
        finally:
            self._users[key] -= 1
            if not self._users[key]:
                del self._users[key], self._locks[key]


@dataclass(frozen=True)
class StepSettings:
    """What the user asked for all RUNs and pulls of one build."""

    host_config: HostConfig = field(default_factory=HostConfig)
    platform: str = ""
    pull: bool = False
    auth: AuthSource = None


class MachineHost:
    """BuildHost. One per build."""

    def __init__(
        self,
        storage: Storage,
        images: BaseImages,
        runtime: ContainerRuntime,
        networks: StepNetworks,
        id_ranges: IdRanges,
        exits: Exits,
        turns: Turns,
        settings: StepSettings,
    ) -> None:
        self._storage = storage
        self._snapshots = storage.snapshots
        self._images = images
        self._runtime = runtime
        self._networks = networks
        self._id_ranges = id_ranges
        self._exits = exits
        self._settings = settings
        self._bases: dict[tuple[str, str], asyncio.Task[BaseImage]] = {}
        self._held = ExitStack()  # leases on what this build needs
        self.only_one = turns.only_one

    def new_step_id(self) -> str:
        return new_id()

    def now_ns(self) -> int:
        return time.time_ns()

    # Images

    async def base(self, reference: str, platform: str, report: Report) -> BaseImage:
        key = (reference, platform or self._settings.platform)
        if key not in self._bases:
            self._bases[key] = asyncio.create_task(self._find_base(*key, report))
        return await asyncio.shield(self._bases[key])

    async def close(self) -> None:
        """Stop what is still being pulled, let go of the layers."""
        for task in self._bases.values():
            task.cancel()
        await asyncio.gather(*self._bases.values(), return_exceptions=True)
        self._held.close()

    def hold(self, *chains: str | None) -> None:
        """Keep layers from being collected until the build ends. Blocking."""
        names = [chain for chain in chains if chain is not None]
        self._held.enter_context(self._images.leases.hold(names))

    async def _find_base(self, reference: str, platform: str, report: Report) -> BaseImage:
        image = None if self._settings.pull else await self._find_local(reference, platform)
        if image is None:
            async for message in self._images.pull(reference, platform, self._settings.auth):
                report(message)
            image = await self._images.get(reference)
        base = BaseImage(image.id, image.config, chain_id(image.config.rootfs.diff_ids))
        await asyncio.to_thread(self.hold, base.chain_id)
        return base

    async def _find_local(self, reference: str, platform: str) -> FoundImage | None:
        try:
            image = await self._images.get(reference)
        except NotFound:
            return None
        if platform:
            wanted = parse_platform(platform)
            if (image.config.os, image.config.architecture) != (wanted.os, wanted.architecture):
                return None
        return image

    # The cache

    def recall(self, keys: Sequence[str]) -> Recollection | None:
        for key in keys:
            record = self._storage.database.find_cache(key)
            if record is None:
                continue
            if record.diff_id:
                self.hold(record.chain_id)
                if not self._snapshots.exists(record.chain_id):
                    self._storage.database.delete_cache(key)
                    continue
            layer = Layer(record.chain_id, record.diff_id) if record.diff_id else None
            return Recollection(key, layer, record.created_ns, record.description)
        return None

    def remember(self, recollections: Sequence[Recollection]) -> None:
        for made in recollections:
            self._storage.database.put_cache(
                CacheRecord(
                    key=made.key,
                    chain_id=made.layer.chain_id if made.layer else "",
                    diff_id=made.layer.diff_id if made.layer else "",
                    config_json=b"",
                    description=made.description,
                    created_ns=made.created_ns,
                )
            )

    # Trees

    @asynccontextmanager
    async def draft(self, parent: str | None) -> AsyncIterator[Draft]:
        active = await asyncio.to_thread(self._snapshots.prepare, parent)
        draft = _ActiveDraft(self, self._storage, active)
        try:
            yield draft
        finally:
            if not draft.gone:
                await finish(asyncio.to_thread(self._snapshots.remove, active))

    @contextmanager
    def tree(self, chain: str | None) -> Iterator[int]:
        if chain is not None:
            with self._snapshots.view(chain) as root:
                yield root
            return
        directory = tempfile.mkdtemp(prefix="tiffin-empty-")
        root = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.rmdir(directory)  # what has no name can get no entries
            yield root
        finally:
            os.close(root)

    def is_archive(self, file: int) -> bool:
        try:
            first = os.pread(file, compression.MAGIC_BYTES, 0)
            decoded = compression.decoder_for(first)(_pieces(file))
            return next(iter(tar.Reader(tar.Source(decoded))), None) is not None
        except InvalidArgument:
            return False

    def unpack(self, file: int, directory: int, owner: tuple[int, int] | None) -> None:
        with open(file, "rb", closefd=False) as archive:
            jail.unpack(archive, directory, whiteouts=unpack.NAMES, owner=owner)

    # Processes

    async def run(
        self,
        command: RunCommand,
        draft: Draft,
        step_id: str,
        proxies: Mapping[str, str],
        output: Callable[[int, bytes], Awaitable[None]],
    ) -> int:
        assert isinstance(draft, _ActiveDraft)
        undo = AsyncExitStack()
        try:
            return await self._run(undo, command, draft, step_id, proxies, output)
        finally:
            # Whoever cancels waits until nothing of the step is left.
            await finish(undo.aclose())

    async def _run(
        self,
        undo: AsyncExitStack,
        command: RunCommand,
        draft: _ActiveDraft,
        step_id: str,
        proxies: Mapping[str, str],
        output: Callable[[int, bytes], Awaitable[None]],
    ) -> int:
        host_config = self._host_config(command)
        network = await self._networks.prepare(step_id, host_config)
        undo.push_async_callback(network.release)
        id_range = None
        if self._id_ranges.wanted(host_config):
            undo.callback(self._id_ranges.release, step_id)
            id_range = self._id_ranges.acquire(step_id)
        rootfs = await self._rootfs(undo, draft)
        mounts = await self._script(undo, command)
        env = (*command.env, *(f"{name}={value}" for name, value in proxies.items()))
        workload = Workload(
            id=step_id,
            config=ContainerConfig(
                cmd=command.argv,
                env=env,
                working_dir=command.working_dir,
                user=command.user,
                hostname=network.hostname,
            ),
            host_config=host_config,
            rootfs=rootfs,
            hostname=network.hostname,
            mounts=mounts,
            id_range=id_range,
            etc_files=network.etc_files,
        )
        ended = self._exits.expect(step_id)
        undo.callback(self._exits.forget, step_id)
        undo.push_async_callback(self._runtime.remove, step_id)
        created = await self._runtime.create(workload)
        reading = await self._attach(undo, step_id)
        await network.connect(created.pid)
        await self._runtime.start(step_id)
        await _demultiplex(reading, output)
        return (await ended).exit_code

    def _host_config(self, command: RunCommand) -> HostConfig:
        asked = self._settings.host_config
        mode = asked.network_mode if command.network == "default" else command.network
        return with_fields(asked, network_mode=mode)

    async def _attach(self, undo: AsyncExitStack, step_id: str) -> socket.socket:
        ours, theirs = socket.socketpair()
        undo.callback(ours.close)
        ours.setblocking(False)
        with theirs:
            attachment = Attachment(stdout=True, stderr=True)
            await self._runtime.attach(step_id, theirs.fileno(), attachment)
        return ours

    async def _rootfs(self, undo: AsyncExitStack, draft: _ActiveDraft) -> Overlay:
        """Mount points that the image lacks get a layer of their own: a RUN's has none of them."""
        overlay = self._snapshots.overlay(draft.active)
        if not overlay.lower:
            return overlay
        missing = await asyncio.to_thread(self._missing_mount_points, draft)
        if not missing:
            return overlay
        points = await self._scratch(undo)
        await asyncio.to_thread(self._make_mount_points, draft, points, missing)
        return with_fields(overlay, lower=(points, *overlay.lower))

    async def _scratch(self, undo: AsyncExitStack) -> str:
        """A directory that is gone with the step, or with the next start of the engine."""
        active = await asyncio.to_thread(self._snapshots.prepare, None)
        undo.push_async_callback(asyncio.to_thread, self._snapshots.remove, active)
        return self._snapshots.overlay(active).upper

    def _missing_mount_points(self, draft: _ActiveDraft) -> list[str]:
        with draft.mounted() as root:
            etc_is_plain = _kind(root, "etc") in (stat.S_IFDIR, 0)
            wanted = (*_MOUNT_POINTS, *(_ETC_FILES if etc_is_plain else ()))
            return [path for path in wanted if not _kind(root, path)]

    def _make_mount_points(self, draft: _ActiveDraft, points: str, missing: list[str]) -> None:
        with draft.mounted() as root:
            _like(root, ".", points)
            for path in missing:
                target = os.path.join(points, path)
                if path in _MOUNT_POINTS:
                    os.mkdir(target, 0o755)
                    continue
                os.makedirs(os.path.dirname(target), 0o755, exist_ok=True)
                os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
            if os.path.isdir(os.path.join(points, "etc")):
                _like(root, "etc", os.path.join(points, "etc"))

    async def _script(self, undo: AsyncExitStack, command: RunCommand) -> tuple[Mount, ...]:
        if command.script is None:
            return ()
        directory = await self._scratch(undo)
        name, body = command.script.name, command.script.body
        if "/" in name or name in (".", ".."):
            raise InvalidArgument(f"invalid heredoc name: {name}")
        path = os.path.join(directory, name)
        await asyncio.to_thread(_write_script, path, body.encode("utf-8", "surrogateescape"))
        mount = Mount(type="bind", source=directory, destination=SCRIPT_DIRECTORY, rw=False)
        return (mount,)


class _ActiveDraft:
    """host.Draft on an active snapshot."""

    def __init__(self, host: MachineHost, storage: Storage, active: str) -> None:
        self._host = host
        self._snapshots = storage.snapshots
        self.active = active
        self.gone = False

    @contextmanager
    def mounted(self) -> Iterator[int]:
        with self._snapshots.mounted(self.active) as root:
            yield root

    def commit(self, epoch_ns: int | None) -> Layer | None:
        committed = self._snapshots.commit(self.active, latest_ns=epoch_ns)
        self.gone = True
        if committed.diff_id == EMPTY_DIFF_ID:
            with suppress(Conflict):  # another build may stand on it already
                self._snapshots.remove(committed.chain_id)
            return None
        self._host.hold(committed.chain_id)
        if not self._snapshots.exists(committed.chain_id):
            raise EngineFailure("the layer was collected as soon as it was made: build again")
        return Layer(committed.chain_id, committed.diff_id)


async def finish(work: Awaitable[_R]) -> _R:
    """Await `work` to its end even if the caller is cancelled; that comes through afterwards."""
    task = asyncio.ensure_future(work)
    cancelled = False
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            cancelled = True
    if cancelled:
        task.exception()
        raise asyncio.CancelledError
    return task.result()


async def _demultiplex(
    reading: socket.socket, output: Callable[[int, bytes], Awaitable[None]]
) -> None:
    """The shim's 8-byte frames, until it closes the connection."""
    loop = asyncio.get_running_loop()
    buffer = bytearray()
    while data := await loop.sock_recv(reading, _READ_BYTES):
        buffer += data
        while len(buffer) >= _FRAME.size:
            stream, length = _FRAME.unpack_from(buffer)
            end = _FRAME.size + length
            if len(buffer) < end:
                break
            await output(stream, bytes(buffer[_FRAME.size : end]))
            del buffer[:end]


def _pieces(file: int) -> Iterator[bytes]:
    offset = 0
    while piece := os.pread(file, _READ_BYTES, offset):
        offset += len(piece)
        yield piece


def _kind(root: int, path: str) -> int:
    """The file type, 0 for nothing. A link counts as itself."""
    try:
        return stat.S_IFMT(rootpath.stat_in(root, path, follow=True).st_mode)
    except FileNotFoundError:
        pass
    try:
        return stat.S_IFMT(os.stat(path, dir_fd=root, follow_symlinks=False).st_mode)
    except OSError:
        return 0


def _like(root: int, path: str, directory: str) -> None:
    """Overlayfs shows the topmost directory's owner, mode and time: make them the image's."""
    try:
        status = rootpath.stat_in(root, path)
    except FileNotFoundError:
        return
    os.chown(directory, status.st_uid, status.st_gid)
    os.chmod(directory, stat.S_IMODE(status.st_mode))
    os.utime(directory, ns=(status.st_atime_ns, status.st_mtime_ns))


def _write_script(path: str, data: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o755)
    with open(fd, "wb") as file:
        os.fchmod(fd, 0o755)
        file.write(data)
