"""`system check`: wreckage of every kind is found, named, mended, and found no more."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.live import LiveDaemon
from tiffin.kernel import cgroup
from tiffin.network.links import name_of

pytestmark = pytest.mark.root

NOBODY = "ee" * 32


@pytest.fixture(scope="module")
def daemon() -> Iterator[LiveDaemon]:
    live = LiveDaemon()
    with live:
        live.load_busybox()
        yield live
    assert live.leaks() == []


def checked(daemon: LiveDaemon, *flags: str) -> tuple[int, dict[str, Any]]:
    finished = daemon.tiffin("system", "check", "--format", "json", *flags, check=False)
    return finished.returncode, json.loads(finished.stdout)


def kinds(findings: list[dict[str, Any]]) -> set[str]:
    return {found["Kind"] for found in findings}


def a_cgroup(daemon: LiveDaemon) -> cgroup.Cgroup:
    layout = cgroup.detect()
    path = f"{daemon.settings.cgroup_name}/{NOBODY}"
    group = cgroup.Cgroup(layout, path, layout.controllers)
    group.create()
    return group


def a_link(daemon: LiveDaemon) -> None:
    bridge = daemon.settings.bridge_name
    for command in (
        f"ip link add {name_of(NOBODY)} type veth peer name tf-peer",
        f"ip link set {name_of(NOBODY)} master {bridge}",
    ):
        subprocess.run(command.split(), check=True)


def wreck_while_it_runs(daemon: LiveDaemon) -> cgroup.Cgroup:
    Path(daemon.run_root, NOBODY).mkdir()
    Path(daemon.run_root, NOBODY, "state.json").write_text("")
    Path(daemon.data_root, "containers", NOBODY).mkdir()
    Path(daemon.data_root, "ingest", "1-1").write_text("half of a")
    volume = Path(daemon.data_root, "volumes", "found", "_data")
    volume.mkdir(parents=True)
    Path(volume, "precious").write_text("data")
    a_link(daemon)
    return a_cgroup(daemon)


def test_what_is_out_of_order_is_found_then_mended_then_gone(daemon: LiveDaemon) -> None:
    daemon.docker("run", "-d", "--name", "well", "-p", "0:80", "busybox", "sleep", "1000")
    assert checked(daemon)[0] == 0
    group = wreck_while_it_runs(daemon)
    code, answer = checked(daemon)
    assert code == 1
    assert kinds(answer["Findings"]) == {
        *("run directory", "cgroup", "link", "container directory", "volume", "ingest")
    }
    assert group.exists()
    code, answer = checked(daemon, "--repair")
    assert (code, {found["Mended"] for found in answer["Findings"]}) == (0, {True})
    assert checked(daemon, "--repair") == (0, {**answer, "Findings": []})
    assert not group.exists()
    assert daemon.docker("exec", "well", "echo", "still here").stdout == "still here\n"
    mounted = ("run", "--rm", "-v", "found:/v", "busybox", "cat", "/v/precious")
    assert daemon.docker(*mounted).stdout == "data"
    daemon.docker("rm", "-f", "well")
    daemon.docker("volume", "rm", "found")


def test_a_volume_that_was_killed_halfway_out_leaves_no_directory(daemon: LiveDaemon) -> None:
    husk = Path(daemon.data_root, "volumes", "gone")
    husk.mkdir()
    code, answer = checked(daemon)
    assert (code, [found["Subject"] for found in answer["Findings"]]) == (1, ["gone"])
    assert checked(daemon, "--repair")[0] == 0
    assert not husk.exists()


def test_the_table_says_what_is_left(daemon: LiveDaemon) -> None:
    Path(daemon.data_root, "containers", NOBODY).mkdir()
    finished = daemon.tiffin("system", "check", check=False)
    assert finished.returncode == 1
    assert finished.stdout.split()[:4] == ["KIND", "SUBJECT", "PROBLEM", "STATE"]
    assert f"{NOBODY}   belongs to no container   left" in finished.stdout
    assert "--repair mends" in finished.stderr
    assert "mended" in daemon.tiffin("system", "check", "--repair").stdout
    assert "Nothing is out of order." in daemon.tiffin("system", "check").stdout


def test_what_a_crash_left_is_mended_by_the_next_start(daemon: LiveDaemon) -> None:
    """With no daemon `system check` starts one, as every command does: that is where this leads."""
    for name in ("broken", "layerless", "here"):
        daemon.docker("create", "--name", name, "busybox", "sleep", "1000")
    daemon.docker("volume", "create", "emptied")
    layerless = json.loads(daemon.docker("inspect", "layerless").stdout)[0]["Id"]
    daemon.docker("build", "-t", "own", "-", input="FROM busybox\nLABEL a=b\n")
    own = daemon.docker("image", "inspect", "-f", "{{.Id}}", "own").stdout.strip()
    daemon.kill9()
    with sqlite3.connect(f"{daemon.data_root}/tiffin.db") as database:
        database.execute("UPDATE containers SET record = '' WHERE name = 'broken'")
        query = "SELECT json_extract(record, '$.snapshot') FROM containers WHERE id = ?"
        (snapshot,) = database.execute(query, (layerless,)).fetchone()
    shutil.rmtree(f"{daemon.data_root}/snapshots/{snapshot}")
    shutil.rmtree(f"{daemon.data_root}/volumes/emptied")
    Path(daemon.data_root, "blobs", "sha256", own.removeprefix("sha256:")).write_text("")
    Path(daemon.data_root, "ingest", "1-2").write_text("half of a")
    wreck = a_cgroup(daemon)
    daemon.start()
    code, answer = checked(daemon)
    assert (code, answer["Findings"]) == (0, [])
    assert kinds(answer["AtStart"]) >= {
        *("record", "container", "volume", "image", "ingest", "cgroup")
    }
    assert {found["Mended"] for found in answer["AtStart"]} == {True}
    assert not wreck.exists()
    assert len(os.listdir(f"{daemon.data_root}/damaged")) == 1
    states = daemon.docker("ps", "-a", "--format", "{{.Names}} {{.State}}").stdout.split("\n")
    assert sorted(filter(None, states)) == ["here created", "layerless dead"]
    daemon.docker("run", "--rm", "--name", "broken", "busybox", "true")  # the name is free again
    daemon.docker("rm", "layerless")
    assert daemon.docker("start", "here").stdout == "here\n"


def test_what_the_start_has_mended_is_shown_on_request(daemon: LiveDaemon) -> None:
    daemon.remove_containers()
    daemon.stop()
    Path(daemon.data_root, "containers", NOBODY).mkdir()
    daemon.start()
    finished = daemon.tiffin("system", "check", "--all")
    assert f"{NOBODY}   belongs to no container   mended" in finished.stdout
