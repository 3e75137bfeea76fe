"""Volumes that are file systems: mounted at the first use, unmounted after the last."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.asked import Asked
from tests.live import LiveDaemon
from tiffin.kernel import mountinfo, mounts, mounttext

pytestmark = pytest.mark.root

# Before Linux 6.3 a tmpfs maps no ids: its owners are nobody inside.
MAPS_IDS = tuple(map(int, re.findall(r"\d+", os.uname().release)[:2])) >= (6, 3)


@pytest.fixture
def volume(daemon: LiveDaemon) -> Iterator[str]:
    yield "mounted"
    daemon.remove_containers()
    daemon.docker("volume", "rm", "-f", "mounted")


def mounted(daemon: LiveDaemon) -> list[str]:
    return mountinfo.points_below([f"{daemon.data_root}/volumes"])


def made(daemon: LiveDaemon, name: str, **options: str) -> None:
    words = [word for key, value in options.items() for word in ("-o", f"{key}={value}")]
    daemon.docker("volume", "create", *words, name)


def test_a_tmpfs_lives_from_the_first_container_to_the_last(
    daemon: LiveDaemon, volume: str
) -> None:
    made(daemon, volume, type="tmpfs", device="tmpfs", o="size=1m,uid=1000")
    run = daemon.docker
    assert mounted(daemon) == []
    use = ("-v", f"{volume}:/data", "busybox")
    first = run("run", "-d", *use, "sleep", "1000").stdout.strip()
    assert mounted(daemon) == [f"{daemon.data_root}/volumes/{volume}/_data"]
    script = "stat -c %u /data; df -k /data | tail -1 | tr -s ' ' | cut -d' ' -f2"
    owner = 1000 if MAPS_IDS else 65534
    assert run("exec", first, "sh", "-c", script).stdout == f"{owner}\n1024\n"
    run("exec", first, "touch", "/data/x")
    second = run("run", "-d", *use, "sleep", "1000").stdout.strip()
    run("rm", "-f", first)
    assert run("exec", second, "ls", "/data").stdout == "x\n"
    assert run("volume", "rm", volume, check=False).returncode == 1
    run("rm", "-f", second)
    assert mounted(daemon) == []
    assert run("run", "--rm", *use, "ls", "/data").stdout == ""
    assert mounted(daemon) == []


def test_what_a_mounted_volume_lacks_is_taken_from_the_image(
    daemon: LiveDaemon, volume: str, tmp_path: Path
) -> None:
    made(daemon, volume, type="none", device=str(tmp_path), o="bind,nosuid")
    container = daemon.docker("create", "-v", f"{volume}:/etc", "busybox").stdout.strip()
    assert (tmp_path / "nsswitch.conf").exists()
    assert mounted(daemon) == []
    daemon.docker("cp", "/proc/self/status", f"{container}:/etc/status")
    assert (tmp_path / "status").exists()
    assert mounted(daemon) == []


def test_a_bind_with_options_has_them(daemon: LiveDaemon, volume: str, tmp_path: Path) -> None:
    (tmp_path / "x").write_text("host\n")
    made(daemon, volume, type="none", device=str(tmp_path), o="bind,ro")
    script = "cat /data/x; touch /data/y 2>&1"
    seen = daemon.docker(
        "run", "--rm", "-v", f"{volume}:/data:nocopy", "busybox", "sh", "-c", script, check=False
    )
    assert seen.stdout == "host\ntouch: /data/y: Read-only file system\n"


def test_a_daemon_that_is_killed_leaves_it_mounted_for_who_runs(
    daemon: LiveDaemon, volume: str
) -> None:
    made(daemon, volume, type="tmpfs", device="tmpfs")
    run = daemon.docker
    container = run("run", "-d", "-v", f"{volume}:/data", "busybox", "sleep", "1000").stdout.strip()
    run("exec", container, "touch", "/data/x")
    daemon.kill9()
    daemon.start()
    other = run("run", "--rm", "-v", f"{volume}:/data", "busybox", "ls", "/data")
    assert other.stdout == "x\n"
    run("rm", "-f", container)
    assert mounted(daemon) == []


def test_what_nobody_uses_any_more_is_unmounted_by_the_next_daemon(
    daemon: LiveDaemon, volume: str
) -> None:
    made(daemon, volume, type="tmpfs", device="tmpfs")
    path = f"{daemon.data_root}/volumes/{volume}/_data"
    daemon.kill9()
    mounttext.mount("tmpfs", path, "tmpfs", "")
    daemon.start()
    assert mounted(daemon) == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"type": "nothing", "device": "x"}, "mount x:{path}: no such device"),
        ({"type": "none", "device": "/nowhere", "o": "bind,ro"},
         "mount /nowhere:{path}, flags: 0x1001: no such file or directory"),
        ({"type": "tmpfs", "device": "tmpfs", "o": "odd=1"},
         "mount tmpfs:{path}, data: odd=1: invalid argument"),
        ({"type": "nfs", "device": ":/x", "o": f"addr={'x' * 64}.invalid"},
         "error resolving passed in network volume address"),
    ],
)  # fmt: skip
def test_what_cannot_be_mounted_is_refused_in_dockers_words(
    daemon: LiveDaemon, volume: str, options: dict[str, str], words: str
) -> None:
    asked = Asked(daemon)
    made(daemon, volume, **options)
    container = asked.made({"Binds": [f"{volume}:/data:nocopy"]})
    answer = asked.wire("POST", f"/containers/{container}/start")
    path = f"{daemon.data_root}/volumes/{volume}/_data"
    assert answer.status == 400
    assert answer.message.startswith(
        f"error while mounting volume '{path}': failed to mount local volume: "
    )
    assert words.format(path=path) in answer.message
    assert asked.inspect(container)["State"]["Status"] == "created"
    assert mounted(daemon) == []


def test_a_limit_is_refused_where_no_file_system_counts(daemon: LiveDaemon) -> None:
    body = {"Name": "limited", "DriverOpts": {"size": "1m"}}
    answer = Asked(daemon).wire("POST", "/volumes/create", body)
    assert (answer.status, answer.message) == (
        400,
        "create limited: quota size requested but no quota support",
    )
    assert not os.path.exists(f"{daemon.data_root}/volumes/limited")


def test_a_prune_leaves_what_has_options(daemon: LiveDaemon, volume: str) -> None:
    made(daemon, volume, type="tmpfs", device="tmpfs")
    made(daemon, "plain")
    pruned = Asked(daemon).wire("POST", '/volumes/prune?filters={"all":["true"]}').json()
    assert pruned["VolumesDeleted"] == ["plain"]
    assert daemon.docker("volume", "ls", "-q").stdout == f"{volume}\n"


def test_what_somebody_else_has_mounted_on_a_volume_is_not_removed(
    daemon: LiveDaemon, volume: str
) -> None:
    made(daemon, volume)
    path = f"{daemon.data_root}/volumes/{volume}/_data"
    mounttext.mount("tmpfs", path, "tmpfs", "")
    try:
        Path(path, "x").touch()
        refused = daemon.docker("volume", "rm", volume, check=False)
        assert f"remove {volume}: volume has active mounts" in refused.stderr
        pruned = Asked(daemon).wire("POST", '/volumes/prune?filters={"all":["true"]}')
        assert (pruned.status, pruned.json()["VolumesDeleted"]) == (200, [])
        assert os.listdir(path) == ["x"]
    finally:
        mounts.umount(path)
