"""Trees compared and written, without overlayfs."""

from __future__ import annotations

import io
import os
import random
import shutil
import stat
import subprocess
import tarfile
from pathlib import Path

import pytest

from tiffin.kernel import rootpath
from tiffin.storage import layers, treetar
from tiffin.storage.layers import ADDED, DELETED, MODIFIED, Change


class Trees:
    """Two directories: the tree beneath and what has become of it."""

    def __init__(self, top: Path):
        self.old = top / "old"
        self.new = top / "new"
        self.old.mkdir()

    def copy(self) -> Path:
        subprocess.run(["cp", "-a", self.old, self.new], check=True)
        return self.new

    def open(self) -> tuple[int, int]:
        flags = os.O_RDONLY | os.O_DIRECTORY
        return os.open(self.new, flags), os.open(self.old, flags)

    def layer(self) -> list[tarfile.TarInfo]:
        new, old = self.open()
        out = io.BytesIO()
        treetar.write_layer(new, layers.comparison(new, old), out.write)
        os.close(new)
        os.close(old)
        out.seek(0)
        with tarfile.open(fileobj=out) as archive:
            return archive.getmembers()

    def changes(self) -> list[Change]:
        new, old = self.open()
        try:
            return layers.changes(layers.comparison(new, old), old)
        finally:
            os.close(new)
            os.close(old)


@pytest.fixture
def trees(tmp_path: Path) -> Trees:
    made = Trees(tmp_path)
    for name in ("etc", "etc/deep", "var", "var/old", "tmp"):
        (made.old / name).mkdir()
    for name in ("etc/passwd", "etc/deep/f", "var/old/a", "var/old/b", "var.txt"):
        (made.old / name).write_text(name)
    return made


def test_an_unchanged_copy_says_nothing(trees: Trees) -> None:
    trees.copy()
    assert trees.layer() == []
    assert trees.changes() == []


def test_a_layer_has_what_changed_with_its_parents(trees: Trees) -> None:
    new = trees.copy()
    (new / "etc/deep/f").write_text("changed")
    (new / "tmp/new").write_text("new")
    shutil.rmtree(new / "var/old")
    assert [info.name for info in trees.layer()] == [
        "etc",
        "etc/deep",
        "etc/deep/f",
        "tmp",
        "tmp/new",
        "var",
        "var/.wh.old",
    ]
    assert trees.changes() == [
        Change("/etc", MODIFIED),
        Change("/etc/deep", MODIFIED),
        Change("/etc/deep/f", MODIFIED),
        Change("/tmp", MODIFIED),
        Change("/tmp/new", ADDED),
        Change("/var", MODIFIED),
        Change("/var/old", DELETED),
    ]


def test_a_directory_that_became_a_file_is_only_the_file(trees: Trees) -> None:
    new = trees.copy()
    shutil.rmtree(new / "var/old")
    (new / "var/old").write_text("file now")
    assert [(info.name, info.type) for info in trees.layer()] == [
        ("var", tarfile.DIRTYPE),
        ("var/old", tarfile.REGTYPE),
    ]


def test_a_changed_mode_of_the_root_is_said(trees: Trees) -> None:
    new = trees.copy()
    new.chmod(0o711)
    assert [(info.name, info.mode) for info in trees.layer()] == [(".", 0o711)]


def tar_of(directory: Path) -> bytes:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    out = io.BytesIO()
    try:
        treetar.write_files(fd, treetar.everything(fd), out.write)
    finally:
        os.close(fd)
    return out.getvalue()


def fill(directory: Path, names: list[str]) -> None:
    directory.mkdir()
    for name in names:
        (directory / name).write_text(name)
        os.utime(directory / name, (5, 5))


def test_equal_trees_give_equal_bytes_whatever_the_order_they_were_made_in(tmp_path: Path) -> None:
    names = [f"file{number}" for number in range(50)]
    fill(tmp_path / "a", names)
    random.Random(2).shuffle(names)
    fill(tmp_path / "b", names)
    assert tar_of(tmp_path / "a") == tar_of(tmp_path / "b")


def test_gnu_tar_unpacks_what_is_written(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "d" / ("x" * 120)).mkdir(parents=True)
    (source / "d" / ("x" * 120) / "ümlaut").write_bytes(b"\0" * 5000)
    (source / "hard").write_bytes(b"hard")
    os.link(source / "hard", source / "link")
    (source / "soft").symlink_to("y" * 150)
    os.link(source / "soft", source / "softer", follow_symlinks=False)
    os.mkfifo(source / "fifo")
    (source / "setuid").write_bytes(b"")
    (source / "setuid").chmod(0o4755)
    os.utime(source / "hard", ns=(1, 1_234_567_890_123_456_789))
    target = tmp_path / "target"
    target.mkdir()
    subprocess.run(["tar", "-C", target, "-xp"], input=tar_of(source), check=True)

    def listing(directory: Path) -> str:
        command = ["find", ".", "-mindepth", "1", "-printf", "%p %m %s %y %l %n %T@\n"]
        out = subprocess.run(command, cwd=directory, check=True, capture_output=True, text=True)
        return "\n".join(sorted(out.stdout.splitlines()))

    assert listing(target) == listing(source)
    assert (target / "hard").stat().st_ino == (target / "link").stat().st_ino
    assert (target / "soft").lstat().st_ino == (target / "softer").lstat().st_ino


def test_sockets_are_left_out_and_names_of_whiteouts_where_they_would_be_some(
    trees: Trees,
) -> None:
    source = trees.copy()
    (source / ".wh.x").write_bytes(b"")
    (source / "kept").write_bytes(b"")
    os.mknod(source / "sock", stat.S_IFSOCK | 0o600)
    with tarfile.open(fileobj=io.BytesIO(tar_of(source))) as archive:
        assert {".wh.x", "kept"} <= set(archive.getnames())
        assert "sock" not in archive.getnames()
    assert [info.name for info in trees.layer()] == ["kept"]


def test_a_tree_of_any_depth_is_told_whole_and_is_no_layer(tmp_path: Path) -> None:
    at = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    name = "d" * 200
    for _ in range(30):
        os.mkdir(name, dir_fd=at)
        inner = os.open(name, os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = inner
    with open(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=at), "wb") as file:
        file.write(b"deep")
    os.close(at)

    with tarfile.open(fileobj=io.BytesIO(tar_of(tmp_path))) as archive:
        last = archive.getmembers()[-1]
        assert last.name == "/".join([name] * 30 + ["file"])
        content = archive.extractfile(last)
        assert content is not None
        assert content.read() == b"deep"

    fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    with pytest.raises(OSError, match="File name too long"):
        treetar.hash_layer(fd, treetar.everything(fd))
    with pytest.raises(OSError, match="File name too long"):
        rootpath.open_beneath(fd, "e" * 5000, os.O_RDONLY)
    rootpath.remove_tree(fd, name)
    os.close(fd)


def test_times_after_the_limit_become_the_limit(tmp_path: Path) -> None:
    source = tmp_path / "s"
    fill(source, ["old", "new"])
    os.utime(source / "new", (10**9, 10**9))
    fd = os.open(source, os.O_RDONLY | os.O_DIRECTORY)
    layers.clamp_times(fd, 100 * 10**9)
    os.close(fd)
    assert (source / "new").stat().st_mtime == 100
    assert (source / "old").stat().st_mtime == 5
