"""What a container is, field by field of its Config and HostConfig: inside, and in `inspect`."""

from __future__ import annotations

import io
import json
import os
import re
import tarfile
from typing import Any

import pytest

from tests.asked import Asked
from tests.live import LiveDaemon

pytestmark = pytest.mark.root

Body = dict[str, Any]


@pytest.fixture
def asked(daemon: LiveDaemon) -> Asked:
    return Asked(daemon)


# --- who, where, what -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def grouped(daemon: LiveDaemon) -> str:
    """An image in which `me` is in groups of its own."""
    script = (
        "FROM busybox\n"
        "RUN echo 'me:x:1234:1235::/home/me:/bin/sh' >> /etc/passwd && "
        "echo 'mine:x:1235:' >> /etc/group && echo 'more:x:1236:me' >> /etc/group && "
        "echo 'most:x:1237:you,me' >> /etc/group\n"
    )
    daemon.docker("build", "-q", "-t", "grouped", "-", input=script)
    return "grouped"


@pytest.mark.parametrize(
    ("user", "groups", "said"),
    [
        ("", [], "0 0 0"),
        ("me", [], "1234 1235 1235 1236 1237"),
        ("1234", [], "1234 1235 1235 1236 1237"),
        ("me:more", [], "1234 1236 1236"),
        ("me:77", [], "1234 77 77"),
        ("77:most", [], "77 1237 1237"),
        ("77", [], "77 0 0"),
        ("me", ["most", "99"], "1234 1235 1235 1236 1237 99"),
    ],
)
def test_a_user_is_who_the_image_says(
    asked: Asked, grouped: str, user: str, groups: list[str], said: str
) -> None:
    script = "echo $(id -u) $(id -g) $(id -G)"
    seen = asked.said(script, {"GroupAdd": groups}, Image=grouped, User=user)
    first, second, *others = seen.split()
    assert [first, second] == said.split()[:2]
    assert sorted(others) == sorted(said.split()[2:])


@pytest.mark.parametrize(
    ("user", "words"),
    [
        ("nobody-here", "unable to find user nobody-here: no matching entries in passwd file"),
        ("0:no-group", "unable to find group no-group: no matching entries in group file"),
    ],
)
def test_a_user_who_is_nobody_is_a_clients_fault(asked: Asked, user: str, words: str) -> None:
    container = asked.made(User=user)
    answer = asked.wire("POST", f"/containers/{container}/start")
    assert (answer.status, answer.message) == (400, words)
    asked.remove(container)


@pytest.mark.parametrize(
    ("entrypoint", "cmd", "said"),
    [
        (None, ["echo", "a"], "a"),
        ([], ["echo", "a"], "a"),
        ([""], ["echo", "a"], "a"),
        ("echo", ["a", "b"], "a b"),
        (["echo", "x"], None, "x"),
        (["echo"], ["a b"], "a b"),
    ],
)
def test_entrypoint_and_command_are_one_line(
    asked: Asked, daemon: LiveDaemon, entrypoint: Any, cmd: Any, said: str
) -> None:
    container = asked.made(Entrypoint=entrypoint, Cmd=cmd)
    assert daemon.docker("start", "-a", container).stdout == f"{said}\n"
    asked.remove(container)


def test_what_the_image_has_is_there_unless_it_is_replaced(
    asked: Asked, daemon: LiveDaemon
) -> None:
    script = (
        "FROM busybox\nENV A=image B=image\nWORKDIR /work\nUSER 5\nLABEL a=image b=image\n"
        "STOPSIGNAL SIGUSR1\nEXPOSE 80\nVOLUME /vol\nONBUILD RUN true\n"
        'SHELL ["/bin/ash", "-c"]\n'
        "HEALTHCHECK --interval=7s --retries=9 CMD true\n"
    )
    daemon.docker("build", "-q", "-t", "full", "-", input=script)
    container = asked.made(
        Image="full",
        Env=["A=mine"],
        Labels={"a": "mine"},
        ExposedPorts={"81/udp": {}},
        Healthcheck={"Interval": 8_000_000_000},
        StopTimeout=3,
    )
    shown = asked.inspect(container)["Config"]
    assert {"A=mine", "B=image"} <= set(shown["Env"])
    assert shown["Labels"] == {"a": "mine", "b": "image"}
    assert shown["ExposedPorts"] == {"80/tcp": {}, "81/udp": {}}
    assert shown["Volumes"] == {"/vol": {}}
    assert (shown["WorkingDir"], shown["User"]) == ("/work", "5")
    assert (shown["StopSignal"], shown["StopTimeout"]) == ("SIGUSR1", 3)
    assert shown["Shell"] == ["/bin/ash", "-c"]
    assert shown["Healthcheck"] == {
        "Test": ["CMD-SHELL", "true"], "Interval": 8_000_000_000, "Retries": 9
    }  # fmt: skip
    assert shown["OnBuild"] is None
    asked.remove(container)
    daemon.docker("rmi", "full")


