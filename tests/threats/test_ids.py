"""Ranges of ids: one for each container, none in two, and all of them back after a crash."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tests.journeys.test_failpoints import ends, shims
from tests.live import LiveDaemon
from tiffin.core.container import HostConfig, IdRange
from tiffin.core.idrange import FIRST, LAST, SIZE, extents, parse_subordinate
from tiffin.engine.idclaims import IdClaims
from tiffin.engine.idranges import IdRanges

PEOPLE = f"alice:{FIRST + SIZE}:{2 * SIZE}\nbob:{FIRST + 7 * SIZE + 5}:10\n"
CONTAINERS = 6


class Ledger(RuleBasedStateMachine):
    """Containers start, end, and are found again by the next daemon, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.running: dict[str, IdRange] = {}
        self.ranges = self._new()

    @staticmethod
    def _new() -> IdRanges:
        return IdRanges(available=True, subordinate_ids=PEOPLE, boot_id="b")

    @rule(name=st.sampled_from("abcdefgh"))
    def start(self, name: str) -> None:
        found = self.ranges.acquire(name)
        assert self.running.setdefault(name, found) == found

    @rule(name=st.sampled_from("abcdefgh"))
    def end(self, name: str) -> None:
        self.ranges.release(name)
        self.running.pop(name, None)

    @rule()
    def crash(self) -> None:
        """The daemon is killed: the next one has the records of what runs and nothing else."""
        self.ranges = self._new()
        for name, id_range in self.running.items():
            self.ranges.keep(name, id_range)

    @invariant()
    def no_two_overlap(self) -> None:
        taken = sorted((one.start, one.start + one.size) for one in self.running.values())
        taken += parse_subordinate_ends(PEOPLE)
        taken.sort()
        assert all(end <= start for (_, end), (start, _) in itertools.pairwise(taken))
        assert all(FIRST <= one.start <= LAST for one in self.running.values())
        extra = [extents(one, (100_000,))[1][1] for one in self.running.values()]
        assert len(set(extra)) == len(extra)

    @invariant()
    def what_ended_is_given_back(self) -> None:
        """The next range is the lowest that is free: nothing leaks upwards."""
        found = self.ranges.acquire("probe")
        self.ranges.release("probe")
        assert (found.start - FIRST) // SIZE <= len(self.running) + 4


def parse_subordinate_ends(text: str) -> list[tuple[int, int]]:
    return [(start, start + count) for start, count in parse_subordinate(text)]


class TestLedger(Ledger.TestCase):  # type: ignore[name-defined,misc]
    settings = settings(max_examples=60, stateful_step_count=30)


@pytest.mark.threat("id-ranges")
def test_a_range_that_is_forgotten_would_be_given_twice() -> None:
    """Two containers with one range of ids can signal, trace and read each other, and a daemon
    that has been killed does not know what it gave.

    Defence: the range is in the container's record, and taken note of before the next one is given
    (engine.recovery); the allocator overlaps nothing, whatever the order.
    Seen to fail: an allocator that is not told of what runs gives the same range again.
    """
    ranges = Ledger._new()
    first = ranges.acquire("a")
    told, forgetful = Ledger._new(), Ledger._new()
    told.keep("a", first)

    assert told.acquire("b") != first
    assert forgetful.acquire("b") == first
    assert told.wanted(HostConfig())
    assert not told.wanted(HostConfig(privileged=True))


def ranges_of(daemon: LiveDaemon) -> dict[str, int]:
    """Name of each running container, and the first host id of its range, as the kernel has it."""
    listed = daemon.docker("ps", "-q", "--no-trunc").stdout.split()
    found = {}
    for one in listed:
        text = daemon.docker("inspect", "-f", "{{.Name}} {{.State.Pid}}", one).stdout
        name, pid = text.split()
        found[name] = int(Path(f"/proc/{pid}/uid_map").read_text().split()[1])
        assert os.stat(f"/proc/{pid}").st_uid == found[name]
    return found


