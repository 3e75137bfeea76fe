"""config.json judged: what is no config, what cannot be, and what we make of the rest."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiffin.kernel import cgroup
from tiffin.kernel.cgroup import Hierarchy, Layout
from tiffin.runtime.oci import bundle, resources, shape
from tiffin.runtime.oci.describe import example
from tiffin.runtime.oci.shape import InvalidBundle

V1 = Layout(1, (Hierarchy("/c/memory", ("memory",)), Hierarchy("/c/pids", ("pids",))))
V2 = Layout(2, (Hierarchy("/c", ("memory", "pids", "io", "cpu")),), "/c")


def changed(path: str, value: Any) -> dict[str, Any]:
    """The example with one place changed, named as in the message."""
    config = copy.deepcopy(example())
    place: Any = config
    *above, last = path.split(".")
    for key in above:
        place = place.setdefault(key, {})
    place[last] = value
    return config


def test_the_example_is_without_fault() -> None:
    bundle.judge(example())


IDS = {"containerID": 0, "hostID": 0, "size": 1}


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("ociVersion", "", "ociVersion must be set"),
        ("ociVersion", "invalid", "is not a version"),
        ("ociVersion", "2.0.0", "only 1.x.y is"),
        ("ociVersion", 1, "ociVersion must be a string"),
        ("root.path", "", "root.path must be set"),
        ("process.args", [], "process.args must not be empty"),
        ("process.args", "sh", "process.args must be an array"),
        ("process.args", ["a\0b"], "NUL"),
        ("process.cwd", "relative", "must be an absolute path"),
        ("process.user.uid", "0", "process.user.uid must be an integer"),
        ("process.user.uid", True, "process.user.uid must be an integer"),
        ("process.rlimits", [{"type": "RLIMIT_X", "soft": 1, "hard": 1}], "RLIMIT_X is unknown"),
        ("process.oomScoreAdj", 1001, "between -1000 and 1000"),
        ("mounts", [{"type": "proc"}], "mounts[0].destination must be set"),
        ("mounts", [None], "mounts[0] must be a value"),
        (
            "mounts",
            [{"destination": "/a", "type": "bind", "source": "/b", "uidMappings": [IDS]}],
            "mounts[0].uidMappings: a mount with ids of its own is not supported",
        ),
        ("linux.namespaces", [{"type": "mount"}, {"type": "x"}], "type x is unknown"),
        ("linux.namespaces", [{"type": "mount"}, {"type": "mount"}], "twice"),
        ("linux.namespaces", [{"type": "mount"}], "hostname without a private UTS"),
        ("linux.uidMappings", [IDS], "user namespace"),
        ("linux.sysctl", {"kernel.panic": "1"}, "not in a separate kernel namespace"),
        ("linux.sysctl", {"net.x": 1}, "linux.sysctl.net.x must be a string"),
        ("linux.timeOffsets", {"boottime": {"secs": 1}}, "new time namespace"),
        ("linux.rootfsPropagation", "sideways", "rootfsPropagation=sideways is not supported"),
        ("linux.personality", {"domain": "VMS"}, "linux.personality.domain VMS is unknown"),
        ("linux.intelRdt", {"closID": "x"}, "linux.intelRdt is not supported"),
        ("linux.devices", [{"path": "x", "type": "c"}], "linux.devices[0].path must be absolute"),
        ("linux.devices", [{"path": "/x", "type": "q"}], "must be one of c, u, b, p"),
        ("linux.seccomp", {"syscalls": []}, "defaultAction must be set"),
        (
            "linux.seccomp",
            {"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/s"},
            "listenerPath (SCMP_ACT_NOTIFY) is not supported",
        ),
        ("hooks", {"prestart": [{"path": "x"}]}, "hooks.prestart[0].path must be absolute"),
    ],
)
def test_what_cannot_be_is_refused_by_name(path: str, value: Any, said: str) -> None:
    with pytest.raises(InvalidBundle) as refused:
        bundle.judge(changed(path, value))
    assert said in str(refused.value)


def test_unknown_keys_and_nulls_are_ignored() -> None:
    config = example() | {"unknown": 1, "annotations": None, "vm": {"hypervisor": {}}}
    config["linux"]["seccomp"] = None
    bundle.judge(config)


def test_a_config_without_a_process_can_be_created() -> None:
    config = example()
    del config["process"]
    bundle.judge(config)


@pytest.mark.parametrize("text", [b"", b"[]", b"{", b"nonsense", b"\xff", b'{"a":' * 5000])
def test_what_is_no_object_is_refused(text: bytes) -> None:
    with pytest.raises(InvalidBundle):
        bundle.parse(text, "config.json")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=12,
)
KEYS = sorted({*shape.CONFIG, *shape.PROCESS, "linux", "root", "hooks"})


@given(st.dictionaries(st.sampled_from(KEYS), JSON, max_size=6))
def test_any_document_is_judged_without_another_error(document: dict[str, Any]) -> None:
    try:
        bundle.judge(example() | document)
    except InvalidBundle:
        return


def test_relative_paths_are_the_bundles(tmp_path: Any) -> None:
    (tmp_path / "rootfs").mkdir()
    config = example()
    config["mounts"] = [{"destination": "/x", "source": "y", "options": ["bind"], "tiffin": {}}]
    made = bundle.ours(config, str(tmp_path), "box", V2, bundle.Wishes())
    assert made["root"]["path"] == str(tmp_path / "rootfs")
    assert made["mounts"] == [{"destination": "/x", "source": f"{tmp_path}/y", "options": ["bind"]}]


def test_a_profile_that_does_not_compile_is_refused_by_name(tmp_path: Any) -> None:
    (tmp_path / "rootfs").mkdir()
    config = changed("linux.seccomp", {"defaultAction": "/"})
    with pytest.raises(InvalidBundle, match=r"linux\.seccomp: seccomp action / is not supported"):
        bundle.ours(config, str(tmp_path), "box", V2, bundle.Wishes())


@pytest.mark.parametrize(
    ("asked", "path"),
    [("", "/tiffin-runtime/box"), ("/a/b", "/a/b"), ("a/b", "/a/b"), ("/../../a", "/a")],
)
def test_a_cgroup_lies_below_the_mount_point(asked: str, path: str) -> None:
    assert bundle.cgroup_path(asked, "box") == path


def test_what_every_container_needs_is_allowed_after_what_was_denied(tmp_path: Any) -> None:
    (tmp_path / "rootfs").mkdir()
    made = bundle.ours(example(), str(tmp_path), "box", V2, bundle.Wishes())
    rules = made["linux"]["resources"]["devices"]
    assert rules[0] == {"allow": False, "access": "rwm"}
    assert {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rwm"} in rules[1:]


@pytest.mark.parametrize(
    ("layout", "asked", "said"),
    [
        (V1, {"cpu": {"shares": 2}}, "no cgroup controller cpu"),
        (V1, {"hugepageLimits": [{"pageSize": "2MB", "limit": 1}]}, "hugetlb"),
        (V1, {"network": {"classID": 1}}, "net_cls"),
        (V1, {"unified": {"memory.high": "1"}}, "needs cgroup v2"),
        (V2, {"cpu": {"cpus": "0"}}, "no cgroup controller cpuset"),
        (V1, {"memory": {"limit": 1, "kernel": 1}}, "memory.kernel is not supported"),
        (V2, {"memory": {"kernelTCP": 1}}, "memory.kernelTCP needs cgroup v1"),
        (V2, {"memory": {"swappiness": 0}}, "memory.swappiness needs cgroup v1"),
        (V2, {"memory": {"disableOOMKiller": True}}, "disableOOMKiller needs cgroup v1"),
        (V2, {"blockIO": {"leafWeight": 10}}, "blockIO.leafWeight is not supported"),
        (
            V2,
            {"blockIO": {"weightDevice": [{"major": 8, "minor": 0, "leafWeight": 1}]}},
            r"blockIO.weightDevice\[0\].leafWeight is not supported",
        ),
        (
            V2,
            {"blockIO": {"weightDevice": [{"major": 8, "minor": 0}]}},
            r"blockIO.weightDevice\[0\].weight must be set",
        ),
    ],
)
def test_a_limit_that_would_not_hold_is_refused(
    layout: Layout, asked: dict[str, Any], said: str
) -> None:
    with pytest.raises(InvalidBundle, match=said):
        resources.judge_resources(asked, layout)


def test_zero_is_no_limit_but_a_swappiness() -> None:
    asked = {"memory": {"limit": 0, "swappiness": 0}, "cpu": {"shares": 0, "cpus": ""}, "pids": {}}
    assert resources.without_zeros(asked) == {"memory": {"swappiness": 0}}


def test_limits_that_hold_are_not() -> None:
    resources.judge_resources({"memory": {"limit": 1}, "pids": {"limit": 1}, "devices": []}, V1)
    resources.judge_resources({"blockIO": {"weight": 10}, "unified": {"memory.high": "1"}}, V2)


def test_v1_shows_only_its_own_directories_where_the_cgroup_namespace_is_the_hosts(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And an empty one for a hierarchy without controllers, wherever it is seen twice."""
    monkeypatch.setattr(cgroup, "named", lambda: ["/c/systemd", "/other/systemd", "/c/pids"])
    (tmp_path / "rootfs").mkdir()
    config = example()
    own = bundle.ours(config, str(tmp_path), "box", V1, bundle.Wishes())["tiffin"]["cgroup"]
    assert own["mounts"] == [["memory", ["memory"]], ["pids", ["pids"]], ["systemd", []]]
    spaces = [n for n in config["linux"]["namespaces"] if n["type"] != "cgroup"]
    config["linux"]["namespaces"] = spaces
    shared = bundle.ours(config, str(tmp_path), "box", V1, bundle.Wishes())["tiffin"]["cgroup"]
    assert shared["bound"][0] == ["memory", ["memory"], "/c/memory/tiffin-runtime/box"]
    assert shared["bound"][-1] == ["systemd", [], ""]
