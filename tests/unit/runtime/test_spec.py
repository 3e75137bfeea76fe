from __future__ import annotations

import json
from typing import Any

import pytest

from tiffin.core.container import DeviceMapping, HostConfig, IdRange, Mount, Ulimit
from tiffin.core.image import ContainerConfig
from tiffin.core.selinux import Labels
from tiffin.core.workload import Overlay, Workload
from tiffin.errors import InvalidArgument
from tiffin.runtime import capabilities, limits
from tiffin.runtime.spec import HostFacts, Observed, plan, wants_host_users

ID = "4" * 64
V1 = HostFacts(
    cgroup_version=1,
    controllers=frozenset(
        ("memory", "cpu", "cpuacct", "cpuset", "pids", "devices", "freezer", "blkio")
    ),
    cgroup_hierarchies=(
        ("cpu,cpuacct", ("cpu", "cpuacct")),
        ("memory", ("memory",)),
        ("cpuset", ("cpuset",)),
        ("blkio", ("blkio",)),
    ),
    cgroup_root="tiffin-ab12",
    cpus=2,
    kernel=(6, 1),
)
RANGE = IdRange(0x90000)


def workload(
    config: ContainerConfig | None = None, host: HostConfig | None = None, **fields: Any
) -> Workload:
    return Workload(
        id=ID,
        config=config or ContainerConfig(cmd=("true",)),
        host_config=host or HostConfig(),
        rootfs=Overlay(("/l2", "/l1"), "/up", "/work"),
        hostname="web",
        **fields,
    )


def mounts(config: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {mount["destination"]: mount for mount in config["mounts"]}


def namespaces(config: dict[str, Any]) -> dict[str, str]:
    return {entry["type"]: entry.get("path", "") for entry in config["linux"]["namespaces"]}


def planned(host: HostConfig | None = None, **fields: Any) -> dict[str, Any]:
    return plan(workload(host=host, **fields), V1)


def test_labels_are_the_configs_own_words_and_absent_where_there_are_none() -> None:
    config = planned(labels=Labels("u:r:t:s0", "u:object_r:f:s0"))
    assert config["process"]["selinuxLabel"] == "u:r:t:s0"
    assert config["linux"]["mountLabel"] == "u:object_r:f:s0"
    assert "selinuxLabel" not in planned()["process"]
    assert "mountLabel" not in planned()["linux"]


def test_a_plan_is_json() -> None:
    config = planned(id_range=RANGE)

    assert json.loads(json.dumps(config)) == config


def test_the_command_is_entrypoint_and_cmd() -> None:
    config = plan(workload(ContainerConfig(entrypoint=("sh", "-c"), cmd=("echo",))), V1)

    assert config["process"]["args"] == ["sh", "-c", "echo"]


def test_no_command_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="no command specified"):
        plan(workload(ContainerConfig()), V1)


def test_the_environment_has_dockers_defaults_first() -> None:
    config = plan(workload(ContainerConfig(cmd=("x",), tty=True, env=("A=1", "PATH=/x"))), V1)

    assert config["process"]["env"] == ["PATH=/x", "HOSTNAME=web", "TERM=xterm", "A=1"]


def test_a_name_without_value_unsets_a_default() -> None:
    config = plan(workload(ContainerConfig(cmd=("x",), env=("HOSTNAME",))), V1)

    assert config["process"]["env"] == [
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    ]


def test_the_default_mounts_are_dockers() -> None:
    config = planned()

    assert list(mounts(config)) == [
        "/proc",
        "/dev",
        "/dev/pts",
        "/sys",
        "/sys/fs/cgroup",
        "/dev/mqueue",
        "/dev/shm",
    ]
    assert mounts(config)["/dev"]["options"] == ["nosuid", "strictatime", "mode=755", "size=65536k"]
    assert mounts(config)["/dev/shm"]["options"][-1] == "size=67108864"
    assert "ro" in mounts(config)["/sys/fs/cgroup"]["options"]


def test_capabilities_are_dockers_fourteen_and_none_is_inherited() -> None:
    chosen = planned()["process"]["capabilities"]

    assert len(chosen["bounding"]) == 14
    assert chosen["bounding"] == chosen["effective"] == chosen["permitted"]
    assert chosen["inheritable"] == chosen["ambient"] == []


