"""Archives on their way in: which of them a container's lock is held for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from tiffin.engine import incoming
from tiffin.engine.incoming import Incoming
from tiffin.engine.locks import NamedLock
from tiffin.errors import Conflict


def scene(act: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        async with asyncio.timeout(20):
            await act()

    asyncio.run(main())


async def chunks(*parts: bytes | asyncio.Event) -> AsyncIterator[bytes]:
    """What there is, and waits in between."""
    for part in parts:
        if isinstance(part, asyncio.Event):
            await part.wait()
        else:
            yield part


def test_all_of_it_comes_in_order_whatever_was_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(incoming, "HEAD_SECONDS", 60.0)

    async def act() -> None:
        parts = [bytes([number]) * 1_500_000 for number in range(8)]
        archive = Incoming(chunks(*parts))
        assert await archive.begins_fast()
        assert [chunk async for chunk in archive] == parts

    scene(act)


@pytest.mark.parametrize("size", [0, 10, incoming.HEAD_BYTES])
def test_what_is_all_here_waits_for_nobody(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(incoming, "HEAD_SECONDS", 60.0)

    async def act() -> None:
        archive = Incoming(chunks(b"x" * size))
        assert await archive.begins_fast()
        assert b"".join([chunk async for chunk in archive]) == b"x" * size

    scene(act)


def test_a_slow_client_is_told_by_its_first_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(incoming, "HEAD_SECONDS", -1.0)

    async def act() -> None:
        archive = Incoming(chunks(b"x" * incoming.HEAD_BYTES, b"y"))
        assert not await archive.begins_fast()
        assert len(b"".join([chunk async for chunk in archive])) == incoming.HEAD_BYTES + 1

    scene(act)


@pytest.mark.parametrize("is_wanted", [True, False])
def test_who_stops_sending_is_given_up_when_somebody_waits(
    monkeypatch: pytest.MonkeyPatch, is_wanted: bool
) -> None:
    monkeypatch.setattr(incoming, "HEAD_SECONDS", 60.0)
    monkeypatch.setattr(incoming, "STALL_SECONDS", 0.05)

    async def act() -> None:
        lock, more = NamedLock("container web"), asyncio.Event()
        archive = Incoming(chunks(b"x" * incoming.HEAD_BYTES, more, b"end"))
        assert await archive.begins_fast()
        await lock.acquire()
        waiter = asyncio.create_task(lock.acquire()) if is_wanted else None
        asked = asyncio.Event()

        def wanted() -> bool:
            asked.set()
            return lock.is_wanted

        with archive.watched(wanted):
            assert len(await anext(archive)) == incoming.HEAD_BYTES
            following = asyncio.ensure_future(anext(archive))
            await asked.wait()  # it has been looked at
            if is_wanted:
                with pytest.raises(Conflict, match="another request waits"):
                    await following
            else:
                more.set()
                assert await following == b"end"
        lock.release()
        if waiter is not None:
            assert await waiter

    scene(act)
