"""OCI configs that contradict themselves, or ask for what no kernel takes: refused by name."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.kernel.oci_bundle import Bundle

pytestmark = pytest.mark.root

Change = Callable[[dict[str, Any]], object]
USER = {"type": "user"}


@pytest.fixture
def bundle(tmp_path: Path) -> Iterator[Bundle]:
    made = Bundle(tmp_path)
    yield made
    made.close()


def mapped(*extents: tuple[int, int, int]) -> Change:
    entries = [{"containerID": a, "hostID": b, "size": c} for a, b, c in extents]

    def change(config: dict[str, Any]) -> None:
        config["linux"]["namespaces"].append(USER)
        config["linux"] |= {"uidMappings": entries, "gidMappings": entries}

    return change


def process(**fields: Any) -> Change:
    return lambda config: config["process"].update(fields)


def linux(**fields: Any) -> Change:
    return lambda config: config["linux"].update(fields)


def mount(**fields: Any) -> Change:
    return lambda config: config["mounts"].append(fields)


def joins(kind: str, path: str) -> Change:
    def change(config: dict[str, Any]) -> None:
        for namespace in config["linux"]["namespaces"]:
            if namespace["type"] == kind:
                namespace["path"] = path

    return change


def device(**fields: Any) -> Change:
    return linux(devices=[{"path": "/dev/x", "type": "c", "major": 1, "minor": 3, **fields}])


ALLOW = {"defaultAction": "SCMP_ACT_ALLOW"}
NAMED = {"names": ["chmod"]}
CONTRADICTIONS: list[tuple[str, Change]] = [
    ("process.user.uid must be between", process(user={"uid": 2**33, "gid": 0})),
    ("process.user.gid must be between", process(user={"uid": 0, "gid": -1})),
    ("process.user.additionalGids must be", process(user={"uid": 0, "additionalGids": [2**32]})),
    ("process.user.additionalGids: more than", process(user={"additionalGids": [1] * 65537})),
    ("process.args[1] has half of a surrogate", process(args=["echo", "\ud800"])),
    ("bytes are more than", lambda config: config.update(annotations={"a": "x" * 13_000_000})),
    ("process.cwd must not contain NUL", process(cwd="/a\0b")),
    ("mounts[7].destination must not contain NUL", mount(destination="/a\0", type="tmpfs")),
    ("overlaps another entry's containerID", mapped((0, 100000, 10), (5, 200000, 10))),
    ("overlaps another entry's hostID", mapped((0, 100000, 10), (10, 100005, 10))),
    ("uidMappings[0].hostID must be between", mapped((0, -1, 10))),
    ("uidMappings[0].size 1099511627776 cannot be", mapped((0, 1, 2**40))),
    ("uidMappings[0].size 0 cannot be", mapped((0, 1, 0))),
    ("linux.devices[0].major must be between", device(major=-5)),
    ("linux.devices[0].minor must be between", device(minor=2**40)),
    ("linux.devices[0].uid must be between", device(uid=2**40)),
    (
        "linux.seccomp.architectures: SCMP_ARCH_VAX is unknown",
        linux(seccomp={"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_VAX"]}),
    ),
    ("seccomp action NOPE is not supported", linux(seccomp={"defaultAction": "NOPE"})),
    ("join pid namespace", joins("pid", "/proc/self/ns/net")),
    ("join net namespace", joins("network", "/etc/passwd")),
    ("join pid namespace of /proc/0/ns/pid", joins("pid", "/proc/0/ns/pid")),
    ("mount nope on /a", mount(destination="/a", type="nope")),
    ("cannot be mounted because it is inside /proc", mount(destination="/proc/sys", type="tmpfs")),
    ("set sysctl net.no.such", linux(sysctl={"net.no.such": "1"})),
    ("set sysctl net/../kernel/x", linux(sysctl={"net/../kernel/x": "1"})),
    ("rlimits[0].hard must be set", process(rlimits=[{"type": "RLIMIT_CORE", "soft": 0}])),
    ("execCPUAffinity.initial: 5-1 is no", process(execCPUAffinity={"initial": "5-1"})),
    (
        "process.scheduler.nice must be between",
        process(scheduler={"policy": "SCHED_OTHER", "nice": 99}),
    ),
    ("process.ioPriority.class: X is none of", process(ioPriority={"class": "X", "priority": 1})),
    ("linux.namespaces[0].type must be set", linux(namespaces=[{"path": "/x"}])),
    ("linux.seccomp.listenerMetadata", linux(seccomp={**ALLOW, "listenerMetadata": "x"})),
    ("linux.seccomp.syscalls[0].action must be", linux(seccomp={**ALLOW, "syscalls": [NAMED]})),
    ("memory.kernel is not supported", linux(resources={"memory": {"kernel": 1}})),
    ("leafWeight is not supported", linux(resources={"blockIO": {"leafWeight": 10}})),
    (
        "throttleReadBpsDevice[0].rate must be set",
        linux(resources={"blockIO": {"throttleReadBpsDevice": [{"major": 8, "minor": 0}]}}),
    ),
    (
        "hugepageLimits[0].limit must be set",
        linux(resources={"hugepageLimits": [{"pageSize": "2MB"}]}),
    ),
    ("network.priorities[0].name", linux(resources={"network": {"priorities": [{"priority": 1}]}})),
    ("linux.intelRdt is not supported", linux(intelRdt={"closID": "x"})),
    ("set user 0:0", process(capabilities={"effective": ["CAP_KILL"], "permitted": []})),
]


@pytest.mark.parametrize(("words", "change"), CONTRADICTIONS, ids=[w for w, _ in CONTRADICTIONS])
def test_a_config_that_contradicts_itself_is_refused_by_name(
    bundle: Bundle, words: str, change: Change
) -> None:
    bundle.process["args"] = ["true"]
    change(bundle.config)
    bundle.write()

    said = bundle.refused("run", "box")

    assert words in said
    assert "Traceback" not in said
    assert bundle.ok("list", "--quiet") == ""


HOSTS = {"destination": "/etc/hosts", "type": "bind", "source": "/etc/hosts", "options": ["bind"]}
GIGABYTE = 1 << 30


def sparse(path: Path) -> None:
    with open(path, "wb") as file:
        file.truncate(GIGABYTE)


def linked(target: str) -> Callable[[Path], None]:
    return lambda path: path.symlink_to(target)


# What a root has at a path, and the words of what comes of it; none where the program runs.
ROOTS: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "passwd is a pipe": ("etc/passwd", os.mkfifo, ""),
    "passwd is huge": ("etc/passwd", sparse, ""),
    "passwd is endless": ("etc/passwd", lambda p: os.mknod(p, 0o20666, os.makedev(1, 5)), ""),
    "passwd is a link to itself": ("etc/passwd", linked("passwd"), ""),
    "proc is a link": ("proc", linked("/tmp"), "mount proc on /proc: /proc is, or lies behind"),
    "sys is a file": ("sys", Path.touch, "mount sysfs on /sys: not a directory"),
    "hosts is a pipe": ("etc/hosts", os.mkfifo, ""),
    "hosts is a link into proc": (
        "etc/hosts",
        linked("/proc/sys/kernel/core_pattern"),
        "hosts: op",
    ),
    "hosts is a directory": ("etc/hosts", Path.mkdir, "on /etc/hosts: not a directory"),
    "the directory is a pipe": ("work", os.mkfifo, '("/work") set in config.json failed: not a'),
    "the directory is a descriptor": ("work", linked("/proc/self/fd/7"), "failed: no such file"),
}


@pytest.mark.parametrize(("path", "make", "words"), ROOTS.values(), ids=ROOTS.keys())
def test_a_hostile_root_runs_or_it_is_said_why_not(
    bundle: Bundle, path: str, make: Callable[[Path], object], words: str
) -> None:
    there = bundle.rootfs / path
    if there.is_dir():
        shutil.rmtree(there)
    else:
        there.unlink(missing_ok=True)
    make(there)
    bundle.config["mounts"].append(HOSTS)
    bundle.process["cwd"] = "/work" if path == "work" else "/"
    bundle.write("echo", "well")

    if words:
        assert words in bundle.refused("run", "box")
    else:
        assert bundle.ok("run", "box") == "well\n"
    assert bundle.ok("list", "--quiet") == ""
