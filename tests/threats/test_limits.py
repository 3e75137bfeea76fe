"""What a container may use up: processes, memory, files, logs; and whom it takes down with it."""

from __future__ import annotations

import os
from typing import Any

import pytest

from tests.kernel.runtime_bench import Bench
from tests.threats.arena import outcome
from tiffin.core.container import HostConfig, Ulimit
from tiffin.core.image import ContainerConfig
from tiffin.core.workload import LogTarget
from tiffin.errors import InvalidArgument
from tiffin.kernel.cgroupstatistics import statistics_of
from tiffin.runtime import limits
from tiffin.runtime.facts import HostFacts
from tiffin.runtime.spec import validate

pytestmark = pytest.mark.root

MEMORY = 16 << 20


@pytest.mark.threat("fork-bombs")
def test_a_fork_bomb_stops_at_a_limit_that_nobody_asked_for() -> None:
    """A fork bomb in one container takes the host's process ids from all.

    Defence: a limit of pids by default, in the cgroup.
    Seen to fail: with the limit taken out of the plan there is none.
    """

    def endless(config: dict[str, Any]) -> None:
        del config["linux"]["resources"]["pids"]

    async def attack(bench: Bench) -> str:
        box = bench.workload("sleep", "1000")
        await bench.start(box)
        group = bench.runtime.group(box.id)
        assert group is not None
        return str(statistics_of(group).pids.limit)

    assert outcome(attack) == str(limits.DEFAULT_PIDS_LIMIT)
    assert outcome(attack, plan=endless) == "0"


@pytest.mark.threat("fork-bombs")
def test_a_bomb_is_stopped_where_the_limit_is() -> None:
    """The limit that is asked for is the kernel's: the fork fails.

    Defence: --pids-limit.
    Seen to fail: with a larger one the shell starts them all.
    """

    async def attack(bench: Bench, limit: int) -> bool:
        script = "for i in $(seq 30); do sleep 1000 & done; echo all"
        host = HostConfig(pids_limit=limit)
        return "all" in (await bench.run("sh", "-c", script, host=host))[1]

    assert outcome(lambda bench: attack(bench, 10)) is False
    assert outcome(lambda bench: attack(bench, 200)) is True


@pytest.mark.threat("memory")
@pytest.mark.parametrize("limited", [True, False])
def test_who_takes_too_much_memory_is_killed_alone(limited: bool) -> None:
    """A program that takes all memory has the kernel kill somebody, anywhere.

    Defence: --memory, with as much swap and no more; what happened is told.
    Seen to fail: without the limit the program comes to its end.
    """
    host = HostConfig(memory=MEMORY, memory_swap=MEMORY) if limited else HostConfig()

    async def attack(bench: Bench) -> tuple[int, bool]:
        box = bench.workload("dd", "if=/dev/zero", "of=/dev/null", "bs=64M", "count=1", host=host)
        await bench.start(box)
        ended = await bench.ended(box)
        return ended.exit_code, ended.oom_killed

    assert outcome(attack) == ((137, True) if limited else (0, False))


@pytest.mark.threat("memory")
def test_shared_memory_has_a_size() -> None:
    """/dev/shm without a limit is the host's memory.

    Defence: 64 MiB, as in Docker, or --shm-size.
    Seen to fail: with a larger one the file fits.
    """

    async def attack(bench: Bench, size: int) -> bool:
        command = ("dd", "if=/dev/zero", "of=/dev/shm/x", "bs=1M", "count=3")
        return (await bench.run(*command, host=HostConfig(shm_size=size)))[0] == 0

    assert outcome(lambda bench: attack(bench, 2 << 20)) is False
    assert outcome(lambda bench: attack(bench, 4 << 20)) is True


@pytest.mark.threat("rlimits")
@pytest.mark.parametrize("by_exec", [False, True])
def test_an_rlimit_holds_and_cannot_be_raised_inside(by_exec: bool) -> None:
    """--ulimit that is set by the program itself is the program's to lift.

    Defence: set with the host's rights, before the program is executed; raising needs one that no
    user namespace gives. An exec has the same.
    Seen to fail: a zygote that forgets them leaves the engine's own.
    """
    host = HostConfig(ulimits=(Ulimit("nofile", 140, 160),))
    script = "ulimit -Sn; ulimit -Hn; ulimit -Hn 200 2>/dev/null && echo raised"

    async def attack(bench: Bench) -> list[str]:
        if not by_exec:
            return (await bench.run("sh", "-c", script, host=host))[1].split()
        box = bench.workload("sleep", "1000", host=host)
        await bench.start(box)
        _, peer = await bench.exec(box, "sh", "-c", script)
        assert peer is not None
        return (await peer.frames())[1].decode().split()

    assert outcome(attack) == ["140", "160"]
    assert outcome(attack, without="limits") != ["140", "160"]


@pytest.mark.threat("disk")
def test_a_log_is_turned_over_before_it_fills_the_disk() -> None:
    """`yes` in a container fills /var with its log.

    Defence: files of a bounded size, of which the oldest goes: by default as well.
    Seen to fail: with a size larger than what is said, all of it is kept.
    """

    async def attack(bench: Bench, size: int) -> int:
        path = f"{bench.directory}/bounded"
        script = "yes tiffin | head -n 200000"
        box = bench.workload(
            "sh", "-c", script, log=LogTarget(path, max_size_bytes=size, max_files=2)
        )
        await bench.start(box)
        await bench.ended(box)
        files = [f for f in os.listdir(bench.directory) if f.startswith("bounded")]
        return sum(os.stat(f"{bench.directory}/{f}").st_size for f in files)

    size = 200_000
    assert outcome(lambda bench: attack(bench, size)) < 3 * size
    assert outcome(lambda bench: attack(bench, 1 << 30)) > 10 * size
    assert LogTarget("x").max_size_bytes > 0


@pytest.mark.threat("limits-of-nonsense")
@pytest.mark.parametrize(
    "fields",
    [
        {"memory": -1},
        {"memory": 1},
        {"memory": 64 << 20, "memory_swap": 32 << 20},
        {"nano_cpus": -1},
        {"cpu_shares": -1},
        {"cpu_period": 1},
        {"cpuset_cpus": "0-999999999"},
        {"cpuset_cpus": "x"},
        {"shm_size": -1},
        {"oom_score_adj": 5000},
        {"ulimits": (Ulimit("nofile", 60, 40),)},
        {"ulimits": (Ulimit("nonsense", 1, 1),)},
    ],
)
def test_a_limit_that_is_none_is_refused(fields: dict[str, Any]) -> None:
    """A negative or contradictory limit that is passed on means none, or another.

    Defence: each is checked at creation, and named.
    Seen to fail: a limit by the rules passes.
    """
    config = ContainerConfig(cmd=("true",))
    with pytest.raises(InvalidArgument):
        validate(config, HostConfig(**fields), HostFacts())
    validate(config, HostConfig(ulimits=(Ulimit("nofile", 40, 60),)), HostFacts())
