"""Stores that are opened again: after an end, a reboot, a crash."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kernel.storage.trees import (
    BASE,
    directories,
    layer_of,
    read,
    reopened,
    unpack,
    write,
)
from tests.unit.storage.archives import archive, file
from tiffin.core.image import digest_of
from tiffin.errors import EngineFailure
from tiffin.storage import overlay
from tiffin.storage.store import Storage

pytestmark = pytest.mark.root


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
