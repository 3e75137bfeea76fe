"""Fields of the create request, asked for over the API and seen inside and in `inspect`."""

from __future__ import annotations

import shutil
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.asked import Asked
from tests.live import LiveDaemon
from tiffin.kernel import cgroup

pytestmark = pytest.mark.root

V1 = cgroup.detect().version == 1


@pytest.fixture
def asked(daemon: LiveDaemon) -> Asked:
    return Asked(daemon)


# --- resources ------------------------------------------------------------------------------------


def test_resources_are_shown_as_they_were_asked_for(asked: Asked) -> None:
    host = {
        "Memory": 64 << 20,
        "MemoryReservation": 32 << 20,
        "NanoCpus": 500_000_000,
        "CpuShares": 512,
        "CpusetCpus": "0",
        "CpusetMems": "0",
        "PidsLimit": 77,
        "OomScoreAdj": 5,
        "ShmSize": 1 << 20,
        "Ulimits": [{"Name": "nofile", "Soft": 64, "Hard": 128}],
    }
    container = asked.made(host)
    shown = asked.inspect(container)["HostConfig"]
    assert {name: shown[name] for name in host} == host
    assert shown["MemorySwap"] == 128 << 20
    asked.remove(container)


@pytest.mark.skipif(not V1, reason="the host's cgroups are v2")
def test_v1_knows_swappiness_and_a_container_without_oom_killer(asked: Asked) -> None:
    script = "cd /sys/fs/cgroup/memory; cat memory.swappiness; head -1 memory.oom_control"
    host = {"Memory": 64 << 20, "MemorySwappiness": 7, "OomKillDisable": True}
    assert asked.said(script, host) == "7\noom_kill_disable 1\n"
    container = asked.made(host)
    shown = asked.inspect(container)["HostConfig"]
    assert (shown["MemorySwappiness"], shown["OomKillDisable"]) == (7, True)
    asked.remove(container)


@pytest.mark.skipif(V1, reason="the host's cgroups are v1")
def test_v2_discards_swappiness_and_says_so(asked: Asked) -> None:
    answer = asked.create({"MemorySwappiness": 7, "OomKillDisable": True})
    told = " ".join(answer.json()["Warnings"])
    assert "Memory swappiness discarded" in told
    assert "OomKillDisable discarded" in told
    shown = asked.inspect(answer.json()["Id"])["HostConfig"]
    assert (shown["MemorySwappiness"], shown["OomKillDisable"]) == (None, None)
    asked.remove(answer.json()["Id"])


