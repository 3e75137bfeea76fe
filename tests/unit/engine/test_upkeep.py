"""Findings, mending, and the second look, without anything real."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tiffin.core.lifecycle import Recovery
from tiffin.engine.upkeep import check
from tiffin.engine.upkeep.check import Check
from tiffin.engine.upkeep.findings import Finding, Leftover, Once
from tiffin.errors import EngineFailure


class Wreck:
    """Stands in for both kinds of inspectors: leftovers by name, each mended by taking it out."""

    def __init__(self, *names: str) -> None:
        self.left = list(names)
        self.stubborn: set[str] = set()
        self.looks = 0
        self.minimum_age_seconds = 0.0

    def inspectors(self) -> list[Any]:
        return [self.look]

    def dropped(self) -> list[Finding]:
        return []

    async def look(self) -> list[Leftover]:
        self.looks += 1
        return [
            Leftover("thing", name, "is left", lambda n=name: self.mend(n)) for name in self.left
        ]  # type: ignore[misc]

    async def mend(self, name: str) -> None:
        if name in self.stubborn:
            raise EngineFailure("cannot")
        self.left.remove(name)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "SECOND_LOOK_SECONDS", 0)


def a_check(wreck: Any) -> Check:
    nothing: Any = Wreck()
    return Check(nothing, wreck)


def test_a_start_mends_what_it_finds_and_remembers_it() -> None:
    wreck = Wreck("one", "two")
    wreck.stubborn.add("two")
    made = a_check(wreck)
    asyncio.run(made.start([]))
    assert [(found.subject, found.mended, found.error) for found in made.at_start] == [
        ("one", True, ""),
        ("two", False, "cannot"),
    ]
    assert wreck.left == ["two"]
    assert wreck.minimum_age_seconds > 0


def test_what_became_of_containers_is_told_if_it_was_out_of_order() -> None:
    made = a_check(Wreck())
    container: Any = type("Container", (), {"name": "web"})
    asyncio.run(made.start([(container, Recovery.RECONNECT), (container, Recovery.MARK_EXITED)]))
    assert [found.problem for found in made.at_start] == ["recorded as running, and had ended"]


def test_only_what_is_still_there_at_a_second_look_counts() -> None:
    class Fleeting(Wreck):
        async def look(self) -> list[Leftover]:
            found = await super().look()
            return found if self.looks == 1 else found[:1]

    made = a_check(Fleeting("one", "two"))
    found = asyncio.run(made.run(repair=False))
    assert [each.subject for each in found] == ["one"]


def test_a_check_touches_nothing_and_a_second_repair_finds_nothing() -> None:
    wreck = Wreck("one", "two")
    made = a_check(wreck)

    async def scene() -> list[list[bool]]:
        runs = [await made.run(repair=repair) for repair in (False, True, True)]
        return [[found.mended for found in run] for run in runs]

    assert asyncio.run(scene()) == [[False, False], [True, True], []]


def test_an_inspector_that_cannot_look_is_a_finding_itself() -> None:
    class Blind(Wreck):
        async def look(self) -> list[Leftover]:
            raise EngineFailure("too dark")

    found = asyncio.run(a_check(Blind()).run(repair=True))
    assert [(each.kind, each.problem) for each in found] == [("check", "cannot be made: too dark")]


def test_one_mending_serves_all_leftovers_of_its_kind() -> None:
    calls: list[int] = []

    async def sweep() -> None:
        calls.append(1)
        raise EngineFailure("cannot")

    async def scene() -> list[str]:
        once = Once(sweep)
        leftovers = [Leftover("blob", str(number), "is left", once) for number in range(3)]
        return [(await leftover.mended()).error for leftover in leftovers]

    assert asyncio.run(scene()) == ["cannot"] * 3
    assert calls == [1]
