"""A runtime of its own for a test: roots, busybox containers, collected exits, nothing left."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests.busybox import busybox_rootfs
from tests.patience import patient
from tiffin.core.container import HostConfig, IdRange, Mount
from tiffin.core.image import ContainerConfig
from tiffin.core.workload import (
    Attachment,
    Created,
    ExecProcess,
    Exit,
    LogTarget,
    Overlay,
    Workload,
)
from tiffin.kernel import cgroup
from tiffin.runtime.client import Runtime

ENV = ("PATH=/bin:/usr/bin",)
DEADLINE = patient(30)
ALL = Attachment(stdin=True, stdout=True, stderr=True)
RAW = Attachment(stdin=True, stdout=True, stderr=True, framed=False)


class Bench:
    def __init__(self, directory: str, name: str) -> None:
        self.directory = directory
        self.name = name
        self.image = f"{directory}/snapshots/1/fs"
        os.makedirs(self.image)
        busybox_rootfs(self.image)
        self.runtime = Runtime(f"{directory}/run", name, probe_directory=directory)
        self.exits: dict[tuple[str, str], asyncio.Future[Exit]] = {}
        self._count = 1

    async def open(self) -> None:
        self.runtime = Runtime(f"{self.directory}/run", self.name, probe_directory=self.directory)
        await self.runtime.open()
        self.runtime.on_exit(lambda e: self._exit(e.container_id, e.exec_id).set_result(e))

    def _exit(self, container_id: str, exec_id: str) -> asyncio.Future[Exit]:
        key = (container_id, exec_id)
        if key not in self.exits:
            self.exits[key] = asyncio.get_running_loop().create_future()
        return self.exits[key]

    def workload(self, *argv: str, **options: Any) -> Workload:
        """`options` are the ContainerConfig's, the HostConfig's under `host`, or the Workload's."""
        self._count += 1
        number = self._count
        base = f"{self.directory}/snapshots/{number}"
        os.makedirs(f"{base}/fs")
        os.makedirs(f"{base}/work")
        host = options.pop("host", HostConfig())
        of_host = host.privileged or "host" in (
            host.userns_mode,
            host.network_mode,
            host.pid_mode,
            host.ipc_mode,
        )
        fields = {
            "id": f"{number:064x}",
            "host_config": host,
            "rootfs": Overlay((self.image,), f"{base}/fs", f"{base}/work"),
            "hostname": "box",
            "id_range": None if of_host else IdRange(0x80000 + 65536 * number),
            "log": LogTarget(f"{self.directory}/log-{number}"),
        }
        for name in ("mounts", "etc_files", "join_pids", "log", "id_range", "rootfs"):
            if name in options:
                fields[name] = options.pop(name)
        options.setdefault("env", ENV)
        return Workload(config=ContainerConfig(cmd=argv, **options), **fields)

    async def start(self, workload: Workload) -> Created:
        created = await self.runtime.create(workload)
        await self.runtime.start(workload.id)
        return created

    async def ended(self, workload: Workload, exec_id: str = "") -> Exit:
        async with asyncio.timeout(DEADLINE):
            return await self._exit(workload.id, exec_id)

    async def run(self, *argv: str, **options: Any) -> tuple[int, str]:
        """Exit code and everything in the log."""
        workload = self.workload(*argv, **options)
        await self.start(workload)
        code = (await self.ended(workload)).exit_code
        await self.runtime.remove(workload.id)
        return code, self.log(workload)

    async def shell(self, script: str, **options: Any) -> str:
        code, output = await self.run("sh", "-c", script, **options)
        assert code == 0, output
        return output

    def log(self, workload: Workload) -> str:
        return "".join(record["log"] for record in self.records(workload))

    def records(self, workload: Workload) -> list[dict[str, str]]:
        with open(workload.log.path, encoding="utf-8") as file:
            return [json.loads(line) for line in file]

    def upper(self, workload: Workload, path: str) -> str:
        return workload.rootfs.upper + path

    async def attach(self, workload: Workload, attachment: Attachment = ALL) -> Peer:
        ours, theirs = socket.socketpair()
        with theirs:
            await self.runtime.attach(workload.id, theirs.fileno(), attachment)
        return Peer(ours)

    async def exec(
        self,
        workload: Workload,
        *argv: str,
        attachment: Attachment | None = ALL,
        exec_id: str = "e1",
        **options: Any,
    ) -> tuple[int, Peer | None]:
        process = ExecProcess(
            exec_id=exec_id,
            argv=argv,
            env=options.pop("env", ENV),
            working_dir=options.pop("working_dir", "/"),
            user=options.pop("user", ""),
            **options,
        )
        if attachment is None:
            pid = await self.runtime.exec(workload.id, process, None, Attachment())
            return pid, None
        ours, theirs = socket.socketpair()
        try:
            pid = await self.runtime.exec(workload.id, process, theirs.fileno(), attachment)
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        return pid, Peer(ours)

    async def close(self) -> None:
        for entry in os.listdir(f"{self.directory}/run"):
            if entry != ASIDE:
                await self.runtime.remove(entry)
        await self.runtime.close()


class Peer:
    """A client's end of an attached connection."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self.socket = connection

    async def write(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self.socket, data)

    def end_input(self) -> None:
        self.socket.shutdown(socket.SHUT_WR)

    async def read(self) -> bytes:
        """Everything until the end."""
        chunks = []
        async with asyncio.timeout(DEADLINE):
            while chunk := await asyncio.get_running_loop().sock_recv(self.socket, 1 << 20):
                chunks.append(chunk)
        self.socket.close()
        return b"".join(chunks)

    async def read_until(self, text: bytes) -> bytes:
        data = b""
        async with asyncio.timeout(DEADLINE):
            while text not in data:
                chunk = await asyncio.get_running_loop().sock_recv(self.socket, 65536)
                assert chunk, data
                data += chunk
        return data

    async def frames(self) -> dict[int, bytes]:
        return unframe(await self.read())


def unframe(data: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {1: b"", 2: b""}
    while data:
        length = int.from_bytes(data[4:8], "big")
        assert data[1:4] == b"\0\0\0"
        found[data[0]] += data[8 : 8 + length]
        data = data[8 + length :]
    return found


ASIDE = "gone"  # where the runtime has what it deletes


@asynccontextmanager
async def opened() -> AsyncIterator[Bench]:
    directory = tempfile.mkdtemp(prefix="tfn")
    bench = Bench(directory, os.path.basename(directory))
    await bench.open()
    try:
        yield bench
    finally:
        await bench.close()
        run = f"{directory}/run"
        left = [*os.listdir(f"{run}/{ASIDE}"), *(name for name in os.listdir(run) if name != ASIDE)]
        shutil.rmtree(directory)
        assert left == []
        assert cgroups_of(bench.name) == []


def cgroups_of(name: str) -> list[str]:
    layout = cgroup.detect()
    points = {hierarchy.mount_point for hierarchy in layout.hierarchies}
    return [path for point in points if os.path.exists(path := f"{point}/{name}")]


def bind(source: str, destination: str, *, rw: bool = True) -> Mount:
    return Mount("bind", source, destination, rw=rw)
