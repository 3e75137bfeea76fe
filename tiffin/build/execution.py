"""One step that changes files: its keys, recalled or executed, and what it says meanwhile."""

from __future__ import annotations

import asyncio
import codecs
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeVar

from tiffin.build.actions import Action, CopyFiles, MakeDirectory, RunCommand
from tiffin.build.host import BuildHost, Draft, Recollection
from tiffin.build.keys import action_key
from tiffin.build.selection import SourceTree
from tiffin.build.steps import Copier, make_directory
from tiffin.build.transcript import Transcript
from tiffin.errors import EngineFailure, InvalidArgument

_R = TypeVar("_R")

_UTF8 = codecs.getincrementaldecoder("utf-8")
_SIDE_BY_SIDE = 4  # steps that execute at once in one build
_THREADS = 8


class StepFailed(EngineFailure):
    """A RUN ended with something else than 0."""

    def __init__(self, message: str, code: int):
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Options:
    use_cache: bool = True
    epoch_ns: int | None = None  # SOURCE_DATE_EPOCH
    settings: str = ""  # what else reaches into a layer, for the keys


@dataclass
class Workshop:
    """What all steps of one build share. `chain_of` waits for a stage and gives its layers."""

    host: BuildHost
    options: Options
    context: SourceTree
    proxies: Mapping[str, str]
    chain_of: Callable[[int], Awaitable[str | None]]
    executing: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_SIDE_BY_SIDE))
    threads: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(_THREADS, thread_name_prefix="build")
    )

    async def in_thread(self, work: Callable[[], _R]) -> _R:
        """A cancelled caller leaves only when the thread has ended.

        What the thread works on can then be taken away.
        """
        future = asyncio.get_running_loop().run_in_executor(self.threads, work)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            await _outlast(future)
            raise

    async def recall(self, keys: list[str]) -> Recollection | None:
        if not self.options.use_cache:
            return None
        return await self.in_thread(partial(self.host.recall, keys))

    async def remember(self, *made: Recollection) -> None:
        await self.in_thread(partial(self.host.remember, made))


async def _outlast(future: asyncio.Future[_R]) -> None:
    while not future.done():
        try:
            await asyncio.wait([future])
        except asyncio.CancelledError:
            continue
    future.exception()


class Step:
    def __init__(
        self,
        workshop: Workshop,
        parent: str | None,
        action: Action,
        created_by: str,
        transcript: Transcript,
    ):
        self._workshop = workshop
        self._host = workshop.host
        self._parent = parent
        self._action = action
        self._created_by = created_by
        self._transcript = transcript
        self._tree: SourceTree | None = None
        self._found: list[str] = []
        self._decoders: dict[int, codecs.IncrementalDecoder] = {}

    async def done(self) -> tuple[Recollection, bool]:
        """The result, and whether it was there before."""
        with ExitStack() as open_trees:
            keys = await self._keys(open_trees)
            if isinstance(keys, Recollection):
                return keys, True
            async with self._host.only_one(keys[0]):
                known = await self._workshop.recall(keys)
                if known is None:
                    return await self._execute(keys), False
            if len(keys) > 1:
                await self._workshop.remember(*(replace(known, key=key) for key in keys))
            return known, True

    async def _keys(self, open_trees: ExitStack) -> list[str] | Recollection:
        """The keys, or the result if a quick one is known already."""
        if not isinstance(self._action, CopyFiles) or not self._action.sources:
            return [self._key()]
        if self._action.from_context:
            self._tree = self._workshop.context
            return [await self._workshop.in_thread(self._content_key)]
        chain = await self._source_chain(self._action)
        quick = self._key(f"chain {chain}", *self._action.sources)
        known = await self._workshop.recall([quick])
        if known is not None:
            return known
        root = await self._workshop.in_thread(
            lambda: open_trees.enter_context(self._host.tree(chain))
        )
        self._tree = SourceTree(root, is_context=False)
        return [await self._workshop.in_thread(self._content_key), quick]

    async def _source_chain(self, action: CopyFiles) -> str | None:
        if action.stage is not None:
            return await self._workshop.chain_of(action.stage)
        image = await self._host.base(action.image, "", self._transcript.put_now)
        return image.chain_id

    def _content_key(self) -> str:
        assert isinstance(self._action, CopyFiles)
        assert self._tree is not None
        try:
            excludes = self._action.excludes
            self._found = self._tree.find(self._action.sources, excludes)
            return self._key(*(self._tree.digest(path, excludes) for path in self._found))
        except InvalidArgument as error:
            raise InvalidArgument(f"{self._action.instruction} failed: {error.message}") from error

    def _key(self, *sources: str) -> str:
        return action_key(
            self._parent, self._action, sources=sources, settings=self._workshop.options.settings
        ).value

    async def _execute(self, keys: list[str]) -> Recollection:
        async with self._workshop.executing, self._host.draft(self._parent) as draft:
            if isinstance(self._action, RunCommand):
                await self._run(self._action, draft)
            else:
                await self._workshop.in_thread(partial(self._change_files, draft))
            layer = await self._workshop.in_thread(
                lambda: draft.commit(self._workshop.options.epoch_ns)
            )
        created_ns = self._host.now_ns()
        made = [Recollection(key, layer, created_ns, self._created_by) for key in keys]
        await self._workshop.remember(*made)
        return made[0]

    async def _run(self, command: RunCommand, draft: Draft) -> None:
        step_id = self._host.new_step_id()
        await self._transcript.say(f" ---> Running in {step_id[:12]}\n")
        code = await self._host.run(command, draft, step_id, self._workshop.proxies, self._output)
        if code:
            raise StepFailed(
                f"The command '{command.shown}' returned a non-zero code: {code}", code
            )
        await self._transcript.say(f"Removing intermediate container {step_id[:12]}\n")

    async def _output(self, stream: int, data: bytes) -> None:
        # A character may be cut in two between pieces, so each stream has its own decoder.
        text = self._decoders.setdefault(stream, _UTF8(errors="replace")).decode(data)
        if text:
            await self._transcript.say(text if stream == 1 else f"\x1b[91m{text}\x1b[0m")

    def _change_files(self, draft: Draft) -> None:
        with draft.mounted() as root:
            if isinstance(self._action, MakeDirectory):
                make_directory(root, self._action)
                return
            assert isinstance(self._action, CopyFiles)
            try:
                copier = Copier(
                    root,
                    self._action,
                    is_archive=self._host.is_archive,
                    unpack=self._host.unpack,
                )
                copier.copy(self._tree, self._found)
            except InvalidArgument as error:
                keyword = self._action.instruction
                raise InvalidArgument(f"{keyword} failed: {error.message}") from error
