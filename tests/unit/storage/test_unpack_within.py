"""An archive for a directory of a tree with more in it than that: links lead where they say."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.storage.archives import Item, archive, directory, file, hard_link, symlink
from tiffin.errors import InvalidArgument
from tiffin.storage import tar
from tiffin.storage.unpack import NAMES, Unpacker, Within


@pytest.fixture
def whole(tmp_path: Path) -> Iterator[Path]:
    """A tree with `into`, where archives go, and `beside`."""
    tree = tmp_path / "outside" / "whole"
    (tree / "into" / "full").mkdir(parents=True)
    (tree / "into" / "full" / "kept").write_bytes(b"kept")
    (tree / "into" / "file").write_bytes(b"old")
    (tree / "beside").mkdir()
    (tree / "beside" / "there").write_bytes(b"there")
    yield tree
    assert not (tmp_path / "outside" / "new").exists()


def unpack(whole: Path, *items: Item, keep_kinds: bool = False) -> None:
    whole_fd = os.open(whole, os.O_PATH | os.O_DIRECTORY)
    into_fd = os.open(whole / "into", os.O_RDONLY | os.O_DIRECTORY)
    mask = os.umask(0)
    try:
        Unpacker(
            into_fd,
            whiteouts=NAMES,
            owner=(os.geteuid(), os.getegid()),
            keep_kinds=keep_kinds,
            within=Within(whole_fd, b"/into"),
        ).unpack(tar.Reader(tar.Source(iter([archive(*items)]))))
    finally:
        os.umask(mask)
        os.close(into_fd)
        os.close(whole_fd)


@pytest.mark.parametrize("target", ["/beside", "../beside", "../../../beside", "chain"])
@pytest.mark.parametrize("brought", [True, False])
def test_a_link_on_the_way_leads_where_it_does_for_programs(
    whole: Path, target: str, *, brought: bool
) -> None:
    (whole / "into" / "chain").symlink_to("/beside")
    if not brought:
        (whole / "into" / "link").symlink_to(target)
    first = [symlink("link", target)] if brought else []

    unpack(whole, *first, file("link/deep/new", b"new"), directory("link/dir", 0o711))

    assert (whole / "beside/deep/new").read_bytes() == b"new"
    assert stat.S_IMODE((whole / "beside/dir").stat().st_mode) == 0o711
    assert (whole / "into/link").is_symlink()


def test_a_link_to_nowhere_is_no_directory_to_write_into(whole: Path) -> None:
    (whole / "into/link").symlink_to("/nowhere/at/all")
    with pytest.raises(InvalidArgument, match="link/new: no such file or directory"):
        unpack(whole, file("link/new"))
    assert not (whole / "nowhere").exists()


def test_a_hard_link_is_found_through_links(whole: Path) -> None:
    unpack(whole, symlink("link", "/beside"), hard_link("name", "link/there"))
    assert (whole / "into/name").stat().st_ino == (whole / "beside/there").stat().st_ino


def test_a_hard_link_names_nothing_beside_its_directory(whole: Path) -> None:
    with pytest.raises(InvalidArgument, match="leads outside"):
        unpack(whole, hard_link("name", "../beside/there"))


def test_a_link_that_became_a_directory_is_followed_no_more(whole: Path) -> None:
    unpack(
        whole,
        *(symlink("link", "/beside"), file("link/one")),
        *(directory("link"), file("link/two")),
    )
    assert sorted(os.listdir(whole / "beside")) == ["one", "there"]
    assert os.listdir(whole / "into/link") == ["two"]


def test_directories_that_go_without_saying_are_of_now(whole: Path) -> None:
    unpack(whole, file("a/b/c", mtime=1_000_000_000))
    assert (whole / "into/a/b/c").stat().st_mtime == 1_000_000_000
    for path in ("into/a", "into/a/b"):
        status = (whole / path).stat()
        assert stat.S_IMODE(status.st_mode) == 0o755
        assert status.st_mtime > 1_600_000_000


def test_one_kind_replaces_another_unless_that_is_forbidden(whole: Path) -> None:
    for item, words in (
        (file("full"), 'cannot overwrite directory "/into/full" with non-directory "/into"'),
        (
            symlink("full", "x"),
            'cannot overwrite directory "/into/full" with non-directory "/into"',
        ),
        (directory("file"), 'cannot overwrite non-directory "/into/file" with directory "/into"'),
    ):
        with pytest.raises(InvalidArgument) as refused:
            unpack(whole, item, keep_kinds=True)
        assert refused.value.message == words
    assert (whole / "into/full/kept").read_bytes() == b"kept"

    unpack(whole, file("full", b"new"), directory("file"), file("file/in"))
    assert (whole / "into/full").read_bytes() == b"new"
    assert os.listdir(whole / "into/file") == ["in"]
