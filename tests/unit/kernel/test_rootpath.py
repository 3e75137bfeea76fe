from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tiffin.kernel import rootpath, treecopy


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "secret").write_text("outside")
    inside = tmp_path / "root"
    inside.mkdir()
    return inside


@pytest.fixture
def fd(root: Path) -> Iterator[int]:
    opened = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    yield opened
    os.close(opened)


def read(fd: int, path: str) -> str:
    with open(rootpath.open_in(fd, path, os.O_RDONLY), encoding="utf-8") as file:
        return file.read()


def test_absolute_and_climbing_links_stay_inside(root: Path, fd: int) -> None:
    (root / "secret").write_text("inside")
    (root / "absolute").symlink_to("/secret")
    (root / "climbing").symlink_to("../../secret")
    assert read(fd, "absolute") == "inside"
    assert read(fd, "/climbing") == "inside"
    assert read(fd, "../../secret") == "inside"


def test_magic_links_are_refused(root: Path, fd: int) -> None:
    (root / "proc").mkdir()
    proc = os.open("/", os.O_RDONLY)
    try:
        with pytest.raises(OSError, match="openat2") as caught:
            rootpath.open_in(proc, f"/proc/self/fd/{fd}/secret", os.O_RDONLY)
    finally:
        os.close(proc)
    assert caught.value.errno == errno.ELOOP


def test_a_last_link_is_not_followed_if_so_asked(root: Path, fd: int) -> None:
    (root / "link").symlink_to("nowhere")
    with pytest.raises(OSError, match="openat2") as caught:
        rootpath.open_in(fd, "link", os.O_RDONLY, follow=False)
    assert caught.value.errno == errno.ELOOP
    assert stat.S_ISLNK(rootpath.stat_in(fd, "link", follow=False).st_mode)
    assert rootpath.read_link_in(fd, "link") == b"nowhere"
    assert rootpath.exists_in(fd, "link", follow=False)
    assert not rootpath.exists_in(fd, "link")


def test_beneath_follows_no_link_at_all(root: Path, fd: int) -> None:
    (root / "d").mkdir()
    (root / "d/f").write_text("x")
    (root / "l").symlink_to("d")
    os.close(rootpath.open_beneath(fd, "d/f", os.O_RDONLY))
    for path in ("l/f", "l", "../secret", "/d/f"):
        with pytest.raises(OSError, match="openat2"):
            rootpath.open_beneath(fd, path, os.O_RDONLY)


@pytest.mark.parametrize("path", ["/", "", "..", "a/.."])
def test_a_path_without_a_last_name_has_no_parent(fd: int, path: str) -> None:
    with pytest.raises(OSError, match="no last component"):
        rootpath.open_parent_in(fd, path)


def test_directories_are_made_with_mode_and_owner_whatever_the_umask(root: Path, fd: int) -> None:
    mask = os.umask(0o077)
    try:
        made = rootpath.make_directories(fd, "/a/b/../c", 0o2775, os.geteuid(), os.getegid())
    finally:
        os.umask(mask)
    assert made == [b"/a", b"/a/b", b"/a/b/../c"]
    assert stat.S_IMODE((root / "a/c").stat().st_mode) == 0o2775


def test_what_exists_is_left_as_it_is(root: Path, fd: int) -> None:
    (root / "a").mkdir(mode=0o700)
    assert rootpath.make_directories(fd, "a", 0o755) == []
    assert stat.S_IMODE((root / "a").stat().st_mode) == 0o700


def test_directories_are_made_where_links_point_inside(root: Path, fd: int) -> None:
    (root / "link").symlink_to("/later/on")
    (root / "up").symlink_to("../../../up2")
    me = (os.geteuid(), os.getegid())
    rootpath.make_directories(fd, "link/x", 0o755, *me)
    rootpath.make_directories(fd, "up/y", 0o755, *me)
    assert (root / "later/on/x").is_dir()
    assert (root / "up2/y").is_dir()
    assert sorted(os.listdir(root.parent)) == ["root", "secret"]