def test_a_health_check_is_switched_off_by_none(asked: Asked, daemon: LiveDaemon) -> None:
    script = "FROM busybox\nHEALTHCHECK CMD true\n"
    daemon.docker("build", "-q", "-t", "checked", "-", input=script)
    container = asked.made(Image="checked", Healthcheck={"Test": ["NONE"]})
    asked.wire("POST", f"/containers/{container}/start")
    assert "Health" not in asked.inspect(container)["State"]
    asked.remove(container)
    daemon.docker("rmi", "checked")


def test_a_network_that_is_disabled_is_not_there(asked: Asked) -> None:
    assert asked.said("ls /sys/class/net", NetworkDisabled=True) == "lo\n"


def test_names_are_those_that_were_asked_for(asked: Asked) -> None:
    config = {"Hostname": "web", "Domainname": "example.org"}
    assert asked.said("hostname; hostname -f", **config) == "web\nweb.example.org\n"
    container = asked.made(**config)
    shown = asked.inspect(container)["Config"]
    assert (shown["Hostname"], shown["Domainname"]) == ("web", "example.org")
    asked.remove(container)


def test_resolver_and_hosts_are_as_asked_for(asked: Asked, daemon: LiveDaemon) -> None:
    host = {
        "Dns": ["192.0.2.53"],
        "DnsSearch": ["example.org"],
        "DnsOptions": ["ndots:3"],
        "ExtraHosts": ["there:192.0.2.9", "gateway:host-gateway", "host-gateway-x:192.0.2.8"],
    }
    seen = asked.said("cat /etc/resolv.conf /etc/hosts", host)
    assert "nameserver 192.0.2.53\nsearch example.org\noptions ndots:3\n" in seen
    assert "192.0.2.9\tthere\n" in seen
    assert f"{daemon.subnet}.1\tgateway\n" in seen
    assert "192.0.2.8\thost-gateway-x\n" in seen


# --- namespaces -----------------------------------------------------------------------------------


def test_a_shareable_ipc_is_joined_and_a_private_one_is_not(
    asked: Asked, daemon: LiveDaemon
) -> None:
    owner = asked.made({"IpcMode": "shareable"})
    asked.wire("POST", f"/containers/{owner}/start")
    joined = {"IpcMode": f"container:{owner}"}
    script = "readlink /proc/1/ns/ipc"
    inside = asked.said(script, joined)
    assert inside == os.readlink(f"/proc/{asked.inspect(owner)['State']['Pid']}/ns/ipc") + "\n"
    assert asked.said("touch /dev/shm/x && ls /dev/shm", joined) == "x\n"
    assert daemon.docker("exec", owner, "ls", "/dev/shm").stdout == "x\n"
    private = asked.made({"IpcMode": "private"})
    asked.wire("POST", f"/containers/{private}/start")
    guest = asked.made({"IpcMode": f"container:{private}"})
    answer = asked.wire("POST", f"/containers/{guest}/start")
    assert answer.status == 400
    assert answer.message == (
        f"can't join IPC of container {private}: non-shareable IPC "
        "(hint: use IpcMode:shareable for the donor container)"
    )
    for container in (guest, private, owner):
        asked.remove(container)


def test_without_ipc_there_is_no_shared_memory_but_what_is_mounted_there(asked: Asked) -> None:
    assert asked.said("ls -d /dev/shm 2>&1", {"IpcMode": "none"}) == (
        "ls: /dev/shm: No such file or directory\n"
    )
    mounted = {"IpcMode": "none", "Tmpfs": {"/dev/shm": "size=1m"}}
    assert asked.said("touch /dev/shm/x && ls /dev/shm", mounted) == "x\n"


def test_the_hosts_shared_memory_comes_with_its_ipc(asked: Asked) -> None:
    name = f"tiffin-shm-{os.getpid()}"
    with open(f"/dev/shm/{name}", "w", encoding="ascii") as file:
        file.write("host's\n")
    try:
        assert asked.said(f"cat /dev/shm/{name}", {"IpcMode": "host"}) == "host's\n"
    finally:
        os.remove(f"/dev/shm/{name}")


