"""Execs whose process gets ready between their creation and their start."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable

import pytest

from tests.kernel.runtime_bench import ALL, DEADLINE, ENV, Bench, Peer
from tests.kernel.test_runtime_containers import on_bench, parent_of
from tiffin.core.container import HostConfig
from tiffin.core.workload import ExecProcess, Workload
from tiffin.errors import CannotStart

pytestmark = pytest.mark.root

POLL_SECONDS = 0.005


class Case:
    """A sleeping container and what its shim has beside it."""

    def __init__(self, bench: Bench, workload: Workload, shim: int, init: int) -> None:
        self.bench = bench
        self.workload = workload
        self.shim = shim
        self.init = init

    @classmethod
    async def open(cls, bench: Bench, **options: object) -> Case:
        workload = bench.workload("sleep", "1000", **options)
        created = await bench.start(workload)
        return cls(bench, workload, parent_of(created.pid), created.pid)

    async def ready(self, *argv: str, stdin: bool = True, **options: object) -> int:
        """The pid of the process that waits, by what the shim has done when it answers again."""
        before = self.children()
        await self.mention(*argv, stdin=stdin, **options)
        new = self.children() - before
        assert len(new) <= 1
        return new.pop() if new else 0

    async def mention(self, *argv: str, stdin: bool = True, **options: object) -> None:
        fields = {"exec_id": "e1", "env": ENV, "working_dir": "/", "user": "", **options}
        process = ExecProcess(argv=argv, **fields)  # type: ignore[arg-type]
        self.bench.runtime.ready_exec(self.workload.id, process, stdin=stdin)
        await self.bench.runtime.resize(self.workload.id, "", 24, 80)  # read after the other

    def children(self) -> set[int]:
        with open(f"/proc/{self.shim}/task/{self.shim}/children", encoding="ascii") as file:
            return {int(word) for word in file.read().split()}


async def used(case: Case, *argv: str, **options: object) -> Peer:
    """The client of an exec whose waiting process was taken: on a slow machine not the first's."""
    for number in range(30):
        options["exec_id"] = f"e{number}"
        waiting = await case.ready(*argv, **options)
        pid, peer = await case.bench.exec(case.workload, *argv, **options)  # type: ignore[arg-type]
        assert peer
        if pid == waiting:
            return peer
        peer.end_input()
        await peer.read()
    raise AssertionError("no process that got ready was used")


async def alive(case: Case, *argv: str) -> tuple[int, int]:
    """Pid and pidfd of the process that waits: on a slow machine the first has ended already."""
    for _ in range(30):
        pid = await case.ready(*argv)
        with contextlib.suppress(ProcessLookupError):
            if pid:
                return pid, os.pidfd_open(pid)
    raise AssertionError("no process that got ready waited")


async def until(condition: Callable[[], bool]) -> None:
    """For what nobody tells of."""
    async with asyncio.timeout(DEADLINE):
        while not condition():
            await asyncio.sleep(POLL_SECONDS)


async def gone(handle: int) -> None:
    """Until the process behind a pidfd has ended."""
    loop = asyncio.get_running_loop()
    ended = loop.create_future()
    loop.add_reader(handle, ended.set_result, None)
    try:
        async with asyncio.timeout(DEADLINE):
            await ended
    finally:
        loop.remove_reader(handle)
        os.close(handle)


async def ended(pid: int) -> None:
    """Of one that does not live long: it may be gone already (0: it was never seen)."""
    try:
        handle = os.pidfd_open(pid) if pid else -1
    except ProcessLookupError:
        return
    if handle >= 0:
        await gone(handle)


def test_the_process_of_a_created_exec_is_the_one_that_runs() -> None:
    async def act(bench: Bench) -> None:
        case = await Case.open(bench)
        peer = await used(case, "cat")
        await peer.write(b"over and out\n")
        peer.end_input()
        assert (await peer.frames())[1] == b"over and out\n"

    on_bench(act)


def test_one_with_a_terminal_too() -> None:
    async def act(bench: Bench) -> None:
        case = await Case.open(bench)
        peer = await used(case, "stty", "size", tty=True, console_size=(30, 100))
        assert b"30 100" in await peer.read()

    on_bench(act)


