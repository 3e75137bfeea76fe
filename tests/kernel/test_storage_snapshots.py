"""Snapshots on the real kernel: overlayfs, and the full copies that stand in for it."""

from __future__ import annotations

import errno
import gzip
import hashlib
import io
import os
import shutil
import stat
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zstandard

from tests.busybox import busybox_tar
from tests.unit.storage.archives import archive, device, directory, file, hard_link, symlink
from tiffin.core.image import OCI_LAYER, digest_of
from tiffin.errors import Conflict, EngineFailure, InvalidArgument, NotFound
from tiffin.kernel import rootpath
from tiffin.storage import overlay
from tiffin.storage.layers import ADDED, DELETED, MODIFIED, Change
from tiffin.storage.snapshots import Committed, SnapshotStore
from tiffin.storage.store import Storage

pytestmark = pytest.mark.root


@pytest.fixture(params=["overlay", "copy"])
def storage(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Storage]:
    if request.param == "copy":
        monkeypatch.setattr(overlay, "is_supported", lambda _: False)
    opened = Storage.open(str(tmp_path / "data"))
    assert opened.snapshots.uses_overlay == (request.param == "overlay")
    yield opened
    opened.close()


@pytest.fixture
def snapshots(storage: Storage) -> SnapshotStore:
    return storage.snapshots


def unpack(snapshots: SnapshotStore, data: bytes, parent: str | None = None) -> Committed:
    return snapshots.unpack(io.BytesIO(data), OCI_LAYER, parent, digest_of(data))


def layer_of(snapshots: SnapshotStore, chain: str) -> bytes:
    out = io.BytesIO()
    snapshots.write_layer(chain, out)
    return out.getvalue()


def names_in(data: bytes) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return tar.getnames()


def tree(snapshots: SnapshotStore, chain: str) -> list[str]:
    out = io.BytesIO()
    snapshots.export(chain, out)
    return names_in(out.getvalue())


def write(root: int, path: str, data: bytes = b"", mode: int = 0o644) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode, dir_fd=root)
    os.write(fd, data)
    os.close(fd)


def read(root: int, path: str) -> bytes:
    fd = os.open(path, os.O_RDONLY, dir_fd=root)
    try:
        return os.read(fd, 1 << 20)
    finally:
        os.close(fd)


def directories(storage: Storage) -> list[str]:
    """What is in snapshots/, but the stock of empty ones."""
    root = Path(storage.data_root, "snapshots")
    known = {*storage.snapshots.actives(), *(str(row.id) for row in storage.database.snapshots())}
    return [
        path.name
        for path in root.iterdir()
        if path.name not in ("empty", "furniture")
        and (path.name in known or any((path / "fs").iterdir()))
    ]


BASE = archive(
    directory("etc"),
    file("etc/passwd", b"root", 0o640),
    file("etc/shadow", b"secret"),
    directory("var"),
    directory("var/cache", 0o1777),
    file("var/cache/a", b"a"),
    file("var/cache/b", b"b"),
    file("bin", b"\x7fELF", 0o4755),
)


# Commits


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
        for name in ("a", "b"):
            os.unlink(f"var/cache/{name}", dir_fd=root)
        os.rmdir("var/cache", dir_fd=root)
        os.mkdir("var/cache", dir_fd=root)
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
        for name in ("a", "b"):
            os.unlink(f"var/cache/{name}", dir_fd=root)
        os.rmdir("var/cache", dir_fd=root)
        os.mkdir("var/cache", dir_fd=root)
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
        for name in ("a", "b"):
            os.unlink(f"var/cache/{name}", dir_fd=root)
        os.rmdir("var/cache", dir_fd=root)
        os.mkdir("var/cache", dir_fd=root)
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


# Unpacking


@pytest.mark.parametrize(
    "compress", [bytes, gzip.compress, zstandard.ZstdCompressor().compress], ids=["", "gz", "zst"]
)
def test_a_layer_is_kept_as_it_came(storage: Storage, compress: Callable[[bytes], bytes]) -> None:
    data = compress(busybox_tar())
    digest = storage.blobs.put(data)
    diff_id = digest_of(busybox_tar())
    with storage.blobs.open(digest) as blob:
        committed = storage.snapshots.unpack(blob, OCI_LAYER, None, diff_id)
    assert committed == Committed(diff_id, diff_id, len(busybox_tar()))
    assert layer_of(storage.snapshots, diff_id) == busybox_tar()
    if compress is not bytes:
        assert storage.snapshots.layer_blob(diff_id).digest == digest
    with storage.snapshots.view(diff_id) as root:
        assert os.readlink("bin/sh", dir_fd=root) == "busybox"
        assert os.stat("tmp", dir_fd=root).st_mode & 0o7777 == 0o1777


