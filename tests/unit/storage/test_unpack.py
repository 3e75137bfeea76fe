"""The unpacker without its jail: openat2 alone must keep every archive inside."""

from __future__ import annotations

import contextlib
import os
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.storage.archives import (
    Item,
    archive,
    device,
    directory,
    file,
    hard_link,
    symlink,
)
from tiffin.errors import InvalidArgument
from tiffin.storage import tar
from tiffin.storage.unpack import APPLY, NAMES, OVERLAY, Unpacker


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    inside = tmp_path / "outside" / "root"
    inside.mkdir(parents=True)
    yield inside
    for top, directories, _ in os.walk(inside):
        for name in directories:
            if not os.path.islink(os.path.join(top, name)):
                os.chmod(os.path.join(top, name), 0o700)


def unpack(root: Path, *items: Item, whiteouts: str = OVERLAY, lower: Path | None = None) -> None:
    unpack_bytes(root, archive(*items), whiteouts=whiteouts, lower=lower)


def unpack_bytes(
    root: Path, data: bytes, *, whiteouts: str = OVERLAY, lower: Path | None = None
) -> None:
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    lower_fd = -1 if lower is None else os.open(lower, os.O_RDONLY | os.O_DIRECTORY)
    mask = os.umask(0)
    me = (os.geteuid(), os.getegid())
    try:
        reader = tar.Reader(tar.Source(iter([data])))
        Unpacker(fd, lower_fd=lower_fd, whiteouts=whiteouts, owner=me).unpack(reader)
    finally:
        os.umask(mask)
        os.close(fd)
        if lower_fd >= 0:
            os.close(lower_fd)


def is_whiteout(path: Path) -> bool:
    status = path.lstat()
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def test_files_links_and_directories_come_out_as_they_went_in(root: Path) -> None:
    unpack(
        root,
        directory("./", 0o750),
        directory("d", 0o2711, mtime=1_600_000_000.25),
        file("d/f", b"hello", 0o4751, mtime=1_500_000_000.123456789),
        hard_link("d/g", "d/f"),
        symlink("d/s", "/etc/passwd"),
    )
    assert (root / "d/f").read_bytes() == b"hello"
    assert stat.S_IMODE((root / "d/f").stat().st_mode) == 0o4751
    assert (root / "d/f").stat().st_ino == (root / "d/g").stat().st_ino
    assert (root / "d/s").readlink() == Path("/etc/passwd")
    assert (root / "d/s").lstat().st_mtime == 1_700_000_000
    assert (root / "d").stat().st_mtime_ns == 1_600_000_000_250_000_000
    assert stat.S_IMODE((root / "d").stat().st_mode) == 0o2711
    assert stat.S_IMODE(root.stat().st_mode) == 0o750


@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "/../evil", ".."])
def test_climbing_above_the_root_is_refused(root: Path, name: str) -> None:
    with pytest.raises(InvalidArgument):
        unpack(root, directory("a"), file(name, b"evil"))
    assert not (root.parent / "evil").exists()


def test_absolute_names_are_below_the_root(root: Path) -> None:
    unpack(root, file("/etc/new", b"x"))
    assert (root / "etc/new").read_bytes() == b"x"


@pytest.mark.parametrize("target", ["../..", "..", "/"])
def test_writing_through_a_link_stays_inside(root: Path, target: str) -> None:
    unpack(root, symlink("out", target), file("out/evil", b"evil"))
    assert (root / "evil").read_bytes() == b"evil"
    assert not (root.parent / "evil").exists()
    assert not Path("/evil").exists()


def test_a_file_over_a_link_replaces_the_link(root: Path) -> None:
    victim = root.parent / "victim"
    victim.write_bytes(b"safe")
    unpack(root, symlink("l", str(victim)), file("l", b"evil"))
    assert victim.read_bytes() == b"safe"
    assert (root / "l").read_bytes() == b"evil"


def test_a_directory_over_a_link_replaces_the_link(root: Path) -> None:
    (root.parent / "victim").mkdir(mode=0o700)
    unpack(root, symlink("l", "../victim"), directory("l", 0o777), file("l/f", b"x"))
    assert (root / "l/f").read_bytes() == b"x"
    assert not (root / "l").is_symlink()
    assert list((root.parent / "victim").iterdir()) == []
    assert stat.S_IMODE((root.parent / "victim").stat().st_mode) == 0o700


@pytest.mark.parametrize("target", ["../victim", "/../../victim"])
def test_hard_links_reach_nothing_outside(root: Path, target: str) -> None:
    victim = root.parent / "victim"
    victim.write_bytes(b"safe")
    with pytest.raises(InvalidArgument):
        unpack(root, hard_link("h", target), file("h", b"evil"))
    assert victim.read_bytes() == b"safe"
    assert victim.stat().st_nlink == 1


