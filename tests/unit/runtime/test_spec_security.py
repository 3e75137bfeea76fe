from __future__ import annotations

import json

import pytest

from tiffin.core.container import DeviceMapping, HostConfig
from tiffin.core.selinux import Policy
from tiffin.errors import InvalidArgument
from tiffin.runtime import capabilities, devices, seccomp_profile
from tiffin.runtime.facts import HostFacts
from tiffin.runtime.security import SecurityOptions, parse_security_options

KNOWN = capabilities.KNOWN


def choose(add: tuple[str, ...] = (), drop: tuple[str, ...] = ()) -> tuple[str, ...]:
    return capabilities.choose(add, drop, KNOWN, privileged=False)


def test_a_capability_is_added_with_or_without_its_prefix() -> None:
    assert choose(("net_admin",))[-1] == choose(("CAP_NET_ADMIN",))[-1] == "CAP_NET_ADMIN"


def test_a_dropped_capability_is_gone() -> None:
    assert "CAP_NET_RAW" not in choose(drop=("NET_RAW",))


def test_adding_all_but_one() -> None:
    assert set(KNOWN) - set(choose(("ALL",), ("SYS_ADMIN",))) == {"CAP_SYS_ADMIN"}


def test_dropping_all_keeps_what_is_added() -> None:
    assert choose(("chown",), ("all",)) == ("CAP_CHOWN",)


def test_an_unknown_capability_is_refused_in_dockers_words() -> None:
    with pytest.raises(InvalidArgument) as failure:
        capabilities.normalise(("nonsense",), KNOWN, "CapAdd")

    assert failure.value.message == 'invalid CapAdd: unknown capability: "CAP_NONSENSE"'


def test_a_capability_that_the_engine_lacks_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="not supported by your kernel or not available"):
        capabilities.normalise(("sys_resource",), ("CAP_CHOWN",), "CapAdd")


def test_what_the_engine_lacks_is_not_given_by_default_either() -> None:
    assert capabilities.choose((), (), ("CAP_CHOWN",), privileged=False) == ("CAP_CHOWN",)


def test_masks_and_names_are_each_others_reverse() -> None:
    assert capabilities.names_in(capabilities.mask_of(KNOWN)) == KNOWN


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ("no-new-privileges", SecurityOptions(no_new_privileges=True)),
        ("no-new-privileges=true", SecurityOptions(no_new_privileges=True)),
        ("no-new-privileges:true", SecurityOptions(no_new_privileges=True)),
        ("no-new-privileges=false", SecurityOptions()),
        ("seccomp=unconfined", SecurityOptions(seccomp="unconfined")),
        ("seccomp:unconfined", SecurityOptions(seccomp="unconfined")),
        ("seccomp=builtin", SecurityOptions()),
        ('seccomp={"a":"b=c"}', SecurityOptions(seccomp='{"a":"b=c"}')),
        ("apparmor=unconfined", SecurityOptions(apparmor="unconfined")),
        ("label=disable", SecurityOptions(label=("disable",))),
        ("disable", SecurityOptions(label=("disable",))),
    ],
)
def test_security_options_are_understood(option: str, expected: SecurityOptions) -> None:
    assert parse_security_options((option,), facts_of=HostFacts()) == expected


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("nonsense", 'invalid --security-opt 1: "nonsense"'),
        ("nonsense=x", 'invalid --security-opt 2: "nonsense=x"'),
        ("no-new-privileges=maybe", 'invalid --security-opt 2: "no-new-privileges=maybe"'),
        (
            "apparmor=mine",
            "invalid --security-opt apparmor=mine: AppArmor is not enabled in this kernel",
        ),
        (
            "label=type:x",
            "invalid --security-opt label=type:x: SELinux is not enabled in this kernel",
        ),
    ],
)
def test_other_security_options_are_refused_by_name(option: str, message: str) -> None:
    with pytest.raises(InvalidArgument) as failure:
        parse_security_options((option,), facts_of=HostFacts())

    assert failure.value.message == message


LABELLED = HostFacts(selinux=True, labels=Policy("u:r:t:s0", "u:object_r:f:s0"))


def test_labels_are_understood_where_containers_have_them() -> None:
    options = ("label=type:x", "label:level:s0:c1,c2")
    assert parse_security_options(options, facts_of=LABELLED).label == (
        "type:x",
        "level:s0:c1,c2",
    )
    with pytest.raises(InvalidArgument, match='bad label option "x"'):
        parse_security_options(("label=x",), facts_of=LABELLED)


