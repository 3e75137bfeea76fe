"""Code that is laid close together does what it did, and lies there."""

from __future__ import annotations

import gc
import sys
import traceback
from collections.abc import Iterator
from types import CodeType

import pytest

from tiffin.runtime import closeness

SMALL = 512  # bytes, up to which objects lie apart by their size


@pytest.fixture(autouse=True)
def thawed() -> Iterator[None]:
    """What it leaves out of the collector's sight is tests' as well here."""
    yield
    gc.unfreeze()


def hot(number: int) -> int:
    return sum(each + number for each in range(number))


def cold(number: int) -> list[int]:
    return [number - each for each in range(number)]


class Owner:
    @staticmethod
    def asked_for(word: str = "x") -> str:
        return f"{word}!"


def nested(code: CodeType) -> list[CodeType]:
    return [each for each in code.co_consts if isinstance(each, CodeType)]


def test_what_runs_is_made_anew_and_what_does_not_stays() -> None:
    before = {function: function.__code__ for function in (hot, cold, Owner.asked_for)}
    inside = nested(hot.__code__)

    closeness.gather(lambda: hot(3), (Owner,))

    assert hot.__code__ is not before[hot]
    assert cold.__code__ is before[cold]
    assert Owner.asked_for.__code__ is not before[Owner.asked_for]
    assert nested(hot.__code__) != []
    assert [each in inside for each in nested(hot.__code__)] == [False]
    for code in (hot.__code__, *nested(hot.__code__), Owner.asked_for.__code__):
        assert sys.getsizeof(code) > SMALL


def test_it_does_what_it_did() -> None:
    words = [hot(4), Owner.asked_for(), Owner.asked_for("y")]

    closeness.gather(lambda: hot(2), (Owner,))

    for _ in range(40):  # Python makes it special meanwhile
        assert [hot(4), Owner.asked_for(), Owner.asked_for("y")] == words


def test_lines_of_a_failure_are_where_they_were() -> None:
    def fails() -> None:
        raise ValueError

    def line() -> int:
        try:
            fails()
        except ValueError:
            return traceback.extract_tb(sys.exc_info()[2])[-1].lineno or 0
        raise AssertionError

    before = line()
    closeness.gather(line, ())
    assert line() == before == fails.__code__.co_firstlineno + 1
