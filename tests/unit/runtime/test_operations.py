"""From an OCI runtime config to ordered operations."""

from __future__ import annotations

from typing import Any

import pytest

from tiffin.runtime import mountwords, operations
from tiffin.runtime.mountwords import Options
from tiffin.runtime.operations import InvalidConfig, plan


def config(**linux: Any) -> dict[str, Any]:
    return {
        "process": {"args": ["true"]},
        "root": {"path": ""},
        "hostname": "box",
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid"]},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["mode=755"]},
            {"destination": "/data", "type": "bind", "source": "/srv", "options": ["rbind", "ro"]},
        ],
        "linux": {
            "namespaces": [{"type": "user"}, {"type": "mount"}, {"type": "uts"}],
            "readonlyPaths": ["/proc/sys"],
            "maskedPaths": ["/proc/kcore"],
            "sysctl": {"net.ipv4.ip_forward": "1"},
            **linux,
        },
        "tiffin": {"overlay": {"lower": ["/l"], "upper": "/u", "work": "/w", "idmap": True}},
    }


def described(found: list[operations.Operation]) -> list[str]:
    return [operation.describe() for operation in found]


def test_a_plan_reads_as_what_will_be_done() -> None:
    made = plan(config())
    assert described(made.detached) == [
        "mount overlay of /u",
        "make /dev",
        "bind /srv on /data",
    ]
    assert described(made.create) == [
        "set hostname box",
        "mount the root file system",
        "mount proc on /proc",
        "mount tmpfs on /dev",
        "mount /srv on /data",
        "pivot_root",
        "make /proc/sys read-only",
        "mask /proc/kcore",
    ]
    assert described(made.start) == ["set sysctl net.ipv4.ip_forward"]


def test_the_root_is_nodev_in_a_user_namespace_only() -> None:
    inside = plan(config()).detached[0]
    assert isinstance(inside, operations.MakeOverlay)
    assert inside.attributes == mountwords.NODEV
    outside = plan(config(namespaces=[{"type": "mount"}])).detached[0]
    assert isinstance(outside, operations.MakeOverlay)
    assert outside.attributes == 0


def test_the_mount_label_is_that_of_all_files_that_are_the_containers_own() -> None:
    label = "system_u:object_r:container_file_t:s0:c1,c2"
    made = plan(config(mountLabel=label))
    overlay, devices, bind = made.detached
    assert isinstance(overlay, operations.MakeOverlay)
    assert overlay.label == label
    assert isinstance(devices, operations.MakeDevices)
    assert ("context", label) in mountwords.Options(devices.words).data
    assert isinstance(bind, operations.CloneTree)
    assert bind.words == ["rbind", "ro"]
    (proc,) = (each for each in made.create if isinstance(each, operations.MountFileSystem))
    assert proc.data == []


def test_a_hostname_is_set_only_in_a_namespace_of_its_own() -> None:
    shared = plan(config(namespaces=[{"type": "mount"}]))
    assert "set hostname box" not in described(shared.create)


@pytest.mark.parametrize(
    "target", ["/proc/self/attr", "/proc/../proc/sys", "/proc", "/", "/x/..", "//proc//sysrq"]
)
def test_nothing_is_mounted_over_the_root_or_inside_proc(target: str) -> None:
    asked = config()
    asked["mounts"].append(
        {"destination": target, "type": "bind", "source": "/x", "options": ["bind"]}
    )
    with pytest.raises(InvalidConfig, match="cannot"):
        plan(asked)


def test_files_of_numbers_in_proc_may_be_bound() -> None:
    asked = config()
    asked["mounts"].append({"destination": "/proc/uptime", "type": "bind", "source": "/x"})
    assert "mount /x on /proc/uptime" in described(plan(asked).create)


def test_option_words_become_attributes_data_and_propagation() -> None:
    options = Options(["rbind", "ro", "nosuid", "strictatime", "rslave", "size=64m", "idmap"])
    assert options.set == mountwords.RDONLY | mountwords.NOSUID | 0x20
    assert options.data == [("size", "64m")]
    assert (options.propagation, options.propagation_recursive) == (0x80000, True)
    assert (options.recursive, options.idmap) == (True, True)


def test_of_contrary_words_the_last_wins() -> None:
    assert Options(["ro", "rw"]).set == 0
    assert Options(["dev", "nodev"]).set == mountwords.NODEV


def test_the_six_devices_are_always_there_and_asked_ones_take_their_place() -> None:
    nodes = operations.device_nodes(
        {"devices": [{"path": "/dev/null", "type": "c", "major": 9, "minor": 9}]}
    )
    assert len(nodes) == 6
    assert nodes[0]["major"] == 9


def test_a_device_outside_of_dev_is_made_in_the_root() -> None:
    asked = config(namespaces=[{"type": "mount"}], devices=[{"path": "/dev/../etc/x", "type": "c"}])
    asked["mounts"].append({"destination": "/dev", "type": "tmpfs", "source": "tmpfs"})
    made = [o for o in plan(asked).create if isinstance(o, operations.MakeNode)]
    assert [o.describe() for o in made] == ["make /etc/x"]


def test_joined_namespaces_begin_with_the_users() -> None:
    linux = {
        "namespaces": [
            {"type": "network", "path": "/proc/1/ns/net"},
            {"type": "user", "path": "/proc/1/ns/user"},
            {"type": "mount"},
            {"type": "cgroup"},
        ]
    }
    assert [kind for kind, _ in operations.joined_namespaces(linux)] == ["user", "network"]
    assert operations.birth_flags(linux) == operations.CLONE_FLAGS["mount"]
    assert operations.late_flags(linux) == operations.CLONE_FLAGS["cgroup"]


def test_v1_cgroups_have_a_directory_each_and_v2_has_one() -> None:
    asked = config()
    asked["mounts"].append({"destination": "/sys/fs/cgroup", "type": "cgroup", "options": ["ro"]})
    asked["tiffin"]["cgroup"] = {"version": 1, "mounts": [["memory", ["memory"]]]}
    made = [o for o in plan(asked).create if isinstance(o, operations.MountCgroups)]
    assert made[0].hierarchies == [["memory", ["memory"]]]
    asked["tiffin"]["cgroup"] = {"version": 2, "mounts": []}
    made = [o for o in plan(asked).create if isinstance(o, operations.MountCgroups)]
    assert made[0].hierarchies is None


def test_a_terminal_is_opened_before_the_old_root_is_left() -> None:
    asked = config()
    asked["process"] |= {"terminal": True, "consoleSize": {"height": 24, "width": 80}}
    words = described(plan(asked).create)
    assert words.index("open /dev/console") < words.index("pivot_root")


def test_operations_are_equal_by_their_parts() -> None:
    assert plan(config()).create[1] == plan(config()).create[1]
    assert plan(config()).create[0] != plan(config()).create[1]


def test_sysctl_names_with_dots_in_an_interface_are_written_with_slashes() -> None:
    assert operations.SetSysctl("net/ipv4/conf/eth0.1/forwarding", "1").path == (
        "net/ipv4/conf/eth0.1/forwarding"
    )
    assert operations.SetSysctl("kernel.shmmax", "1").path == "kernel/shmmax"