def test_a_file_on_the_way_and_links_in_a_circle_are_errors(root: Path, fd: int) -> None:
    (root / "f").write_text("")
    (root / "l").symlink_to("m")
    (root / "m").symlink_to("l")
    with pytest.raises(NotADirectoryError):
        rootpath.make_directories(fd, "f/d")
    with pytest.raises(OSError, match="link") as caught:
        rootpath.make_directories(fd, "l/d")
    assert caught.value.errno == errno.ELOOP


def listing(top: Path) -> list[tuple[str, int, int, int]]:
    found = []
    for path in sorted(top.rglob("*")):
        status = path.lstat()
        size = 0 if path.is_dir() else status.st_size
        found.append((str(path.relative_to(top)), status.st_mode, size, status.st_mtime_ns))
    return found


def fill(top: Path) -> None:
    (top / "d/e").mkdir(parents=True)
    (top / "d/f").write_bytes(b"x" * 10_000)
    (top / "d/f").chmod(0o4751)
    os.link(top / "d/f", top / "d/e/hard")
    (top / "link").symlink_to("/nowhere")
    os.mkfifo(top / "fifo")
    os.mknod(top / "sock", stat.S_IFSOCK | 0o600)
    with (top / "holes").open("wb") as out:
        out.seek(30_000_000)
        out.write(b"end")
    os.utime(top / "d", ns=(1, 1_500_000_000_000_000_001))


def test_a_tree_is_copied_as_it_is(root: Path, fd: int) -> None:
    source = root / "source"
    fill(source)
    treecopy.copy_tree(fd, "source", fd, "target")
    (source / "sock").unlink()
    target = root / "target"
    assert listing(target) == listing(source)
    assert (target / "d/f").stat().st_ino == (target / "d/e/hard").stat().st_ino
    assert (target / "d/f").read_bytes() == b"x" * 10_000
    assert (target / "holes").stat().st_blocks * 512 < 1_000_000


def test_a_copy_can_have_another_mode_and_leave_things_out(root: Path, fd: int) -> None:
    fill(root / "source")
    treecopy.copy_tree(
        fd, "source", fd, "target", mode=0o750, select=lambda path: path not in (b"d/e", b"holes")
    )
    names = [name for name, *_ in listing(root / "target")]
    assert names == ["d", "d/f", "fifo", "link"]
    assert stat.S_IMODE((root / "target/d/f").stat().st_mode) == 0o750


def test_a_copy_leaves_out_what_disappears_or_changes_meanwhile(root: Path, fd: int) -> None:
    source = root / "source"
    (source / "dir/in").mkdir(parents=True)
    (source / "twice").mkdir()
    for name in ("file", "first", "kept", "twice/file"):
        (source / name).write_text(name)
    os.link(source / "first", source / "second")
    (source / "link").symlink_to("kept")

    def change(path: bytes) -> bool:
        """Asked just before each is copied."""
        if path == b"dir":
            shutil.rmtree(source / "dir")
        if path in (b"file", b"first", b"link"):
            os.unlink(source / os.fsdecode(path))
        if path == b"twice/file":
            shutil.rmtree(source / "twice")
            (source / "twice").symlink_to("kept")
        return True

    treecopy.copy_tree(fd, "source", fd, "target", select=change)

    assert [name for name, *_ in listing(root / "target")] == ["kept", "second", "twice"]
    assert (root / "target/second").read_text() == "first"


def test_a_copy_merges_directories_and_replaces_files(root: Path, fd: int) -> None:
    fill(root / "source")
    (root / "target/d").mkdir(parents=True)
    (root / "target/d/old").write_text("old")
    (root / "target/d/f").symlink_to("/secret")
    treecopy.copy_tree(fd, "source", fd, "target")
    assert (root / "target/d/old").exists()
    assert not (root / "target/d/f").is_symlink()
    assert (root.parent / "secret").read_text() == "outside"


