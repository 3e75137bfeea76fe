"""`cp`, archives and export through both command lines: Docker's rules, kinds of files, owners."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import random
import socket
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.imagebench import tar_of
from tests.journeys.copytable import CONTAINER, GOLDEN, cells, client_of, run_all
from tests.journeys.test_more_containers import _UnixConnection, ask
from tests.live import LiveDaemon, docker_cli_version

pytestmark = pytest.mark.root


@pytest.fixture
def created(daemon: LiveDaemon, client: str, request: pytest.FixtureRequest) -> Iterator[Any]:
    """Makes containers that are gone after the test: created("create"|"run", flags...)."""
    made: list[str] = []

    def make(verb: str, *arguments: str) -> str:
        name = f"cp-{client}-{len(made)}-{abs(hash(request.node.name)) % 10**8}"
        made.append(name)
        flags = ("-d",) if verb == "run" else ()
        daemon.client(client)(verb, *flags, "--name", name, *arguments)
        return name

    yield make
    for name in made:
        daemon.docker("rm", "-f", "-v", name, check=False)


Make = Callable[..., str]


def test_every_cell_of_the_table_is_as_with_docker(
    daemon: LiveDaemon, client: str, tmp_path: Path
) -> None:
    run = client_of([*daemon.argv(client), "-H", daemon.host])
    run("run", "-d", "--name", CONTAINER, "busybox", "sleep", "1000")
    try:
        found = run_all(run, tmp_path, list(cells(everything=False)))
    finally:
        run("rm", "-f", CONTAINER)
    expected = json.loads(GOLDEN.read_text())
    if client == "docker" and docker_cli_version() < (28,):
        for answers in (found, expected):  # whose client speaks in other words
            answers.update({cell: [code, "", tree] for cell, (code, _, tree) in answers.items()})
    assert found == expected


def path_stat(daemon: LiveDaemon, name: str, path: str) -> dict[str, Any] | int:
    connection = _UnixConnection(daemon.socket)
    connection.request("HEAD", f"/containers/{name}/archive?path={quote(path)}")
    answer = connection.getresponse()
    answer.read()
    text = answer.headers["X-Docker-Container-Path-Stat"]
    connection.close()
    return json.loads(base64.b64decode(text)) if text else answer.status  # type: ignore[no-any-return]


def names_in(daemon: LiveDaemon, name: str, path: str) -> list[str]:
    status, data = ask(daemon, "GET", f"/containers/{name}/archive?path={quote(path)}")
    assert status == 200
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return [entry.name for entry in archive]


PLACES = """mkdir -p /d/sub /e; echo hi > /d/f; ln -s f /d/rel; ln -s /d/sub /d/abs;
ln -s rel /d/chain; ln -s nope /d/broken; ln -s /../../../etc/passwd /d/out; ln -s loop /d/loop;
mkfifo /d/fifo; chmod 4755 /d/f; mkdir -m 1777 /d/sticky; ln -s /d /linked; echo x > /e/x"""


def test_a_path_is_described_as_docker_does(daemon: LiveDaemon, created: Make) -> None:
    name = created("run", "busybox", "sh", "-c", PLACES)
    daemon.docker("wait", name)
    for path, base, kind, target in (
        ("/", "/", 1 << 31, ""),
        ("/d/.", ".", 1 << 31, ""),
        (".", ".", 1 << 31, ""),
        ("/e/..", "/", 1 << 31, ""),
        ("/d/f", "f", 1 << 23, ""),
        ("../d//f", "f", 1 << 23, ""),
        ("/d/rel", "rel", 1 << 27, "/d/f"),
        ("/d/abs", "abs", 1 << 27, "/d/sub"),
        ("/d/abs/", "abs", 1 << 31, ""),
        ("/d/chain", "chain", 1 << 27, "/d/f"),
        ("/d/broken", "broken", 1 << 27, "/d/nope"),
        ("/d/out", "out", 1 << 27, "/etc/passwd"),
        ("/linked/rel", "rel", 1 << 27, "/d/f"),
        ("/d/fifo", "fifo", 1 << 25, ""),
        ("/d/sticky", "sticky", 1 << 31 | 1 << 20, ""),
    ):
        found = path_stat(daemon, name, path)
        assert isinstance(found, dict), path
        assert (found["name"], found["linkTarget"]) == (base, target), path
        assert found["mode"] & ~0o777 == kind, path
    assert path_stat(daemon, name, "/nope") == 404
    key = json.loads(daemon.docker("inspect", name).stdout)[0]["Id"][:13]
    status, body = ask(daemon, "GET", f"/containers/{key}/archive?path=/nope")
    words = f"Could not find the file /nope in container {key}"  # as it was asked for
    assert (status, json.loads(body)) == (404, {"message": words})
    assert path_stat(daemon, name, "/d/broken/") == 404
    assert path_stat(daemon, name, "/d/f/") == 400
    assert names_in(daemon, name, "/e/") == ["e", "e/x"]
    assert names_in(daemon, name, "/e/.") == [".", "./x"]
    assert names_in(daemon, name, "/linked/sub") == ["sub"]
    assert names_in(daemon, name, "/linked/")[0] == "linked"
    whole = names_in(daemon, name, "/")
    assert (whole[0], "/d/f" in whole) == ("", True)


def test_all_kinds_of_files_come_through_both_ways(
    daemon: LiveDaemon, client: str, created: Make, tmp_path: Path
) -> None:
    run = daemon.client(client)
    source = tmp_path / "tree"
    source.mkdir()
    long_name = "n" * 200
    (source / long_name).write_text("long")
    (source / "first").write_text("linked")
    os.link(source / "first", source / "second")
    with open(source / "holes", "wb") as file:
        file.seek(5 << 20)
        file.write(b"end")
    (source / "capable").write_text("c")
    os.setxattr(source / "capable", "security.capability", CAPABILITY)
    os.mkfifo(source / "fifo")
    os.mknod(source / "null", 0o666 | 0o020000, os.makedev(1, 3))
    (source / "away").symlink_to("nowhere/near")
    directory = os.open(source, os.O_PATH)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"/proc/self/fd/{directory}/socket")  # an address holds 108 bytes
    os.close(directory)
    name = created("run", "busybox", "sleep", "1000")
    run("cp", str(source), f"{name}:/")
    stat = run("exec", name, "stat", "-c", "%n %F %h %s", *(f"/tree/{one}" for one in KINDS))
    assert stat.stdout.splitlines() == [
        "/tree/first regular file 2 6",
        "/tree/second regular file 2 6",
        f"/tree/holes regular file 1 {(5 << 20) + 3}",
        "/tree/fifo fifo 1 0",
        "/tree/null character special file 1 0",
        "/tree/away symbolic link 1 12",
    ]
    assert run("exec", name, "ls", "/tree").stdout.split().count("socket") == 0
    back = tmp_path / "back"
    run("cp", f"{name}:/tree", str(back))
    assert (back / long_name).read_text() == "long"
    assert (back / "first").stat().st_ino == (back / "second").stat().st_ino
    assert (back / "holes").stat().st_size == (5 << 20) + 3
    assert os.getxattr(back / "capable", "security.capability") == CAPABILITY
    assert os.readlink(back / "away") == "nowhere/near"
    assert (back / "null").stat().st_rdev == os.makedev(1, 3)


def test_the_whole_of_a_running_container_is_its_files(
    daemon: LiveDaemon, client: str, created: Make, tmp_path: Path
) -> None:
    name = created("run", "-v", "/data", "busybox", "sleep", "1000")
    daemon.docker("exec", name, "sh", "-c", "echo kept >/data/file")

    daemon.client(client)("cp", f"{name}:/", str(tmp_path / "whole"))

    whole = tmp_path / "whole"
    assert {"bin", "data", "dev", "etc", "proc", "sys"} <= set(os.listdir(whole))
    assert (whole / "data" / "file").read_text() == "kept\n"
    assert [os.listdir(whole / one) for one in ("dev", "proc", "sys")] == [[], [], []]


CAPABILITY = bytes.fromhex("0100000200040000000000000000000000000000")  # cap_net_bind_service=ep
KINDS = ("first", "second", "holes", "fifo", "null", "away")


def test_owners_are_the_archive_s_or_with_a_the_user_s(
    daemon: LiveDaemon, client: str, created: Make, tmp_path: Path
) -> None:
    run = daemon.client(client)
    (tmp_path / "file").write_text("x")
    os.chown(tmp_path / "file", 4321, 4321)
    name = created("run", "--user", "1000:50", "busybox", "sleep", "1000")
    run("cp", str(tmp_path / "file"), f"{name}:/plain")
    run("cp", "-a", str(tmp_path / "file"), f"{name}:/archive")
    owners = run("exec", name, "stat", "-c", "%u:%g", "/plain", "/archive").stdout.split()
    assert owners == ["4321:4321", "1000:50"]
    unknown = created("create", "--user", "nobody-at-all", "busybox", "true")
    refused = run("cp", "-a", str(tmp_path / "file"), f"{unknown}:/", check=False)
    assert "unable to find user nobody-at-all" in refused.stderr


def test_what_is_in_a_directory_does_not_change_the_directory(
    daemon: LiveDaemon, client: str, created: Make, tmp_path: Path
) -> None:
    run = daemon.client(client)
    (tmp_path / "file").write_text("x")
    tmp_path.chmod(0o700)
    os.chown(tmp_path, 7, 7)
    name = created("run", "busybox", "sh", "-c", "mkdir -m 711 /into && exec sleep 1000")
    run("exec", name, "sh", "-c", "until [ -e /into ]; do :; done")
    run("cp", f"{tmp_path}/.", f"{name}:/into")
    shown = run("exec", name, "stat", "-c", "%a %u %g", "/into", "/into/file").stdout
    assert shown.splitlines()[0] == "711 0 0"


def test_a_stopped_container_s_volumes_are_read_and_written(
    daemon: LiveDaemon, client: str, created: Make, tmp_path: Path
) -> None:
    run = daemon.client(client)
    bound = tmp_path / "bound"
    bound.mkdir()
    (tmp_path / "file").write_text("words")
    name = created(
        *("create", "-v", "/vol", "-v", f"{bound}:/deep/bound", "--read-only"),
        *("busybox", "cat", "/vol/file", "/deep/bound/file"),
    )
    for place in ("/vol", "/deep/bound/"):
        run("cp", str(tmp_path / "file"), f"{name}:{place}")
    assert (bound / "file").read_text() == "words"
    assert run("start", "-a", name).stdout == "wordswords"
    run("cp", f"{name}:/vol", str(tmp_path / "out"))
    assert (tmp_path / "out" / "file").read_text() == "words"
    refused = run("cp", str(tmp_path / "file"), f"{name}:/etc", check=False)
    assert "container rootfs is marked read-only" in refused.stderr
    locked = created("create", "-v", f"{bound}:/locked:ro", "busybox", "true")
    refused = run("cp", str(tmp_path / "file"), f"{locked}:/locked", check=False)
    assert "mounted volume is marked read-only" in refused.stderr


def test_a_refused_archive_is_read_to_its_end_and_the_reason_told(
    daemon: LiveDaemon, created: Make
) -> None:
    name = created("run", "busybox", "sleep", "1000")
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for path, size in (("../up", 1), ("more", 4 << 20)):
            entry = tarfile.TarInfo(path)
            entry.size = size
            archive.addfile(entry, io.BytesIO(bytes(size)))
    where = f"/containers/{name}/archive?path=/tmp/.."
    status, body = ask(daemon, "PUT", where, out.getvalue(), "application/x-tar")
    assert (status, b"../up" in body) == (400, True)
    status, body = ask(daemon, "PUT", where, b"no archive at all" * 100, "application/x-tar")
    assert status == 400


def test_a_tree_that_is_too_deep_for_any_path_comes_whole(
    daemon: LiveDaemon, client: str, created: Make, tmp_path: Path
) -> None:
    half = "/".join(["d" * 250] * 10)
    script = (
        f"mkdir -p /deep/{half} /more/{half}; echo x >/more/{half}/f; cd /deep/{half}; mv /more ."
    )
    name = created("run", "busybox", "sh", "-c", script)
    assert daemon.docker("wait", name).stdout == "0\n"
    run = daemon.client(client)
    for packed in (
        run("cp", f"{name}:/deep", "-", text=False).stdout,
        run("export", name, text=False).stdout,
    ):
        with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
            assert f"deep/{half}/more/{half}/f" in archive.getnames()
    refused = run("cp", f"{name}:/deep", str(tmp_path), check=False)
    assert refused.returncode == 1
    assert "file name too long" in refused.stderr
    refused = run("commit", name, check=False)
    assert refused.returncode == 1
    assert "file name too long" in refused.stderr


def test_a_file_from_before_the_epoch_comes_with_the_epoch(
    daemon: LiveDaemon, created: Make
) -> None:
    name = created("create", "busybox", "true")
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        entry = tarfile.TarInfo("old")
        entry.mtime = -86400
        archive.addfile(entry)
    assert ask(daemon, "PUT", f"/containers/{name}/archive?path=/", out.getvalue())[0] == 200
    _, body = ask(daemon, "GET", f"/containers/{name}/archive?path=/old")
    with tarfile.open(fileobj=io.BytesIO(body)) as archive:
        assert archive.getmember("old").mtime == 0


def test_a_large_file_comes_whole_into_a_container_that_does_not_run(
    daemon: LiveDaemon, client: str, created: Make, tmp_path: Path
) -> None:
    name = created("create", "busybox", "sha256sum", "/large")
    content = random.Random(1).randbytes(40_000_000)
    (tmp_path / "large").write_bytes(content)
    daemon.client(client)("cp", str(tmp_path / "large"), f"{name}:/")
    output = daemon.docker("start", "-a", name).stdout
    assert output == f"{hashlib.sha256(content).hexdigest()}  /large\n"


def test_a_client_that_sends_slowly_keeps_nobody_from_a_container(
    daemon: LiveDaemon, created: Make
) -> None:
    name = created("create", "busybox", "sleep", "1000")
    archive = tar_of({"slow": b"x" * 100_000})
    sending = _UnixConnection(daemon.socket)
    sending.putrequest("PUT", f"/containers/{name}/archive?path=/")
    sending.putheader("Content-Length", str(len(archive)))
    sending.endheaders(archive[:50_000])
    daemon.docker("start", name)  # although half an archive is there
    sending.send(archive[50_000:])
    assert sending.getresponse().status == 200
    sending.close()
    assert daemon.docker("exec", name, "wc", "-c", "/slow").stdout == "100000 /slow\n"


# -- beyond Docker -------------------------------------------------------------------------------


def test_files_go_from_one_container_to_another(
    daemon: LiveDaemon, created: Make, tmp_path: Path
) -> None:
    script = "mkdir -p /s/in; echo one > /s/in/f; ln /s/in/f /s/in/hard; ln -s f /s/in/l;"
    script += "chown 12:34 /s/in/f; echo two > /s/file; ln -s in /s/link; exec sleep 1000"
    source = created("run", "busybox", "sh", "-c", script)
    daemon.docker("exec", source, "sh", "-c", "until [ -e /s/link ]; do :; done")
    target = created("create", "-v", "/vol", "busybox", "sh", "-c", "cd /vol && find . | sort")
    for words in (
        ("/s/in", "/vol"),
        ("/s/in/.", "/vol/contents"),
        ("/s/in", "/vol/renamed"),
        ("/s/file", "/vol/file2"),
        ("/s/link", "/vol/link"),
        ("-L", "/s/link", "/vol/followed"),
    ):
        *flags, first, second = words
        daemon.tiffin("cp", *flags, f"{source}:{first}", f"{target}:{second}")
    inside = ["f", "hard", "l"]
    expected = [".", "./file2", "./link"]
    for folder in ("contents", "followed", "in", "renamed"):
        expected += [f"./{folder}", *(f"./{folder}/{one}" for one in inside)]
    assert daemon.docker("start", "-a", target).stdout.splitlines() == sorted(expected)
    daemon.tiffin("cp", f"{target}:/vol", str(tmp_path))
    found = tmp_path / "vol" / "renamed"
    assert (found / "f").read_text() == "one\n"
    assert (found / "f").stat().st_ino == (found / "hard").stat().st_ino
    back = daemon.tiffin("cp", f"{target}:/vol/renamed/f", "-", text=False).stdout
    with tarfile.open(fileobj=io.BytesIO(back)) as archive:
        assert [(one.uid, one.gid) for one in archive] == [(12, 34)]
    refused = daemon.tiffin("cp", f"{source}:/s/in", f"{target}:/vol/file2", check=False)
    assert (refused.returncode, refused.stderr) == (1, "cannot copy directory\n")
    missing = daemon.tiffin("cp", f"{source}:/nowhere", f"{target}:/", check=False)
    assert "Could not find the file /nowhere in container" in missing.stderr


@pytest.mark.parametrize(
    ("source", "target", "grows"),
    [("/s", "/s/in", True), ("/s/.", "/s/new", True), ("/s", "/s", True), ("/s/in", "/s", False)],
)
def test_a_directory_is_not_copied_into_itself(
    daemon: LiveDaemon, created: Make, source: str, target: str, grows: bool
) -> None:
    script = "mkdir -p /s/in; echo one > /s/in/f; exec sleep 1000"
    box = created("run", "busybox", "sh", "-c", script)
    daemon.docker("exec", box, "sh", "-c", "until [ -e /s/in/f ]; do :; done")
    identity = daemon.docker("inspect", "-f", "{{.Id}}", box).stdout.strip()
    done = daemon.tiffin("cp", f"{box}:{source}", f"{identity}:{target}", check=False)
    if grows:
        words = f"cannot copy a directory, '{source}', into itself, '{target}'\n"
        assert (done.returncode, done.stderr) == (1, words)
    else:  # where it is already
        assert done.returncode == 0
    assert daemon.docker("exec", box, "find", "/s").stdout.split() == ["/s", "/s/in", "/s/in/f"]


# -- export and import ---------------------------------------------------------------------------


def entries_of(data: bytes) -> list[tuple[object, ...]]:
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return [
            (e.name, e.type, e.mode, e.uid, e.gid, e.size, e.linkname, e.mtime) for e in archive
        ]


def test_an_exported_container_is_imported_as_it_was(
    daemon: LiveDaemon, client: str, created: Make
) -> None:
    run = daemon.client(client)
    script = f"""mkdir -p /x/empty /x/{"n" * 120}; cd /x; echo 1 > one; ln one two; ln -s one soft;
    mkfifo fifo; chmod 4711 one; chown 70:80 soft one; echo 'ü' > 'names ü'; rm /etc/group"""
    name = created("run", "-v", "/vol", "busybox", "sh", "-c", script)
    daemon.docker("wait", name)
    exported = run("export", name, text=False).stdout
    image = f"imported-{client}"
    flags = ("--change", "CMD true", "--message", "from a tar")
    run("import", *flags, "-", image, input=exported, text=False)
    try:
        again = created("create", image)
        assert entries_of(run("export", again, text=False).stdout) == entries_of(exported)
        shown = json.loads(daemon.docker("image", "inspect", image).stdout)[0]
        assert (shown["Config"]["Cmd"], shown["Comment"]) == (
            ["/bin/sh", "-c", "true"],
            "from a tar",
        )
        assert len(shown["RootFS"]["Layers"]) == 1
    finally:
        run("rmi", "-f", image)
