"""Control groups on the real kernel: the host's layout, and v2 where a cgroup2 is mounted."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Callable, Iterator
from typing import NoReturn

import pytest

from tests.patience import patient
from tiffin.kernel import cgroup, cgroupfiles
from tiffin.kernel.cgroup import Cgroup, Hierarchy, Layout
from tiffin.kernel.cgroupstatistics import statistics_of

pytestmark = pytest.mark.root

HOST = cgroup.detect()
UNIFIED = Layout(2, (Hierarchy(HOST.unified, ()),), HOST.unified)
LAYOUTS = [pytest.param(HOST, id="host")]
if HOST.version == 1 and HOST.unified:
    LAYOUTS.append(pytest.param(UNIFIED, id="unified"))

Start = Callable[[Cgroup], int]


@pytest.fixture(params=LAYOUTS)
def group(request: pytest.FixtureRequest) -> Iterator[Cgroup]:
    parent = f"/tiffin-test-{os.getpid()}"
    made = Cgroup(request.param, f"{parent}/web")
    made.create()
    yield made
    made.kill()
    Cgroup(request.param, parent).remove()


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts a process that joins by itself and waits; all are ended and reaped after the test."""
    started: list[int] = []

    def in_group(group: Cgroup) -> int:
        files = group.open_join()
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                for file in files:
                    os.write(file, b"0")
                os.write(writer, b"!")
                signal.pause()
            finally:
                os._exit(1)
        started.append(pid)
        for descriptor in (*files, writer):
            os.close(descriptor)
        assert os.read(reader, 1) == b"!"
        os.close(reader)
        return pid

    yield in_group
    for pid in started:
        try:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        except (ProcessLookupError, ChildProcessError):
            continue


def ended(pid: int) -> bool:
    handle = os.pidfd_open(pid)
    try:
        return bool(select.select([handle], [], [], patient(60))[0])
    finally:
        os.close(handle)


def test_this_host_has_a_layout_with_what_containers_need() -> None:
    assert HOST.version in (1, 2)
    assert {"memory", "pids", "cpu"} <= set(HOST.controllers)


def test_a_child_joins_by_itself(group: Cgroup, start: Start) -> None:
    pid = start(group)

    assert group.pids() == [pid]


def test_creating_twice_takes_over_what_is_there(group: Cgroup, start: Start) -> None:
    pid = start(group)

    group.create()

    assert group.pids() == [pid]


def test_a_process_can_be_moved_in(group: Cgroup) -> None:
    pid = os.fork()
    if pid == 0:
        signal.pause()
        os._exit(0)
    try:
        group.add(pid)
        assert group.pids() == [pid]
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def test_members_of_cgroups_below_count(group: Cgroup, start: Start) -> None:
    below = Cgroup(group.layout, group.path + "/below")
    below.create()
    pid = start(below)

    assert group.pids() == [pid]


def test_freezing_stops_and_thawing_goes_on(group: Cgroup, start: Start) -> None:
    pid = start(group)

    group.freeze()
    frozen = group.frozen()
    os.kill(pid, signal.SIGTERM)  # pending until it is thawed (on v1: also SIGKILL)
    group.thaw()

    assert frozen
    assert not group.frozen()
    assert ended(pid)


def test_killing_ends_every_member_of_the_tree(group: Cgroup, start: Start) -> None:
    below, beside = (Cgroup(group.layout, f"{group.path}/{name}") for name in ("below", "beside"))
    below.create()
    beside.create()
    pids = [start(below), start(below), start(beside)]

    group.kill()

    assert group.pids() == []
    assert all(ended(pid) for pid in pids)


def test_frozen_members_are_killed_too(group: Cgroup, start: Start) -> None:
    pid = start(group)
    group.freeze()

    group.kill()

    assert ended(pid)


def test_killing_an_empty_or_missing_cgroup_is_nothing(group: Cgroup) -> None:
    group.kill()
    group.remove()
    group.kill()

    assert not group.exists()


def test_removing_twice_is_nothing(group: Cgroup) -> None:
    group.remove()
    group.remove()

    assert not group.exists()


def test_removing_waits_for_members_that_are_ending(group: Cgroup, start: Start) -> None:
    pid = start(group)
    os.kill(pid, signal.SIGKILL)

    group.remove()

    assert not group.exists()