def test_a_copy_does_not_replace_a_directory_by_a_file(root: Path, fd: int) -> None:
    (root / "source").write_text("x")
    (root / "target").mkdir()
    with pytest.raises(OSError, match=r"irectory|permitted"):
        treecopy.copy_tree(fd, "source", fd, "target")


def test_a_copy_never_goes_through_a_link_in_the_target(root: Path, fd: int) -> None:
    fill(root / "source")
    (root / "target").mkdir()
    (root / "target/d").symlink_to("../../elsewhere")
    (root.parent / "elsewhere").mkdir()
    with pytest.raises(OSError, match=r"exists|ymbolic"):
        treecopy.copy_tree(fd, "source", fd, "target")
    assert list((root.parent / "elsewhere").iterdir()) == []


def test_a_tree_is_removed_and_links_in_it_are_not_followed(root: Path, fd: int) -> None:
    fill(root / "tree")
    (root / "tree/out").symlink_to("../..")
    rootpath.remove_tree(fd, "tree")
    rootpath.remove_tree(fd, "tree")
    assert list(root.iterdir()) == []
    assert (root.parent / "secret").exists()


def dig(fd: int, name: str, depth: int) -> None:
    """Directories in each other, with a file beside each and two beneath the last."""
    at = os.dup(fd)
    for _ in range(depth):
        os.mkdir(name, dir_fd=at)
        inner = os.open(name, os.O_RDONLY, dir_fd=at)
        os.close(os.open("file", os.O_CREAT, dir_fd=at))
        os.close(at)
        at = inner
    for last in ("one", "two"):
        os.close(os.open(last, os.O_CREAT, dir_fd=at))
    os.close(at)


def test_a_tree_deeper_than_any_path_has_its_statuses(root: Path, fd: int) -> None:
    dig(fd, "directory", 1500)
    (root / "directory/beside/it").mkdir(parents=True)
    before = len(os.listdir("/proc/self/fd"))

    kinds = [stat.S_IFMT(status.st_mode) for status in rootpath.statuses(fd)]

    assert (kinds.count(stat.S_IFDIR), kinds.count(stat.S_IFREG)) == (1502, 1502)
    assert len(os.listdir("/proc/self/fd")) == before
    rootpath.remove_tree(fd, "directory")


def test_who_is_in_a_directory_that_is_moved_finds_back_and_not_out(root: Path, fd: int) -> None:
    dig(fd, "directory", 100)
    (root / "beside/it").mkdir(parents=True)
    leaf = root / "beside/it/leaf"
    leaf.touch()
    last = (root / "/".join(["directory"] * 100) / "two").stat().st_ino
    outside = {(root.parent / "secret").stat().st_ino, root.stat().st_ino}
    seen = set()

    for status in rootpath.statuses(fd):
        seen.add(status.st_ino)
        if status.st_ino == last:
            os.rename(root / "/".join(["directory"] * 90), root.parent / "moved")

    assert leaf.stat().st_ino in seen
    assert not seen & outside


def test_a_tree_deeper_than_any_path_is_removed(root: Path, fd: int) -> None:
    os.mkdir("deep", dir_fd=fd)
    at = os.open("deep", os.O_RDONLY, dir_fd=fd)
    dig(at, "directory", 1500)
    os.close(at)
    (root / "deep/0").mkdir()
    (root / "deep/1").mkdir()
    rootpath.remove_tree(fd, "deep")
    assert list(root.iterdir()) == []


def test_a_stopped_removal_can_be_gone_on_with(root: Path, fd: int) -> None:
    fill(root / "tree")
    rootpath.remove_tree(fd, "tree", stop=lambda: True)
    assert (root / "tree").exists()
    rootpath.remove_tree(fd, "tree", stop=lambda: False)
    assert not (root / "tree").exists()
