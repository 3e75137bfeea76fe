"""A plan carried out on a host that is all fake."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from tests.fakes.buildhost import Command, FakeHost, Output
from tiffin.build.actions import RunCommand
from tiffin.build.dockerfile import parse
from tiffin.build.execution import Options, StepFailed
from tiffin.build.plan import Request, make_plan
from tiffin.build.selection import SourceTree
from tiffin.build.solver import Progress, Solver
from tiffin.core.image import chain_id
from tiffin.errors import InvalidArgument, NotFound


async def quietly(command: RunCommand, output: Output) -> int:
    return 0


class Workbench:
    def __init__(self, directory: Path, command: Command = quietly):
        (directory / "trees").mkdir()
        self.context = directory / "context"
        self.context.mkdir()
        self.host = FakeHost(str(directory / "trees"), command)
        self.said: list[str] = []

    def solve(self, text: str, options: Options = Options()) -> Progress:  # noqa: B008
        return asyncio.run(self.solving(text, options))

    async def solving(self, text: str, options: Options) -> Progress:
        self.said.clear()
        plan = make_plan(parse(text.encode()), Request())
        fd = os.open(self.context, os.O_RDONLY | os.O_DIRECTORY)
        try:
            solver = Solver(plan, self.host, SourceTree(fd, is_context=True), options)
            async for message in solver.solve():
                if isinstance(message, Progress):
                    return message
                self.said.append(str(message.get("stream", message)))
        finally:
            os.close(fd)
        raise AssertionError("a build ends in progress or in an error")


@pytest.fixture
def bench(tmp_path: Path) -> Workbench:
    return Workbench(tmp_path)


def test_each_step_is_told_with_the_id_that_it_makes(bench: Workbench) -> None:
    done = bench.solve("FROM a\nENV x=y\nRUN z\n")

    assert bench.said[:3] == ["Step 1/3 : FROM a", "\n", " ---> a00000000000\n"]
    assert bench.said[-2] == f" ---> {done.image_id[7:19]}\n"
    assert bench.said[-1] == str({"aux": {"ID": done.image_id}})


def test_history_and_layers_are_those_of_the_steps(bench: Workbench) -> None:
    document = bench.solve("FROM a\nENV x=y\nRUN z\n").document

    assert [(h.created_by, h.empty_layer) for h in document.history] == [
        ("ENV x=y", True),
        ("RUN /bin/sh -c z # buildkit", False),
    ]
    assert len(document.rootfs.diff_ids) == 2
    assert document.created == document.history[-1].created


def test_a_changed_config_does_not_redo_a_copy(bench: Workbench) -> None:
    (bench.context / "f").write_text("1")
    first = bench.solve("FROM scratch\nLABEL v=1\n", Options())
    assert first.chain_id is None

    text = "FROM a\nENV v={}\nRUN x\nLABEL n={}\n"
    bench.solve(text.format(1, 1))
    bench.solve(text.format(1, 2))

    assert bench.said.count(" ---> Using cache\n") == 2
    assert len(bench.host.commands) == 1


def test_the_environment_of_a_run_counts(bench: Workbench) -> None:
    bench.solve("FROM a\nENV v=1\nRUN x\n")
    bench.solve("FROM a\nENV v=2\nRUN x\n")

    assert len(bench.host.commands) == 2


def test_without_the_cache_all_is_done_again(bench: Workbench) -> None:
    bench.solve("FROM a\nRUN x\n")
    bench.solve("FROM a\nRUN x\n", Options(use_cache=False))

    assert len(bench.host.commands) == 2


def test_a_failed_run_is_an_error_with_its_code(tmp_path: Path) -> None:
    async def fail(command: RunCommand, output: Output) -> int:
        await output(1, b"why\n")
        return 7

    bench = Workbench(tmp_path, fail)
    with pytest.raises(StepFailed, match="returned a non-zero code: 7") as caught:
        bench.solve("FROM a\nRUN x\nRUN never\n")

    assert caught.value.code == 7
    assert bench.said[-1] == "why\n"
    assert len(bench.host.commands) == 1


def test_a_failing_stage_cancels_the_others(tmp_path: Path) -> None:
    cancelled = []

    async def command(command: RunCommand, output: Output) -> int:
        if command.argv[-1] == "fail":
            return 1
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(command.argv[-1])
            raise
        return 0

    bench = Workbench(tmp_path, command)
    with pytest.raises(StepFailed):
        bench.solve("FROM a AS x\nRUN hang\nFROM a AS y\nRUN fail\nFROM x\nCOPY --from=y /q /q\n")

    assert cancelled == ["hang"]


def test_a_stage_far_ahead_waits_to_be_heard(tmp_path: Path) -> None:
    told = []

    async def chatter(command: RunCommand, output: Output) -> int:
        if command.argv[-1] == "slow":
            await asyncio.sleep(0.05)
            return 0
        for number in range(1000):
            await output(1, b"%d\n" % number)
            told.append(number)
        return 0

    bench = Workbench(tmp_path, chatter)
    bench.solve("FROM a AS x\nRUN slow\nFROM a AS y\nRUN chat\nFROM x\nCOPY --from=y /ran-* /\n")

    assert bench.said.count("999\n") == 1
    assert len(told) == 1000


def test_a_missing_base_is_the_error(bench: Workbench) -> None:
    with pytest.raises(NotFound, match="pull access denied"):
        bench.solve("FROM missing\n")


def test_a_mistake_that_only_shows_on_the_way_names_its_line(bench: Workbench) -> None:
    with pytest.raises(InvalidArgument, match=r"line 3: invalid containerPort: x \(Dockerfile:3\)"):
        bench.solve("FROM a\nENV p=x\nEXPOSE $p\n")


def test_an_epoch_is_the_time_of_all_that_is_new(bench: Workbench) -> None:
    document = bench.solve("FROM a\nRUN x\n", Options(epoch_ns=0)).document

    assert document.history[-1].created == "1970-01-01T00:00:00Z"


def test_the_chain_is_the_one_of_the_document(bench: Workbench) -> None:
    done = bench.solve("FROM a\nENV b=c\n")

    assert done.chain_id == chain_id(done.document.rootfs.diff_ids)
