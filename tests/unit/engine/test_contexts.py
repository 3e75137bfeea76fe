"""Receivers of build contexts: what they hold is given back, whoever goes away in the middle."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from tests.patience import patient
from tiffin.engine.contexts import Receiver
from tiffin.storage import jail
from tiffin.storage.store import Storage


class Snapshots:
    """Directories without anything below them."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.removed: list[str] = []

    def prepare(self, _parent: str | None) -> str:
        return "one"

    def overlay(self, _active: str) -> SimpleNamespace:
        return SimpleNamespace(upper=str(self._directory))

    def remove(self, active: str) -> None:
        self.removed.append(active)


@pytest.fixture
def snapshots(tmp_path: Path) -> Snapshots:
    return Snapshots(tmp_path)


def storage(snapshots: Snapshots) -> Storage:
    return cast(Storage, SimpleNamespace(snapshots=snapshots))


async def nothing() -> AsyncIterator[bytes]:
    return
    yield b""


def test_a_client_that_goes_while_its_context_is_unpacked_leaves_nothing(
    snapshots: Snapshots, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, going_on = threading.Event(), threading.Event()

    def unpack(*_arguments: object, **_named: object) -> None:
        begun.set()
        going_on.wait()

    monkeypatch.setattr(jail, "unpack", unpack)

    async def scene() -> None:
        receiver = Receiver(storage(snapshots))
        receiving = asyncio.create_task(receiver.receive(nothing()))
        await asyncio.to_thread(begun.wait)
        for _ in range(3):  # it waits for the end of the unpacking by now
            await asyncio.sleep(0)
        receiving.cancel()
        await asyncio.wait((receiving,))
        going_on.set()
        async with asyncio.timeout(patient(30)):
            await receiver.close()

    asyncio.run(scene())
    assert snapshots.removed == ["one"]


def test_without_a_thread_nothing_is_left(
    snapshots: Snapshots, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    before = os.listdir("/proc/self/fd")
    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(RuntimeError):
        Receiver(storage(snapshots))
    assert (snapshots.removed, os.listdir("/proc/self/fd")) == (["one"], before)
