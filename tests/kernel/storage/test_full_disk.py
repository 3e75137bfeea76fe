"""A full disk: what is refused is named, nothing half-made stays, and what helps still works."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.disks import fill, small_disk
from tests.unit.storage.archives import archive, file
from tests.unit.storage.test_database import container
from tiffin.core.container import Volume
from tiffin.core.image import OCI_LAYER, Descriptor, digest_of
from tiffin.errors import EngineFailure
from tiffin.storage.database import Database
from tiffin.storage.store import Storage

pytestmark = pytest.mark.root


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "disk"
    path.mkdir()
    with small_disk(path, "6m"):
        yield path


def test_it_is_named_and_nothing_stays(disk: Path, tmp_path: Path) -> None:
    archive_file = tmp_path / "layer"
    data = archive(file("big", os.urandom(8_000_000)), file("after"))
    archive_file.write_bytes(data)
    storage = Storage.open(str(disk / "data"))
    try:
        source = Descriptor(OCI_LAYER, digest_of(data), len(data))
        with (
            archive_file.open("rb") as blob,
            pytest.raises(EngineFailure, match="no space left on device"),
        ):
            storage.snapshots.unpack(blob, OCI_LAYER, None, digest_of(data), source=source)
        with pytest.raises(EngineFailure, match="no space left on device"):
            storage.blobs.put(data)
        assert storage.snapshots.wait_for_trash(10)
        assert os.listdir(disk / "data/ingest") == []
        assert list(storage.blobs) == []
        assert storage.database.snapshots() == []
        active = storage.snapshots.prepare(None)
        assert storage.snapshots.actives() == [active]
    finally:
        storage.close()


def test_snapshots_are_removed_one_after_another(disk: Path) -> None:
    storage = Storage.open(str(disk / "data"))
    try:
        actives = [storage.snapshots.prepare(None) for _ in range(20)]
        assert storage.snapshots.wait_for_trash(10)
        fill(disk / "filler")
        for active in actives:
            storage.snapshots.remove(active)
        assert storage.snapshots.actives() == []
        assert storage.database.snapshots() == []
    finally:
        storage.close()


def test_a_removal_that_fails_can_be_tried_again(
    disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Database, __: int) -> None:
        raise EngineFailure("cannot write the database: no space left on device")

    storage = Storage.open(str(disk / "data"))
    try:
        active = storage.snapshots.prepare(None)
        with monkeypatch.context() as patch:
            patch.setattr(Database, "delete_snapshot", refuse)
            with pytest.raises(EngineFailure):
                storage.snapshots.remove(active)
        assert storage.snapshots.actives() == [active]
        storage.snapshots.remove(active)
        assert storage.snapshots.actives() == []
    finally:
        storage.close()


@pytest.mark.parametrize("crashed", [False, True])
def test_rows_of_what_exists_are_kept_many_times_over(disk: Path, crashed: bool) -> None:
    database = Database(str(disk / "db"))
    database.put_container(container(1, "web"))
    database.put_volume(Volume(name="data", mountpoint="/x", created_ns=1))
    if not crashed:
        database.close()
        database = Database(str(disk / "db"))
        database.take_headroom()
    fill(disk / "filler")
    for number in range(1000):  # five times what the log holds
        database.put_container(container(1, f"web{number}"))
    assert database.containers()[0].name == "web999"
    database.delete_volume("data")
    database.delete_container(container(1, "").id)
    assert database.containers() == []
    database.close()


def test_a_database_can_be_opened_and_emptied(disk: Path) -> None:
    database = Database(str(disk / "db"))
    database.put_container(container(1, "web"))
    database.close()
    fill(disk / "filler")
    again = Database(str(disk / "db"))
    again.take_headroom()
    again.delete_container(container(1, "").id)
    again.close()
    last = Database(str(disk / "db"))
    assert last.containers() == []
    last.close()


def test_what_does_not_fit_is_refused_whole(disk: Path) -> None:
    database = Database(str(disk / "db"))
    fill(disk / "filler")
    with pytest.raises(EngineFailure, match="cannot write the database: no space left on device"):
        put_many(database)
    kept = len(database.containers())
    assert kept
    (disk / "filler").unlink()
    database.put_container(container(kept + 1, "again"))
    assert len(database.containers()) == kept + 1
    database.close()


def put_many(database: Database) -> None:
    for number in range(100_000):
        database.put_container(container(number, f"c{number}"))
