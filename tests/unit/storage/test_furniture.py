"""`/.dockerenv` and `/etc/mtab` in a new container's tree."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tiffin.core.workload import Overlay
from tiffin.storage.furniture import furnish


@pytest.fixture
def tree(tmp_path: Path) -> Overlay:
    for name in ("upper", "top", "bottom"):
        (tmp_path / name).mkdir()
    lower = (str(tmp_path / "top"), str(tmp_path / "bottom"))
    return Overlay(lower=lower, upper=str(tmp_path / "upper"), work="")


def test_a_bare_tree_gets_both(tree: Overlay) -> None:
    furnish(tree)

    assert os.stat(f"{tree.upper}/.dockerenv").st_size == 0
    assert os.readlink(f"{tree.upper}/etc/mtab") == "/proc/mounts"


def test_etc_stays_as_the_image_has_it(tree: Overlay) -> None:
    etc = f"{tree.lower[1]}/etc"
    os.mkdir(etc, 0o755)
    os.chmod(etc, 0o2711)
    os.utime(etc, ns=(1_000, 2_000))

    furnish(tree)

    own = os.stat(f"{tree.upper}/etc")
    assert (own.st_mode & 0o7777, own.st_mtime_ns) == (0o2711, 2_000)


@pytest.mark.parametrize("layer", [0, 1])
def test_what_a_layer_has_is_left_alone(tree: Overlay, layer: int) -> None:
    os.mkdir(f"{tree.lower[0]}/etc")
    os.makedirs(f"{tree.lower[layer]}/etc", exist_ok=True)
    Path(tree.lower[layer], "etc/mtab").write_text("its own")
    Path(tree.lower[layer], ".dockerenv").touch()

    furnish(tree)

    assert os.listdir(tree.upper) == []


def test_no_link_is_followed(tree: Overlay, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    os.symlink(tmp_path / "outside", f"{tree.lower[0]}/etc")
    os.symlink(tmp_path / "outside/mark", f"{tree.lower[0]}/.dockerenv")

    furnish(tree)

    assert (os.listdir(tree.upper), os.listdir(tmp_path / "outside")) == ([], [])


def test_a_tree_of_copies_is_furnished_in_place(tree: Overlay) -> None:
    os.mkdir(f"{tree.upper}/etc")

    furnish(Overlay(lower=(), upper=tree.upper, work=""))

    assert sorted(os.listdir(tree.upper)) == [".dockerenv", "etc"]
    assert os.listdir(f"{tree.upper}/etc") == ["mtab"]