def test_a_user_namespace_maps_the_range_and_each_id_above_it() -> None:
    config = plan(
        workload(
            ContainerConfig(cmd=("x",), user="100000:200000"),
            id_range=RANGE,
            mounts=(Mount("bind", "/src", "/data"),),
        ),
        V1,
        Observed(owners=frozenset({70000})),
    )

    extents = config["linux"]["uidMappings"]
    assert extents[0] == {"containerID": 0, "hostID": RANGE.start, "size": 65536}
    assert [extent["containerID"] for extent in extents[1:]] == [70000, 100000, 200000]
    assert extents == config["linux"]["gidMappings"]
    assert mounts(config)["/data"]["options"] == ["rbind", "rprivate", "ridmap"]
    assert "idmap" in mounts(config)["/dev"]["options"]
    assert config["tiffin"]["overlay"]["idmap"] is True


def test_without_a_range_nothing_is_mapped() -> None:
    config = planned(etc_files={"/etc/hosts": "/c/hosts"})

    assert "uidMappings" not in config["linux"]
    assert "user" not in namespaces(config)
    assert mounts(config)["/etc/hosts"]["options"] == ["bind", "rprivate"]


def test_pings_are_allowed_to_all_groups_that_are_mapped() -> None:
    mapped, unmapped = planned(id_range=RANGE), planned()

    assert mapped["linux"]["sysctl"]["net.ipv4.ping_group_range"] == "0 65535"
    assert unmapped["linux"]["sysctl"]["net.ipv4.ping_group_range"] == "0 2147483647"


@pytest.mark.parametrize("mode", ["host", "container:abc"])
def test_no_sysctl_is_set_in_a_foreign_network(mode: str) -> None:
    assert planned(HostConfig(network_mode=mode))["linux"]["sysctl"] == {}


def test_a_joined_namespace_is_a_path_and_brings_its_user_namespace() -> None:
    config = planned(
        HostConfig(network_mode="container:x"), id_range=RANGE, join_pids={"network": 4711}
    )

    assert namespaces(config)["network"] == "/proc/4711/ns/net"
    assert namespaces(config)["user"] == "/proc/4711/ns/user"
    assert namespaces(config)["pid"] == ""


def test_host_modes_leave_the_namespaces_out() -> None:
    host = HostConfig(
        network_mode="host", pid_mode="host", ipc_mode="host", uts_mode="host", cgroupns_mode="host"
    )

    config = planned(host)

    assert list(namespaces(config)) == ["mount"]
    assert config["hostname"] == ""


@pytest.mark.parametrize(
    ("host", "wanted"),
    [
        (HostConfig(), False),
        (HostConfig(privileged=True), True),
        (HostConfig(userns_mode="host"), True),
        (HostConfig(network_mode="host"), True),
        (HostConfig(pid_mode="host"), True),
        (HostConfig(ipc_mode="host"), True),
        (HostConfig(uts_mode="host"), False),
        (HostConfig(network_mode="container:host"), False),
    ],
)
def test_some_modes_need_the_hosts_user_namespace(host: HostConfig, wanted: bool) -> None:
    assert wants_host_users(host) is wanted


def test_a_users_mount_takes_the_place_of_a_default_one() -> None:
    config = planned(
        mounts=(Mount("bind", "/h/dev", "/dev"), Mount("volume", "/v/_data", "/etc/hosts")),
        etc_files={"/etc/hosts": "/c/hosts"},
    )

    assert "/dev/pts" not in mounts(config)
    assert mounts(config)["/dev"]["source"] == "/h/dev"
    assert mounts(config)["/etc/hosts"]["source"] == "/v/_data"


def test_shallow_mounts_come_before_deep_ones() -> None:
    config = planned(
        HostConfig(tmpfs={"/a/b": ""}),
        mounts=(Mount("bind", "/x", "/a/b/c"), Mount("bind", "/y", "/a")),
    )

    assert [mount["destination"] for mount in config["mounts"][-3:]] == ["/a", "/a/b", "/a/b/c"]


