"""Snapshots become layers, on the real kernel."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest

from tests.kernel.storage.trees import (
    BASE,
    layer_of,
    names_in,
    tree,
    unpack,
    write,
)
from tests.unit.storage.archives import archive, directory, file
from tiffin.core.image import digest_of
from tiffin.errors import Conflict
from tiffin.storage.snapshots import SnapshotStore
from tiffin.storage.store import Storage

pytestmark = pytest.mark.root


def replace_cache(root: int) -> None:
    """An empty directory in the stead of BASE's: overlayfs says that it is opaque."""
    for name in ("a", "b"):
        os.unlink(f"var/cache/{name}", dir_fd=root)
    os.rmdir("var/cache", dir_fd=root)
    os.mkdir("var/cache", dir_fd=root)


def test_a_tree_that_is_too_deep_for_paths_is_told_whole_and_becomes_no_layer(
    snapshots: SnapshotStore,
) -> None:
    """A program makes one with mkdir and chdir; who unpacked it would have no path to open."""
    active = snapshots.prepare(unpack(snapshots, BASE).chain_id)
    with snapshots.mounted(active) as root:
        at = os.dup(root)
        for _ in range(30):
            os.mkdir("d" * 200, dir_fd=at)
            inner = os.open("d" * 200, os.O_RDONLY, dir_fd=at)
            os.close(at)
            at = inner
        write(at, "file", b"four")
        os.close(at)
    assert snapshots.usage(active) >= 4
    deepest = "/".join(["d" * 200] * 30 + ["file"])
    assert snapshots.changes(active)[-1].path == "/" + deepest
    out = io.BytesIO()
    snapshots.export(active, out)
    assert deepest in names_in(out.getvalue())
    for ask in (lambda: snapshots.commit_copy(active), lambda: snapshots.commit(active)):
        with pytest.raises(Conflict, match=r"/ddd.*: file name too long"):
            ask()
    snapshots.remove(active)


def test_a_commit_holds_what_changed(snapshots: SnapshotStore) -> None:
    base = unpack(snapshots, BASE)
    active = snapshots.prepare(base.chain_id)
    with snapshots.mounted(active) as root:
        os.unlink("etc/shadow", dir_fd=root)
        write(root, "etc/new", b"new")
        os.mkdir("opt", dir_fd=root)
    committed = snapshots.commit(active)
    data = layer_of(snapshots, committed.chain_id)
    assert names_in(data) == ["etc", "etc/new", "etc/.wh.shadow", "opt"]
    assert committed.diff_id == digest_of(data)
    assert committed.size == len(data)
    assert committed.chain_id == digest_of(f"{base.chain_id} {committed.diff_id}".encode())
    assert active not in snapshots.actives()
    assert snapshots.layer_size(committed.chain_id) == 3


def test_a_replaced_directory_hides_what_was_beneath(snapshots: SnapshotStore) -> None:
    base = unpack(snapshots, BASE)
    active = snapshots.prepare(base.chain_id)
    with snapshots.mounted(active) as root:
        replace_cache(root)
        write(root, "var/cache/c")
    committed = snapshots.commit(active)
    again = unpack(snapshots, layer_of(snapshots, committed.chain_id), base.chain_id)
    assert again == committed
    assert tree(snapshots, committed.chain_id) == [
        "bin",
        "etc",
        "etc/passwd",
        "etc/shadow",
        "var",
        "var/cache",
        "var/cache/c",
    ]


def test_the_layer_of_a_commit_unpacks_elsewhere_to_the_same_tree(
    snapshots: SnapshotStore, tmp_path: Path
) -> None:
    base = unpack(snapshots, BASE)
    active = snapshots.prepare(base.chain_id)
    with snapshots.mounted(active) as root:
        replace_cache(root)
        os.chmod("bin", 0o755, dir_fd=root)
    committed = snapshots.commit(active)
    other = Storage.open(str(tmp_path / "other"))
    try:
        below = unpack(other.snapshots, BASE)
        data = layer_of(snapshots, committed.chain_id)
        copy = unpack(other.snapshots, data, below.chain_id)
        assert copy == committed
        assert tree(other.snapshots, copy.chain_id) == tree(snapshots, committed.chain_id)
    finally:
        other.close()


def test_the_same_changes_are_the_same_layer(snapshots: SnapshotStore) -> None:
    base = unpack(snapshots, BASE)
    made = []
    for order in (("x", "y", "z"), ("z", "x", "y")):
        active = snapshots.prepare(base.chain_id)
        with snapshots.mounted(active) as root:
            for name in order:
                write(root, name, name.encode())
                os.utime(name, (5, 5), dir_fd=root)
        made.append(snapshots.commit(active))
    assert made[0] == made[1]
    assert snapshots.chains() == [base.chain_id, made[0].chain_id]