def test_a_daemon_that_does_not_label_says_how_it_would() -> None:
    with pytest.raises(InvalidArgument, match=r"not enabled by the daemon \(selinux-enabled\)"):
        parse_security_options(("label=type:x",), facts_of=HostFacts(selinux=True))


# --- seccomp profiles -----------------------------------------------------------------------------


def filter_of(
    text: str = "", *caps: str, privileged: bool = False
) -> seccomp_profile.Filter | None:
    return seccomp_profile.choose(text, frozenset(caps), "x86_64", (6, 1), privileged=privileged)


def rules_of(found: seccomp_profile.Filter | None, name: str) -> list[dict[str, object]]:
    assert found is not None
    return [rule for rule in found.filter["syscalls"] if name in rule["names"]]


def test_clone3_does_not_exist_without_the_power_over_namespaces() -> None:
    rule = rules_of(filter_of(), "clone3")

    assert [(r["action"], r.get("errnoRet")) for r in rule] == [("SCMP_ACT_ERRNO", 38)]


def test_a_capability_opens_its_system_calls() -> None:
    assert not rules_of(filter_of(), "mount")
    assert rules_of(filter_of("", "CAP_SYS_ADMIN"), "mount")


def test_the_default_is_an_allow_list_for_both_word_sizes_without_x32() -> None:
    found = filter_of()

    assert found is not None
    assert found.filter["defaultAction"] == "SCMP_ACT_ERRNO"
    assert found.filter["architectures"] == ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]
    assert not rules_of(found, "io_uring_setup")


def test_unconfined_and_privileged_have_no_filter() -> None:
    assert filter_of("unconfined") is None
    assert filter_of(privileged=True) is None


def test_a_privileged_container_may_have_a_profile_of_its_own() -> None:
    assert filter_of('{"defaultAction":"SCMP_ACT_ALLOW"}', privileged=True) is not None


def test_equal_filters_have_equal_keys() -> None:
    first, second = filter_of("", "CAP_CHOWN"), filter_of("", "CAP_KILL")
    third = filter_of("", "CAP_SYS_ADMIN")

    assert first is not None
    assert second is not None
    assert third is not None
    assert first.key == second.key != third.key


def test_conditions_are_resolved_away() -> None:
    text = json.dumps(
        {
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [
                {"names": ["a"], "action": "X", "includes": {"minKernel": "4.8"}},
                {"names": ["b"], "action": "X", "excludes": {"minKernel": "4.8"}},
                {"names": ["c"], "action": "X", "includes": {"arches": ["arm64"]}},
                {"names": ["d"], "action": "X", "excludes": {"arches": ["amd64"]}},
                {"name": "e", "action": "X", "args": None, "includes": None, "excludes": None},
            ],
        }
    )

    found = filter_of(text)

    assert found is not None
    assert [rule["names"] for rule in found.filter["syscalls"]] == [["a"], ["e"]]


@pytest.mark.parametrize("text", ["{", "[]", '{"syscalls": 1}', "/etc/profile.json"])
def test_text_that_is_no_profile_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match="Decoding seccomp profile failed"):
        filter_of(text)


def test_a_profile_that_says_nothing_is_unconfined() -> None:
    assert filter_of("{}") is None


# --- devices --------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", "c", "c 1:2", "x 1:2 r", "c 1:2 rwmr", "c 1 r", "c -1:2 r"])
def test_a_bad_device_rule_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match="invalid device cgroup rule format"):
        devices.parse_rule(text)


def test_a_device_rule_may_name_all_minors() -> None:
    assert devices.parse_rule("c 42:* rmw") == {
        "allow": True,
        "type": "c",
        "major": 42,
        "minor": -1,
        "access": "rmw",
    }


def test_devices_that_are_asked_for_are_found_under_the_name_they_get() -> None:
    host = HostConfig(devices=devices_of("/dev/null", "/dev/nothing", "r"))

    (node,) = devices.find(host)

    assert (node["path"], node["major"], node["minor"]) == ("/dev/nothing", 1, 3)
    assert node["access"] == "r"


def test_a_device_that_is_not_there_is_named() -> None:
    with pytest.raises(Exception, match='custom device "/dev/nope": no such file or directory'):
        devices.find(HostConfig(devices=devices_of("/dev/nope", "/dev/nope", "rwm")))


def devices_of(*fields: str) -> tuple[DeviceMapping, ...]:
    return (DeviceMapping(*fields),)
