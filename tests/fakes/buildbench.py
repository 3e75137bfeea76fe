"""Builds on real storage, with images kept in a dict and RUN as a plain chroot.

What is under test is the builder: its file operations, layers and cache are real. Processes are as
simple as can be: no namespaces but a mount namespace, output framed like the shim's.
"""

from __future__ import annotations

import asyncio
import io
import os
import socket
import struct
import subprocess
import tarfile
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests import busybox
from tiffin.core.container import HostConfig
from tiffin.core.image import ImageConfig, chain_id, decode_config, digest_of, encode
from tiffin.core.workload import Attachment, Created, Exit, Workload
from tiffin.engine.buildoptions import BuildOptions
from tiffin.engine.builds import Builds
from tiffin.engine.events import Events
from tiffin.engine.idranges import IdRanges
from tiffin.engine.leases import Leases
from tiffin.errors import NotFound
from tiffin.kernel import rootpath
from tiffin.storage.store import Storage


@dataclass(frozen=True)
class FakeImage:
    id: str
    config: ImageConfig


class FakeImages:
    """Images by name, remembered only here."""

    def __init__(self) -> None:
        self.by_name: dict[str, FakeImage] = {}
        self.pulled: list[str] = []
        self.leases = Leases()

    def add(self, name: str, config: ImageConfig) -> str:
        image_id = digest_of(encode(config))
        self.by_name[name] = self.by_name[image_id] = FakeImage(image_id, config)
        return image_id

    async def get(self, reference: str) -> FakeImage:
        for name in (reference, f"{reference}:latest"):
            if name in self.by_name:
                return self.by_name[name]
        raise NotFound(f"No such image: {reference}")

    async def pull(
        self, reference: str, platform: str = "", auth: object = None
    ) -> AsyncIterator[dict[str, Any]]:
        self.pulled.append(reference)
        yield {"status": f"Pulling {reference}"}
        raise NotFound(f"pull access denied for {reference}")

    async def create_from_build(
        self, document: ImageConfig, chain_id: str | None, tags: Sequence[str] = ()
    ) -> str:
        image_id = self.add("", document)
        for tag in tags:
            self.add(tag, document)
        return image_id

    async def sweep(self) -> None:
        pass


class ChrootRuntime:
    """ContainerRuntime as far as a RUN needs it."""

    def __init__(self) -> None:
        self._callbacks: list[Callable[[Exit], None]] = []
        self._workloads: dict[str, Workload] = {}
        self._connections: dict[str, socket.socket] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._processes: dict[str, asyncio.subprocess.Process] = {}
        self.workloads: list[Workload] = []
        self.started = asyncio.Event()
        self.running = 0
        self.most_at_once = 0

    async def create(self, workload: Workload, *, hold: Sequence[int] = ()) -> Created:
        self._workloads[workload.id] = workload
        self.workloads.append(workload)
        return Created(os.getpid(), 0)

    async def attach(
        self, container_id: str, connection: int, attachment: Attachment, *, early: bytes = b""
    ) -> None:
        self._connections[container_id] = socket.socket(fileno=os.dup(connection))

    async def start(self, container_id: str) -> None:
        workload = self._workloads[container_id]
        process = await asyncio.create_subprocess_exec(
            "unshare",
            "-m",
            "sh",
            "-ec",
            self._script(workload),
            "sh",
            *(workload.config.entrypoint or ()),
            *(workload.config.cmd or ()),
            env=dict(entry.split("=", 1) for entry in workload.config.env or ()),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self._processes[container_id] = process
        self.running += 1
        self.most_at_once = max(self.most_at_once, self.running)
        self._tasks[container_id] = asyncio.create_task(self._wait(container_id, process))
        self.started.set()

    def _script(self, workload: Workload) -> str:
        rootfs = workload.rootfs
        target = tempfile.mkdtemp(prefix="tfnrun")
        self._workloads[workload.id + "/dir"] = target  # type: ignore[assignment]
        if rootfs.lower:
            options = (
                f"lowerdir={':'.join(rootfs.lower)},upperdir={rootfs.upper},workdir={rootfs.work}"
            )
            mount = f"/bin/mount -t overlay overlay -o {options} {target}"
        else:
            mount = f"/bin/mount --bind {rootfs.upper} {target}"
        binds = ""
        for each in workload.mounts:
            binds += f"/bin/mkdir -p {target}{each.destination};"
            binds += f"/bin/mount --bind {each.source} {target}{each.destination};"
        user = workload.config.user or "0"
        home = workload.config.working_dir or "/"
        return (
            f"{mount};{binds} exec /usr/sbin/chroot --userspec={user} {target} "
            f'/bin/sh -c \'cd {home} && exec "$@"\' sh "$@"'
        )

    async def _wait(self, container_id: str, process: asyncio.subprocess.Process) -> None:
        connection = self._connections.pop(container_id)
        connection.setblocking(False)
        loop = asyncio.get_running_loop()

        async def pump(number: int, stream: asyncio.StreamReader) -> None:
            while data := await stream.read(4096):
                header = struct.pack(">BxxxL", number, len(data))
                await loop.sock_sendall(connection, header + data)

        assert process.stdout is not None
        assert process.stderr is not None
        await asyncio.gather(pump(1, process.stdout), pump(2, process.stderr))
        code = await process.wait()
        self.running -= 1
        connection.close()
        code = 128 - code if code < 0 else code
        for callback in self._callbacks:
            callback(Exit(container_id, "", code, 0, False, 0))

    async def remove(self, container_id: str) -> None:
        process = self._processes.pop(container_id, None)
        if process is not None and process.returncode is None:
            process.kill()
        task = self._tasks.pop(container_id, None)
        if task is not None:
            await asyncio.gather(task, return_exceptions=True)
        target = self._workloads.pop(container_id + "/dir", None)
        if target is not None:
            os.rmdir(str(target))

    def on_exit(self, callback: Callable[[Exit], None]) -> None:
        self._callbacks.append(callback)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)


