"""Progress, leases and pipes: what long verbs of images stand on."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.patience import patient
from tiffin.engine.leases import Leases
from tiffin.engine.pipes import produced
from tiffin.engine.progress import Message, Reporter, stream


async def all_of(messages: AsyncIterator[Any]) -> list[Any]:
    return [message async for message in messages]


def test_a_verb_says_what_it_says_and_then_fails() -> None:
    async def work(report: Reporter) -> None:
        report.status("one", "id")
        report.step("id", "two")
        raise KeyError("three")

    async def listen() -> list[Message]:
        messages = stream(work)
        heard = [await anext(messages), await anext(messages)]
        with pytest.raises(KeyError):
            await anext(messages)
        return heard

    assert asyncio.run(listen()) == [
        {"status": "one", "id": "id"},
        {"status": "two", "progressDetail": {}, "id": "id"},
    ]


def test_who_stops_listening_cancels_the_verb() -> None:
    ended: list[str] = []

    async def work(report: Reporter) -> None:
        report.status("begun")
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("cancelled")

    async def listen() -> None:
        messages = stream(work)
        await anext(messages)
        await messages.aclose()

    asyncio.run(listen())

    assert ended == ["cancelled"]


def test_amounts_are_told_in_steps_and_at_the_end() -> None:
    heard: list[int] = []
    report = Reporter(lambda m: heard.append(m["progressDetail"]["current"]), lambda: 0)

    tell = report.amounts("id", "Downloading", 1_000_000)
    for done in range(0, 1_000_001, 100_000):
        tell(done)

    assert heard == [0, 600_000, 1_000_000]


def test_a_slow_listener_is_not_told_amounts() -> None:
    heard: list[Message] = []
    report = Reporter(heard.append, lambda: 1000)

    report.amounts("id", "Downloading", 1000)(5)
    report.step("id", "Download complete")

    assert [message["status"] for message in heard] == ["Download complete"]


def test_a_lease_ends_with_the_last_holder() -> None:
    leases = Leases()

    with leases.hold(["a", "b"]), leases.hold(["b"]), leases.collecting() as held:
        assert held == {"a", "b"}
    with leases.collecting() as held:
        assert held == frozenset()


def test_a_lease_waits_for_a_collection() -> None:
    leases, taken = Leases(), threading.Event()

    def take() -> None:
        with leases.hold(["a"]):
            taken.set()

    with leases.collecting():
        thread = threading.Thread(target=take)
        thread.start()
        assert not taken.wait(0.05)
    thread.join(patient(60))

    assert taken.is_set()


def test_what_a_thread_writes_comes_out_in_order() -> None:
    parts = [bytes([number]) * 100_000 for number in range(30)]

    def write(out: Any) -> None:
        for part in parts:
            out.write(part)

    assert b"".join(asyncio.run(all_of(produced(write)))) == b"".join(parts)


def test_a_writer_that_fails_is_told_to_the_reader() -> None:
    def write(out: Any) -> None:
        out.write(b"some")
        raise KeyError

    with pytest.raises(KeyError):
        asyncio.run(all_of(produced(write)))


def test_a_reader_that_goes_away_ends_the_writer() -> None:
    written: list[int] = []

    def write(out: Any) -> None:
        while True:
            written.append(out.write(bytes(300_000)))

    async def read_one() -> None:
        chunks = produced(write)
        await anext(chunks)
        await chunks.aclose()

    asyncio.run(asyncio.wait_for(read_one(), 10))

    assert 1 <= len(written) <= 10
