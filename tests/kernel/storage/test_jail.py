"""The jail that layers are unpacked in."""

from __future__ import annotations

import gzip
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.storage.archives import archive, directory, file, symlink
from tiffin.errors import EngineFailure, InvalidArgument
from tiffin.storage import jail, unpack

pytestmark = pytest.mark.root


@pytest.fixture
def target(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "target").mkdir()
    fd = os.open(tmp_path / "target", os.O_RDONLY | os.O_DIRECTORY)
    yield fd
    os.close(fd)


LOOK_AROUND = """
import ctypes, json, os, socket, sys
from tiffin.storage import jail_child
root = int(sys.argv[1])
jail_child._enter(root)
os.chdir("/")
seen = sorted(os.listdir("/"))
above = os.open("..", os.O_RDONLY)
header, sets = jail_child._Header(jail_child._CAPABILITY_VERSION_3, 0), (jail_child._Set * 2)()
ctypes.CDLL(None).capget(ctypes.byref(header), ctypes.byref(sets))
answer = {
    "root": seen,
    "above": sorted(os.listdir(above)),
    "links": [name for _, name in socket.if_nameindex()],
    "capabilities": [number for number in range(32) if sets[0].effective & 1 << number],
    "more": sets[1].effective,
}
print(json.dumps(answer))
"""


def test_nothing_of_the_host_is_seen_inside(tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "mine").write_text("x")
    fd = os.open(inside, os.O_RDONLY | os.O_DIRECTORY)
    run = subprocess.run(
        [sys.executable, "-c", LOOK_AROUND, str(fd)],
        pass_fds=[fd],
        env={"PYTHONPATH": os.getcwd()},
        check=True,
        capture_output=True,
    )
    os.close(fd)
    answer = json.loads(run.stdout)
    assert answer["root"] == answer["above"] == ["mine"]
    assert set(answer["links"]) <= {"lo", "sit0", "tunl0", "ip6tnl0"}
    assert set(answer["capabilities"]) <= {0, 1, 3, 4, 21, 27, 31}
    assert answer["more"] == 0


def test_a_bomb_is_stopped_at_its_budget(target: int) -> None:
    bomb = gzip.compress(archive(file("zeros", bytes(50_000_000))))
    with pytest.raises(InvalidArgument, match="too large"):
        jail.unpack(io.BytesIO(bomb), target, budget_bytes=10_000_000)


def test_an_archive_may_stand_anywhere_in_a_file(target: int, tmp_path: Path) -> None:
    data = archive(file("f", b"x"))
    with (tmp_path / "spool").open("w+b") as spool:
        spool.write(b"something else")
        spool.write(data)
        spool.seek(len("something else"))
        result = jail.unpack(spool, target)
    assert (result.size, result.content_bytes) == (len(data), 1)
    assert os.listdir(target) == ["f"]


def test_files_over_directories_are_refused_if_so_asked(target: int) -> None:
    os.mkdir("d", dir_fd=target)
    for items in ([file("d")], [file("f"), directory("f")]):
        with pytest.raises(InvalidArgument, match="cannot overwrite"):
            jail.unpack(
                io.BytesIO(archive(*items)), target, whiteouts=unpack.NAMES, keep_kinds=True
            )


def test_the_owner_can_be_given(target: int) -> None:
    data = archive(file("f"), directory("d"), symlink("l", "f"), file("new/g"))
    jail.unpack(io.BytesIO(data), target, whiteouts=unpack.NAMES, owner=(123, 456))
    for name in ("f", "d", "l", "new", "new/g"):
        status = os.stat(name, dir_fd=target, follow_symlinks=False)
        assert (status.st_uid, status.st_gid) == (123, 456), name


def test_a_setgid_directory_does_not_give_its_group_to_what_is_unpacked(target: int) -> None:
    os.mkdir("d", dir_fd=target)
    os.chown("d", 0, 77, dir_fd=target)
    os.chmod("d", 0o2775, dir_fd=target)
    jail.unpack(io.BytesIO(archive(file("d/f"))), target, whiteouts=unpack.NAMES)
    assert os.stat("d/f", dir_fd=target).st_gid == 0


def test_a_child_that_dies_is_the_engines_failure(
    target: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(EngineFailure, match="status 1"):
        jail.unpack(io.BytesIO(archive(file("f"))), target)


def test_no_descriptor_is_left_open(target: int) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for data in (archive(file("f")), b"rubbish" * 100):
        try:
            jail.unpack(io.BytesIO(data), target)
        except InvalidArgument:
            continue
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_child_that_was_killed_is_said_to_have_been() -> None:
    child = subprocess.Popen(["sh", "-c", "kill -KILL $$"], stdout=subprocess.PIPE)
    child.wait()
    with pytest.raises(EngineFailure, match=r"^unpacking was ended by signal 9$"):
        jail._result(child)
