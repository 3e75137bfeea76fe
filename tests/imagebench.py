"""A workshop for tests of engine.images: real storage, real client, and what happened."""

from __future__ import annotations

import asyncio
import io
import shutil
import tarfile
import tempfile
from collections.abc import AsyncIterator, Awaitable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from tiffin.core.container import Container
from tiffin.core.image import ContainerConfig, ImageConfig, RootFS
from tiffin.engine.events import Event, Events
from tiffin.engine.images import Images
from tiffin.registry.client import RegistryClient
from tiffin.storage.store import Storage

_T = TypeVar("_T")
Message = dict[str, Any]


class Bench:
    def __init__(self, *, root: str = "", **client: Any) -> None:
        self.root = root or tempfile.mkdtemp(prefix="tfnimg")
        self.storage = Storage.open(self.root)
        self.client = RegistryClient(
            environment=client.pop("environment", {}),
            delays_seconds=client.pop("delays_seconds", (0, 0, 0)),
            **client,
        )
        self.events = Events()
        self.containers: dict[str, list[Container]] = {}
        self.images = Images(
            self.storage, self.client, self.events, lambda image: self.containers.get(image, [])
        )

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *_: object) -> None:
        self.storage.close()
        shutil.rmtree(self.root, ignore_errors=True)

    def run(self, work: Awaitable[_T]) -> _T:
        async def whole() -> _T:
            try:
                return await work
            finally:
                await self.client.aclose()

        return asyncio.run(whole())

    def messages(self, stream: AsyncIterator[Message]) -> list[Message]:
        return self.run(collected(stream))

    def load(self, archive: bytes) -> list[Message]:
        return self.messages(self.images.load(chunked(archive)))

    def save(self, *names: str) -> bytes:
        return b"".join(self.run(collected(self.images.save(names))))

    def pull(self, name: str, **options: Any) -> list[Message]:
        return self.messages(self.images.pull(name, **options))

    def push(self, name: str, **options: Any) -> list[Message]:
        return self.messages(self.images.push(name, **options))

    def make(self, tag: str = "", *, files: dict[str, bytes] | None = None, **config: Any) -> str:
        """An image of one new layer; its ID."""
        return self.make_on(None, tag, files=files or {"hello": b"hello\n"}, **config)

    def make_on(
        self, base: str | None, tag: str = "", *, files: dict[str, bytes], **config: Any
    ) -> str:
        async def work() -> str:
            below = await self.images.get(base) if base else None
            snapshots = self.storage.snapshots
            active = snapshots.prepare(below.chain_id if below else None)
            with snapshots.mounted(active) as fd:
                for name, data in files.items():
                    Path(f"/proc/self/fd/{fd}", name).write_bytes(data)
            committed = snapshots.commit(active)
            diff_ids = below.config.rootfs.diff_ids if below else ()
            document = ImageConfig(
                architecture="amd64",
                os="linux",
                created="2024-01-02T03:04:05Z",
                config=ContainerConfig(cmd=("/bin/sh",), **config),
                rootfs=RootFS(diff_ids=(*diff_ids, committed.diff_id)),
            )
            return await self.images.create_from_layers(document, [tag] if tag else [])

        return self.run(work())

    def files(self, name: str) -> dict[str, bytes]:
        """The regular files of an image's merged tree."""
        image = self.run(self.images.get(name))
        out = io.BytesIO()
        self.storage.snapshots.export(str(image.chain_id), out)
        out.seek(0)
        with tarfile.open(fileobj=out) as archive:
            return {
                member.name: archive.extractfile(member).read()  # type: ignore[union-attr]
                for member in archive
                if member.isreg()
            }

    def is_bare(self) -> bool:
        """Nothing is left of any image: no row, layer, blob or half-written file."""
        storage = self.storage
        return not (
            storage.database.images()
            or storage.database.tags()
            or storage.snapshots.chains()
            or storage.database.layer_blobs()
            or list(storage.blobs)
        )

    def told(self, kind: str = "image") -> list[Event]:
        return [event for event in self.events._kept if event.type == kind]


async def collected(stream: AsyncIterator[_T]) -> list[_T]:
    return [item async for item in stream]


async def chunked(data: bytes, size: int = 100_000) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


def statuses(messages: Iterable[Message]) -> list[str]:
    """The words alone, without the amounts."""
    return [m["status"] for m in messages if "status" in m and not m.get("progressDetail")]


def tar_of(files: dict[str, bytes], links: dict[str, str] | None = None) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        for name, target in (links or {}).items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            archive.addfile(info)
    return out.getvalue()
