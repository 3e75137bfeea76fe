"""Layers become snapshots, on the real kernel."""

from __future__ import annotations

import gzip
import io
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from tests.busybox import busybox_tar
from tests.kernel.storage.trees import (
    BASE,
    directories,
    layer_of,
    tree,
    unpack,
)
from tests.unit.storage.archives import archive, device, directory, file, hard_link, symlink
from tiffin.core.image import OCI_LAYER, digest_of
from tiffin.errors import InvalidArgument
from tiffin.storage.snapshots import Committed, SnapshotStore
from tiffin.storage.store import Storage

pytestmark = pytest.mark.root


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