def test_removing_takes_what_is_below_along(group: Cgroup) -> None:
    Cgroup(group.layout, group.path + "/a/b").create()

    group.remove()

    assert not group.exists()


def test_a_cgroup_with_a_living_member_is_not_removed(group: Cgroup, start: Start) -> None:
    start(group)

    with pytest.raises(TimeoutError):
        group.remove(timeout_seconds=0.05)


@pytest.mark.parametrize("path", ["/../x", "a/../../b", ".."])
def test_a_path_that_climbs_is_refused(path: str) -> None:
    with pytest.raises(OSError, match="Invalid argument"):
        Cgroup(HOST, path)


# --- limits, on the host's own layout -----------------------------------------------------------


@pytest.fixture
def limited() -> Iterator[Cgroup]:
    parent = f"/tiffin-test-{os.getpid()}"
    made = Cgroup(HOST, f"{parent}/limited", (*cgroup.BASE_CONTROLLERS, "cpu", "cpuset"))
    yield made
    made.kill()
    Cgroup(HOST, parent, made.controllers).remove()


def test_limits_are_kept_and_can_be_raised_and_lowered(limited: Cgroup) -> None:
    limited.create({"memory": {"limit": 64 << 20, "swap": 128 << 20}, "pids": {"limit": 50}})
    first = statistics_of(limited)
    limited.limit({"memory": {"limit": 256 << 20, "swap": 512 << 20}})
    raised = statistics_of(limited)
    limited.limit({"memory": {"limit": 32 << 20, "swap": 32 << 20}, "pids": {"limit": -1}})
    lowered = statistics_of(limited)

    assert (first.memory.limit, first.pids.limit) == (64 << 20, 50)
    assert raised.memory.limit == 256 << 20
    assert (lowered.memory.limit, lowered.pids.limit) == (32 << 20, 0)


def test_a_process_can_join_with_a_cpuset(limited: Cgroup, start: Start) -> None:
    limited.create({"cpu": {"quota": 50_000, "period": 100_000, "shares": 512, "cpus": "0"}})

    pid = start(limited)

    assert os.sched_getaffinity(pid) == {0}


def test_too_many_processes_are_refused(limited: Cgroup) -> None:
    limited.create({"pids": {"limit": 1}})

    assert outcome_of(limited, lambda: os.fork() or os._exit(0)) == 77


def test_a_fork_bomb_is_killed(limited: Cgroup) -> None:
    limited.create({"pids": {"limit": 60}})
    files = limited.open_join()
    pid = os.fork()
    if pid == 0:
        for file in files:
            os.write(file, b"0")
        explode()
    for file in files:
        os.close(file)
    while len(limited.pids()) < 30:
        os.sched_yield()

    limited.kill()

    assert limited.pids() == []
    os.waitpid(pid, 0)


def explode() -> NoReturn:
    while True:
        try:
            os.fork()
        except OSError:
            os.sched_yield()


def test_too_much_memory_is_killed_and_counted(limited: Cgroup) -> None:
    limited.create({"memory": {"limit": 16 << 20, "swap": 16 << 20}})

    status = outcome_of(limited, lambda: bytearray(os.urandom(1)) * (64 << 20))

    assert status == -signal.SIGKILL
    assert limited.oom_kills() >= 1


def test_what_is_used_is_counted(limited: Cgroup, start: Start) -> None:
    limited.create()
    start(limited)

    found = statistics_of(limited)

    assert found.pids.current == 1
    assert found.memory.limit == 0
    assert found.cpu.total_ns >= 0


def test_only_allowed_devices_open() -> None:
    assert open_devices(HOST) == ["/dev/null r", "/dev/null w", "/dev/zero r"]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_devices_can_be_allowed_later(layout: Layout) -> None:
    group = Cgroup(layout, f"/tiffin-test-{os.getpid()}-devices")
    try:
        group.create({"devices": RULES})
        group.limit({"devices": [{"allow": True, "access": "rwm"}]})
        assert outcome_of(group, lambda: os.close(os.open("/dev/full", os.O_RDWR))) == 0
    finally:
        group.remove()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_later_rule_wins(layout: Layout) -> None:
    allow_all = {"allow": True, "access": "rwm"}
    deny_zero = {"allow": False, "type": "c", "major": 1, "minor": 5, "access": "w"}

    opened = open_devices(layout, [allow_all, deny_zero])

    assert "/dev/full r" in opened
    assert "/dev/zero w" not in opened


