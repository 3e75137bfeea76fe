"""Named locks: who waits long is told of, with the holder's stack; nothing stays behind."""

from __future__ import annotations

import asyncio

import pytest

from tiffin.engine import locks, stacks
from tiffin.engine.locks import Locks


async def hold(lock: locks.NamedLock, held: asyncio.Event, until: asyncio.Event) -> None:
    async with lock:
        held.set()
        await sleeping_on(until)


async def sleeping_on(event: asyncio.Event) -> None:
    await event.wait()


def test_a_long_wait_names_the_lock_and_shows_where_its_holder_is(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def scene() -> None:
        monkeypatch.setattr(locks, "LONG_WAIT_SECONDS", 0.01)
        lock = Locks("container").of("web")
        held, until = asyncio.Event(), asyncio.Event()
        holder = asyncio.create_task(hold(lock, held, until), name="slow one")
        await held.wait()
        waiter = asyncio.create_task(lock.acquire(), name="patient one")
        while "long wait" not in caplog.text:  # each turn of the loop lets the timer in
            await asyncio.sleep(0.001)
        until.set()
        await asyncio.gather(holder, waiter)

    asyncio.run(scene())
    for words in ("lock=container web", "waiter=patient one", "holder=slow one", "sleeping_on"):
        assert words in caplog.text


def test_locks_of_names_that_nobody_holds_are_forgotten() -> None:
    async def scene() -> None:
        all_locks = Locks("container")
        async with all_locks.of("web"):
            assert all_locks.of("web").locked()
            assert len(all_locks) == 1
        assert len(all_locks) == 0

    asyncio.run(scene())


def test_the_stacks_of_everybody_name_tasks_and_threads() -> None:
    async def scene() -> str:
        event = asyncio.Event()
        task = asyncio.create_task(sleeping_on(event), name="sleeper")
        await asyncio.sleep(0)
        text = stacks.everybody()
        event.set()
        await task
        return text

    text = asyncio.run(scene())
    assert "task sleeper" in text
    assert "await event.wait()" in text
    assert "thread MainThread" in text