def test_a_read_only_bind_is_so_with_all_below() -> None:
    config = planned(
        mounts=(
            Mount("bind", "/x", "/all", rw=False, propagation="rslave"),
            Mount("bind", "/x", "/one", rw=False, non_recursive=True),
            Mount("volume", "/v", "/part", subpath="a/b"),
        )
    )

    assert mounts(config)["/all"]["options"] == ["rbind", "rro", "rslave"]
    assert mounts(config)["/one"]["options"] == ["bind", "ro", "rprivate"]
    assert mounts(config)["/part"]["tiffin"] == {"subpath": "a/b"}
    assert config["linux"]["rootfsPropagation"] == "rslave"


def test_tmpfs_words_override_the_defaults() -> None:
    config = planned(HostConfig(tmpfs={"/run": "rw,exec,size=64m,size=32m,mode=1777"}))

    assert mounts(config)["/run"]["options"] == [
        "nosuid",
        "nodev",
        "rprivate",
        "rw",
        "exec",
        "size=32m",
        "mode=1777",
    ]


def test_an_unknown_tmpfs_word_is_refused() -> None:
    with pytest.raises(InvalidArgument, match='invalid tmpfs option "nonsense"'):
        planned(HostConfig(tmpfs={"/run": "nonsense"}))


def test_a_read_only_root_makes_the_engines_mounts_read_only_too() -> None:
    config = planned(HostConfig(readonly_rootfs=True), etc_files={"/etc/hosts": "/c/hosts"})

    assert config["root"]["readonly"] is True
    assert "ro" in mounts(config)["/etc/hosts"]["options"]
    assert "ro" not in mounts(config)["/dev/shm"]["options"]


def test_shared_memory_goes_with_the_ipc_namespace() -> None:
    of_host = mounts(planned(HostConfig(ipc_mode="host")))["/dev/shm"]
    joined = planned(HostConfig(ipc_mode="container:x"), join_pids={"ipc": 47})

    assert (of_host["type"], of_host["source"]) == ("bind", "/dev/shm")
    assert mounts(joined)["/dev/shm"]["tiffin"] == {"pid": 47}


def test_no_shm_for_ipc_none() -> None:
    assert "/dev/shm" not in mounts(planned(HostConfig(ipc_mode="none")))


def test_memory_brings_as_much_swap_and_all_that_runtimes_read() -> None:
    config = planned(HostConfig(memory=64 << 20))

    assert config["linux"]["resources"]["memory"] == {"limit": 64 << 20, "swap": 128 << 20}
    assert {"cpu", "cpuset"} <= set(config["tiffin"]["cgroup"]["controllers"])


def test_swap_is_left_out_where_it_is_not_counted() -> None:
    facts = HostFacts(controllers=frozenset({"memory"}), swap_accounted=False)

    found = limits.resources(HostConfig(memory=64 << 20, memory_swap=-1), facts)

    assert found["memory"] == {"limit": 64 << 20}


def test_cpus_become_a_quota() -> None:
    cpu = planned(HostConfig(nano_cpus=1_500_000_000, cpu_shares=512))["linux"]["resources"]["cpu"]

    assert cpu == {"period": 100_000, "quota": 150_000, "shares": 512}


@pytest.mark.parametrize(
    ("host", "limit"),
    [
        (HostConfig(), 4096),
        (HostConfig(privileged=True), -1),
        (HostConfig(pids_limit=0), -1),
        (HostConfig(pids_limit=-1), -1),
        (HostConfig(pids_limit=100), 100),
    ],
)
def test_processes_are_limited(host: HostConfig, limit: int) -> None:
    assert planned(host)["linux"]["resources"]["pids"] == {"limit": limit}


def test_a_container_without_limits_uses_few_controllers_and_sees_only_those() -> None:
    cgroup = planned()["tiffin"]["cgroup"]

    assert cgroup["controllers"] == ["memory", "pids", "devices", "freezer", "cpuacct"]
    assert cgroup["mounts"] == [["cpu,cpuacct", ["cpu", "cpuacct"]], ["memory", ["memory"]]]


