"""The life of a snapshot on the real kernel: removed, viewed, mounted."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from tests.busybox import busybox_tar
from tests.kernel.storage.trees import (
    BASE,
    layer_of,
    names_in,
    unpack,
    write,
)
from tests.unit.storage.archives import archive, file
from tiffin.errors import Conflict, NotFound
from tiffin.kernel import rootpath
from tiffin.storage import overlay
from tiffin.storage.snapshots import SnapshotStore
from tiffin.storage.store import Storage

pytestmark = pytest.mark.root


def test_what_something_stands_on_or_looks_at_is_not_removed(snapshots: SnapshotStore) -> None:
    base = unpack(snapshots, BASE)
    active = snapshots.prepare(base.chain_id)
    with pytest.raises(Conflict):
        snapshots.remove(base.chain_id)
    snapshots.remove(active)
    with snapshots.view(base.chain_id), pytest.raises(Conflict):
        snapshots.remove(base.chain_id)
    snapshots.remove(base.chain_id)
    snapshots.remove(base.chain_id)
    assert snapshots.chains() == []


def test_what_is_removed_while_it_is_read_is_read_to_its_end(snapshots: SnapshotStore) -> None:
    base = unpack(snapshots, BASE)
    active = snapshots.prepare(base.chain_id)
    with snapshots.mounted(active) as root:
        write(root, "new", b"new")
    upper = snapshots.overlay(active).upper

    with snapshots.mounted(active, read_only=True) as root:
        snapshots.remove(active)
        assert snapshots.wait_for_trash()
        with pytest.raises(Conflict):
            snapshots.remove(base.chain_id)
        assert sorted(os.listdir(root)) == sorted({*names_in_root(BASE), "new"})
        with pytest.raises(NotFound), snapshots.kept(active):
            pass

    assert snapshots.wait_for_trash()
    assert not os.path.exists(upper)
    snapshots.remove(base.chain_id)


def names_in_root(packed: bytes) -> set[str]:
    return {name.partition("/")[0] for name in names_in(packed)}


def test_a_removed_layer_takes_its_blob_unless_another_chain_has_it(storage: Storage) -> None:
    one = unpack(storage.snapshots, BASE)
    two = unpack(storage.snapshots, busybox_tar())
    above = unpack(storage.snapshots, busybox_tar(), one.chain_id)
    storage.snapshots.remove(two.chain_id)
    assert layer_of(storage.snapshots, above.chain_id) == busybox_tar()
    storage.snapshots.remove(above.chain_id)
    assert list(storage.blobs) == [one.diff_id]


def test_prune_keeps_what_is_beneath_what_is_kept(snapshots: SnapshotStore) -> None:
    base = unpack(snapshots, BASE)
    kept = unpack(snapshots, archive(file("kept")), base.chain_id)
    other = unpack(snapshots, archive(file("other")), base.chain_id)
    lone = unpack(snapshots, archive(file("lone")))
    used = unpack(snapshots, archive(file("used")))
    snapshots.prepare(used.chain_id)
    assert set(snapshots.prune([kept.chain_id])) == {other.chain_id, lone.chain_id}
    assert snapshots.chains() == [base.chain_id, kept.chain_id, used.chain_id]


def test_unknown_snapshots_are_not_found(snapshots: SnapshotStore) -> None:
    for call in (
        lambda: snapshots.prepare("sha256:" + "0" * 64),
        lambda: snapshots.overlay("4711"),
        lambda: snapshots.commit("4711"),
        lambda: snapshots.layer_size("sha256:" + "0" * 64),
    ):
        with pytest.raises(NotFound):
            call()


def test_a_view_cannot_be_written_to(storage: Storage) -> None:
    if not storage.snapshots.uses_overlay:
        return
    base = unpack(storage.snapshots, BASE)
    with (
        storage.snapshots.view(base.chain_id) as root,
        pytest.raises(OSError, match="Read-only") as caught,
    ):
        write(root, "x")
    assert caught.value.errno == errno.EROFS


def test_nothing_is_mounted_in_the_hosts_namespace(snapshots: SnapshotStore) -> None:
    before = Path("/proc/self/mountinfo").read_text(encoding="utf-8")
    base = unpack(snapshots, BASE)
    active = snapshots.prepare(base.chain_id)
    with snapshots.mounted(active) as root, snapshots.view(base.chain_id):
        write(root, "x")
        assert Path("/proc/self/mountinfo").read_text(encoding="utf-8") == before


def test_the_directories_of_a_snapshot_can_be_mounted_as_overlay(storage: Storage) -> None:
    if not storage.snapshots.uses_overlay:
        return
    base = unpack(storage.snapshots, BASE)
    top = unpack(storage.snapshots, archive(file("top")), base.chain_id)
    plan = storage.snapshots.overlay(storage.snapshots.prepare(top.chain_id))
    assert len(plan.lower) == 2
    assert os.path.exists(f"{plan.lower[0]}/top")
    with overlay.merged(plan.lower, plan.upper, plan.work) as root:
        assert sorted(os.listdir(root)) == ["bin", "etc", "top", "var"]
    assert storage.snapshots.overlay(storage.snapshots.prepare(None)).lower != ()


def test_kernels_without_the_new_options_mount_in_a_thread(tmp_path: Path) -> None:
    layers = []
    for number in range(100):
        layer = tmp_path / f"la:y,er{number}"
        layer.mkdir()
        (layer / f"f{number}").write_text("x")
        layers.append(str(layer))
    for name in ("upper", "work"):
        (tmp_path / name).mkdir()
    mounts_before = Path("/proc/self/mountinfo").read_text(encoding="utf-8")
    here = os.getcwd()
    fd = overlay.mount_in_thread(layers, str(tmp_path / "upper"), str(tmp_path / "work"))
    try:
        root = os.open(".", os.O_RDONLY, dir_fd=fd)
        assert len(os.listdir(root)) == 100
        write(root, "new", b"data")
        os.mkdir("below", dir_fd=root)
        os.symlink("/below/../../../new", "link", dir_fd=root)
        assert rootpath.stat_in(root, "/link").st_size == len(b"data")
        os.close(root)
    finally:
        os.close(fd)
    assert (tmp_path / "upper/new").exists()
    assert os.getcwd() == here
    assert Path("/proc/self/mountinfo").read_text(encoding="utf-8") == mounts_before