@pytest.mark.skipif(not HOST.unified, reason="no cgroup2 is mounted")
def test_only_allowed_devices_open_on_v2() -> None:
    assert open_devices(UNIFIED) == open_devices(HOST)


RULES = [
    {"allow": False, "access": "rwm"},
    {"allow": True, "type": "c", "major": -1, "minor": -1, "access": "m"},
    {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rwm"},
    {"allow": True, "type": "c", "major": 1, "minor": 5, "access": "r"},
]
ATTEMPTS = [(path, mode) for path in ("/dev/null", "/dev/zero", "/dev/full") for mode in "rw"]


def open_devices(layout: Layout, rules: list[dict[str, object]] | None = None) -> list[str]:
    group = Cgroup(layout, f"/tiffin-test-{os.getpid()}-devices")
    flags = {"r": os.O_RDONLY, "w": os.O_WRONLY}
    try:
        group.create({"devices": rules or RULES})
        return [
            f"{path} {mode}"
            for path, mode in ATTEMPTS
            if outcome_of(group, lambda p=path, m=mode: os.close(os.open(p, flags[m]))) == 0
        ]
    finally:
        group.remove()


def outcome_of(group: Cgroup, action: Callable[[], object]) -> int:
    """Exit code of a child that joins and acts; 77 if that raised OSError, minus the signal."""
    files = group.open_join()
    pid = os.fork()
    if pid == 0:
        try:
            for file in files:
                os.write(file, b"0")
            action()
        except OSError:
            os._exit(77)
        os._exit(0)
    for file in files:
        os.close(file)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


V1_ONLY = pytest.mark.skipif(HOST.version != 1, reason="the host's cgroups are v2")


@pytest.fixture
def governed() -> Iterator[Cgroup]:
    """A cgroup of the host's with all controllers that have limits."""
    parent = f"/tiffin-limits-{os.getpid()}"
    made = Cgroup(HOST, f"{parent}/web", (*cgroup.BASE_CONTROLLERS, "cpu", "blkio"))
    made.create()
    yield made
    made.kill()
    Cgroup(HOST, parent, made.controllers).remove()


def _first_disk() -> tuple[int, int]:
    for name in sorted(os.listdir("/sys/block")):
        with open(f"/sys/block/{name}/dev", encoding="ascii") as file:
            major, minor = file.read().split(":")
        return int(major), int(minor)
    pytest.skip("no block device here")


@V1_ONLY
def test_swappiness_and_the_oom_killer_are_set(governed: Cgroup) -> None:
    governed.limit({"memory": {"swappiness": 7, "disableOOMKiller": True}})

    directory = governed.directory("memory")
    assert cgroupfiles.read(f"{directory}/memory.swappiness") == "7\n"
    assert "oom_kill_disable 1" in cgroupfiles.read(f"{directory}/memory.oom_control")


@V1_ONLY
def test_the_use_of_a_disk_is_throttled(governed: Cgroup) -> None:
    major, minor = _first_disk()
    device = {"major": major, "minor": minor}

    governed.limit(
        {
            "blockIO": {
                "throttleReadBpsDevice": [{**device, "rate": 4096}],
                "throttleWriteIOPSDevice": [{**device, "rate": 5}],
            }
        }
    )

    directory = governed.directory("blkio")
    read_bps = cgroupfiles.read(f"{directory}/blkio.throttle.read_bps_device")
    assert read_bps == f"{major}:{minor} 4096\n"
    write_iops = cgroupfiles.read(f"{directory}/blkio.throttle.write_iops_device")
    assert write_iops == f"{major}:{minor} 5\n"


def _realtime_to_hand_down() -> bool:
    """In an engine's container the root that we see may have none itself."""
    return cgroupfiles.read_or(f"{HOST.mount_point_of('cpu')}/cpu.rt_runtime_us", "0") != "0\n"


@pytest.mark.skipif(
    not os.path.exists(f"{HOST.mount_point_of('cpu')}/cpu.rt_runtime_us")
    or not _realtime_to_hand_down(),
    reason="the kernel has no groups of realtime tasks, or none of the time is ours",
)
def test_realtime_is_handed_down_from_above(governed: Cgroup) -> None:
    governed.limit({"cpu": {"realtimePeriod": 1_000_000, "realtimeRuntime": 1000}})

    assert cgroupfiles.read(f"{governed.directory('cpu')}/cpu.rt_runtime_us") == "1000\n"
