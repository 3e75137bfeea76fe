"""Directories that have nothing to do with one another are spread over an ext4 without journal."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tiffin.kernel.placement import spread_children
from tiffin.storage.store import Storage

pytestmark = pytest.mark.root


@pytest.fixture(params=["has_journal", "^has_journal"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Path, bool]]:
    """An ext4, and whether it has a journal."""
    image, mounted = tmp_path / "image", tmp_path / "mounted"
    image.touch()
    with image.open("wb") as file:
        file.truncate(64 << 20)
    mounted.mkdir()
    subprocess.run(["mkfs.ext4", "-q", "-O", request.param, image], check=True)
    if shutil.which("modprobe"):  # where it is a module and nothing has asked for it yet
        subprocess.run(["modprobe", "loop"], check=False, capture_output=True)
    mount = ["mount", "-o", "loop", image, mounted]
    done = subprocess.run(mount, check=False, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no loop devices: {done.stderr.strip()}")
    yield mounted, request.param == "has_journal"
    subprocess.run(["umount", mounted], check=True)


def is_top(directory: Path) -> bool:
    shown = subprocess.run(["lsattr", "-d", directory], check=True, capture_output=True, text=True)
    return "T" in shown.stdout.split()[0]


def test_only_without_a_journal(disk: tuple[Path, bool]) -> None:
    mounted, has_journal = disk
    spread_children(str(mounted))
    spread_children(str(mounted))
    assert is_top(mounted) is not has_journal


def test_snapshots_and_containers_are(disk: tuple[Path, bool]) -> None:
    mounted, has_journal = disk
    Storage.open(str(mounted / "data")).close()
    found = {name: is_top(mounted / "data" / name) for name in ("snapshots", "containers")}
    assert set(found.values()) == {not has_journal}


def test_another_file_system_is_left_alone(tmp_path: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "none", tmp_path], check=True)
    try:
        spread_children(str(tmp_path))
    finally:
        subprocess.run(["umount", tmp_path], check=True)
