"""Volumes and binds, as users expect their data to be treated."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.live import LiveDaemon

pytestmark = pytest.mark.root


def test_a_volumes_life_from_create_to_rm(daemon: LiveDaemon, client: str) -> None:
    run = daemon.client(client)
    name = f"life-{client}"
    assert run("volume", "create", "--label", "a=b", name).stdout == f"{name}\n"
    assert run("volume", "create", name).stdout == f"{name}\n"  # again is no mistake
    assert run("volume", "ls", "-q", "-f", "label=a=b").stdout == f"{name}\n"
    (told,) = json.loads(run("volume", "inspect", name).stdout)
    assert (told["Driver"], told["Scope"], told["Labels"]) == ("local", "local", {"a": "b"})
    assert told["Mountpoint"].startswith(daemon.data_root)
    container = run("create", "-v", f"{name}:/data", "busybox", "true").stdout.strip()
    refused = run("volume", "rm", name, check=False)
    assert refused.returncode == 1
    assert f"remove {name}: volume is in use - [{container}]" in refused.stderr
    run("rm", container)
    assert run("volume", "rm", name).stdout == f"{name}\n"
    assert not os.path.exists(told["Mountpoint"])


def test_a_new_volume_takes_what_the_image_has_there(daemon: LiveDaemon, client: str) -> None:
    run = daemon.client(client)
    name = f"filled-{client}"
    seen = run("run", "--rm", "-v", f"{name}:/etc", "busybox", "cat", "/etc/nsswitch.conf").stdout
    assert seen == "hosts: files dns\n"
    run("run", "--rm", "-v", f"{name}:/x", "busybox", "rm", "/x/nsswitch.conf")
    again = run("run", "--rm", "-v", f"{name}:/etc", "busybox", "cat", "/etc/nsswitch.conf",
                check=False)  # fmt: skip
    assert again.returncode == 1  # only a new one is filled
    run("volume", "rm", name)
    bare = run("run", "--rm", "-v", f"{name}:/etc:nocopy", "busybox", "ls", "/etc").stdout
    assert "nsswitch.conf" not in bare
    run("volume", "rm", name)


def test_owners_in_a_volume_are_the_same_for_every_container(
    daemon: LiveDaemon, client: str
) -> None:
    run = daemon.client(client)
    name = f"owned-{client}"
    script = "mkdir /data/d; chown 33:50 /data/d; su -s /bin/sh www-data -c 'touch /data/d/f'"
    run("run", "--rm", "-v", f"{name}:/data", "busybox", "sh", "-c", script)
    show = ("stat", "-c", "%u:%g", "/data/d", "/data/d/f")
    for flags in ((), ("--userns", "host"), ("--privileged",), ("-u", "33")):
        seen = run("run", "--rm", *flags, "-v", f"{name}:/data", "busybox", *show).stdout
        assert seen == "33:50\n33:33\n"
    mountpoint = run("volume", "inspect", "-f", "{{.Mountpoint}}", name).stdout.strip()
    assert os.stat(f"{mountpoint}/d/f").st_uid == 33
    run("volume", "rm", name)


def test_two_containers_share_a_volume_while_they_run(daemon: LiveDaemon, client: str) -> None:
    run = daemon.client(client)
    name = f"shared-{client}"
    run("run", "-d", "--name", name, "-v", f"{name}:/data", "busybox", "sleep", "1000")
    run("run", "--rm", "--volumes-from", name, "busybox", "sh", "-c", "echo hi > /data/f")
    assert run("exec", name, "cat", "/data/f").stdout == "hi\n"
    refused = run("run", "--rm", "--volumes-from", f"{name}:ro", "busybox", "touch", "/data/x",
                  check=False)  # fmt: skip
    assert "Read-only file system" in refused.stderr
    run("rm", "-f", name)
    run("volume", "rm", name)


def test_an_anonymous_volume_outlives_a_container_that_goes_without_it(daemon: LiveDaemon) -> None:
    """And the next daemon, which ends those of containers that were killed in the making."""
    before = set(daemon.docker("volume", "ls", "-q").stdout.split())
    container = daemon.docker("create", "-v", "/anonymous", "busybox", "true").stdout.strip()
    (volume,) = set(daemon.docker("volume", "ls", "-q").stdout.split()) - before
    daemon.docker("rm", container)
    daemon.kill9()
    daemon.start()
    assert set(daemon.docker("volume", "ls", "-q").stdout.split()) == {*before, volume}
    daemon.docker("volume", "rm", volume)


def test_an_anonymous_volume_goes_with_its_container_when_asked(
    daemon: LiveDaemon, client: str
) -> None:
    run = daemon.client(client)
    before = set(run("volume", "ls", "-q").stdout.split())
    run("run", "--rm", "-v", "/anonymous", "busybox", "true")
    assert set(run("volume", "ls", "-q").stdout.split()) == before
    container = run("run", "-d", "-v", "/anonymous", "busybox", "true").stdout.strip()
    run("wait", container)
    (made,) = set(run("volume", "ls", "-q").stdout.split()) - before
    assert len(made) == 64
    run("rm", container)
    assert made in run("volume", "ls", "-q").stdout
    assert made in run("volume", "prune", "-f").stdout
    assert set(run("volume", "ls", "-q").stdout.split()) == before


def test_binds_are_made_when_missing_by_v_and_refused_by_mount(
    daemon: LiveDaemon, client: str, tmp_path: Path
) -> None:
    run = daemon.client(client)
    run("run", "--rm", "-v", f"{tmp_path}/made/here:/x", "busybox", "touch", "/x/f")
    assert (tmp_path / "made/here/f").exists()
    missing = f"type=bind,source={tmp_path}/missing,target=/x"
    refused = run("run", "--rm", "--mount", missing, "busybox", "true", check=False)
    assert refused.returncode == 125
    words = f'invalid mount config for type "bind": bind source path does not exist: {tmp_path}'
    assert words in refused.stderr
    assert not (tmp_path / "missing").exists()


def test_a_file_a_socket_and_a_read_only_directory_are_bound(
    daemon: LiveDaemon, client: str, tmp_path: Path
) -> None:
    run = daemon.client(client)
    (tmp_path / "file").write_text("one\n")
    flags = ("-v", f"{tmp_path}/file:/etc/one", "-v", f"{tmp_path}:/ro:ro")
    script = "cat /etc/one; echo two >> /etc/one; touch /ro/x 2>&1; cat /ro/file"
    seen = run("run", "--rm", *flags, "busybox", "sh", "-c", script).stdout
    assert seen == "one\ntouch: /ro/x: Read-only file system\none\ntwo\n"
    assert (tmp_path / "file").read_text() == "one\ntwo\n"


def test_mounts_below_a_bind_come_along(daemon: LiveDaemon, client: str) -> None:
    script = "grep -c ' /d/' /proc/mounts; ls -d /d/pts/ptmx"
    seen = daemon.client(client)(
        "run", "--rm", "-v", "/dev:/d:ro", "busybox", "sh", "-c", script
    ).stdout
    assert seen.split()[1:] == ["/d/pts/ptmx"]
    assert int(seen.split()[0]) >= 1


def test_a_link_in_an_image_leads_a_volume_nowhere_else(
    daemon: LiveDaemon, client: str, tmp_path: Path
) -> None:
    run = daemon.client(client)
    (tmp_path / "Dockerfile").write_text(
        "FROM busybox\nRUN ln -s ../../../../../tmp/nowhere-else /link\n"
    )
    name = f"linked-{client}"
    run("build", "-t", name, str(tmp_path))
    seen = run("run", "--rm", "-v", f"{name}:/link", name, "sh", "-c",
               "touch /link/f; ls /tmp/nowhere-else").stdout  # fmt: skip
    assert seen == "f\n"
    assert not os.path.exists("/tmp/nowhere-else")
    run("volume", "rm", name)
    run("rmi", name)
