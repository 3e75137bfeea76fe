"""When links of ended containers are taken away: on a `delete` that only writes down."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable

import pytest

from tiffin.network import burials
from tiffin.network.burials import Burials

HOUR = 3600.0


class Yard:
    def __init__(self) -> None:
        self.deleted: list[list[str]] = []
        self.changed = asyncio.Event()
        self.burials = Burials(self._delete)

    async def _delete(self, container_ids: list[str]) -> None:
        self.deleted.append(container_ids)
        self.changed.set()

    def run_and_end(self, container_id: str) -> int:
        """The end of a pipe that is broken as soon as its namespace is let go."""
        reading, writing = os.pipe()
        self.burials.connecting()
        self.burials.hold(container_id, writing)
        self.burials.begin(container_id)
        return reading


def play(scene: Callable[[Yard], Awaitable[None]]) -> None:
    async def whole() -> None:
        yard = Yard()
        try:
            async with asyncio.timeout(30):
                await scene(yard)
        finally:
            await yard.burials.close()

    asyncio.run(whole())


def is_let_go(reading: int) -> bool:
    os.set_blocking(reading, False)
    try:
        return os.read(reading, 1) == b""
    except BlockingIOError:
        return False
    finally:
        os.close(reading)


@pytest.fixture(autouse=True)
def busy(monkeypatch: pytest.MonkeyPatch) -> None:
    """It never becomes quiet, unless a test says so."""
    monkeypatch.setattr(burials, "QUIET_SECONDS", HOUR)
    monkeypatch.setattr(burials, "LONGEST_SECONDS", HOUR)
    monkeypatch.setattr(burials, "KERNEL_SECONDS", 0.0)


def test_a_link_goes_when_nobody_is_connected(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(yard: Yard) -> None:
        monkeypatch.setattr(burials, "QUIET_SECONDS", 0.0)
        reading = yard.run_and_end("a")
        await yard.changed.wait()
        assert (yard.deleted, is_let_go(reading)) == ([["a"]], True)

    play(scene)


def test_it_is_put_off_while_others_are_connected_but_not_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scene(yard: Yard) -> None:
        yard.run_and_end("a")
        assert (yard.deleted, yard.burials.waiting()) == ([], {"a"})
        monkeypatch.setattr(burials, "MOST", 2)
        yard.run_and_end("b")
        await yard.changed.wait()
        assert yard.deleted == [["a", "b"]]

    play(scene)


def test_who_is_connected_again_waits_for_the_end_of_its_last_link() -> None:
    async def scene(yard: Yard) -> None:
        reading = yard.run_and_end("a")
        yard.run_and_end("b")
        await yard.burials.at_once("a")
        await yard.burials.at_once("a")
        assert (yard.deleted, yard.burials.waiting()) == ([["a"]], {"b"})
        assert is_let_go(reading)

    play(scene)


def test_the_end_takes_away_all_that_waits_and_lets_the_others_be() -> None:
    async def scene(yard: Yard) -> None:
        reading, writing = os.pipe()
        yard.burials.hold("lives", writing)
        yard.run_and_end("a")
        yard.burials.begin("of an earlier daemon")
        await yard.burials.close()
        assert yard.deleted == [["a", "of an earlier daemon"]]
        assert is_let_go(reading)

    play(scene)


def test_only_the_youngest_are_held(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(yard: Yard) -> None:
        monkeypatch.setattr(burials, "HELD_AT_MOST", 1)
        first, writing = os.pipe()
        yard.burials.hold("first", writing)
        second, writing = os.pipe()
        yard.burials.hold("second", writing)
        assert (is_let_go(first), is_let_go(second)) == (True, False)
        yard.burials.begin("first")
        await yard.burials.at_once("first")
        assert yard.deleted == [["first"]]

    play(scene)


def test_namespaces_of_whom_nobody_knows_are_let_go() -> None:
    async def scene(yard: Yard) -> None:
        for name in ("known", "lost"):
            yard.burials.hold(name, os.open("/dev/null", os.O_RDONLY))
        yard.burials.begin_all_but({"known"})
        assert yard.burials.waiting() == {"lost"}

    play(scene)