def test_a_plain_layer_is_compressed_once_it_is_asked_for(storage: Storage) -> None:
    committed = unpack(storage.snapshots, BASE)
    before = storage.blobs.path(committed.diff_id)
    blob = storage.snapshots.layer_blob(committed.chain_id)
    assert gzip.decompress(storage.blobs.read(blob.digest)) == BASE
    assert storage.snapshots.layer_blob(committed.chain_id) == blob
    assert not os.path.exists(before)
    assert layer_of(storage.snapshots, committed.chain_id) == BASE


def test_parents_beneath_keep_their_mode_and_owner(snapshots: SnapshotStore) -> None:
    base = unpack(snapshots, archive(directory("a", 0o1770, uid=33, gid=44), directory("a/b")))
    top = unpack(snapshots, archive(file("a/b/c")), base.chain_id)
    with snapshots.view(top.chain_id) as root:
        status = os.stat("a", dir_fd=root)
        assert (status.st_mode & 0o7777, status.st_uid, status.st_gid) == (0o1770, 33, 44)


def test_whiteouts_and_opaque_directories_hide_lower_layers(snapshots: SnapshotStore) -> None:
    base = unpack(snapshots, BASE)
    top = unpack(
        snapshots,
        archive(
            file("etc/.wh.shadow"),
            file("var/cache/new"),
            file("var/cache/.wh..wh..opq"),
        ),
        base.chain_id,
    )
    assert tree(snapshots, top.chain_id) == [
        "bin",
        "etc",
        "etc/passwd",
        "var",
        "var/cache",
        "var/cache/new",
    ]


def test_an_opaque_root_hides_all_of_the_lower_layers(snapshots: SnapshotStore) -> None:
    base = unpack(snapshots, BASE)
    top = unpack(
        snapshots, archive(file(".wh..wh..opq"), directory("var"), file("var/x")), base.chain_id
    )
    assert tree(snapshots, top.chain_id) == ["var", "var/x"]


@pytest.mark.parametrize(
    "data",
    [
        archive(file("../evil", b"evil")),
        archive(file("ok"), hard_link("h", "../../../../../etc/passwd")),
        archive(file("ok"))[:700] + b"rubbish" * 100,
        gzip.compress(archive(file("ok", b"x" * 5000)))[:-8],
        b"\x28\xb5\x2f\xfd" + b"rubbish" * 50,
        archive(file("d/f" * 2000)),
        archive(file("a"), file("a/b")),
    ],
)
def test_a_bad_archive_is_refused_and_leaves_nothing(storage: Storage, data: bytes) -> None:
    with pytest.raises(InvalidArgument):
        unpack(storage.snapshots, data)
    assert storage.snapshots.wait_for_trash(10)
    assert directories(storage) == []
    assert list(storage.blobs) == []
    assert storage.snapshots.chains() == []


def test_a_layer_with_another_diff_id_is_refused_and_leaves_nothing(storage: Storage) -> None:
    with pytest.raises(InvalidArgument, match="diff ID"):
        storage.snapshots.unpack(io.BytesIO(BASE), OCI_LAYER, None, digest_of(b"other"))
    assert storage.snapshots.wait_for_trash(10)
    assert directories(storage) == []
    assert list(storage.blobs) == []


