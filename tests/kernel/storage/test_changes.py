"""What a container changed, and what the engine laid out beneath it: docker diff."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from tests.kernel.storage.trees import (
    BASE,
    layer_of,
    names_in,
    reopened,
    unpack,
    write,
)
from tests.unit.storage.archives import archive, file
from tiffin.storage.layers import ADDED, DELETED, MODIFIED, Change
from tiffin.storage.snapshots import SnapshotStore
from tiffin.storage.store import Storage

pytestmark = pytest.mark.root


def test_changes_are_told_as_docker_diff_does(snapshots: SnapshotStore) -> None:
    base = unpack(snapshots, BASE)
    active = snapshots.prepare(base.chain_id)
    with snapshots.mounted(active) as root:
        os.unlink("etc/shadow", dir_fd=root)
        os.mkdir("new", dir_fd=root)
        write(root, "new/file", b"x")
        os.chmod("var/cache/a", 0o600, dir_fd=root)
        os.utime("bin", ns=(1, os.stat("bin", dir_fd=root).st_mtime_ns), dir_fd=root)
    assert snapshots.changes(active) == [
        Change("/etc", MODIFIED),
        Change("/etc/shadow", DELETED),
        Change("/new", ADDED),
        Change("/new/file", ADDED),
        Change("/var", MODIFIED),
        Change("/var/cache", MODIFIED),
        Change("/var/cache/a", MODIFIED),
    ]
    assert snapshots.usage(active) >= 2


def test_an_untouched_snapshot_has_no_changes(snapshots: SnapshotStore) -> None:
    base = unpack(snapshots, BASE)
    active = snapshots.prepare(base.chain_id)
    assert snapshots.changes(active) == []
    assert snapshots.usage(active) == 0


@pytest.mark.parametrize("image_has_etc", [True, False])
def test_mount_points_of_a_container_are_neither_changes_nor_committed(
    snapshots: SnapshotStore, image_has_etc: bool
) -> None:
    base = unpack(snapshots, BASE if image_has_etc else archive(file("bin")))
    active = snapshots.prepare(base.chain_id, furnished=True)
    assert snapshots.usage(active) == 0
    with snapshots.mounted(active) as root:
        assert os.readlink("etc/mtab", dir_fd=root) == "/proc/mounts"
        for name in ("proc", "sys", "dev/pts", "dev/shm", "dev/mqueue"):
            assert stat.S_ISDIR(os.stat(name, dir_fd=root).st_mode)
        for name in (".dockerenv", "dev/console", "etc/hosts", "etc/resolv.conf", "etc/hostname"):
            assert os.stat(name, dir_fd=root).st_size == 0
        os.chmod("etc/hosts", 0o666, dir_fd=root)
        assert snapshots.changes(active) == []
        empty = snapshots.commit_copy(active)
        write(root, "etc/resolv.conf", b"mine")
        write(root, "dev/shm/mine")
    assert names_in(layer_of(snapshots, empty.chain_id)) == []
    assert snapshots.changes(active) == [
        Change("/dev", ADDED),
        Change("/dev/shm", ADDED),
        Change("/dev/shm/mine", ADDED),
        Change("/etc", MODIFIED if image_has_etc else ADDED),
        Change("/etc/resolv.conf", ADDED),
    ]
    with snapshots.mounted(active) as root:
        os.unlink("etc/mtab", dir_fd=root)
        os.symlink("elsewhere", "etc/mtab", dir_fd=root)
    assert Change("/etc/mtab", ADDED) in snapshots.changes(active)
    with snapshots.mounted(active) as root:
        os.unlink("etc/mtab", dir_fd=root)
        os.unlink(".dockerenv", dir_fd=root)
    assert {change.kind for change in snapshots.changes(active)} <= {ADDED, MODIFIED}
    mine = snapshots.commit_copy(active)
    names = names_in(layer_of(snapshots, mine.chain_id))
    assert names == ["dev", "dev/shm", "dev/shm/mine", "etc", "etc/resolv.conf"]


def test_containers_of_an_image_share_their_furniture(storage: Storage) -> None:
    snapshots = storage.snapshots
    base = unpack(snapshots, BASE)
    one, two = (snapshots.overlay(snapshots.prepare(base.chain_id, furnished=True)) for _ in "12")
    if not snapshots.uses_overlay:
        assert os.path.lexists(f"{one.upper}/.dockerenv")
        return
    assert one.lower == two.lower
    assert os.listdir(one.upper) == []
    assert len(snapshots.overlay(snapshots.prepare(base.chain_id)).lower) == len(one.lower) - 1


def test_furniture_goes_with_its_image_and_comes_back_after_a_reboot(storage: Storage) -> None:
    base = unpack(storage.snapshots, BASE)
    storage.snapshots.settle()
    container = storage.snapshots.prepare(base.chain_id, furnished=True)
    furniture = Path(storage.data_root, "snapshots/furniture")
    storage.snapshots.overlay(container)
    for path in furniture.rglob("mtab"):
        path.unlink()  # as a power loss may have left it
    storage.database.put_meta("boot_id", "another boot")
    again = reopened(storage)
    try:
        with again.snapshots.mounted(container) as root:
            assert os.readlink("etc/mtab", dir_fd=root) == "/proc/mounts"
        again.snapshots.remove(container)
        again.snapshots.remove(base.chain_id)
        assert again.snapshots.wait_for_trash(10)
        assert os.listdir(furniture) == []
    finally:
        again.close()


def test_furniture_of_a_container_without_an_image(snapshots: SnapshotStore) -> None:
    active = snapshots.prepare(None, furnished=True)
    with snapshots.mounted(active) as root:
        assert sorted(os.listdir(root)) == [".dockerenv", "dev", "etc", "proc", "sys"]
    assert snapshots.changes(active) == []
