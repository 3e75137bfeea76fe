"""Archives that are put into a container: what its links, its mounts and the archive make of it."""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest

from tests.journeys.test_more_containers import _UnixConnection, ask
from tests.live import LiveDaemon
from tests.unit.storage.archives import Item, archive, directory, file, hard_link, symlink

pytestmark = pytest.mark.root

TREE = (
    *(directory("w"), directory("w/full"), file("w/full/kept", b"kept"), file("w/file", b"old")),
    *(symlink("w/abs", "/w2"), symlink("w/up", "../../../w2"), symlink("w/nowhere", "/w3/x")),
    *(directory("w2"), file("w2/there", b"there"), directory("vol"), directory("vol/in")),
)


@pytest.fixture(params=["created", "running"])
def box(daemon: LiveDaemon, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """A container with TREE, a volume on /vol/in, and a file that is bound read-only to /vol/ro."""
    (tmp_path / "bound").mkdir()
    (tmp_path / "bound" / "file").write_text("bound")
    arguments = ["-v", "/vol/in", "-v", f"{tmp_path}/bound:/bound:ro", "busybox", "sleep", "1000"]
    verb = ["create"] if request.param == "created" else ["run", "-d"]
    name: str = daemon.docker(*verb, *arguments).stdout.strip()
    try:
        assert put(daemon, name, *TREE, path="/") == (200, "")
        assert put(daemon, name, file("precious", b"p"), path="/vol/in") == (200, "")
        yield name
    finally:
        daemon.docker("rm", "-f", "-v", name, check=False)


def put(
    daemon: LiveDaemon, name: str, *items: Item, path: str | bytes = "/w", **query: str
) -> tuple[int, str]:
    """The status, and the message of what was refused."""
    where = f"/containers/{name}/archive?{urlencode({'path': path, **query})}"
    status, body = ask(daemon, "PUT", where, archive(*items), "application/x-tar")
    return status, json.loads(body)["message"] if body else ""


def files(daemon: LiveDaemon, name: str, path: str | bytes) -> dict[str, bytes]:
    """What is at `path`: the content of files, "" of all else."""
    status, body = ask(daemon, "GET", f"/containers/{name}/archive?{urlencode({'path': path})}")
    assert status == 200, body
    with tarfile.open(fileobj=io.BytesIO(body)) as found:
        opened = {entry.name: found.extractfile(entry) for entry in found if not entry.issym()}
        return {each: content.read() if content else b"" for each, content in opened.items()}


def test_links_lead_where_they_do_for_the_container(daemon: LiveDaemon, box: str) -> None:
    put(daemon, box, file("abs/one", b"1"), file("up/deep/two", b"2"), hard_link("h", "abs/there"))
    put(daemon, box, symlink("brought", "/w2"), file("brought/three", b"3"))

    found = files(daemon, box, "/w2/.")
    assert {name: found[name] for name in ("./one", "./deep/two", "./three", "./there")} == {
        "./one": b"1",
        "./deep/two": b"2",
        "./three": b"3",
        "./there": b"there",
    }
    assert files(daemon, box, "/w/h") == {"h": b"there"}
    assert put(daemon, box, file("nowhere/x")) == (400, "nowhere/x: no such file or directory")
    assert put(daemon, box, file("../w2/x"))[0] == 400


def test_one_kind_of_file_replaces_another_unless_forbidden(daemon: LiveDaemon, box: str) -> None:
    forbidden = {"noOverwriteDirNonDir": "1"}
    words = 'cannot overwrite directory "/w/full" with non-directory "/w"'
    assert put(daemon, box, file("full"), **forbidden) == (400, words)
    assert put(daemon, box, file("w/full"), path="/", **forbidden)[1] == words.replace(
        'directory "/w"', 'directory "/"'
    )
    words = 'cannot overwrite non-directory "/w/file" with directory "/w"'
    assert put(daemon, box, directory("file"), path="/w2/../w", **forbidden) == (400, words)

    assert put(daemon, box, file("full", b"new"), directory("file"), file("file/in")) == (200, "")
    assert files(daemon, box, "/w/full") == {"full": b"new"}
    assert files(daemon, box, "/w/file") == {"file": b"", "file/in": b""}


def test_what_is_mounted_is_neither_taken_away_nor_emptied(daemon: LiveDaemon, box: str) -> None:
    for path, place in (("vol/in", "/vol/in"), ("vol", "/vol"), ("bound", "/bound")):
        words = f'cannot overwrite "{place}": something is mounted there'
        assert put(daemon, box, file(path), path="/") == (400, words)
    assert files(daemon, box, "/vol/in/precious") == {"precious": b"p"}
    assert files(daemon, box, "/bound/file") == {"file": b"bound"}


def test_a_file_that_is_mounted_is_replaced_by_none(daemon: LiveDaemon, box: str) -> None:
    daemon.docker("start", box)
    words = 'cannot overwrite "/etc/hosts": something is mounted there'
    assert put(daemon, box, file("hosts"), path="/etc") == (400, words)
    assert b"localhost" in files(daemon, box, "/etc/hosts")["hosts"]


def test_a_read_only_mount_is_told_of_wherever_the_archive_begins(
    daemon: LiveDaemon, box: str
) -> None:
    assert put(daemon, box, file("x"), path="/bound") == (
        400,
        "mounted volume is marked read-only",
    )
    for item in (file("bound/x"), file("bound/file"), directory("bound/d"), directory("bound")):
        status, words = put(daemon, box, item, path="/")
        assert (status, words.endswith(": read-only file system")) == (400, True)
    assert files(daemon, box, "/bound") == {"bound": b"", "bound/file": b"bound"}


def test_a_file_where_mounts_belong_is_no_reason_to_tell_nothing(daemon: LiveDaemon) -> None:
    name = daemon.docker("create", "-v", "/data", "busybox", "true").stdout.strip()
    try:
        assert put(daemon, name, file("etc", b"no directory"), path="/") == (200, "")

        assert files(daemon, name, "/etc") == {"etc": b"no directory"}
        assert put(daemon, name, file("x", b"x"), path="/data") == (200, "")
        assert files(daemon, name, "/data/x") == {"x": b"x"}
    finally:
        daemon.docker("rm", "-v", name)


def test_what_is_read_only_of_its_own_accord_is_no_volume(daemon: LiveDaemon, box: str) -> None:
    daemon.docker("start", box)
    assert put(daemon, box, file("x"), path="/sys") == (400, "/sys: read-only file system")


def test_a_file_of_the_kernel_has_what_is_read_from_it(daemon: LiveDaemon, box: str) -> None:
    daemon.docker("start", box)
    found = files(daemon, box, "/sys/devices/virtual/net/lo/mtu")
    assert found == {"mtu": b"65536\n"}  # of the 4096 bytes that it is said to have


def test_names_of_whiteouts_are_names_both_ways(daemon: LiveDaemon, box: str) -> None:
    put(daemon, box, file(".wh.file", b"w"), file("full/.wh..wh..opq"))

    found = files(daemon, box, "/w")
    assert (found["w/.wh.file"], found["w/file"]) == (b"w", b"old")
    assert {"w/full/kept", "w/full/.wh..wh..opq"} <= set(found)
    _, exported = ask(daemon, "GET", f"/containers/{box}/export")
    with tarfile.open(fileobj=io.BytesIO(exported)) as packed:
        assert "w/.wh.file" in packed.getnames()


def test_a_name_may_be_of_any_bytes(daemon: LiveDaemon, box: str) -> None:
    name = os.fsdecode(b"n\xff")

    assert put(daemon, box, directory(name)) == (200, "")
    assert put(daemon, box, file("in", b"x"), path=b"/w/n\xff") == (200, "")

    assert files(daemon, box, b"/w/n\xff") == {name: b"", f"{name}/in": b"x"}
    status, changes = ask(daemon, "GET", f"/containers/{box}/changes")
    assert (status, {"Path": "/w/n\ufffd", "Kind": 1} in json.loads(changes)) == (200, True)
    assert put(daemon, box, path=b"/w/o\xff") == (
        404, f"Could not find the file /w/o\ufffd in container {box}",
    )  # fmt: skip


@pytest.mark.parametrize("what", ["archive?path=/many", "export"])
def test_what_is_removed_while_it_is_read_comes_whole(
    daemon: LiveDaemon, box: str, what: str
) -> None:
    names = [f"many/{number:02}" for number in range(16)]
    assert put(daemon, box, *(file(name, bytes(1 << 20)) for name in names), path="/") == (200, "")
    connection = _UnixConnection(daemon.socket)
    connection.request("GET", f"/containers/{box}/{what}")
    answer = connection.getresponse()
    first = answer.read(1000)

    daemon.docker("rm", "-f", "-v", box)

    with tarfile.open(fileobj=io.BytesIO(first + answer.read())) as found:
        assert set(names) <= set(found.getnames())
    connection.close()


@pytest.mark.parametrize("name", ["", ".", "/", "..", "a/../.."])
def test_the_directory_itself_is_no_file(daemon: LiveDaemon, box: str, name: str) -> None:
    status, words = put(daemon, box, file(name, b"x"))
    assert status == 400
    assert "root can only be a directory" in words or "leads outside of the root" in words
    assert "w/file" in files(daemon, box, "/w")