def test_links_in_a_layer_lead_nowhere_outside(snapshots: SnapshotStore, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    with pytest.raises(InvalidArgument):
        unpack(snapshots, archive(symlink("out", str(victim)), file("out/evil", b"evil")))
    assert list(victim.iterdir()) == []


def test_a_layer_is_unpacked_once_even_if_two_ask_for_it(storage: Storage) -> None:
    data = busybox_tar()
    results: list[Committed] = []
    threads = [
        threading.Thread(target=lambda: results.append(unpack(storage.snapshots, data)))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(results)) == 1
    assert len(results) == 3
    assert storage.snapshots.wait_for_trash(10)
    assert len(directories(storage)) == 1


def test_device_nodes_are_kept(snapshots: SnapshotStore) -> None:
    committed = unpack(snapshots, archive(device("null", 1, 3)))
    with snapshots.view(committed.chain_id) as root:
        assert os.stat("null", dir_fd=root).st_rdev == os.makedev(1, 3)


def test_what_the_reader_of_a_stream_raises_comes_through(snapshots: SnapshotStore) -> None:
    class Broken(io.RawIOBase):
        def read(self, _size: int = -1) -> bytes:
            raise ConnectionResetError("peer is gone")

    with pytest.raises(ConnectionResetError):
        snapshots.unpack(Broken(), OCI_LAYER, None, digest_of(b""))  # type: ignore[arg-type]


# docker diff


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


# Life of a snapshot


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


# Opening


def reopened(storage: Storage) -> Storage:
    storage.close()
    return Storage.open(storage.data_root)


def test_a_second_engine_is_kept_out(storage: Storage) -> None:
    with pytest.raises(EngineFailure, match=f"in use by another.*{os.getpid()}"):
        Storage.open(storage.data_root)


def test_all_is_there_again_after_reopening(storage: Storage) -> None:
    base = unpack(storage.snapshots, BASE)
    active = storage.snapshots.prepare(base.chain_id)
    with storage.snapshots.mounted(active) as root:
        write(root, "mine", b"data")
    again = reopened(storage)
    try:
        assert again.snapshots.uses_overlay == storage.snapshots.uses_overlay
        assert again.snapshots.chains() == [base.chain_id]
        assert again.snapshots.actives() == [active]
        with again.snapshots.mounted(active) as root:
            assert read(root, "mine") == b"data"
        assert again.snapshots.prepare(None) != active
    finally:
        again.close()


def test_rubbish_is_thrown_away_on_opening(storage: Storage) -> None:
    (Path(storage.data_root) / "snapshots/999/fs").mkdir(parents=True)
    (Path(storage.data_root) / "snapshots/999/fs/f").write_text("x")
    (Path(storage.data_root) / "ingest/1-1").write_text("x")
    again = reopened(storage)
    try:
        assert again.snapshots.wait_for_trash(10)
        assert directories(again) == []
        assert os.listdir(Path(storage.data_root) / "ingest") == []
        assert os.listdir(Path(storage.data_root) / "trash") == []
    finally:
        again.close()


def test_after_a_reboot_only_settled_layers_are_believed(storage: Storage) -> None:
    settled = unpack(storage.snapshots, BASE)
    storage.database.put_image("sha256:image", "sha256:config", 1, 1)
    unsettled = unpack(storage.snapshots, archive(file("x")), settled.chain_id)
    storage.database.put_meta("boot_id", "another boot")
    again = reopened(storage)
    try:
        assert again.snapshots.chains() == [settled.chain_id]
        assert not again.snapshots.exists(unsettled.chain_id)
    finally:
        again.close()


def test_without_a_reboot_unsettled_layers_are_believed(storage: Storage) -> None:
    unsettled = unpack(storage.snapshots, BASE)
    again = reopened(storage)
    try:
        assert again.snapshots.exists(unsettled.chain_id)
    finally:
        again.close()


# Crashes


CRASH = """
import hashlib, io, os, sys
from tests.busybox import busybox_tar
from tiffin.storage.store import Storage
storage = Storage.open(sys.argv[1])
diff_id = "sha256:" + hashlib.sha256(busybox_tar()).hexdigest()
base = storage.snapshots.unpack(io.BytesIO(busybox_tar()), "", None, diff_id)
active = storage.snapshots.prepare(base.chain_id)
with storage.snapshots.mounted(active) as root:
    os.mkdir("new", dir_fd=root)
top = storage.snapshots.commit(active)
digest = storage.blobs.put(b"config")
storage.database.put_image(digest, digest, 1, 1)
storage.database.put_tag("busybox", digest)
storage.close()
"""


@pytest.mark.parametrize(
    "point",
    [
        "blob-written:1",
        "blob-renamed:1",
        "layer-unpacked:1",
        "layer-hashed:1",
        "blob-written:2",
        "blob-renamed:2",
        "snapshots-synced:1",
        "nowhere",
    ],
)
def test_a_crash_anywhere_leaves_a_store_that_opens_and_names_nothing_missing(
    tmp_path: Path, point: str
) -> None:
    root = tmp_path / "data"
    environment = {**os.environ, "TIFFIN_FAIL_AT": point, "PYTHONPATH": os.getcwd()}
    run = subprocess.run([sys.executable, "-c", CRASH, root], env=environment, check=False)
    assert run.returncode == (0 if point == "nowhere" else 137)
    storage = Storage.open(str(root))
    try:
        check(storage)
    finally:
        storage.close()
    # The same work, done again, succeeds.
    del environment["TIFFIN_FAIL_AT"]
    subprocess.run([sys.executable, "-c", CRASH, root], env=environment, check=True)
    storage = Storage.open(str(root))
    try:
        check(storage)
        assert storage.database.tag("busybox") is not None
    finally:
        storage.close()


def check(storage: Storage) -> None:
    """Whatever is named is there and is what its name says; what is not named is gone."""
    assert storage.snapshots.wait_for_trash(10)
    assert os.listdir(os.path.join(storage.data_root, "ingest")) == []
    for digest in storage.blobs:
        with storage.blobs.open(digest) as blob:
            assert "sha256:" + hashlib.sha256(blob.read()).hexdigest() == digest
    for chain in storage.snapshots.chains():
        layer = layer_of(storage.snapshots, chain)
        assert digest_of(layer) == storage.snapshots.diff_id(chain)
    for image in storage.database.images():
        assert storage.blobs.exists(image.config_digest)
    known = {str(row.id) for row in storage.database.snapshots()}
    assert set(directories(storage)) == known
    shutil.rmtree(os.path.join(storage.data_root, "probe"), ignore_errors=True)


def test_a_half_made_probe_of_a_crash_does_not_decide(storage: Storage) -> None:
    kind = storage.snapshots.uses_overlay
    probe = Path(storage.data_root, "probe/upper")
    probe.mkdir(parents=True)
    os.mknod(probe / "gone", 0o20000, 0)
    again = reopened(storage)
    try:
        assert again.snapshots.uses_overlay == kind
    finally:
        again.close()


def test_blobs_of_layers_that_were_lost_go_too(storage: Storage) -> None:
    committed = unpack(storage.snapshots, BASE)
    storage.database.delete_snapshot(storage.database.snapshots()[0].id)
    again = reopened(storage)
    try:
        assert not again.snapshots.exists(committed.chain_id)
        assert list(again.blobs) == []
        assert again.database.layer_blobs() == []
    finally:
        again.close()


@pytest.mark.parametrize("storage", ["overlay"], indirect=True)
def test_what_we_write_keeps_no_unmount_waiting_for_the_disk(storage: Storage) -> None:
    active = storage.snapshots.prepare(None)
    work = Path(storage.snapshots.overlay(active).work)
    with storage.snapshots.mounted(active) as root:
        write(root, "new", b"data")
        # The kernel's own mark of such a mount, for which it refuses the directory ever after.
        assert (work / "passing/work/incompat/volatile").is_dir()
    assert os.listdir(work) == []


@pytest.mark.parametrize("storage", ["overlay"], indirect=True)
def test_a_write_that_a_crash_cut_off_hinders_no_later_one(storage: Storage) -> None:
    active = storage.snapshots.prepare(None)
    paths = storage.snapshots.overlay(active)
    left = Path(paths.work, "passing/work/incompat/volatile")
    left.mkdir(parents=True)
    with overlay.merged(paths.lower, paths.upper, paths.work):
        pass  # as a container that starts then
    with storage.snapshots.mounted(active) as root:
        write(root, "new", b"data")
    assert Path(paths.upper, "new").read_bytes() == b"data"


@pytest.mark.parametrize("storage", ["overlay"], indirect=True)
def test_what_a_write_left_that_a_crash_cut_off_goes_when_the_store_opens(storage: Storage) -> None:
    work = Path(storage.snapshots.overlay(storage.snapshots.prepare(None)).work)
    (work / "passing/work/incompat/volatile").mkdir(parents=True)
    again = reopened(storage)
    try:
        assert os.listdir(work) == []
    finally:
        again.close()