def test_one_that_is_never_started_ends() -> None:
    async def act(bench: Bench) -> None:
        case = await Case.open(bench)
        descriptors = len(os.listdir(f"/proc/{case.shim}/fd"))
        for _ in range(3):
            last = await case.ready("true")
            await ended(last)
        await until(lambda: len(os.listdir(f"/proc/{case.shim}/fd")) == descriptors)
        pid, _peer = await bench.exec(case.workload, "true")
        assert pid != last
        assert (await bench.ended(case.workload, "e1")).exit_code == 0

    on_bench(act)


@pytest.mark.parametrize(
    "otherwise",
    [{"working_dir": "/tmp"}, {"user": "1:1"}, {"env": (*ENV, "A=b")}, {"exec_id": "e2"}],
    ids=lambda fields: next(iter(fields)),
)
def test_a_start_that_wants_something_else_has_it(otherwise: dict[str, object]) -> None:
    async def act(bench: Bench) -> None:
        case = await Case.open(bench)
        waiting = await case.ready("sh", "-c", "pwd; id -u; echo $A")
        fields = {"exec_id": "e1", **otherwise}
        pid, peer = await bench.exec(case.workload, "sh", "-c", "pwd; id -u; echo $A", **fields)  # type: ignore[arg-type]
        assert pid != waiting
        assert peer
        words = (await peer.frames())[1].decode().split("\n")
        assert words[0] == otherwise.get("working_dir", "/")
        assert words[1] == ("1" if "user" in otherwise else "0")
        assert words[2] == ("b" if "env" in otherwise else "")

    on_bench(act)


def test_one_that_has_been_killed_is_made_again() -> None:
    async def act(bench: Bench) -> None:
        case = await Case.open(bench)
        killed, handle = await alive(case, "echo", "here")
        signal.pidfd_send_signal(handle, signal.SIGKILL)
        await gone(handle)
        pid, peer = await bench.exec(case.workload, "echo", "here")
        assert pid != killed
        assert peer
        assert (await peer.frames())[1] == b"here\n"

    on_bench(act)


def test_what_makes_it_fail_is_told_by_its_start() -> None:
    async def act(bench: Bench) -> None:
        case = await Case.open(bench)
        await ended(await case.ready("true", user="nobody-here"))
        with pytest.raises(CannotStart, match="unable to find user nobody-here"):
            await bench.exec(case.workload, "true", user="nobody-here")
        await case.ready("nope")
        with pytest.raises(CannotStart, match="executable file not found"):
            await bench.exec(case.workload, "nope")
        assert case.children() == {case.init}

    on_bench(act)


def test_a_directory_that_comes_before_the_start_is_there() -> None:
    async def act(bench: Bench) -> None:
        case = await Case.open(bench, host=HostConfig(userns_mode="host"))
        await case.ready("pwd", working_dir="/late")
        os.mkdir(f"/proc/{case.init}/root/late")  # not behind the overlay's back: it remembers
        _pid, peer = await bench.exec(case.workload, "pwd", working_dir="/late")
        assert peer
        assert (await peer.frames())[1] == b"/late\n"

    on_bench(act)


def test_without_room_for_one_there_is_none() -> None:
    async def act(bench: Bench) -> None:
        case = await Case.open(bench, host=HostConfig(pids_limit=1))
        await ended(await case.ready("true"))
        with pytest.raises(CannotStart, match="temporarily unavailable"):
            await bench.exec(case.workload, "true")

    on_bench(act)


@pytest.mark.parametrize("pid_mode", ["", "host"])
def test_it_ends_with_its_container(pid_mode: str) -> None:
    async def act(bench: Bench) -> None:
        case = await Case.open(bench, host=HostConfig(pid_mode=pid_mode))
        _pid, handle = await alive(case, "true")
        await bench.runtime.kill(case.workload.id, signal.SIGKILL)
        assert (await bench.ended(case.workload)).signal == signal.SIGKILL
        await gone(handle)

    on_bench(act)


def test_one_that_is_frozen_ends_when_it_is_thawed() -> None:
    async def act(bench: Bench) -> None:
        case = await Case.open(bench)
        _pid, handle = await alive(case, "true")
        await bench.runtime.pause(case.workload.id)
        await bench.runtime.unpause(case.workload.id)
        await gone(handle)
        assert (await bench.exec(case.workload, "true", attachment=ALL))[0]

    on_bench(act)