@dataclass
class FakeNetwork:
    hostname: str = "step"
    etc_files: dict[str, str] = field(default_factory=dict)
    released: int = 0

    async def connect(self, pid: int) -> None:
        pass

    async def release(self) -> None:
        self.released += 1


class FakeNetworks:
    def __init__(self) -> None:
        self.prepared: list[HostConfig] = []
        self.given: list[FakeNetwork] = []

    async def prepare(self, step_id: str, host_config: HostConfig) -> FakeNetwork:
        self.prepared.append(host_config)
        self.given.append(FakeNetwork())
        return self.given[-1]


def tar_of(files: dict[str, Any]) -> bytes:
    """A context: {name: text, bytes, (mode, text), ("link" or "hard", target), ("dir", mode)}."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, value in files.items():
            archive.addfile(*_member(name, value))
    return out.getvalue()


def _member(name: str, value: Any) -> tuple[tarfile.TarInfo, io.BytesIO | None]:
    info = tarfile.TarInfo(name)
    info.mtime = 1_600_000_000
    info.mode = 0o644
    info.uid, info.gid = 1000, 1000
    if isinstance(value, tuple) and value[0] in ("link", "hard"):
        info.type = tarfile.SYMTYPE if value[0] == "link" else tarfile.LNKTYPE
        info.linkname = value[1]
        return info, None
    if isinstance(value, tuple) and value[0] == "dir":
        info.type, info.mode = tarfile.DIRTYPE, value[1]
        return info, None
    if isinstance(value, tuple):
        info.mode, value = value
    data = value.encode() if isinstance(value, str) else value
    info.size = len(data)
    return info, io.BytesIO(data)


@dataclass
class Outcome:
    messages: list[dict[str, Any]]
    document: ImageConfig | None
    image_id: str

    @property
    def text(self) -> str:
        return "".join(str(message.get("stream", "")) for message in self.messages)

    @property
    def cached_steps(self) -> list[int]:
        """The numbers of the steps that came from the cache."""
        steps = self.text.split("Step ")[1:]
        return [int(step.split("/")[0]) for step in steps if " ---> Using cache\n" in step]

    @property
    def error(self) -> str:
        return next((str(m["error"]) for m in self.messages if "error" in m), "")


class Bench:
    def __init__(self, data_root: str, runtime: Any = None) -> None:
        self.storage = Storage.open(data_root)
        self.left: list[str] = []
        self.images = FakeImages()
        self.runtime = runtime or ChrootRuntime()
        self.networks = FakeNetworks()
        self.events = Events()
        ranges = IdRanges(available=False, subordinate_ids="", boot_id="")
        self.builds = Builds(
            self.storage, self.images, self.runtime, self.networks, self.events, ranges
        )

    def add_busybox(self, name: str = "bb:latest") -> None:
        layer = busybox.busybox_tar()
        committed = self.storage.snapshots.unpack(
            io.BytesIO(layer),
            "application/vnd.docker.image.rootfs.diff.tar",
            None,
            digest_of(layer),
        )
        config = decode_config(
            b'{"architecture":"amd64","os":"linux","created":"2020-01-01T00:00:00Z",'
            b'"config":{"Cmd":["sh"],"Env":["' + busybox.PATH.encode() + b'"]},'
            b'"rootfs":{"type":"layers","diff_ids":["' + committed.diff_id.encode() + b'"]},'
            b'"history":[{"created":"2020-01-01T00:00:00Z","created_by":"base"}]}'
        )
        self.images.add(name, config)

    async def build(
        self, text: str, files: dict[str, Any] | None = None, **options: Any
    ) -> Outcome:
        context = tar_of({"Dockerfile": text, **(files or {})})
        messages = []
        async for message in self.builds.build(BuildOptions(**options), chunks(context)):
            messages.append(message)
        ids = [m["aux"]["ID"] for m in messages if "aux" in m]
        image_id = ids[-1] if ids else ""
        known = self.images.by_name.get(image_id)
        return Outcome(messages, known.config if known else None, image_id)

    def tree(self, document: ImageConfig) -> dict[str, tuple[Any, ...]]:
        """{path: (kind and mode, uid, gid, content or link)} of an image."""
        chain = chain_id(document.rootfs.diff_ids)
        assert chain is not None
        found = {}
        with self.storage.snapshots.view(chain) as root:
            for path, status in rootpath.walk(root):
                content: Any = None
                if (status.st_mode & 0o170000) == 0o100000 and status.st_size < 10_000:
                    fd = rootpath.open_beneath(root, path, os.O_RDONLY)
                    content = os.read(fd, 10_000)
                    os.close(fd)
                elif (status.st_mode & 0o170000) == 0o120000:
                    content = os.readlink(path, dir_fd=root).decode()
                found["/" + path.decode()] = (
                    oct(status.st_mode),
                    status.st_uid,
                    status.st_gid,
                    content,
                )
        return found

    def link_count(self, document: ImageConfig, path: str) -> int:
        chain = chain_id(document.rootfs.diff_ids)
        assert chain is not None
        with self.storage.snapshots.view(chain) as root:
            return rootpath.stat_in(root, path).st_nlink

    async def close(self) -> None:
        """Afterwards `left` names the active snapshots that nobody took away."""
        await self.builds.close()
        self.left = self.storage.snapshots.actives()
        self.storage.close()


async def chunks(data: bytes, size: int = 65536) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]