def test_without_ipc_there_is_no_shared_memory(asked: Asked) -> None:
    assert asked.said("mount | grep -c ' /dev/shm '", {"IpcMode": "none"}) == "0\n"


@pytest.mark.parametrize(
    ("host", "kind"),
    [
        ({"PidMode": "host"}, "pid"),
        ({"IpcMode": "host"}, "ipc"),
        ({"UTSMode": "host"}, "uts"),
        ({"NetworkMode": "host"}, "net"),
        ({"UsernsMode": "host"}, "user"),
        ({"CgroupnsMode": "host"}, "cgroup"),
    ],
)
def test_a_namespace_of_the_hosts_is_the_hosts(asked: Asked, host: Body, kind: str) -> None:
    assert (
        asked.said(f"readlink /proc/self/ns/{kind}", host)
        == os.readlink(f"/proc/self/ns/{kind}") + "\n"
    )
    container = asked.made(host)
    shown = asked.inspect(container)["HostConfig"]
    assert {name: shown[name] for name in host} == host
    asked.remove(container)


# --- rights ---------------------------------------------------------------------------------------


def test_system_paths_are_masked_unless_asked_otherwise(asked: Asked) -> None:
    script = "head -c1 /proc/keys | wc -c; grep -c ' /proc/sys ' /proc/mounts"
    assert asked.said(script) == "0\n1\n"
    open_paths = asked.said(script, {"SecurityOpt": ["systempaths=unconfined"]})
    assert open_paths.splitlines()[1] == "0"
    chosen = {"MaskedPaths": ["/etc/hostname"], "ReadonlyPaths": ["/tmp"]}
    script = "cat /etc/hostname; touch /tmp/x 2>&1; grep -c ' /proc/sys ' /proc/mounts"
    assert asked.said(script, chosen) == "touch: /tmp/x: Read-only file system\n0\n"
    container = asked.made(chosen)
    shown = asked.inspect(container)["HostConfig"]
    assert {name: shown[name] for name in chosen} == chosen
    asked.remove(container)


def test_a_device_rule_lets_a_made_node_be_opened(asked: Asked) -> None:
    script = "mknod /dev/mem2 c 1 5 2>/dev/null || mknod /tmp/z c 1 5; echo $?"
    host = {"DeviceCgroupRules": ["c 1:5 rwm"], "UsernsMode": "host"}
    assert asked.said(script, host).strip().endswith("0")
    container = asked.made(host)
    assert asked.inspect(container)["HostConfig"]["DeviceCgroupRules"] == ["c 1:5 rwm"]
    asked.remove(container)


def test_a_device_has_the_name_and_the_rights_that_were_asked_for(asked: Asked) -> None:
    device = {"PathOnHost": "/dev/zero", "PathInContainer": "/dev/nothing",
              "CgroupPermissions": "r"}  # fmt: skip
    assert asked.said("head -c3 /dev/nothing | wc -c", {"Devices": [device]}) == "3\n"
    container = asked.made({"Devices": [device]})
    assert asked.inspect(container)["HostConfig"]["Devices"] == [device]
    asked.remove(container)
    gone = {**device, "PathOnHost": "/dev/none"}
    container = asked.made({"Devices": [gone]})
    answer = asked.wire("POST", f"/containers/{container}/start")
    assert answer.status == 400
    assert 'error gathering device information while adding custom device "/dev/none"' in (
        answer.message
    )
    asked.remove(container)


def test_sysctls_of_the_containers_own_namespaces(asked: Asked) -> None:
    # Not those of net.core: older kernels show none of them in a user namespace.
    host = {"Sysctls": {"net.ipv4.ip_default_ttl": "77", "kernel.msgmax": "4096"}}
    script = "cat /proc/sys/net/ipv4/ip_default_ttl /proc/sys/kernel/msgmax"
    assert asked.said(script, host) == "77\n4096\n"
    container = asked.made({"Sysctls": {"net.ipv4.ip_default_ttl": "many"}})
    answer = asked.wire("POST", f"/containers/{container}/start")
    assert answer.status == 400
    assert "set sysctl net.ipv4.ip_default_ttl: invalid argument" in answer.message
    asked.remove(container)


def test_limits_of_processes_are_seen_inside(asked: Asked) -> None:
    host = {"Ulimits": [{"Name": "nofile", "Soft": 64, "Hard": 128}], "PidsLimit": 5,
            "OomScoreAdj": 9, "ShmSize": 1 << 20}  # fmt: skip
    script = "ulimit -n; ulimit -Hn; cat /proc/self/oom_score_adj; df -k /dev/shm | tail -1"
    seen = asked.said(script, host).splitlines()
    assert seen[:3] == ["64", "128", "9"]
    assert re.search(r"\s1024\s", seen[3])


