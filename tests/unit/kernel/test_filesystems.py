"""What a directory lies on, as the kernel and /proc/mounts say."""

from __future__ import annotations

from pathlib import Path

import pytest

from tiffin.kernel import filesystems

_DOCKERS = {"ext2": "extfs", "ext3": "extfs", "ext4": "extfs", "overlay": "overlayfs"}


def test_the_names_are_dockers() -> None:
    mounts = map(str.split, Path("/proc/mounts").read_text().splitlines())
    kind = [kind for _device, point, kind, *_ in mounts if point == "/"][-1]
    assert filesystems.name_of("/") in (_DOCKERS.get(kind, kind), "fuse")


def test_what_has_no_name_is_a_number() -> None:
    assert filesystems.name_of("/proc") == "0x9fa0"


def test_a_listing_tells_what_entries_are(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert filesystems.tells_kinds(str(tmp_path))
    with pytest.raises(FileNotFoundError):
        filesystems.tells_kinds(str(tmp_path / "none"))
