"""A plan carried out: each step recalled by its key or executed, independent stages side by side.

A stage is a task that begins when the build does and waits for the stages it needs. What a step
says is what Docker's builder says: its line, whether it comes from the cache, the id that the image
would have if it ended there.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, replace
from functools import partial

from msgspec.structs import replace as with_fields

from tiffin.build.actions import CopyFiles
from tiffin.build.dockerfile import parse_trigger
from tiffin.build.execution import Options, Step, Workshop
from tiffin.build.host import BuildHost, Message, Recollection
from tiffin.build.instructions import Copy, Instruction
from tiffin.build.keys import config_key
from tiffin.build.plan import Plan, StagePlan, at_line, copy_source
from tiffin.build.selection import SourceTree
from tiffin.build.state import Outcome, StageState, continued_state, evaluate, initial_state
from tiffin.build.transcript import Transcript
from tiffin.core.image import ContainerConfig, History, ImageConfig, RootFS, digest_of, encode
from tiffin.core.timestamps import rfc3339
from tiffin.errors import InvalidArgument

HISTORY_COMMENT = "buildkit.dockerfile.v0"  # tells tools how to read created_by


@dataclass(frozen=True)
class Progress:
    """A stage as far as it has come: the config for further steps, and the image so far."""

    state: StageState
    document: ImageConfig
    chain_id: str | None
    image_id: str  # of the document; "" for scratch with nothing in it
    is_base: bool = False  # nothing was done to the image of FROM

    def after(self, outcome: Outcome, recollection: Recollection, epoch_ns: int | None) -> Progress:
        created_ns = recollection.created_ns if epoch_ns is None else epoch_ns
        created = rfc3339(created_ns) if created_ns else "1970-01-01T00:00:00Z"
        layer = recollection.layer
        diff_ids = self.document.rootfs.diff_ids
        history = History(
            created=created,
            created_by=outcome.created_by,
            comment=HISTORY_COMMENT,
            empty_layer=layer is None,
        )
        document = with_fields(
            self.document,
            created=created,
            author=outcome.state.author,
            config=outcome.state.config,
            rootfs=RootFS(diff_ids=(*diff_ids, layer.diff_id) if layer else diff_ids),
            history=(*self.document.history, history),
        )
        return Progress(
            outcome.state,
            document,
            layer.chain_id if layer else self.chain_id,
            digest_of(encode(document)),
        )


class Solver:
    def __init__(self, plan: Plan, host: BuildHost, context: SourceTree, options: Options):
        self._plan = plan
        self._host = host
        self._options = options
        self._workshop = Workshop(host, options, context, plan.proxies, self._chain_of)
        self._tasks: dict[int, asyncio.Task[Progress]] = {}
        self._transcripts: dict[int, Transcript] = {}

    async def solve(self) -> AsyncGenerator[Message | Progress, None]:
        """Messages, and last the target's Progress. Closing it early stops every step."""
        first = len(self._plan.arguments) + 1
        for stage in self._plan.stages.values():
            self._begin(stage, first, Transcript())
            first += 1 + len(stage.instructions)
        try:
            async for message in self._told():
                yield message
            yield self._tasks[self._plan.target].result()
        finally:
            await self._stop()

    async def _told(self) -> AsyncIterator[Message]:
        for number, argument in enumerate(self._plan.arguments, 1):
            for message in _announcement(number, self._plan.step_count, argument.text):
                yield message
        for transcript in self._transcripts.values():
            async for message in transcript:
                yield message
            failed = self._failed()
            if failed is not None:
                async for message in self._transcripts[failed]:
                    yield message
                self._tasks[failed].result()

    def _failed(self) -> int | None:
        """The first stage that failed by itself."""
        for index, task in self._tasks.items():
            if task.done() and not task.cancelled() and task.exception() is not None:
                return index
        return None

    async def _stop(self) -> None:
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        self._workshop.threads.shutdown(wait=False)

    def _begin(self, stage: StagePlan, first: int, transcript: Transcript) -> None:
        self._transcripts[stage.index] = transcript
        task = asyncio.create_task(self._stage(stage, first, transcript))
        self._tasks[stage.index] = task
        task.add_done_callback(partial(self._ended, transcript))

    def _ended(self, transcript: Transcript, task: asyncio.Task[Progress]) -> None:
        transcript.close()
        if not task.cancelled() and task.exception() is not None:
            for other in self._tasks.values():
                other.cancel()

    async def _result(self, index: int) -> Progress:
        if index not in self._tasks:
            raise InvalidArgument(f"stage {index} is not part of this build")
        # A waiting stage that is cancelled leaves the one that it waits for alone.
        return await asyncio.shield(self._tasks[index])

    async def _chain_of(self, index: int) -> str | None:
        return (await self._result(index)).chain_id

    async def _stage(self, stage: StagePlan, first: int, transcript: Transcript) -> Progress:
        for message in _announcement(first, self._plan.step_count, stage.title):
            await transcript.put(message)
        progress = await self._origin(stage, transcript)
        await transcript.say(f" ---> {_short(progress.image_id)}\n")
        progress = await self._triggers(stage, progress, transcript)
        for number, instruction in enumerate(stage.instructions, first + 1):
            for message in _announcement(number, self._plan.step_count, instruction.text):
                await transcript.put(message)
            progress = await self._step(stage, instruction, progress, transcript)
        if progress.image_id:
            await transcript.put({"aux": {"ID": progress.image_id}})
        return progress

    async def _origin(self, stage: StagePlan, transcript: Transcript) -> Progress:
        origin = stage.origin
        if origin.stage is not None:
            base = await self._result(origin.stage)
            return replace(base, state=continued_state(base.state))
        if not origin.image:
            machine = self._plan.machine
            state = initial_state(None)
            empty = ImageConfig(
                architecture=machine.architecture, os=machine.os, variant=machine.variant
            )
            return Progress(state, with_fields(empty, config=state.config), None, "")
        image = await self._host.base(origin.image, origin.platform, transcript.put_now)
        state = initial_state(image.config.config or ContainerConfig(), image.config.author)
        return Progress(state, image.config, image.chain_id, image.image_id, is_base=True)

    async def _triggers(
        self, stage: StagePlan, progress: Progress, transcript: Transcript
    ) -> Progress:
        """ONBUILD of the base, run as if written after FROM; they are not numbered."""
        config = progress.document.config
        triggers = (config.on_build if config else None) or ()
        if not triggers:
            return progress
        plural = "s" if len(triggers) > 1 else ""
        await transcript.say(f"# Executing {len(triggers)} build trigger{plural}")
        await transcript.say("\n")
        for text in triggers:
            instruction = parse_trigger(text, stage.line, self._plan.name)
            progress = await self._step(stage, instruction, progress, transcript)
        return progress

    async def _step(
        self,
        stage: StagePlan,
        instruction: Instruction,
        progress: Progress,
        transcript: Transcript,
    ) -> Progress:
        with at_line(instruction.line, self._plan.name):
            outcome = evaluate(instruction, progress.state, self._plan.scope)
            action = outcome.action
            if isinstance(instruction, Copy) and isinstance(action, CopyFiles):
                action = self._with_source(instruction, action, stage)
        if action is None:
            recollection, cached = await self._config_step(outcome, progress)
        else:
            step = Step(self._workshop, progress.chain_id, action, outcome.created_by, transcript)
            recollection, cached = await step.done()
        if cached:
            await transcript.say(" ---> Using cache\n")
        progress = progress.after(outcome, recollection, self._options.epoch_ns)
        await transcript.say(f" ---> {_short(progress.image_id)}\n")
        return progress

    def _with_source(self, instruction: Copy, action: CopyFiles, stage: StagePlan) -> CopyFiles:
        if not instruction.source_stage:
            return action
        origin = copy_source(
            instruction.source_stage, stage.index, self._plan.stage_count, self._plan.names
        )
        return replace(action, stage=origin.stage, image=origin.image)

    async def _config_step(self, outcome: Outcome, progress: Progress) -> tuple[Recollection, bool]:
        config = encode(outcome.state.config)
        created_by = outcome.created_by
        key = config_key(progress.chain_id, created_by, config).value
        known = await self._workshop.recall([key])
        if known is not None:
            return known, True
        made = Recollection(key, None, self._host.now_ns(), created_by)
        await self._workshop.remember(made)
        return made, False


def _announcement(number: int, count: int, text: str) -> list[Message]:
    return [{"stream": f"Step {number}/{count} : {text}"}, {"stream": "\n"}]


def _short(image_id: str) -> str:
    return image_id.removeprefix("sha256:")[:12]
