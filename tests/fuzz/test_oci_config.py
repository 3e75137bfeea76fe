"""Any config.json becomes a plan whose limits can be written, or is refused as InvalidBundle."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiffin.kernel import cgroupextras, cgrouplimits
from tiffin.kernel.cgroup import Cgroup, Hierarchy, Layout
from tiffin.runtime import operations
from tiffin.runtime.failure import Failure
from tiffin.runtime.oci import bundle
from tiffin.runtime.oci.bundle import Wishes
from tiffin.runtime.oci.describe import example
from tiffin.runtime.oci.required import RESOURCES as REQUIRED
from tiffin.runtime.oci.required import judge_required
from tiffin.runtime.oci.resources import judge_resources, judge_update, without_zeros
from tiffin.runtime.oci.shape import CONFIG, RESOURCES, Each, InvalidBundle, check

ALL = ("cpu", "cpuset", "memory", "pids", "devices", "freezer", "cpuacct", "hugetlb", "rdma")
WORDS = st.sampled_from(
    ["", "/", "/a", "/proc/self/ns/net", "pid", "user", "c", "b", "rwm", "0", "0-3", "9-1", "x\0"]
) | st.text(max_size=8)
NUMBERS = st.sampled_from([-1, 0, 1, 2**31, 2**32, 2**63, 2**64 - 1, -(2**70)]) | st.integers(0, 9)
ODD = st.none() | st.booleans() | WORDS | NUMBERS | st.just([]) | st.just({}) | st.just(0.5)


def layouts(directory: Path) -> dict[int, Layout]:
    point = str(directory / "cgroup")
    v1 = (*ALL, "blkio", "net_cls", "net_prio")
    return {
        1: Layout(1, (Hierarchy(point, v1),)),
        2: Layout(2, (Hierarchy(point, (*ALL, "io")),), point),
    }


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("oci")
    (made / "rootfs").mkdir()
    return made


def shaped(shape: Any) -> st.SearchStrategy[Any]:
    """Mostly what the specification says is there; each part may be missing, or odd."""
    if shape is str:
        return WORDS
    if shape is int:
        return NUMBERS
    if shape is bool:
        return st.booleans()
    if isinstance(shape, list):
        return st.lists(shaped(shape[0]), max_size=2)
    if isinstance(shape, Each):
        return st.dictionaries(WORDS, shaped(shape.shape), max_size=2)
    return st.fixed_dictionaries({}, optional={key: shaped(below) for key, below in shape.items()})


def placed(shape: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every place of a config down to two below "linux" and "process", and its shape."""
    for key, below in shape.items():
        yield (*path, key), below
        if isinstance(below, dict) and len(path) < 2:
            yield from placed(below, (*path, key))


CHANGES = st.one_of(
    [st.tuples(st.just(path), shaped(shape) | ODD) for path, shape in placed(CONFIG)]
)


@given(changes=st.lists(CHANGES, min_size=1, max_size=3), version=st.sampled_from([1, 2]))
def test_any_config_is_planned_or_refused_by_name(
    directory: Path, changes: list[tuple[tuple[str, ...], Any]], version: int
) -> None:
    config = changed(changes)
    layout = layouts(directory)[version]
    try:
        bundle.judge(config)
        made = bundle.ours(config, str(directory), "box", layout, Wishes())
        operations.plan(made)
    except (InvalidBundle, Failure):
        return
    group = Cgroup(layout, "/box", layout.controllers)
    try:
        judge_update(made["linux"]["resources"], group)
        group.limit(made["linux"]["resources"])
    except (InvalidBundle, OSError):
        return  # there is no such cgroup


@given(asked=shaped(RESOURCES), version=st.sampled_from([1, 2]))
def test_any_resources_are_limits_or_refused_by_name(
    directory: Path, asked: dict[str, Any], version: int
) -> None:
    """Files that are not there shall not hide what would be written to the next."""
    layout = layouts(directory)[version]
    try:
        check(asked, RESOURCES, "resources")
        judge_required(asked, REQUIRED, "resources")
        limits = without_zeros(asked)
        judge_resources(limits, layout)
    except InvalidBundle:
        return
    limits.pop("devices", None)  # a program of the kernel's on v2
    with pytest.MonkeyPatch.context() as patch, contextlib.suppress(OSError):
        for module in (cgrouplimits, cgroupextras):
            patch.setattr(module, "write", lambda _path, _text: None)
            patch.setattr(module, "write_each", lambda _path, _lines: None)
        Cgroup(layout, "/box", layout.controllers).limit(limits)


def changed(changes: list[tuple[tuple[str, ...], Any]]) -> dict[str, Any]:
    config = copy.deepcopy(example())
    for (*path, last), value in changes:
        place: Any = config
        for key in path:
            if not isinstance(place.get(key), dict):
                place[key] = {}
            place = place[key]
        place[last] = value
    return config
