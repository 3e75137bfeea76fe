"""Layouts and files of cgroups, on texts and plain directories: no root, no cgroup file system."""

from __future__ import annotations

from pathlib import Path

import pytest

from tiffin.kernel import bpf, cgroup, cgrouplimits
from tiffin.kernel.cgroup import Cgroup, Hierarchy, Layout
from tiffin.kernel.cgroupstatistics import statistics_of

V1 = """\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
33 31 0:30 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory
34 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd
"""
BARE_V2 = "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n"


def test_v1_hierarchies_are_found_with_their_controllers() -> None:
    layout = cgroup.detect(V1)

    assert layout.version == 1
    assert layout.hierarchies == (
        Hierarchy("/sys/fs/cgroup/cpu,cpuacct", ("cpu", "cpuacct")),
        Hierarchy("/sys/fs/cgroup/memory", ("memory",)),
    )
    assert layout.mount_point_of("cpuacct") == "/sys/fs/cgroup/cpu,cpuacct"
    assert layout.mount_point_of("pids") == ""


def test_a_hybrid_layout_is_v1() -> None:
    layout = cgroup.detect(V1 + BARE_V2)

    assert (layout.version, layout.unified) == (1, "/sys/fs/cgroup/unified")


def test_a_lone_cgroup2_is_v2(tmp_path: Path) -> None:
    root = tmp_path / "cgroup two"
    root.mkdir()
    (root / "cgroup.controllers").write_text("cpu memory pids\n")
    escaped = str(root).replace(" ", "\\040")

    layout = cgroup.detect(f"30 1 0:26 / {escaped} rw - cgroup2 cgroup2 rw\n")

    assert layout == Layout(2, (Hierarchy(str(root), ("cpu", "memory", "pids")),), str(root))


def test_no_cgroups_are_version_zero() -> None:
    assert cgroup.detect("22 27 0:21 / /proc rw - proc proc rw\n") == Layout(0, ())


def test_controllers_that_are_mounted_together_share_a_directory() -> None:
    group = Cgroup(cgroup.detect(V1), "/a/b", ("cpu", "cpuacct", "memory", "pids"))

    assert group.join_files() == [
        "/sys/fs/cgroup/cpu,cpuacct/a/b/tasks",
        "/sys/fs/cgroup/memory/a/b/tasks",
    ]


@pytest.fixture
def v2(tmp_path: Path) -> Layout:
    """Plain files where the kernel has its own."""
    for directory in (tmp_path, tmp_path / "parent", tmp_path / "parent" / "web"):
        directory.mkdir(exist_ok=True)
        (directory / "cgroup.controllers").write_text("cpuset cpu io memory pids\n")
        for name in ("cgroup.subtree_control", "memory.max", "memory.swap.max", "memory.low"):
            (directory / name).write_text("")
        for name in ("cpu.max", "cpu.weight", "cpuset.cpus", "cpuset.mems", "pids.max"):
            (directory / name).write_text("")
    return Layout(2, (Hierarchy(str(tmp_path), ("cpu", "memory", "pids")),), str(tmp_path))


def test_v2_limits_are_translated(v2: Layout, tmp_path: Path) -> None:
    group = Cgroup(v2, "/parent/web")

    group.create(
        {
            "memory": {"limit": 100, "swap": 250, "reservation": 50},
            "cpu": {"quota": 5000, "period": 10_000, "shares": 1024, "cpus": "0-1"},
            "pids": {"limit": 7},
        }
    )

    written = {file.name: file.read_text() for file in (tmp_path / "parent" / "web").iterdir()}
    assert written["memory.max"] == "100"
    assert written["memory.swap.max"] == "150"
    assert written["memory.low"] == "50"
    assert written["cpu.max"] == "5000 10000"
    assert written["cpu.weight"] == "39"
    assert written["cpuset.cpus"] == "0-1"
    assert written["pids.max"] == "7"


def test_v2_ancestors_hand_the_controllers_down(v2: Layout, tmp_path: Path) -> None:
    Cgroup(v2, "/parent/web", ("memory", "pids", "devices", "freezer", "cpuacct")).create()

    handed = "+memory +pids +cpu"
    assert (tmp_path / "cgroup.subtree_control").read_text() == handed
    assert (tmp_path / "parent" / "cgroup.subtree_control").read_text() == handed
    assert (tmp_path / "parent" / "web" / "cgroup.subtree_control").read_text() == ""


def test_v2_without_a_limit_is_max(v2: Layout, tmp_path: Path) -> None:
    Cgroup(v2, "/parent/web").limit({"memory": {"limit": 9, "swap": -1}, "pids": {"limit": -1}})

    assert (tmp_path / "parent" / "web" / "memory.swap.max").read_text() == "max"
    assert (tmp_path / "parent" / "web" / "pids.max").read_text() == "max"


def test_v2_statistics_are_read(v2: Layout, tmp_path: Path) -> None:
    directory = tmp_path / "parent" / "web"
    files = {
        "memory.current": "4096\n",
        "memory.max": "max\n",
        "memory.events": "low 0\nmax 3\noom_kill 2\n",
        "memory.stat": "anon 5\nfile 6\n",
        "cpu.stat": "usage_usec 7\nuser_usec 4\nsystem_usec 3\nnr_throttled 1\n",
        "pids.current": "2\n",
        "pids.max": "10\n",
    }
    for name, text in files.items():
        (directory / name).write_text(text)
    group = Cgroup(v2, "/parent/web")

    found = statistics_of(group)

    assert (found.memory.usage, found.memory.limit, found.memory.failures) == (4096, 0, 3)
    assert found.memory.details == {"anon": 5, "file": 6}
    assert (found.cpu.total_ns, found.cpu.user_ns, found.cpu.throttled_periods) == (7000, 4000, 1)
    assert (found.pids.current, found.pids.limit) == (2, 10)
    assert group.oom_kills() == 2


@pytest.mark.parametrize(("shares", "weight"), [(2, 1), (1024, 39), (262_144, 10_000), (1, 1)])
def test_shares_become_weights(shares: int, weight: int) -> None:
    assert cgrouplimits.weight_of(shares) == weight


def test_a_program_that_allows_all_needs_no_rule_after_it() -> None:
    deny = {"allow": False, "access": "rwm"}
    allow = {"allow": True, "access": "rwm"}

    assert bpf.device_program([deny, allow]) == bpf.device_program([allow])


def test_v2_throttles_and_weighs_disks_in_its_own_words(tmp_path: Path) -> None:
    for name in ("io.weight", "io.max"):
        (tmp_path / name).touch()
    device = {"major": 8, "minor": 16}

    cgrouplimits.limit_v2(
        str(tmp_path),
        {
            "blockIO": {
                "weight": 1000,
                "weightDevice": [{**device, "weight": 10}],
                "throttleWriteBpsDevice": [{**device, "rate": 4096}],
            }
        },
    )

    assert (tmp_path / "io.weight").read_text() == "default 100008:16 1"
    assert (tmp_path / "io.max").read_text() == "8:16 wbps=4096"


def test_v2_prefers_bfqs_weights_which_need_no_scale(tmp_path: Path) -> None:
    (tmp_path / "io.bfq.weight").touch()

    cgrouplimits.limit_v2(str(tmp_path), {"blockIO": {"weight": 300}})

    assert (tmp_path / "io.bfq.weight").read_text() == "default 300"
