"""A directory is found in layers as overlayfs would show it, or not said to be there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tiffin.storage.lookup import surely_has_directory
from tiffin.storage.unpack import OPAQUE


@pytest.fixture
def stack(tmp_path: Path) -> list[str]:
    """Three layers, the first on top; the last one has /srv/app, a file and two links."""
    for name in ("top", "middle", "bottom"):
        (tmp_path / name).mkdir()
    bottom = tmp_path / "bottom"
    (bottom / "srv/app").mkdir(parents=True)
    (bottom / "file").touch()
    (bottom / "link").symlink_to("srv")
    (bottom / "out").symlink_to("/")
    return [str(tmp_path / name) for name in ("top", "middle", "bottom")]


def test_it_is_where_a_layer_has_it_and_none_above_says_otherwise(stack: list[str]) -> None:
    assert surely_has_directory(stack, "/srv/app")
    os.makedirs(f"{stack[0]}/srv/app")
    assert surely_has_directory(stack, "/srv/app/")
    assert surely_has_directory(stack[:1], "/srv")


@pytest.mark.parametrize("path", ["/srv/none", "/file", "/file/x", "/link/app", "/out/tmp"])
def test_what_is_missing_no_directory_or_behind_a_link_is_not(stack: list[str], path: str) -> None:
    assert not surely_has_directory(stack, path)


@pytest.mark.parametrize("name", ["srv", "srv/app"])
def test_something_else_above_hides_it(stack: list[str], name: str) -> None:
    place = Path(stack[1], name)
    place.parent.mkdir(exist_ok=True)
    place.touch()
    assert not surely_has_directory(stack, "/srv/app")


@pytest.mark.root
def test_an_opaque_directory_above_hides_what_is_in_it(stack: list[str]) -> None:
    os.makedirs(f"{stack[0]}/srv")
    os.setxattr(f"{stack[0]}/srv", OPAQUE, b"y")
    assert surely_has_directory(stack, "/srv")
    assert not surely_has_directory(stack, "/srv/app")
