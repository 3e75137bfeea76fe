"""Trees of containers that do not run, with what would be mounted on them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tiffin.engine.assembly import Bind, assembled
from tiffin.kernel import mounts, rootpath

pytestmark = pytest.mark.root


def content(root: int, path: str) -> str:
    with open(rootpath.open_in(root, path, os.O_RDONLY), encoding="utf-8") as file:
        return file.read()


@pytest.mark.parametrize("is_mount", [True, False])
def test_a_tree_is_seen_with_its_mounts_and_the_host_sees_none(
    tmp_path: Path, *, is_mount: bool
) -> None:
    """A directory of the disk is what trees are where there is no overlayfs."""
    tree, volume, inner = (tmp_path / name for name in ("tree", "volume", "inner"))
    for directory in (tree, volume, inner):
        directory.mkdir()
    (inner / "file").write_text("inner's")
    (tree / "own").write_text("own")
    (tree / "in-the-way").write_text("file")
    (volume / "file").write_text("volume's")
    binds = [
        Bind(str(volume), "/deep/volume", writable=True),
        Bind(str(inner), "/deep/volume/inner", writable=True),
        Bind(str(volume), "/in-the-way/volume", writable=True),
        Bind(str(tmp_path / "gone"), "/gone", writable=True),
    ]
    opened = os.open(tree, os.O_RDONLY | os.O_DIRECTORY)
    flags = mounts.OPEN_TREE_CLONE | mounts.AT_EMPTY_PATH
    given = mounts.open_tree(opened, "", flags) if is_mount else os.dup(opened)
    os.close(opened)

    with assembled(given, binds, is_mount=is_mount) as root:
        assert content(root, "/own") == "own"
        assert content(root, "/deep/volume/file") == "volume's"
        assert content(root, "/deep/volume/inner/file") == "inner's"
        assert content(root, "/in-the-way") == "file"
        assert os.listdir(tree / "deep/volume") == []
        assert os.listdir(volume / "inner") == []

    os.close(given)
    assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text(encoding="utf-8")
