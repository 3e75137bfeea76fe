"""A process that joins a container is in it, and behind its walls, like the first one."""

from __future__ import annotations

import os
from typing import Any

import pytest

from tests.kernel.runtime_bench import Bench
from tests.threats.arena import outcome
from tiffin.core.container import HostConfig

pytestmark = pytest.mark.root

KINDS = ("cgroup", "ipc", "mnt", "net", "pid", "user", "uts")


def namespaces(pid: int) -> dict[str, str]:
    return {kind: os.readlink(f"/proc/{pid}/ns/{kind}") for kind in KINDS}


@pytest.mark.threat("execs")
@pytest.mark.parametrize("userns_mode", ["", "host"])
def test_an_exec_is_in_all_namespaces_of_its_container(userns_mode: str) -> None:
    """An exec that is left out of one of them has the host's: its network, its processes, its
    files.

    Defence: setns with the container's pidfd and all kinds at a time, before anything of the
    container's is touched (launch.further_process).
    Seen to fail: with a kind that is forgotten the exec has the host's.
    """

    async def attack(bench: Bench) -> set[str]:
        box = bench.workload("sleep", "1000", host=HostConfig(userns_mode=userns_mode))
        first = namespaces((await bench.start(box)).pid)
        pid, peer = await bench.exec(box, "cat")  # there until its input ends
        assert peer is not None
        found = namespaces(pid)
        peer.end_input()
        await peer.read()
        return {kind for kind in KINDS if found[kind] != first[kind]}

    assert outcome(attack) == set()
    assert outcome(attack, without="kinds") == {"net"}


@pytest.mark.threat("execs")
@pytest.mark.parametrize("by_exec", [False, True])
def test_an_exec_is_limited_with_its_container(by_exec: bool) -> None:
    """What an exec takes, the container takes: processes and memory beyond its limits are the
    host's.

    Defence: a first process and an exec write themselves into the container's cgroups before they
    execute a program.
    Seen to fail: with a zygote whose children do not, all are started.
    """
    script = "for i in $(seq 30); do sleep 1000 & done; echo all; kill $(jobs -p)"

    async def attack(bench: Bench) -> bool:
        host = HostConfig(pids_limit=10)
        if not by_exec:
            return "all" in (await bench.run("sh", "-c", script, host=host))[1]
        box = bench.workload("sleep", "1000", host=host)
        await bench.start(box)
        _, peer = await bench.exec(box, "sh", "-c", script)
        assert peer is not None
        return b"all" in (await peer.frames())[1]

    assert outcome(attack) is False
    assert outcome(attack, without="cgroups") is True


@pytest.mark.threat("execs")
@pytest.mark.parametrize("by_exec", [False, True])
def test_an_exec_is_behind_the_filter_of_its_container(by_exec: bool) -> None:
    """A filter that only the first process has is none: an exec may ask for everything.

    Defence: both load the filter that was compiled for the container, as the last thing before
    they execute their program (program.become).
    Seen to fail: with the filter taken out of the plan there is none.
    """

    def unfiltered(config: dict[str, Any]) -> None:
        del config["linux"]["seccomp"]

    async def attack(bench: Bench) -> str:
        command = ("grep", "^Seccomp:", "/proc/self/status")
        if not by_exec:
            return (await bench.run(*command))[1].split()[1]
        box = bench.workload("sleep", "1000")
        await bench.start(box)
        _, peer = await bench.exec(box, *command)
        assert peer is not None
        return (await peer.frames())[1].decode().split()[1]

    assert outcome(attack) == "2"
    assert outcome(attack, plan=unfiltered) == "0"