@pytest.mark.root
@pytest.mark.threat("id-ranges")
def test_many_containers_have_ranges_of_their_own_and_a_killed_daemon_loses_none() -> None:
    """As above, with real containers: a daemon is killed while some run, some of them end
    meanwhile, and its successor starts more.

    Defence: as above; what has ended meanwhile is found to have ended, and gives its range back.
    Seen to fail: with the note of what runs left out of the recovery (engine.recovery), the new
    containers had the ranges of the old ones.
    """
    with LiveDaemon() as daemon:
        daemon.load_busybox()
        names = [f"box{number}" for number in range(CONTAINERS)]
        for name in names:
            daemon.docker(
                "run", "-d", "--name", name, "--network", "none", "busybox", "sleep", "1000"
            )
        before = ranges_of(daemon)
        ended = list(before)[:2]
        # By the engine's word: other engines here give the same numbers to containers of theirs.
        pids = [daemon.docker("inspect", "-f", "{{.State.Pid}}", n).stdout for n in ended]
        daemon.kill9()
        for pid in map(int, pids):
            os.kill(pid, 9)
        daemon.start()
        daemon.docker("wait", *(name.removeprefix("/") for name in ended))
        kept = ranges_of(daemon)
        for number in range(CONTAINERS):
            daemon.docker(
                "run",
                "-d",
                "--name",
                f"new{number}",
                "--network",
                "none",
                "busybox",
                "sleep",
                "1000",
            )
        after = ranges_of(daemon)
        leaving = shims(daemon)
        daemon.remove_containers()
        assert all(ends(pid) for pid in leaving)  # with the last of them its range is free
        daemon.docker(
            "run", "-d", "--name", "last", "--network", "none", "busybox", "sleep", "1000"
        )
        last = ranges_of(daemon)
    assert daemon.leaks() == []

    assert len(set(before.values())) == CONTAINERS
    assert all(start % SIZE == 0 and FIRST <= start <= LAST for start in before.values())
    assert len(kept) == CONTAINERS - 2
    assert kept.items() <= before.items()
    assert len(set(after.values())) == len(after) == 2 * CONTAINERS - 2
    assert kept.items() <= after.items()
    assert set(last.values()) == {min(before.values())}


@pytest.mark.root
@pytest.mark.threat("id-ranges")
def test_a_range_is_taken_as_long_as_anybody_has_it() -> None:
    """Who joins another's network joins its user namespace too, and goes on when that one ends:
    its range is nobody else's yet.

    Defence: a range is noted for each container that has it, also across a killed daemon.
    Seen to fail: noted for the first alone, the next container had the range of who had joined.
    """
    flags = ("run", "-d", "--network", "none", "busybox", "sleep", "1000")
    with LiveDaemon() as daemon:
        daemon.load_busybox()
        run = daemon.docker
        run("run", "-d", "--name", "first", "--network", "none", "busybox", "sleep", "1000")
        joins = ("--network", "container:first")
        run("run", "-d", "--name", "second", *joins, "busybox", "sleep", "1000")
        shared = ranges_of(daemon)
        run("rm", "-f", "first")
        run(*flags)
        before = ranges_of(daemon)
        daemon.kill9()
        daemon.start()
        run(*flags)
        after = ranges_of(daemon)
    assert daemon.leaks() == []

    assert shared["/first"] == shared["/second"] == before["/second"]
    assert len(set(before.values())) == len(before) == 2
    assert len(set(after.values())) == len(after) == 3


@pytest.mark.threat("id-ranges")
def test_two_engines_give_no_range_to_two_containers(tmp_path: Path) -> None:
    """Two engines on one machine each know of their own containers alone.

    Defence: each range is claimed for the whole machine, by a lock that the container's shim holds.
    Seen to fail: without claims both begin with the same range.
    """

    def engines(claims: IdClaims | None) -> list[IdRanges]:
        return [
            IdRanges(available=True, subordinate_ids="", boot_id="b", claims=claims)
            for _ in range(2)
        ]

    one, other = engines(None)
    assert one.acquire("a") == other.acquire("b")

    one, other = engines(IdClaims(str(tmp_path / "ids")))
    first, second, third = one.acquire("a"), other.acquire("b"), one.acquire("c")
    assert len({first, second, third}) == 3
    one.release("a")
    assert one.acquire("d") == first
    other.join("e", second)
    other.release("b")
    assert one.acquire("f") not in {first, second, third}
    for engine in (one, other):
        for name in engine.held():
            engine.release(name)
    assert engines(IdClaims(str(tmp_path / "ids")))[0].acquire("g") == first


@pytest.mark.root
@pytest.mark.threat("id-ranges")
def test_a_range_is_its_container_s_when_its_engine_is_gone(daemon: LiveDaemon) -> None:
    """A claim that is the daemon's would be given up when that is killed; a record, never.

    Defence: the shim holds it, and ends with the container.
    Seen to fail: as above, without claims.
    """

    def started(engine: LiveDaemon) -> tuple[str, str]:
        name = engine.docker("run", "-d", "busybox", "sleep", "1000").stdout.strip()
        return name, engine.docker("exec", name, "cat", "/proc/self/uid_map").stdout.split()[1]

    with LiveDaemon() as other:
        other.load_busybox()
        _, first = started(other)
        other.kill9()
        others = [started(daemon) for _ in range(2)]
        assert first not in {range_ for _, range_ in others}
        other.start()
        _, second = started(other)
        assert len({first, second, *(range_ for _, range_ in others)}) == 4
    daemon.docker("rm", "-f", *(name for name, _ in others))