def test_a_hard_link_to_a_link_does_not_follow_it(root: Path) -> None:
    victim = root.parent / "victim"
    victim.write_bytes(b"safe")
    unpack(root, symlink("l", "../victim"), hard_link("h", "l"))
    assert (root / "h").is_symlink()
    assert victim.stat().st_nlink == 1


def test_a_hard_link_to_itself_keeps_the_file(root: Path) -> None:
    unpack(root, file("f", b"x"), hard_link("f", "./f"))
    assert (root / "f").read_bytes() == b"x"


def test_attributes_of_a_directory_are_not_given_to_what_replaced_it(root: Path) -> None:
    victim = root.parent / "victim"
    victim.mkdir(mode=0o700)
    unpack(root, directory("d", 0o777), symlink("d", str(victim)))
    assert stat.S_IMODE(victim.stat().st_mode) == 0o700


def test_a_later_entry_wins(root: Path) -> None:
    unpack(root, file("a", b"1"), file("a", b"2"), directory("b/c"), file("b", b"3"))
    assert (root / "a").read_bytes() == b"2"
    assert (root / "b").read_bytes() == b"3"


def test_a_directory_named_twice_keeps_its_files_and_takes_the_later_mode(root: Path) -> None:
    unpack(root, directory("d", 0o700), file("d/f"), directory("d", 0o711))
    assert (root / "d/f").exists()
    assert stat.S_IMODE((root / "d").stat().st_mode) == 0o711


def test_parents_that_the_archive_takes_for_granted_look_as_beneath(
    root: Path, tmp_path: Path
) -> None:
    lower = tmp_path / "lower"
    (lower / "a/b").mkdir(parents=True)
    (lower / "a").chmod(0o1770)
    os.utime(lower / "a", ns=(5, 1_400_000_000_000_000_007))
    (lower / "link").symlink_to("a")
    unpack(root, file("a/b/c/f"), file("link/f"), lower=lower)
    assert stat.S_IMODE((root / "a").stat().st_mode) == 0o1770
    assert (root / "a").stat().st_mtime_ns == 1_400_000_000_000_000_007
    assert stat.S_IMODE((root / "a/b/c").stat().st_mode) == 0o755
    assert (root / "link").is_dir()
    assert not (root / "link").is_symlink()


def test_a_whiteout_is_a_device_of_overlayfs(root: Path) -> None:
    unpack(root, file("d/.wh.gone"))
    assert is_whiteout(root / "d/gone")


@pytest.mark.parametrize("name", [".wh.", ".wh..", ".wh...", "d/.wh..."])
def test_whiteouts_of_no_name_are_refused(root: Path, name: str) -> None:
    with pytest.raises(InvalidArgument):
        unpack(root, directory("d"), file(name))


def test_a_whiteout_does_not_touch_what_the_same_layer_has(root: Path) -> None:
    unpack(root, file("before", b"1"), file(".wh.before"), file(".wh.after"), file("after", b"2"))
    assert (root / "before").read_bytes() == b"1"
    assert (root / "after").read_bytes() == b"2"


def test_a_whiteout_through_a_link_stays_inside(root: Path) -> None:
    (root.parent / "victim").write_bytes(b"safe")
    unpack(root, symlink("out", ".."), file("out/.wh.victim"))
    assert (root.parent / "victim").read_bytes() == b"safe"
    assert is_whiteout(root / "victim")


@pytest.mark.parametrize(
    "marker",
    [directory(".wh.x"), symlink(".wh.x", "/etc/passwd"), device(".wh.x", 1, 3)],
    ids=["directory", "link", "device"],
)
def test_a_whiteout_is_one_by_its_name_whatever_it_is(root: Path, marker: Item) -> None:
    unpack(root, marker)
    assert os.listdir(root) == ["x"]
    assert is_whiteout(root / "x")


def test_a_whiteout_is_nothing_that_could_be_linked_to(root: Path) -> None:
    with pytest.raises(InvalidArgument):
        unpack(root, file(".wh.x"), hard_link("h", ".wh.x"))


@pytest.mark.parametrize("name", [".wh..wh..opq", "../.wh.x", "d/../../.wh.x", "f/.wh.x"])
def test_a_whiteout_out_of_place_hides_nothing_outside(root: Path, name: str) -> None:
    (root.parent / "x").write_bytes(b"safe")
    with contextlib.suppress(InvalidArgument):
        unpack(root, file("f"), file(name))
    assert (root.parent / "x").read_bytes() == b"safe"
    assert sorted(os.listdir(root.parent)) == ["root", "x"]


def test_aufs_bookkeeping_is_left_out(root: Path) -> None:
    unpack(root, file(".wh..wh.plnk/1.2"), directory(".wh..wh.orph"), file("f"))
    assert not (root / ".wh..wh.orph").exists()
    assert (root / "f").exists()


