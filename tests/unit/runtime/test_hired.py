"""A plan in plain OCI, for a runtime that knows nothing of ours, and its words in Docker's."""

from __future__ import annotations

from typing import Any

import pytest

from tiffin.core.runtimes import RuntimeProgram, find, is_own
from tiffin.errors import InvalidArgument
from tiffin.kernel import cgroup
from tiffin.runtime import programs
from tiffin.runtime.hired import _exit_code, _plain_words, plain
from tiffin.runtime.users import Identity

SOMEBODY = Identity(33, 33, [33, 50], "/var/www")


def config() -> dict[str, Any]:
    return {
        "ociVersion": "1.1.0",
        "process": {"args": ["true"], "env": ["A=b"], "oomScoreAdj": 0, "terminal": False},
        "root": {"path": "", "readonly": True},
        "hostname": "",
        "mounts": [
            {"destination": "/dev", "type": "tmpfs", "options": ["nosuid", "idmap"]},
            {
                "destination": "/v",
                "type": "bind",
                "source": "/volume",
                "options": ["rbind", "rro", "rslave", "ridmap"],
                "tiffin": {"subpath": "a"},
            },
        ],
        "linux": {
            "namespaces": [{"type": "user"}, {"type": "mount"}],
            "uidMappings": [{"containerID": 0, "hostID": 9, "size": 1}],
            "resources": {
                "devices": [
                    {"allow": False, "access": "rwm"},
                    {"allow": True, "type": "c", "major": 136, "minor": -1, "access": "rwm"},
                ]
            },
        },
        "tiffin": {"user": "www-data"},
    }


def test_what_only_we_understand_is_gone() -> None:
    made = plain(config(), "/mnt/rootfs", {1: "/mnt/1"}, SOMEBODY)
    assert "tiffin" not in str(made)
    assert "hostname" not in made
    assert made["root"] == {"path": "/mnt/rootfs", "readonly": True}
    assert made["mounts"][0]["options"] == ["nosuid"]


def test_a_bind_is_of_what_we_have_mounted() -> None:
    bind = plain(config(), "/r", {1: "/mnt/1"}, SOMEBODY)["mounts"][1]
    assert (bind["source"], bind["options"]) == ("/mnt/1", ["rbind", "rslave"])


def test_the_user_is_a_number_and_has_a_home() -> None:
    process = plain(config(), "/r", {}, SOMEBODY)["process"]
    assert process["user"] == {"uid": 33, "gid": 33, "additionalGids": [50]}
    assert process["env"] == ["A=b", "HOME=/var/www"]
    assert "oomScoreAdj" not in process


def test_any_number_of_a_device_is_no_number() -> None:
    rules = plain(config(), "/r", {}, SOMEBODY)["linux"]["resources"]["devices"]
    assert rules[1] == {"allow": True, "type": "c", "major": 136, "access": "rwm"}


def test_a_joined_user_namespace_brings_its_own_map() -> None:
    asked = config()
    asked["linux"]["namespaces"][0]["path"] = "/proc/1/ns/user"
    assert "uidMappings" not in plain(asked, "/r", {}, SOMEBODY)["linux"]


@pytest.mark.parametrize(
    ("said", "words", "code"),
    [
        (
            'runc create failed: container process: exec: "x": executable file not found in $PATH',
            'exec: "x": executable file not found in $PATH',
            127,
        ),
        (
            "executable file `x` not found in $PATH: No such file or directory",
            "executable file `x` not found in $PATH: no such file or directory",
            127,
        ),
        ("open executable: Permission denied", "open executable: permission denied", 126),
        ("writing file `devices.allow`: Invalid argument", None, 128),
    ],
)
def test_a_runtimes_words_are_those_that_clients_go_by(
    said: str, words: str | None, code: int
) -> None:
    assert _plain_words(said) == (words or said)
    assert _exit_code(_plain_words(said)) == code


def test_names_of_runtimes() -> None:
    here = {"runc": RuntimeProgram("/r"), "mine": RuntimeProgram("/m", ("--x",))}
    assert is_own("")
    assert is_own("tiffin")
    assert find("io.containerd.runc.v2", here) == RuntimeProgram("/r")
    assert find("kata", here) is None
    with pytest.raises(InvalidArgument, match="unknown or invalid runtime name: kata"):
        programs.hire({"tiffin": {}}, "kata", here, cgroup.Layout(0, ()))


def test_a_hierarchy_with_a_name_alone_is_found() -> None:
    mountinfo = (
        "30 25 0:26 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
        "31 25 0:27 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n"
        "32 25 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
    )
    assert cgroup.named(mountinfo) == ["/sys/fs/cgroup/systemd"]
