"""The data root's disk is full: everything says so, and what gives room back works."""

from __future__ import annotations

import contextlib
import io
import os
import sqlite3
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.busybox import busybox_tar
from tests.disks import small_disk
from tests.live import LiveDaemon

pytestmark = pytest.mark.root

FULL = "no space left on device"


@pytest.fixture
def daemon() -> Iterator[LiveDaemon]:
    live = LiveDaemon()
    Path(live.data_root).mkdir()
    live.beneath.enter_context(small_disk(Path(live.data_root), "24m"))
    with live:
        live.load_busybox()
        yield live
    assert live.leaks() == []


def fill(daemon: LiveDaemon) -> None:
    """By a container, so that its own end must be recorded on a disk that is full."""
    script = "echo begin; dd if=/dev/zero of=/fill bs=1M; dd if=/dev/zero of=/rest bs=1; exit 3"
    finished = daemon.docker("run", "--name", "filler", "busybox", "sh", "-c", script, check=False)
    assert finished.returncode == 3
    assert finished.stderr.lower().count(FULL) == 2
    assert finished.stdout == "begin\n"


def state_of(daemon: LiveDaemon, name: str) -> str:
    shown = daemon.docker("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", name)
    return str(shown.stdout).strip()


def active_snapshots(daemon: LiveDaemon) -> int:
    with contextlib.closing(sqlite3.connect(f"{daemon.data_root}/tiffin.db")) as database:
        query = "SELECT COUNT(*) FROM snapshots WHERE chain_id IS NULL"
        return int(database.execute(query).fetchone()[0])


def test_how_the_container_ended_that_filled_it_is_known_after_a_crash(daemon: LiveDaemon) -> None:
    fill(daemon)
    assert state_of(daemon, "filler") == "exited 3"
    daemon.kill9()
    daemon.start()
    assert state_of(daemon, "filler") == "exited 3"
    assert daemon.docker("logs", "filler").stdout.startswith("begin\n")


def test_what_needs_room_says_that_there_is_none_and_leaves_nothing(daemon: LiveDaemon) -> None:
    daemon.docker("create", "--name", "before", "busybox", "true")
    fill(daemon)
    dockerfile = b"FROM busybox\nCOPY big /big\nRUN echo never\n"
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as archive:
        for name, data in (("Dockerfile", dockerfile), ("big", bytes(3_000_000))):
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    for _ in range(3):
        build = daemon.docker("build", "-", input=context.getvalue(), text=False, check=False)
        assert build.returncode == 1
        assert FULL in build.stderr.decode().lower()
    load = daemon.docker("import", "-", "other", input=busybox_tar() * 2, text=False, check=False)
    assert load.returncode == 1
    assert FULL in load.stderr.decode().lower()
    assert daemon.docker("images", "-q").stdout.count("\n") == 1
    assert os.listdir(f"{daemon.data_root}/ingest") == []
    start = daemon.docker("start", "before", check=False)  # its /etc/hosts has no room
    assert start.returncode == 1
    assert FULL in start.stderr.lower()
    run = daemon.docker("run", "--rm", "busybox", "true", check=False)
    assert run.returncode == 125
    assert FULL in run.stderr.lower()
    names = daemon.docker("ps", "-a", "--format", "{{.Names}}").stdout.split()
    assert sorted(names) == ["before", "filler"]
    assert active_snapshots(daemon) <= len(names) + 1  # where the next context will arrive
    daemon.docker("rm", *names)


def test_a_removal_gives_the_room_back_and_all_is_well(daemon: LiveDaemon) -> None:
    fill(daemon)
    daemon.docker("rm", "filler")
    assert daemon.docker("run", "--rm", "busybox", "echo", "well").stdout == "well\n"
    layer = daemon.docker("import", "-", "other", input=busybox_tar(), text=False)
    assert layer.stdout.startswith(b"sha256:")
    daemon.docker("build", "-t", "built", "-", input="FROM busybox\nRUN echo hi > /hi\n")
    assert daemon.docker("run", "--rm", "built", "cat", "/hi").stdout == "hi\n"
    daemon.docker("rmi", "other", "built")
    assert daemon.docker("ps", "-aq").stdout == ""


@pytest.fixture
def few() -> Iterator[LiveDaemon]:
    """With room for bytes, and hardly for a file more."""
    live = LiveDaemon()
    Path(live.data_root).mkdir()
    live.beneath.enter_context(small_disk(Path(live.data_root), "64m", inodes=1500))
    with live:
        live.load_busybox()
        yield live
    assert live.leaks() == []


def test_a_disk_without_inodes_is_said_to_be_full_and_gives_them_back(few: LiveDaemon) -> None:
    few.docker("create", "--name", "before", "busybox", "true")
    script = "i=0; while true > /f$i; do i=$((i+1)); done; exit 3"
    few.docker("run", "--name", "filler", "busybox", "sh", "-c", script, check=False)
    assert os.statvfs(few.data_root).f_ffree == 0
    assert state_of(few, "filler") == "exited 3"
    for command in (("run", "--rm", "busybox", "true"), ("start", "before")):
        refused = few.docker(*command, check=False)
        assert refused.returncode in (1, 125)
        assert FULL in refused.stderr.lower()
    few.kill9()
    few.start()
    names = few.docker("ps", "-a", "--format", "{{.Names}}").stdout.split()
    assert sorted(names) == ["before", "filler"]
    few.docker("rm", "filler")
    assert few.docker("run", "--rm", "busybox", "echo", "well").stdout == "well\n"
    assert few.docker("start", "-a", "before").returncode == 0
    few.docker("rm", "before")
