"""Links resolved to where they lead in the end, inside their root."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tiffin.kernel.realpath import real_path_in


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/", "/"),
        ("dir/file", "/dir/file"),
        ("/dir/relative", "/dir/file"),
        ("/dir/absolute", "/dir"),
        ("/dir/absolute/relative", "/dir/file"),
        ("/dir/chain", "/dir/file"),
        ("/dir/broken", "/dir/nowhere"),
        ("/dir/broken/more", "/dir/nowhere/more"),
        ("/dir/out", "/etc/passwd"),
        ("/dir/../..", "/"),
        ("/missing/../dir", "/dir"),
        ("/dir/file/more", "/dir/file/more"),
    ],
)
def test_a_path_leads_to_one_place_in_its_root(tmp_path: Path, path: str, expected: str) -> None:
    (tmp_path / "dir").mkdir()
    (tmp_path / "dir" / "file").write_text("")
    for name, target in (
        ("relative", "file"),
        ("absolute", "/dir"),
        ("chain", "relative"),
        ("broken", "nowhere"),
        ("out", "../../../etc/passwd"),
    ):
        (tmp_path / "dir" / name).symlink_to(target)
    root = os.open(tmp_path, os.O_PATH)
    try:
        assert real_path_in(root, path) == expected.encode()
    finally:
        os.close(root)


def test_links_that_go_round_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    root = os.open(tmp_path, os.O_PATH)
    try:
        with pytest.raises(OSError, match="Too many levels"):
            real_path_in(root, "/a")
    finally:
        os.close(root)