def test_a_cgroup_parent_holds_the_container(asked: Asked) -> None:
    parent = f"/tiffin-parent-{os.getpid()}"
    container = asked.made({"CgroupParent": parent, "CgroupnsMode": "host"})
    asked.wire("POST", f"/containers/{container}/start")
    pid = asked.inspect(container)["State"]["Pid"]
    with open(f"/proc/{pid}/cgroup", encoding="ascii") as file:
        assert f"{parent}/{container}" in file.read()
    assert asked.inspect(container)["HostConfig"]["CgroupParent"] == parent
    asked.remove(container)
    _remove_cgroups(parent)


def _remove_cgroups(name: str) -> None:
    """A parent that was asked for by name is its asker's."""
    for folder, _, _ in os.walk("/sys/fs/cgroup"):
        if folder.endswith(name):
            os.rmdir(folder)


# --- the life -------------------------------------------------------------------------------------


def test_auto_remove_and_restart_contradict_each_other(asked: Asked) -> None:
    host = {"AutoRemove": True, "RestartPolicy": {"Name": "always"}}
    assert asked.refused(host) == (
        400, "can't create 'AutoRemove' container with restart policy"
    )  # fmt: skip


def test_a_stop_takes_as_long_as_the_container_says(asked: Asked) -> None:
    container = asked.made(
        Cmd=["sh", "-c", "trap '' TERM; while :; do sleep 1; done"], StopTimeout=0
    )
    asked.wire("POST", f"/containers/{container}/start")
    assert asked.wire("POST", f"/containers/{container}/stop").status == 204
    assert asked.inspect(container)["State"]["ExitCode"] == 137
    asked.remove(container)


def test_annotations_are_kept(asked: Asked) -> None:
    container = asked.made({"Annotations": {"a": "b"}})
    assert asked.inspect(container)["HostConfig"]["Annotations"] == {"a": "b"}
    asked.remove(container)


def test_stdin_ends_with_its_first_client(asked: Asked, daemon: LiveDaemon) -> None:
    container = asked.made(Cmd=["cat"], OpenStdin=True, StdinOnce=True, AttachStdin=True)
    seen = daemon.docker("start", "-ai", container, input="one\ntwo\n")
    assert seen.stdout == "one\ntwo\n"
    shown = asked.inspect(container)
    assert shown["State"]["Status"] == "exited"
    assert (shown["Config"]["OpenStdin"], shown["Config"]["StdinOnce"]) == (True, True)
    asked.remove(container)


def test_a_missing_working_directory_is_there_before_the_first_start(
    daemon: LiveDaemon, client: str
) -> None:
    run = daemon.client(client)
    run("create", "--name", "made", "-u", "5", "-w", "/new//in/../dir/", "busybox", "ls")
    shown = json.loads(daemon.docker("inspect", "made").stdout)[0]["Config"]
    assert shown["WorkingDir"] == "/new/dir"
    run("cp", "-", "made:/new/dir", input=tar_of("file"), text=False)
    with tarfile.open(fileobj=io.BytesIO(run("export", "made", text=False).stdout)) as exported:
        found = {m.name: m for m in exported if m.name.startswith("new")}
    assert sorted(found) == ["new", "new/dir", "new/dir/file"]
    made = [found["new"], found["new/dir"]]
    assert [(m.mode & 0o7777, m.uid, m.gid) for m in made] == [(0o755, 0, 0)] * 2
    assert run("start", "-a", "made").stdout == "file\n"
    run("rm", "made")


def test_a_working_directory_is_made_behind_links_but_never_outside(daemon: LiveDaemon) -> None:
    outside = f"{daemon.root}/outside"
    dockerfile = f"FROM busybox\nRUN ln -s {outside} /way && ln -s /etc/passwd /file\n"
    daemon.docker("build", "-q", "-t", "linked", "-", input=dockerfile)
    daemon.docker("create", "--name", "made", "-w", "/way/in", "linked", "pwd")
    assert not os.path.exists(outside)
    assert daemon.docker("start", "-a", "made").stdout == f"{outside}/in\n"
    daemon.docker("rm", "made")
    for path in ("/file", "/etc/passwd"):
        refused = daemon.docker("create", "-w", path, "linked", "pwd", check=False)
        assert f"Cannot mkdir: {path} is not a directory" in refused.stderr
    assert daemon.docker("ps", "-aq").stdout == ""


def tar_of(name: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        archive.addfile(tarfile.TarInfo(name))
    return out.getvalue()