@pytest.mark.parametrize(
    ("parent", "path"),
    [
        ("", f"/tiffin-ab12/{ID}"),
        ("/mine/deep/", f"/mine/deep/{ID}"),
        ("../../escape", f"/escape/{ID}"),
    ],
)
def test_the_cgroup_lies_below_its_parent(parent: str, path: str) -> None:
    assert planned(HostConfig(cgroup_parent=parent))["linux"]["cgroupsPath"] == path


def test_rlimits_are_named_as_the_kernel_names_them() -> None:
    host = HostConfig(ulimits=(Ulimit("nofile", 1024, 4096), Ulimit("core", -1, -1)))

    assert planned(host)["process"]["rlimits"] == [
        {"type": "RLIMIT_NOFILE", "soft": 1024, "hard": 4096},
        {"type": "RLIMIT_CORE", "soft": 2**64 - 1, "hard": 2**64 - 1},
    ]


def test_a_container_opens_the_default_devices_and_those_it_was_given() -> None:
    node = {"path": "/dev/snd", "type": "c", "major": 116, "minor": 3, "access": "r"}
    host = HostConfig(
        devices=(DeviceMapping("/dev/snd", "/dev/snd", "r"),), device_cgroup_rules=("b 8:* rw",)
    )

    config = plan(workload(host=host), V1, Observed(devices=(node,)))

    allowed = config["linux"]["resources"]["devices"]
    assert allowed[0] == {"allow": False, "access": "rwm"}
    assert allowed[-2:] == [
        {"allow": True, "type": "c", "major": 116, "minor": 3, "access": "r"},
        {"allow": True, "type": "b", "major": 8, "minor": -1, "access": "rw"},
    ]
    assert config["linux"]["devices"][-1] == {
        "path": "/dev/snd",
        "type": "c",
        "major": 116,
        "minor": 3,
    }


def test_paths_are_masked_and_read_only_unless_told_otherwise() -> None:
    usual = planned()["linux"]
    told = planned(HostConfig(masked_paths=("/x",), readonly_paths=()))["linux"]
    unconfined = planned(HostConfig(security_opt=("systempaths=unconfined",)))["linux"]

    assert "/proc/kcore" in usual["maskedPaths"]
    assert "/proc/sys" in usual["readonlyPaths"]
    assert (told["maskedPaths"], told["readonlyPaths"]) == (["/x"], [])
    assert (unconfined["maskedPaths"], unconfined["readonlyPaths"]) == ([], [])


def test_cgroups_are_writable_by_who_is_privileged_unless_told_otherwise() -> None:
    def read_only(*options: str, privileged: bool = False) -> bool:
        config = planned(HostConfig(security_opt=options, privileged=privileged))
        return "ro" in mounts(config)["/sys/fs/cgroup"]["options"]

    assert read_only()
    assert not read_only("writable-cgroups=true")
    assert read_only("writable-cgroups=false")
    assert not read_only(privileged=True)
    assert read_only("writable-cgroups=false", privileged=True)


def test_privileged_lifts_everything() -> None:
    config = planned(HostConfig(privileged=True))

    assert len(config["process"]["capabilities"]["bounding"]) == len(capabilities.KNOWN)
    assert "seccomp" not in config["linux"]
    assert config["linux"]["maskedPaths"] == config["linux"]["readonlyPaths"] == []
    assert config["linux"]["resources"]["devices"] == [{"allow": True, "access": "rwm"}]
    assert "ro" not in mounts(config)["/sys"]["options"]
    assert "ro" not in mounts(config)["/sys/fs/cgroup"]["options"]


def test_what_oci_has_no_word_for_is_under_a_key_of_its_own() -> None:
    config = plan(
        workload(
            ContainerConfig(cmd=("x",), user="web:web", open_stdin=True, stdin_once=True, tty=True),
            HostConfig(group_add=("audio",), init=True),
            stop_signal=3,
        ),
        V1,
    )

    ours = config["tiffin"]
    assert ours["overlay"]["lower"] == ["/l2", "/l1"]
    assert (ours["user"], ours["groups"]) == ("web:web", ["audio"])
    assert ours["stdin"] == {"open": True, "once": True}
    assert (ours["tty"], ours["init"], ours["stop_signal"]) == (True, True, 3)
    assert config["process"]["terminal"] is True