def test_the_same_layer_may_be_removed_while_it_is_made_again(
    snapshots: SnapshotStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = snapshots.commit(snapshots.prepare(None))
    throw = snapshots._directories.throw

    def remove_first(number: int) -> None:
        monkeypatch.undo()
        snapshots.remove(first.chain_id)
        throw(number)

    again = snapshots.prepare(None)
    monkeypatch.setattr(snapshots._directories, "throw", remove_first)
    assert snapshots.commit(again) == first
    assert not snapshots.exists(first.chain_id)


def test_a_time_limit_makes_commits_reproducible(snapshots: SnapshotStore) -> None:
    base = unpack(snapshots, BASE)
    made = []
    for _ in range(2):
        active = snapshots.prepare(base.chain_id)
        with snapshots.mounted(active) as root:
            write(root, "new", b"x")
            os.mkdir("d", dir_fd=root)
        made.append(snapshots.commit(active, latest_ns=1_700_000_000_000_000_000))
    assert made[0] == made[1]
    assert digest_of(layer_of(snapshots, made[0].chain_id)) == made[0].diff_id


def test_hard_links_capabilities_and_setuid_survive_commit_and_unpack(
    snapshots: SnapshotStore,
) -> None:
    capability = bytes.fromhex("0100000200040000000000000000000000000000")
    active = snapshots.prepare(None)
    with snapshots.mounted(active) as root:
        write(root, "one", b"x" * 1000)
        os.link("one", "two", src_dir_fd=root, dst_dir_fd=root)
        write(root, "ping", b"ping")
        os.chmod("ping", 0o6755, dir_fd=root)
        fd = os.open("ping", os.O_RDONLY, dir_fd=root)
        os.setxattr(fd, "security.capability", capability)
        os.close(fd)
        os.mkfifo("fifo", dir_fd=root)
        os.mknod("null", 0o20666, os.makedev(1, 3), dir_fd=root)
        os.chown("two", 4_000_000_000, 70_000, dir_fd=root)
    committed = snapshots.commit(active)
    data = layer_of(snapshots, committed.chain_id)
    snapshots.remove(committed.chain_id)
    copy = unpack(snapshots, data)
    with snapshots.view(copy.chain_id) as root:
        one, two = (os.stat(name, dir_fd=root) for name in ("one", "two"))
        assert (one.st_ino, one.st_uid, one.st_gid) == (two.st_ino, 4_000_000_000, 70_000)
        fd = os.open("ping", os.O_RDONLY, dir_fd=root)
        assert os.getxattr(fd, "security.capability") == capability
        assert os.fstat(fd).st_mode & 0o7777 == 0o6755
        os.close(fd)
        assert os.stat("null", dir_fd=root).st_rdev == os.makedev(1, 3)


def test_a_copy_is_committed_while_the_snapshot_goes_on(snapshots: SnapshotStore) -> None:
    base = unpack(snapshots, BASE)
    active = snapshots.prepare(base.chain_id)
    with snapshots.mounted(active) as root:
        os.unlink("etc/shadow", dir_fd=root)
        write(root, "one")
        os.link("one", "two", src_dir_fd=root, dst_dir_fd=root)
        first = snapshots.commit_copy(active)
        write(root, "three")
    second = snapshots.commit(active)
    assert "etc/shadow" not in tree(snapshots, first.chain_id)
    assert "three" not in tree(snapshots, first.chain_id)
    assert "three" in tree(snapshots, second.chain_id)
    with tarfile.open(fileobj=io.BytesIO(layer_of(snapshots, first.chain_id))) as tar:
        assert tar.getmember("two").islnk()


def test_an_opaque_directory_stays_so_in_a_copy(snapshots: SnapshotStore) -> None:
    base = unpack(snapshots, BASE)
    active = snapshots.prepare(base.chain_id)
    with snapshots.mounted(active) as root:
        replace_cache(root)
    copy = snapshots.commit_copy(active)
    assert "var/cache/a" not in tree(snapshots, copy.chain_id)
    assert snapshots.commit(active) == copy


def test_the_mode_of_the_root_goes_from_layer_to_layer(snapshots: SnapshotStore) -> None:
    base = unpack(snapshots, archive(directory("./", 0o711), file("f")))
    active = snapshots.prepare(base.chain_id)
    with snapshots.mounted(active) as root:
        assert os.fstat(root).st_mode & 0o7777 == 0o711
        write(root, "g")
    committed = snapshots.commit(active)
    assert names_in(layer_of(snapshots, committed.chain_id)) == ["g"]
    with snapshots.view(committed.chain_id) as root:
        assert os.fstat(root).st_mode & 0o7777 == 0o711