@pytest.mark.parametrize(
    ("host", "message"),
    [
        ({"BlkioDeviceReadBps": [{"Path": "/dev/none", "Rate": 1}]},
         "stat /dev/none: no such file or directory"),
        ({"BlkioDeviceWriteIOps": [{"Path": "/etc/passwd", "Rate": 1}]},
         "stat /etc/passwd: not a device node"),
        ({"Isolation": "hyperv"}, "invalid isolation (hyperv): linux only supports 'default'"),
        ({"IOMaximumIOps": 3},
         "invalid option: QoS maximum IOPs configuration is not supported on linux"),
        ({"DeviceRequests": [{"Driver": "nvidia", "Count": -1, "Capabilities": [["gpu"]]}]},
         'could not select device driver "nvidia" with capabilities: [[gpu]]'),
        ({"Memory": 1}, "Minimum memory limit allowed is 6MB"),
        ({"StorageOpt": {"size": "x"}}, "invalid size: 'x'"),
        ({"StorageOpt": {"color": "x"}}, "unknown option color"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_a_400_in_dockers_words(
    asked: Asked, host: dict[str, Any], message: str
) -> None:
    assert asked.refused(host) == (400, message)


# --- mounts ---------------------------------------------------------------------------------------


def mounted(**mount: Any) -> dict[str, Any]:
    return {"Mounts": [mount]}


def test_an_image_is_mounted_read_only_whole_or_in_part(asked: Asked) -> None:
    whole = mounted(Type="image", Source="busybox", Target="/image")
    script = "cat /image/etc/nsswitch.conf; touch /image/x 2>&1; stat -c %u /image/bin"
    assert asked.said(script, whole) == (
        "hosts: files dns\ntouch: /image/x: Read-only file system\n0\n"
    )
    part = mounted(Type="image", Source="busybox", Target="/image", ImageOptions={"Subpath": "etc"})
    assert asked.said("cat /image/nsswitch.conf; touch /image/x 2>&1", part) == (
        "hosts: files dns\ntouch: /image/x: Read-only file system\n"
    )
    container = asked.made(part)
    shown = asked.inspect(container)
    assert shown["HostConfig"]["Mounts"] == part["Mounts"]
    (point,) = shown["Mounts"]
    assert (point["Type"], point["Name"], point["RW"]) == ("image", "busybox", False)
    asked.remove(container)


def test_a_mounted_image_cannot_be_left_hanging(asked: Asked, daemon: LiveDaemon) -> None:
    daemon.docker("tag", "busybox", "mounted:one")
    daemon.docker("build", "-t", "mounted:two", "-", input="FROM busybox\nRUN echo hi > /hi\n")
    container = asked.made(mounted(Type="image", Source="mounted:two", Target="/image"),
                           Cmd=["cat", "/image/hi"])  # fmt: skip
    daemon.docker("rmi", "-f", "mounted:one", "mounted:two")
    assert daemon.docker("start", "-a", container).stdout == "hi\n"
    asked.remove(container)


@pytest.mark.parametrize(
    ("mount", "status", "words"),
    [
        ({"Type": "image", "Source": "nowhere", "Target": "/x"}, 404, "No such image: nowhere"),
        ({"Type": "image", "Source": "busybox", "Target": "/x",
          "ImageOptions": {"Subpath": "no/such"}}, 400,
         "cannot access path no/such in image busybox: no such file or directory"),
        ({"Type": "npipe", "Source": "x", "Target": "/x"}, 400,
         'invalid mount config for type "npipe": mount type unknown'),
        ({"Type": "cluster", "Source": "x", "Target": "/x"}, 400,
         'invalid mount config for type "cluster": mount type unknown'),
        ({"Type": "bind", "Source": "/no/such", "Target": "/x"}, 400,
         'invalid mount config for type "bind": bind source path does not exist: /no/such'),
        ({"Type": "volume", "Source": "wished", "Target": "/x",
          "VolumeOptions": {"DriverConfig": {"Name": "nodriver"}}}, 404,
         'plugin "nodriver" not found'),
    ],
)  # fmt: skip
def test_a_mount_that_cannot_be_leaves_nothing(
    asked: Asked, daemon: LiveDaemon, mount: dict[str, Any], status: int, words: str
) -> None:
    before = asked.wire("GET", "/containers/json?all=1").json()
    got, message = asked.refused(mounted(**mount))
    assert got == status
    assert words in message
    assert asked.wire("GET", "/containers/json?all=1").json() == before
    assert "wished" not in daemon.docker("volume", "ls", "-q").stdout


def test_a_volume_that_is_there_has_no_other_driver(asked: Asked, daemon: LiveDaemon) -> None:
    daemon.docker("volume", "create", "there")
    flag = {"Binds": ["there:/x"], "VolumeDriver": "nodriver"}
    option = mounted(Type="volume", Source="there", Target="/x",
                     VolumeOptions={"DriverConfig": {"Name": "nodriver"}})  # fmt: skip
    for host in (flag, option):
        status, message = asked.refused(host)
        assert status == 404
        assert 'plugin "nodriver" not found' in message
    daemon.docker("volume", "rm", "there")


def test_a_tmpfs_has_what_its_options_say(asked: Asked) -> None:
    host = mounted(
        Type="tmpfs",
        Target="/t",
        TmpfsOptions={"SizeBytes": 65536, "Mode": 0o700, "Options": [["exec"]]},
    )
    script = "stat -c %a /t; df -k /t | tail -1 | tr -s ' ' | cut -d' ' -f2; grep ' /t ' "
    seen = asked.said(script + "/proc/mounts", host).splitlines()
    assert seen[:2] == ["700", "64"]
    assert "noexec" not in seen[2]
    container = asked.made(host)
    shown = asked.inspect(container)
    assert shown["HostConfig"]["Mounts"] == host["Mounts"]
    (point,) = shown["Mounts"]
    assert (point["Mode"], point["RW"], point["Propagation"]) == ("", True, "")
    asked.remove(container)


def test_a_tmpfs_is_as_open_as_the_directory_below_it(asked: Asked, daemon: LiveDaemon) -> None:
    host = {
        "Tmpfs": {"/root": "", "/var/log": "ro", "/new/one": "", "/etc": "mode=711"},
        **mounted(Type="tmpfs", Target="/home"),
    }
    container = asked.made(
        host, Cmd=["stat", "-c", "%a", "/root", "/var/log", "/new/one", "/etc", "/home", "/new"]
    )
    first, again = (daemon.docker("start", "-a", container).stdout.split() for _ in range(2))
    assert first == ["700", "755", "1777", "711", "755", "755"]
    assert again == first
    asked.remove(container)


def test_a_volume_takes_labels_and_part_of_it_is_mounted(asked: Asked, daemon: LiveDaemon) -> None:
    whole = {"Type": "volume", "Source": "parted", "Target": "/v",
             "VolumeOptions": {"Labels": {"a": "b"}}}  # fmt: skip
    asked.said("mkdir -p /v/sub/deep; echo inside > /v/sub/deep/file", mounted(**whole))
    label = daemon.docker("volume", "inspect", "-f", "{{.Labels.a}}", "parted").stdout
    assert label == "b\n"
    part = {"Type": "volume", "Source": "parted", "Target": "/p",
            "VolumeOptions": {"Subpath": "sub/deep"}}  # fmt: skip
    assert asked.said("cat /p/file", mounted(**part)) == "inside\n"
    lost = {**part, "VolumeOptions": {"Subpath": "not/there"}}
    container = asked.made(mounted(**lost))
    refused = daemon.docker("start", container, check=False)
    assert "not/there: no such file or directory" in refused.stderr
    asked.remove(container)
    daemon.docker("volume", "rm", "parted")


def test_a_subpath_never_leads_out_of_its_volume(asked: Asked, daemon: LiveDaemon) -> None:
    whole = {"Type": "volume", "Source": "climbing", "Target": "/v"}
    asked.said("ln -s /etc /v/link; mkdir /v/etc; echo mine > /v/etc/passwd", mounted(**whole))
    part = {**whole, "Target": "/p", "VolumeOptions": {"Subpath": "link"}}
    assert asked.said("cat /p/passwd", mounted(**part)) == "mine\n"
    daemon.docker("volume", "rm", "climbing")


def test_read_only_reaches_below_unless_asked_not_to(
    asked: Asked, daemon: LiveDaemon, tmp_path: Path
) -> None:
    (tmp_path / "below").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "below", tmp_path / "below"], check=True)
    try:
        bind = {"Type": "bind", "Source": str(tmp_path), "Target": "/b", "ReadOnly": True}
        script = "touch /b/x 2>/dev/null || echo no; touch /b/below/x 2>/dev/null && echo yes"
        assert asked.said(script, mounted(**bind)) == "no\n"
        force = {**bind, "BindOptions": {"ReadOnlyForceRecursive": True}}
        assert asked.said(script, mounted(**force)) == "no\n"
        shallow = {**bind, "BindOptions": {"ReadOnlyNonRecursive": True}}
        assert asked.said(script, mounted(**shallow)) == "no\nyes\n"
        alone = {**bind, "BindOptions": {"NonRecursive": True}}
        assert asked.said("ls -A /b/below", mounted(**alone)) == ""
        old = Asked(daemon, "v1.43")
        assert old.said(script, {"Binds": [f"{tmp_path}:/b:ro"]}) == "no\nyes\n"
    finally:
        subprocess.run(["umount", tmp_path / "below"], check=True)


def test_a_bind_that_was_not_there_is_made_when_asked_for(asked: Asked, tmp_path: Path) -> None:
    made = tmp_path / "a" / "b"
    host = mounted(
        Type="bind", Source=str(made), Target="/b", BindOptions={"CreateMountpoint": True}
    )
    assert asked.said("touch /b/x && echo written", host) == "written\n"
    assert (made / "x").exists()


def test_a_bind_is_made_again_for_a_start_that_finds_nothing(
    asked: Asked, daemon: LiveDaemon, tmp_path: Path
) -> None:
    flag, option = tmp_path / "by" / "flag", tmp_path / "by" / "option"
    flag.mkdir(parents=True)
    option.mkdir()
    script = ["sh", "-c", "ls -ld /flag | cut -c1-10"]
    made = asked.made({"Binds": [f"{flag}:/flag"]}, Cmd=script)
    refused = asked.made(mounted(Type="bind", Source=str(option), Target="/x"))
    shutil.rmtree(tmp_path / "by")
    assert daemon.docker("start", "-a", made).stdout == "drwxr-xr-x\n"
    assert stat.S_IMODE(flag.parent.stat().st_mode) == 0o755
    finished = daemon.docker("start", refused, check=False)
    assert "no such file or directory" in finished.stderr
    assert not option.exists()
    for container in (made, refused):
        asked.remove(container)


def test_volumes_from_another_container_may_be_read_only(asked: Asked) -> None:
    script = "touch /data/x 2>&1 || true; cat /data/y"
    owner = asked.made({"Binds": ["lent:/data"]}, Cmd=["sh", "-c", "echo from owner > /data/y"])
    asked.wire("POST", f"/containers/{owner}/start")
    asked.wire("POST", f"/containers/{owner}/wait")
    read_only = "touch: /data/x: Read-only file system\nfrom owner\n"
    assert asked.said(script, {"VolumesFrom": [f"{owner}:ro"]}) == read_only
    assert asked.said(script, {"VolumesFrom": [owner]}) == "from owner\n"
    assert asked.refused({"VolumesFrom": ["nobody"]}) == (400, "No such container: nobody")
    asked.remove(owner)
    asked.wire("DELETE", "/volumes/lent")


def test_a_volume_is_not_put_over_a_file_of_the_image(asked: Asked) -> None:
    status, message = asked.refused(Volumes={"/etc/passwd": {}})
    assert status == 400
    assert message == "cannot mount volume over existing file, file exists /etc/passwd"


def test_a_volume_may_be_a_directory_of_the_host(
    asked: Asked, daemon: LiveDaemon, tmp_path: Path
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    options = ("-o", "type=none", "-o", "o=bind", "-o", f"device={here}")
    daemon.docker("volume", "create", *options, "hosts")
    assert asked.said("ls /etc2; touch /etc2/x", {"Binds": ["hosts:/etc2"]}) == ""
    assert (here / "x").exists()
    container = asked.made({"Binds": ["hosts:/etc2"]})
    (point,) = asked.inspect(container)["Mounts"]
    assert point["Source"].startswith(daemon.data_root)
    assert daemon.docker("cp", f"{container}:/etc2/x", "-", text=False).returncode == 0
    asked.remove(container)
    here.joinpath("x").unlink()
    here.rmdir()
    container = asked.made({"Binds": ["hosts:/etc2:nocopy"]})
    answer = asked.wire("POST", f"/containers/{container}/start")
    assert answer.status == 400
    assert "no such file or directory" in answer.message
    asked.remove(container)
    shown = daemon.docker("volume", "inspect", "-f", "{{.Options.device}}", "hosts").stdout
    assert shown == f"{here}\n"
    daemon.docker("volume", "rm", "hosts")


# --- links ----------------------------------------------------------------------------------------


def test_a_linked_container_is_found_by_its_names(asked: Asked, daemon: LiveDaemon) -> None:
    run = daemon.docker
    run("run", "-d", "--name", "db", "--expose", "5432", "-e", "USER=me", "busybox", "sleep", "99")
    script = "ping -c1 -q sql >/dev/null && echo reached; grep sql /etc/hosts | cut -f2; env"
    seen = run("run", "--rm", "--link", "db:sql", "busybox", "sh", "-c", script).stdout.splitlines()
    hostname = run("inspect", "-f", "{{.Config.Hostname}}", "db").stdout.strip()
    assert seen[:2] == ["reached", f"sql {hostname} db"]
    address = run("inspect", "-f", "{{.NetworkSettings.Networks.bridge.IPAddress}}", "db").stdout
    assert f"SQL_PORT_5432_TCP_ADDR={address.strip()}" in seen
    assert "SQL_ENV_USER=me" in seen
    container = asked.made({"Links": ["db:sql", "db"]})
    run("rename", container, "web")
    assert asked.inspect("web")["HostConfig"]["Links"] == ["/db:/web/db", "/db:/web/sql"]
    (named,) = [one for one in asked.wire("GET", "/containers/json").json()
                if "/db" in one["Names"]]  # fmt: skip
    assert sorted(named["Names"]) == ["/db", "/web/db", "/web/sql"]
    assert run("inspect", "-f", "{{.Name}}", "web/sql").stdout == "/db\n"
    assert run("exec", "/web/sql", "hostname").stdout.strip() == hostname
    run("rm", "--link", "web/sql")
    for words in (("logs", "web/sql"), ("rm", "--link", "web/sql")):
        unlinked = daemon.docker(*words, check=False)
        assert unlinked.stderr == "Error response from daemon: No such container: web/sql\n"
    assert asked.inspect("web")["HostConfig"]["Links"] == ["/db:/web/db"]
    run("rm", "-f", "web", "db")


def test_a_linked_container_that_moves_is_found_again(daemon: LiveDaemon) -> None:
    run = daemon.docker
    run("run", "-d", "--name", "db", "busybox", "sleep", "1000")
    run("run", "-d", "--name", "web", "--link", "db:sql", "busybox", "sleep", "1000")
    run("rename", "db", "renamed")
    run("stop", "-t", "0", "renamed")
    run("run", "-d", "--name", "squatter", "busybox", "sleep", "1000")
    run("start", "renamed")
    address = run(
        "inspect", "-f", "{{.NetworkSettings.Networks.bridge.IPAddress}}", "renamed"
    ).stdout.strip()
    assert run("exec", "web", "grep", "sql", "/etc/hosts").stdout.startswith(f"{address}\t")
    run("stop", "-t", "0", "renamed", "web")
    refused = run("start", "web", check=False)
    assert "Cannot link to a non running container: /renamed AS /web/sql" in refused.stderr
    run("rm", "-f", "web", "renamed", "squatter")


@pytest.mark.parametrize(
    ("host", "words"),
    [
        ({"Links": ["nobody:x"]}, "could not get container for nobody: No such container: nobody"),
        ({"Links": ["a:b:c"]}, "bad format for links: a:b:c"),
        ({"Links": ["x"], "NetworkMode": "host"}, "host type networking can't be used with links"),
        (
            {"Links": ["x"], "NetworkMode": "container:y"},
            "container type network can't be used with links",
        ),
    ],
)
def test_a_link_that_cannot_be_is_refused(asked: Asked, host: dict[str, Any], words: str) -> None:
    status, message = asked.refused(host)
    assert status == 400
    assert words in message


# --- modes ----------------------------------------------------------------------------------------


def test_an_image_that_exposes_ports_joins_anothers_network(
    asked: Asked, daemon: LiveDaemon
) -> None:
    daemon.docker("build", "-t", "exposing", "-", input="FROM busybox\nEXPOSE 80\n")
    owner = asked.made()
    asked.wire("POST", f"/containers/{owner}/start")
    joined = {"NetworkMode": f"container:{owner[:12]}"}
    assert asked.said("echo ran", joined, Image="exposing") == "ran\n"
    status, message = asked.refused(joined, ExposedPorts={"80/tcp": {}})
    assert (status, message) == (
        400, "conflicting options: port exposing and the container type network mode"
    )  # fmt: skip
    container = asked.made(joined, Image="exposing")
    assert asked.inspect(container)["HostConfig"]["NetworkMode"] == f"container:{owner}"
    update = asked.wire("POST", f"/containers/{container}/update", {"CpuShares": 512})
    assert update.status == 200
    asked.remove(container)
    asked.remove(owner)
    daemon.docker("rmi", "exposing")


@pytest.mark.parametrize("field", ["PidMode", "IpcMode"])
def test_namespaces_of_nobody_cannot_be_joined(asked: Asked, field: str) -> None:
    assert asked.refused({field: "container:nobody"}) == (400, "No such container: nobody")


def test_a_bad_request_is_refused_before_its_image_is_looked_for(asked: Asked) -> None:
    """The client of a 404 would pull the image, only to be refused afterwards."""
    status, message = asked.refused({"Memory": 1}, Image="no-such-image")
    assert (status, message) == (400, "Minimum memory limit allowed is 6MB")
