"""The default profile's text, and which profile a container is planned with."""

from __future__ import annotations

import re
import subprocess
from typing import Any

import msgspec
import pytest

from tests.unit.runtime.test_spec import V1, workload
from tiffin.core.container import HostConfig
from tiffin.errors import InvalidArgument
from tiffin.runtime import apparmor
from tiffin.runtime.spec import apparmor_profile, plan

LOADED = msgspec.structs.replace(V1, apparmor=True, apparmor_profile=apparmor.DEFAULT)
TEXT = apparmor.profile_text(tunables=True, abstractions=True)


def globbed(glob: str) -> re.Pattern[str]:
    """AppArmor's pattern as a regular expression."""
    words = {"**": ".*", "*": "[^/]*", "?": "[^/]", "{": "(?:", "}": ")", ",": "|"}
    parts = re.findall(r"\*\*|\[[^]]*\]|.", glob.replace("@{PROC}", "/proc"))
    return re.compile(
        "".join(
            words.get(part, part if part.startswith("[") else re.escape(part)) for part in parts
        )
    )


def denied(path: str) -> bool:
    """Whether the profile denies writing there."""
    rules = re.findall(r"^  deny (\S+) \w*w\w*,$", TEXT, re.MULTILINE)
    assert len(rules) > 10
    return any(globbed(rule).fullmatch(path) for rule in rules)


@pytest.mark.parametrize(
    "path",
    """
    /proc/sysrq-trigger /proc/kcore /proc/mtrr /proc/bus/pci/00 /proc/scsi/scsi /proc/irq/1/affinity
    /proc/sys/vm/overcommit_memory /proc/sys/kernel/core_pattern /proc/sys/kernel/modprobe
    /proc/sys/kernel/sysrq /proc/sys/kernel/hotplug /proc/sys/kernel/hung_task_panic
    /proc/sys/kernel/dmesg_restrict /proc/sys/kernel/usermodehelper/bset /proc/sys/kernel/panic
    /proc/sys/kernel/seccomp/actions_logged /proc/sys/kernel/modules_disabled
    /proc/sys/kernel/keys/maxkeys /proc/sys/kernel/ns_last_pid /proc/sys/fs/file-max
    /proc/sys/fs/binfmt_misc/register /proc/sys/fs/mount-max /proc/sys/user/max_user_namespaces
    /sys/kernel/uevent_helper /sys/kernel/security/apparmor/.remove /sys/firmware/efi/vars/x
    /sys/fs/bpf/x /sys/fs/selinux/enforce /sys/devices/virtual/powercap/x /sys/class/net/eth0/mtu
    """.split(),
)
def test_the_kernels_settings_cannot_be_written(path: str) -> None:
    assert denied(path)


@pytest.mark.parametrize(
    "path",
    """
    /proc/1/oom_score_adj /proc/4711/task/4711/comm /proc/self/uid_map /etc/passwd /tmp/x
    /proc/sys/net/ipv4/ip_forward /proc/sys/net/core/somaxconn /proc/sys/kernel/shmmax
    /proc/sys/kernel/msgmax /proc/sys/kernel/sem /proc/sys/kernel/hostname
    /proc/sys/kernel/domainname /proc/sys/fs/mqueue/msg_max /sys/fs/cgroup/memory/x
    """.split(),
)
def test_what_is_the_containers_own_can_be(path: str) -> None:
    assert not denied(path)


def test_what_the_distribution_lacks_is_not_included() -> None:
    text = apparmor.profile_text(tunables=False, abstractions=False)

    assert "#include" not in text
    assert text.startswith("@{PROC}=/proc/\n")


def profile(*options: str, facts: Any = LOADED, **fields: Any) -> str:
    host = HostConfig(security_opt=options, **fields)
    planned = plan(workload(host=host), facts)["process"].get("apparmorProfile", "")
    assert planned == apparmor_profile(host, facts)
    return str(planned)


def test_containers_are_confined_by_default() -> None:
    assert profile() == profile("apparmor=docker-default") == "tiffin-default"


def test_a_privileged_container_is_confined_if_it_asks_for_it() -> None:
    assert profile(privileged=True) == ""
    assert profile("apparmor=mine", privileged=True) == "mine"
    assert profile("apparmor=docker-default", privileged=True) == "tiffin-default"


def test_a_container_may_be_unconfined_or_have_another_profile() -> None:
    assert profile("apparmor=unconfined") == profile("apparmor:unconfined") == ""
    assert profile("apparmor=mine") == "mine"


def test_without_apparmor_nothing_is_confined() -> None:
    assert profile(facts=V1) == ""


@pytest.mark.parametrize("name", ["a b", "a\nexec b", "\0"])
def test_a_profiles_name_is_one_word(name: str) -> None:
    with pytest.raises(InvalidArgument, match="no profile's name"):
        profile(f"apparmor={name}")


def test_why_the_profile_is_not_loaded_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise subprocess.CalledProcessError(1, "apparmor_parser", stderr=b"syntax error\n")

    monkeypatch.setattr(apparmor, "_is_loaded", lambda: False)
    monkeypatch.setattr(apparmor.subprocess, "run", refuse)

    assert apparmor.ensure_default() == "syntax error"


def test_a_missing_parser_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apparmor, "_is_loaded", lambda: False)
    monkeypatch.setenv("PATH", "/nonexistent")

    assert apparmor.ensure_default() == "apparmor_parser: No such file or directory"
