"""BuildHost in memory: trees are directories, a command is a function of the test's."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager

from tiffin.build.actions import RunCommand
from tiffin.build.host import BaseImage, Draft, Layer, Recollection, Report
from tiffin.core.image import ContainerConfig, ImageConfig, RootFS
from tiffin.errors import NotFound

Output = Callable[[int, bytes], Awaitable[None]]
Command = Callable[[RunCommand, Output], Awaitable[int]]


class FakeDraft:
    def __init__(self, host: FakeHost, parent: str | None, path: str):
        self._host = host
        self._parent = parent
        self.path = path

    @contextmanager
    def mounted(self) -> Iterator[int]:
        fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            yield fd
        finally:
            os.close(fd)

    def write(self, name: str, text: str) -> None:
        with open(os.path.join(self.path, name), "w", encoding="utf-8") as file:
            file.write(text)

    def commit(self, epoch_ns: int | None) -> Layer | None:
        summary = hashlib.sha256((self._parent or "").encode())
        for directory, _, names in sorted(os.walk(self.path)):
            for name in sorted(names):
                path = os.path.join(directory, name)
                summary.update(os.path.relpath(path, self.path).encode())
                with open(path, "rb") as file:
                    summary.update(file.read())
        chain = f"sha256:{summary.hexdigest()}"
        self._host.trees.setdefault(chain, self.path)
        return Layer(chain, f"diff of {chain}")


class FakeHost:
    def __init__(self, directory: str, command: Command):
        self._directory = directory
        self._command = command
        self.cache: dict[str, Recollection] = {}
        self.trees: dict[str | None, str] = {}
        self.commands: list[RunCommand] = []
        self._count = 0
        self._locks: dict[str, asyncio.Lock] = {}

    def _path(self) -> str:
        self._count += 1
        return os.path.join(self._directory, str(self._count))

    async def base(self, reference: str, platform: str, report: Report) -> BaseImage:
        if reference == "missing":
            raise NotFound("pull access denied for missing")
        chain = f"sha256:{reference}"
        if chain not in self.trees:
            self.trees[chain] = self._path()
            os.mkdir(self.trees[chain])
        config = ImageConfig(
            architecture="amd64",
            os="linux",
            config=ContainerConfig(env=("PATH=/bin",)),
            rootfs=RootFS(diff_ids=(chain,)),
        )
        return BaseImage(f"sha256:{reference:0<64}", config, chain)

    def recall(self, keys: Sequence[str]) -> Recollection | None:
        return next((self.cache[key] for key in keys if key in self.cache), None)

    def remember(self, recollections: Sequence[Recollection]) -> None:
        self.cache.update({made.key: made for made in recollections})

    @asynccontextmanager
    async def only_one(self, key: str) -> AsyncIterator[None]:
        async with self._locks.setdefault(key, asyncio.Lock()):
            yield

    @asynccontextmanager
    async def draft(self, parent: str | None) -> AsyncIterator[Draft]:
        path = self._path()
        if parent is None:
            os.mkdir(path)
        else:
            shutil.copytree(self.trees[parent], path)
        yield FakeDraft(self, parent, path)

    @contextmanager
    def tree(self, chain_id: str | None) -> Iterator[int]:
        fd = os.open(self.trees[chain_id], os.O_RDONLY | os.O_DIRECTORY)
        try:
            yield fd
        finally:
            os.close(fd)

    def is_archive(self, file: int) -> bool:
        return False

    def unpack(self, file: int, directory: int, owner: tuple[int, int] | None) -> None:
        raise AssertionError("nothing is an archive here")

    async def run(
        self,
        command: RunCommand,
        draft: Draft,
        step_id: str,
        proxies: Mapping[str, str],
        output: Output,
    ) -> int:
        self.commands.append(command)
        assert isinstance(draft, FakeDraft)
        draft.write(f"ran-{len(self.commands)}", " ".join(command.argv))
        return await self._command(command, output)

    def new_step_id(self) -> str:
        return f"{len(self.commands):064x}"

    def now_ns(self) -> int:
        return 1_700_000_000_000_000_000 + self._count
