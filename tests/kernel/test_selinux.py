"""The kernel keeps containers apart by their labels; on machines whose kernel has SELinux.

The policy is that of script/test-vm (script/vm-selinux).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.kernel.oci_bundle import Bundle
from tests.live import LiveDaemon
from tiffin.kernel import selinux

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(not selinux.enabled(), reason="this kernel has no SELinux"),
]

OWN = "cat /proc/self/attr/current"
PROCESS, FILE = "system_u:system_r:container_t:s0:", "system_u:object_r:container_file_t:s0"


@pytest.fixture(scope="module")
def daemon() -> Iterator[LiveDaemon]:
    with LiveDaemon("--selinux-enabled") as made:
        made.load_busybox()
        yield made
    assert made.leaks() == []


def run(daemon: LiveDaemon, *words: str) -> str:
    return text(daemon.docker("run", "--rm", *words).stdout)


def text(output: str) -> str:
    return output.strip().rstrip("\0")


def label_of(path: Path) -> str:
    return os.getxattr(path, "security.selinux").decode().rstrip("\0")


def inspected(daemon: LiveDaemon, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(daemon.docker("inspect", name).stdout)[0]
    return found


def test_the_daemon_says_that_it_labels(daemon: LiveDaemon) -> None:
    assert "name=selinux" in daemon.docker("info", "-f", "{{.SecurityOptions}}").stdout


def test_a_container_and_its_execs_have_its_label(daemon: LiveDaemon) -> None:
    daemon.docker("run", "-d", "--name", "one", "busybox", "sh", "-c", f"{OWN}; sleep 100000")
    try:
        found = inspected(daemon, "one")
        level = found["ProcessLabel"].removeprefix(PROCESS)
        assert level.startswith("c")
        assert found["MountLabel"] == f"{FILE}:{level}"
        assert text(daemon.docker("exec", "one", "sh", "-c", OWN).stdout) == PROCESS + level
        shown = daemon.docker("exec", "one", "cat", "/proc/1/attr/current").stdout
        assert text(shown) == PROCESS + level
        mounted = daemon.docker("exec", "one", "cat", "/proc/mounts").stdout.splitlines()
        labelled = {line.split()[1] for line in mounted if f"context={FILE}:{level}" in line
                    or f'context="{FILE}:{level}"' in line}  # fmt: skip
        assert {"/", "/dev", "/dev/pts", "/dev/shm"} <= labelled
        joined = run(daemon, "--pid", "container:one", "busybox", "sh", "-c", OWN)
        assert joined == PROCESS + level
    finally:
        daemon.docker("rm", "-f", "one")


def test_no_two_containers_have_one_level(daemon: LiveDaemon) -> None:
    names = ["first", "second", "third"]
    for name in names:
        daemon.docker("create", "--name", name, "busybox")
    assert len({inspected(daemon, name)["ProcessLabel"] for name in names}) == len(names)
    daemon.docker("rm", *names)


def test_options_choose_the_label(daemon: LiveDaemon) -> None:
    options = ("--security-opt", "label=type:other_t", "--security-opt", "label=level:s0:c1,c2")
    assert run(daemon, *options, "busybox", "sh", "-c", OWN) == (
        "system_u:system_r:other_t:s0:c1,c2"
    )
    nnp = ("--security-opt", "no-new-privileges")
    assert run(daemon, *nnp, "busybox", "sh", "-c", OWN).startswith(PROCESS)


@pytest.mark.parametrize(
    "flags", [("--security-opt", "label=disable"), ("--privileged",), ("--pid", "host")]
)
def test_who_is_not_labelled_is_what_the_engine_is(
    daemon: LiveDaemon, flags: tuple[str, ...]
) -> None:
    assert ":host_t:" in run(daemon, *flags, "busybox", "sh", "-c", OWN)


def test_a_label_that_the_policy_does_not_know_is_named(daemon: LiveDaemon) -> None:
    flags = ("--security-opt", "label=type:no_such_t")
    refused = daemon.docker("run", "--rm", *flags, "busybox", "true", check=False)
    assert refused.returncode == 126 or refused.returncode == 125
    assert "no_such_t" in refused.stderr
    refused = daemon.docker("run", "--rm", "--security-opt", "label=x", "busybox", check=False)
    assert 'bad label option "x"' in refused.stderr


def test_files_of_the_host_are_out_of_reach_until_they_are_relabelled(
    daemon: LiveDaemon, tmp_path: Path
) -> None:
    (tmp_path / "below").mkdir()
    file = tmp_path / "below" / "file"
    file.write_text("secret")
    os.chmod(tmp_path, 0o755)
    link = tmp_path / "link"
    link.symlink_to("/etc/hostname")
    before = label_of(Path("/etc/hostname"))
    bound = f"{tmp_path}:/data"
    cat = ("busybox", "cat", "/data/below/file")
    refused = daemon.docker("run", "--rm", "-v", bound, *cat, check=False)
    assert "Permission denied" in refused.stderr
    assert run(daemon, "-v", f"{bound}:z", *cat) == "secret"
    assert label_of(file) == FILE
    daemon.docker("run", "--name", "owner", "-v", f"{bound}:Z", *cat)
    assert label_of(file) == inspected(daemon, "owner")["MountLabel"]
    refused = daemon.docker("run", "--rm", "-v", bound, *cat, check=False)
    assert "Permission denied" in refused.stderr  # another container's by now
    assert daemon.docker("start", "-a", "owner").stdout == "secret"
    daemon.docker("rm", "owner")
    assert label_of(Path("/etc/hostname")) == before


def test_the_hosts_own_directories_are_not_relabelled(daemon: LiveDaemon) -> None:
    refused = daemon.docker("run", "--rm", "-v", "/usr:/data:Z", "busybox", "true", check=False)
    assert refused.returncode == 125 or refused.returncode == 126
    assert "SELinux relabeling of /usr is not allowed" in refused.stderr
    assert ":host_t:" in label_of(Path("/usr"))


def test_a_volume_is_for_all_containers(daemon: LiveDaemon) -> None:
    run(daemon, "-v", "kept:/data", "busybox", "sh", "-c", "echo hi > /data/file")
    assert run(daemon, "-v", "kept:/data", "busybox", "cat", "/data/file") == "hi"
    daemon.docker("volume", "rm", "kept")


def test_a_daemon_that_does_not_label_says_how_it_would() -> None:
    with LiveDaemon() as plain:
        plain.load_busybox()
        flags = ("--security-opt", "label=type:container_t")
        refused = plain.docker("create", *flags, "busybox", check=False)
        assert "SELinux is not enabled by the daemon (selinux-enabled)" in refused.stderr
        assert ":host_t:" in run(plain, "busybox", "sh", "-c", OWN)


def test_an_oci_config_chooses_both_labels(tmp_path: Path) -> None:
    bundle = Bundle(tmp_path)
    bundle.linux["cgroupsPath"] = f"/tiffin-test-{os.getpid()}-selinux"
    bundle.process["selinuxLabel"] = "system_u:system_r:container_t:s0:c5,c6"
    bundle.linux["mountLabel"] = f"{FILE}:c5,c6"
    # The files that stand for its output too: it is given no descriptor that it may not use.
    selinux.relabel(str(bundle.directory), f"{FILE}:c5,c6")
    try:
        shown = bundle.shell(f"{OWN}; echo; grep /dev/shm /proc/mounts")
        assert shown.startswith("system_u:system_r:container_t:s0:c5,c6")
        assert f"{FILE}:c5,c6" in shown
        bundle.process["selinuxLabel"] = "no:such:label:s0"
        bundle.write("true")
        assert "set SELinux label no:such:label:s0" in bundle.refused("run", "box")
    finally:
        bundle.close()
