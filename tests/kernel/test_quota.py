"""A container's own layer with a limit, on a file system that counts, and on one that does not."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tiffin.errors import InvalidArgument
from tiffin.storage.directories import Directories

pytestmark = pytest.mark.root


def test_where_nothing_counts_a_limit_is_refused(tmp_path: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "none", tmp_path], check=True)
    directories = Directories(str(tmp_path))
    try:
        number = directories.take()
        with pytest.raises(InvalidArgument, match="supported only for overlay over ext4 or xfs"):
            directories.limit(number, 1 << 20)
    finally:
        directories.close()
        subprocess.run(["umount", tmp_path], check=True)


@pytest.fixture
def counted(tmp_path: Path) -> Iterator[Path]:
    """An ext4 with project quota."""
    image, mounted = tmp_path / "image", tmp_path / "mounted"
    image.touch()
    os.truncate(image, 64 << 20)
    mounted.mkdir()
    subprocess.run(
        ["mkfs.ext4", "-q", "-O", "quota,project", "-E", "quotatype=prjquota", image], check=True
    )
    if shutil.which("modprobe"):  # where they are modules and nothing has asked for them yet
        subprocess.run(["modprobe", "-a", "loop", "quota_v2"], check=False, capture_output=True)
    mount = ["mount", "-o", "loop,prjquota", image, mounted]
    done = subprocess.run(mount, check=False, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no project quota, or no loop devices: {done.stderr.strip()}")
    yield mounted
    subprocess.run(["umount", mounted], check=True)


def fill(directory: str) -> int:
    """Two megabytes, written by who has no right to go beyond a quota: those that got there."""
    os.mkdir(f"{directory}/deep")
    os.chmod(f"{directory}/deep", 0o777)
    command = ["dd", "if=/dev/zero", "of=file", "bs=64k", "count=32"]
    subprocess.run(
        command, cwd=f"{directory}/deep", user=65534, check=False, stderr=subprocess.DEVNULL
    )
    return os.stat(f"{directory}/deep/file").st_size


def test_a_limited_directory_takes_no_more_than_its_size(counted: Path) -> None:
    directories = Directories(str(counted))
    try:
        limited, free = directories.take(), directories.take()
        directories.limit(limited, 1 << 20)
        assert fill(directories.fs(limited)) <= 1 << 20
        assert fill(directories.fs(free)) == 2 << 20
        # What overlay moves from its work directory belongs to the same project.
        Path(f"{directories.work(limited)}/moved").touch()
        os.rename(f"{directories.work(limited)}/moved", f"{directories.fs(limited)}/moved")
    finally:
        directories.close()
