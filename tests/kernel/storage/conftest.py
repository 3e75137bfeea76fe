"""A store on the real kernel: with overlayfs, and with the full copies that stand in for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tiffin.storage import overlay
from tiffin.storage.snapshots import SnapshotStore
from tiffin.storage.store import Storage


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
