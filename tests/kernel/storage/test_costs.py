"""Commit and diff cost what changed, not what there is: files looked at are counted, not time."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.storage.archives import archive, directory, file
from tiffin.core.image import OCI_LAYER, digest_of
from tiffin.kernel import rootpath
from tiffin.storage.layers import ADDED, DELETED, MODIFIED, Change
from tiffin.storage.store import Storage

pytestmark = pytest.mark.root

FOLDERS, FILES_EACH = 100, 200
FEW = 400  # system calls by name: the base has fifty times as many files


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Storage, str]]:
    """20,000 files in a committed layer."""
    entries = []
    for folder in range(FOLDERS):
        entries.append(directory(f"d{folder}"))
        entries += [file(f"d{folder}/f{number}", b"x") for number in range(FILES_EACH)]
    data = archive(*entries)
    storage = Storage.open(str(tmp_path_factory.mktemp("costs") / "data"))
    try:
        if not storage.snapshots.uses_overlay:
            pytest.skip("no overlayfs here")
        made = storage.snapshots.unpack(io.BytesIO(data), OCI_LAYER, None, digest_of(data))
        yield storage, made.chain_id
    finally:
        storage.close()


@pytest.fixture
def looked_at(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Everything that storage opens, lists or asks for by name, one entry each time."""
    seen: list[str] = []

    def counted(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            found = real(*arguments, **options)
            seen.extend([name] * (len(found) if name == "listdir" else 1))
            return found

        return call

    for name in ("stat", "lstat", "open", "listdir", "readlink"):
        monkeypatch.setattr(os, name, counted(name, getattr(os, name)))
    monkeypatch.setattr(rootpath, "openat2", counted("openat2", rootpath.openat2))
    return seen


def test_what_is_counted_would_tell_a_scan_of_the_base(
    base: tuple[Storage, str], looked_at: list[str]
) -> None:
    storage, chain = base
    storage.snapshots.export(chain, io.BytesIO())
    assert len(looked_at) > FOLDERS * FILES_EACH


def test_a_commit_and_a_diff_look_at_what_changed_alone(
    base: tuple[Storage, str], looked_at: list[str]
) -> None:
    storage, chain = base
    snapshots = storage.snapshots
    active = snapshots.prepare(chain)
    with snapshots.mounted(active) as root:
        fd = os.open("d7/f7", os.O_WRONLY | os.O_APPEND, dir_fd=root)
        os.write(fd, b"changed")
        os.close(fd)
        os.unlink("d8/f8", dir_fd=root)
        os.close(os.open("d9/new", os.O_WRONLY | os.O_CREAT, dir_fd=root))
    looked_at.clear()

    changes = snapshots.changes(active)
    of_diff = len(looked_at)
    committed = snapshots.commit_copy(active)
    of_commit = len(looked_at) - of_diff

    assert changes == [
        Change("/d7", MODIFIED),
        Change("/d7/f7", MODIFIED),
        Change("/d8", MODIFIED),
        Change("/d8/f8", DELETED),
        Change("/d9", MODIFIED),
        Change("/d9/new", ADDED),
    ]
    assert 0 < of_diff < FEW
    assert 0 < of_commit < FEW
    upper = Path(snapshots.overlay(snapshots.prepare(committed.chain_id)).lower[0])
    held = sorted(str(path.relative_to(upper)) for path in upper.rglob("*"))
    assert held == ["d7", "d7/f7", "d8", "d8/f8", "d9", "d9/new"]
