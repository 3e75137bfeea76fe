"""Makers that stand by: one for many containers, and none that anybody has to wait for."""

from __future__ import annotations

import asyncio
import os
import select
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.kernel.runtime_bench import Bench, opened
from tests.patience import patient
from tiffin.core.container import HostConfig, Mount
from tiffin.errors import CannotStart
from tiffin.runtime import standing

pytestmark = pytest.mark.root


def on_bench(act: Callable[[Bench], Awaitable[None]]) -> None:
    async def main() -> None:
        async with opened() as bench:
            assert (await bench.run("echo", "hi"))[1] == "hi\n"  # the zygote has all it needs
            await act(bench)

    asyncio.run(main())


def makers(bench: Bench) -> list[int]:
    zygote = bench.runtime._zygote.process
    assert zygote is not None
    return [pid for pid in children(zygote.pid) if name_of(pid) == "tiffin-maker"]


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def name_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def handle_of(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        return None


def end(pid: int) -> None:
    handle = handle_of(pid)
    if handle is not None:
        with os.fdopen(handle) as file:
            assert select.select([file], [], [], patient(60))[0], pid


def waits(pid: int) -> int:
    """How many times it has waited for something to do."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("voluntary_ctxt"))


def test_one_maker_makes_container_after_container() -> None:
    async def act(bench: Bench) -> None:
        first = makers(bench)[0]
        before = waits(first)
        for _ in range(3):
            assert (await bench.run("echo", "hi"))[1] == "hi\n"
        assert first in makers(bench)
        assert waits(first) > before

    on_bench(act)


def test_it_keeps_nothing_of_what_it_has_made() -> None:
    """Descriptors, ids, working directory and namespaces are the next one's as they were."""

    async def act(bench: Bench) -> None:
        workload = bench.workload("sleep", "1000")
        await bench.start(workload)
        maker = makers(bench)[0]
        async with asyncio.timeout(patient(30)):  # until it is idle again
            while len(os.listdir(f"/proc/{maker}/fd")) > len(["stdio"] * 3 + ["the zygote"]):
                await asyncio.sleep(0.01)
        status = Path(f"/proc/{maker}/status").read_text()
        assert "Uid:\t0\t0\t0\t0\n" in status
        assert "Gid:\t0\t0\t0\t0\n" in status
        for kind in ("mnt", "user", "cgroup"):
            assert os.readlink(f"/proc/{maker}/ns/{kind}") == os.readlink(f"/proc/self/ns/{kind}")
        assert os.readlink(f"/proc/{maker}/cwd") == "/"

    on_bench(act)


def test_a_killed_maker_is_replaced() -> None:
    async def act(bench: Bench) -> None:
        for maker in makers(bench):
            os.kill(maker, signal.SIGKILL)
            end(maker)
        assert (await bench.run("echo", "hi"))[1] == "hi\n"

    on_bench(act)


def test_a_first_process_that_was_killed_while_it_waited_is_made_again() -> None:
    """With its shim's memory it is what the kernel finds first when there is too little."""

    async def act(bench: Bench) -> None:
        zygote = bench.runtime._zygote.process
        assert zygote is not None
        for shim in [pid for pid in children(zygote.pid) if name_of(pid) == "tiffin-shim"]:
            for pid in children(shim):
                os.kill(pid, signal.SIGKILL)
                end(pid)
        assert (await bench.run("echo", "hi"))[1] == "hi\n"

    on_bench(act)


def test_after_a_failure_there_is_another() -> None:
    async def act(bench: Bench) -> None:
        handles = [os.pidfd_open(maker) for maker in makers(bench)]
        missing = Mount("bind", "/data", "/no/such/source")
        with pytest.raises(CannotStart, match="/no/such/source"):
            await bench.start(bench.workload("true", mounts=(missing,)))
        assert select.select(handles, [], [], patient(60))[0]  # it has ended
        assert (await bench.run("echo", "hi"))[1] == "hi\n"
        for handle in handles:
            os.close(handle)

    on_bench(act)


def test_what_does_not_fit_is_made_by_its_own_shim() -> None:
    async def act(bench: Bench) -> None:
        host = HostConfig(network_mode="host", pid_mode="host")
        assert (await bench.run("echo", "hi", host=host))[1] == "hi\n"
        assert (await bench.run("echo", "hi"))[1] == "hi\n"

    on_bench(act)


def test_many_at_a_time_have_few_makers_and_in_the_end_one_is_left() -> None:
    async def act(bench: Bench) -> None:
        found = await asyncio.gather(*(bench.run("echo", str(n)) for n in range(12)))
        assert [output for _code, output in found] == [f"{n}\n" for n in range(12)]
        there = makers(bench)
        assert len(there) <= standing.MOST
        for surplus in there[1:]:
            end(surplus)
        assert len(makers(bench)) == 1

    on_bench(act)
