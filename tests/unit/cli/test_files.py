"""`-o` of save and export: a file that is whole, or nothing; and only what may be replaced."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from tiffin.cli.failures import CommandFailed
from tiffin.cli.files import save_stream

if TYPE_CHECKING:
    from tiffin.cli.client import Response


class _Answer:
    def pieces(self) -> Iterator[bytes]:
        yield b"one"
        yield b"two"


def _ask() -> Response:
    return cast("Response", _Answer())


def test_a_file_is_replaced_by_a_whole_one(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    path.write_text("old")

    save_stream(_ask, str(path), "save image")

    assert (path.read_bytes(), os.listdir(tmp_path)) == (b"onetwo", ["x.tar"])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (os.mkdir, "cannot write to a directory"),
        (os.mkfifo, "cannot write to a named pipe (FIFO)"),
        (lambda path: os.symlink("elsewhere", path), "cannot write to a symbolic link directly"),
    ],
)
def test_what_is_no_file_stays(make: Callable[[Path], None], words: str, tmp_path: Path) -> None:
    path = tmp_path / "x"
    make(path)
    before = os.lstat(path)

    with pytest.raises(CommandFailed, match=re.escape(f"failed to save image: {words}")):
        save_stream(_ask, str(path), "save image")

    assert (os.lstat(path).st_ino, os.listdir(tmp_path)) == (before.st_ino, ["x"])


def test_a_device_is_not_replaced() -> None:
    with pytest.raises(CommandFailed, match="cannot write to a character device file"):
        save_stream(_ask, "/dev/full", "export container")


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match=r"invalid output path: stat .*/no: no such file"):
        save_stream(_ask, str(tmp_path / "no" / "x"), "save image")