def test_whiteouts_delete_from_a_full_copy(root: Path) -> None:
    (root / "old/deep").mkdir(parents=True)
    (root / "old/deep/f").write_bytes(b"")
    (root / "dir").mkdir()
    (root / "dir/gone").write_bytes(b"")
    unpack(
        root,
        file("dir/new", b"1"),
        file("dir/.wh..wh..opq"),
        file(".wh.old"),
        whiteouts=APPLY,
    )
    assert sorted(path.name for path in root.rglob("*")) == ["dir", "new"]


def test_an_opaque_directory_keeps_new_files_in_old_directories(root: Path) -> None:
    (root / "d/sub").mkdir(parents=True)
    (root / "d/sub/old").write_bytes(b"")
    unpack(root, file("d/sub/new", b"1"), file("d/.wh..wh..opq"), whiteouts=APPLY)
    assert sorted(path.name for path in root.rglob("*")) == ["d", "new", "sub"]


def test_whiteout_names_mean_nothing_where_they_are_only_names(root: Path) -> None:
    unpack(root, file(".wh.x", b"1"), whiteouts=NAMES)
    assert (root / ".wh.x").read_bytes() == b"1"


@pytest.mark.parametrize("key", ["trusted.overlay.opaque", "user.overlay.origin", "security.ima"])
def test_attributes_that_steer_overlayfs_are_left_out(root: Path, key: str) -> None:
    unpack(root, file("f", pax_headers={f"SCHILY.xattr.{key}": "y"}))
    assert key not in os.listxattr(root / "f")


def test_users_attributes_are_kept(root: Path) -> None:
    unpack(root, file("f", pax_headers={"SCHILY.xattr.user.colour": "blue"}))
    try:
        assert os.getxattr(root / "f", "user.colour") == b"blue"
    except OSError as error:
        pytest.skip(f"no user attributes on this file system: {error}")


_DEEP = ["/".join("d" * 200 for _ in range(depth)) for depth in (21, 30)]


@pytest.mark.parametrize("name", ["a" * 300, *_DEEP])
def test_names_too_long_for_the_kernel_are_invalid(root: Path, name: str) -> None:
    with pytest.raises(InvalidArgument):
        unpack(root, file(name))


def test_a_file_where_a_directory_is_needed_is_invalid(root: Path) -> None:
    with pytest.raises(InvalidArgument):
        unpack(root, file("a"), file("a/b"))


def test_links_in_a_circle_are_invalid(root: Path) -> None:
    with pytest.raises(InvalidArgument):
        unpack(root, symlink("a", "b"), symlink("b", "a"), file("a/f"))


@pytest.mark.parametrize("style", ["gnu", "posix"])
def test_a_sparse_file_comes_out_sparse(root: Path, tmp_path: Path, style: str) -> None:
    holes = tmp_path / "holes"
    with holes.open("wb") as out:
        for number in range(40):
            out.seek(number * 500_000)
            out.write(b"data %d" % number)
        out.truncate(50_000_000)
    data = subprocess.run(
        ["tar", "-C", tmp_path, "-cS", f"--format={style}", "holes"],
        check=True,
        capture_output=True,
    ).stdout
    unpack_bytes(root, data)
    assert (root / "holes").read_bytes() == holes.read_bytes()
    assert (root / "holes").stat().st_blocks * 512 < 5_000_000


_NAMES = st.sampled_from(
    ["a", "b", "a/b", "a/b/c", "..", "a/..", "/", ".", ".wh.a", "a/.wh.b", ".wh..wh..opq", "b/a"]
)
_ITEMS = st.one_of(
    st.builds(file, _NAMES, st.binary(max_size=600)),
    st.builds(directory, _NAMES, st.sampled_from([0o755, 0o700, 0o2777])),
    st.builds(symlink, _NAMES, st.sampled_from(["a", "..", "/", "../../x", "b/a", "nowhere"])),
    st.builds(hard_link, _NAMES, _NAMES),
)

# Only root may set the attribute that makes a directory opaque.
_WAYS = [APPLY, NAMES, *([OVERLAY] if os.geteuid() == 0 else [])]


@settings(max_examples=150, deadline=None)
@given(st.lists(_ITEMS, max_size=8), st.sampled_from(_WAYS))
def test_any_entries_stay_inside_or_are_invalid(items: list[Item], whiteouts: str) -> None:
    with tempfile.TemporaryDirectory() as top:
        root = Path(top) / "root"
        root.mkdir()
        (Path(top) / "victim").write_bytes(b"safe")
        with contextlib.suppress(InvalidArgument):
            unpack(root, *items, whiteouts=whiteouts)
        assert sorted(os.listdir(top)) == ["root", "victim"]
        assert (Path(top) / "victim").read_bytes() == b"safe"


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=3000))
def test_any_bytes_unpack_or_are_invalid(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as top, contextlib.suppress(InvalidArgument):
        unpack_bytes(Path(top), data)
