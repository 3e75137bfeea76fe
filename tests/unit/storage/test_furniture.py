"""What every container's tree has, put into a directory above an image's layers."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from tiffin.storage.furniture import FurnitureLayers, furnish

ALL = [".dockerenv", "dev", "etc", "proc", "sys"]
ETC = ["hostname", "hosts", "mtab", "resolv.conf"]


class Tree(NamedTuple):
    lower: tuple[str, str]  # first on top
    own: str

    def furnish(self) -> None:
        furnish(self.lower, self.own)


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    for name in ("own", "top", "bottom"):
        (tmp_path / name).mkdir()
    return Tree((str(tmp_path / "top"), str(tmp_path / "bottom")), str(tmp_path / "own"))


def test_a_bare_tree_gets_all(tree: Tree) -> None:
    before = os.umask(0o077)
    try:
        tree.furnish()
    finally:
        os.umask(before)

    assert sorted(os.listdir(tree.own)) == ALL
    assert sorted(os.listdir(f"{tree.own}/etc")) == ETC
    assert sorted(os.listdir(f"{tree.own}/dev")) == ["console", "mqueue", "pts", "shm"]
    assert os.stat(f"{tree.own}/.dockerenv").st_mode & 0o777 == 0o755
    assert os.stat(f"{tree.own}/etc").st_mode & 0o777 == 0o755
    assert os.stat(f"{tree.own}/etc/hosts").st_mode & 0o777 == 0o644
    assert os.readlink(f"{tree.own}/etc/mtab") == "/proc/mounts"


def test_etc_stays_as_the_image_has_it(tree: Tree) -> None:
    etc = f"{tree.lower[1]}/etc"
    os.mkdir(etc, 0o755)
    os.chmod(etc, 0o2711)
    os.utime(etc, ns=(1_000, 2_000))

    tree.furnish()

    own = os.stat(f"{tree.own}/etc")
    assert (own.st_mode & 0o7777, own.st_mtime_ns) == (0o2711, 2_000)


@pytest.mark.parametrize("layer", [0, 1])
def test_what_a_layer_has_is_left_alone(tree: Tree, layer: int) -> None:
    for name in ("etc", "dev", "proc", "sys"):
        os.mkdir(f"{tree.lower[0]}/{name}")
        os.makedirs(f"{tree.lower[layer]}/{name}", exist_ok=True)
    for name in (".dockerenv", "dev/console", "dev/mqueue", "dev/pts", "dev/shm"):
        Path(tree.lower[layer], name).touch()
    for name in ETC:
        Path(tree.lower[layer], "etc", name).write_text("its own")

    tree.furnish()

    assert os.listdir(tree.own) == []


def test_no_link_is_followed(tree: Tree, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    for name in ALL:
        os.symlink(tmp_path / "outside", f"{tree.lower[0]}/{name}")

    tree.furnish()

    assert (os.listdir(tree.own), os.listdir(tmp_path / "outside")) == ([], [])


def test_a_tree_of_copies_is_furnished_in_place(tree: Tree) -> None:
    os.mkdir(f"{tree.own}/etc")
    os.utime(f"{tree.own}/etc", ns=(1_000, 2_000))

    furnish([tree.own], tree.own)

    assert sorted(os.listdir(tree.own)) == ALL
    assert sorted(os.listdir(f"{tree.own}/etc")) == ETC
    assert os.stat(f"{tree.own}/etc").st_mtime_ns == 2_000


# Layers of it


@pytest.fixture
def layers(tmp_path: Path, tree: Tree) -> Callable[[], FurnitureLayers]:
    def opened() -> FurnitureLayers:
        return FurnitureLayers(str(tmp_path / "furniture"), lambda path: os.rename(path, tree.own))

    return opened


def test_a_layer_is_made_once(tree: Tree, layers: Callable[[], FurnitureLayers]) -> None:
    made = layers()
    path = made.layer(7, tree.lower)
    Path(path, "seen").touch()

    assert made.layer(7, tree.lower) == path
    again = layers()
    again.sweep({7})
    assert os.path.exists(again.layer(7, tree.lower) + "/seen")


def test_a_layer_half_made_is_made_anew(tree: Tree, layers: Callable[[], FurnitureLayers]) -> None:
    made = layers()
    os.makedirs(f"{os.path.dirname(made.layer(6, ()))}/7.half/etc/odd")

    assert sorted(os.listdir(made.layer(7, tree.lower))) == ALL


def test_what_is_not_known_is_thrown_away(
    tree: Tree, layers: Callable[[], FurnitureLayers]
) -> None:
    path = layers().layer(7, tree.lower)
    again = layers()
    again.sweep({8})

    assert not os.path.exists(path)
    assert sorted(os.listdir(tree.own)) == ALL
    assert os.path.isdir(again.layer(7, tree.lower))


def test_a_forgotten_layer_is_thrown_away_once(
    tree: Tree, layers: Callable[[], FurnitureLayers]
) -> None:
    made = layers()
    path = made.layer(7, tree.lower)
    made.forget(7)
    made.forget(7)

    assert not os.path.exists(path)
