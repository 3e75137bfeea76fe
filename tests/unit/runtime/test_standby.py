"""When a shim has a process stand by for the next exec."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest

from tiffin.runtime import launch
from tiffin.runtime.shim import Shim
from tiffin.runtime.standby import Standby

CONFIG = {"process": {"args": ["true"]}}


class Timers:
    """What of a shim is asked here: a loop that is told to do things later."""

    takes_execs = False
    host = pidfd = kinds = cgroup = None

    def __init__(self) -> None:
        self.loop = self
        self.due: list[Callable[[], None]] = []
        self.watched: dict[int, Callable[[int], None]] = {}

    def open_joins(self) -> list[int]:
        return []

    def add(self, fd: int, _events: int, handler: Callable[[int], None]) -> None:
        self.watched[fd] = handler

    def remove(self, fd: int) -> None:
        del self.watched[fd]

    def later(self, _seconds: float, act: Callable[[], None]) -> None:
        self.due.append(act)

    def pass_by(self) -> int:
        """How many there were."""
        due, self.due = self.due, []
        for act in due:
            act()
        return len(due)


@pytest.fixture
def timers() -> Timers:
    return Timers()


@pytest.fixture
def standby(timers: Timers) -> Standby:
    return Standby(cast(Shim, timers))


def end(standby: Standby, **process: Any) -> None:
    standby.exec_ended({"process": {**CONFIG["process"], **process}}, "")


def test_the_second_end_shortly_after_another_calls_for_one(
    standby: Standby, timers: Timers
) -> None:
    end(standby)
    assert timers.pass_by() == 0
    end(standby)
    end(standby)
    assert timers.pass_by() == 1
    end(standby)
    assert timers.pass_by() == 1


def test_a_terminal_does_not(standby: Standby, timers: Timers) -> None:
    end(standby, terminal=True)
    end(standby, terminal=True)
    assert timers.pass_by() == 0


@pytest.mark.parametrize("tells_its_end", [True, False])
def test_three_that_have_ended_before_they_were_taken_are_enough(
    standby: Standby, timers: Timers, monkeypatch: pytest.MonkeyPatch, tells_its_end: bool
) -> None:
    made: list[int] = []

    def launched(*_anything: object) -> int:  # the other end of its channel is closed at once
        made.append(1000 + len(made))
        return made[-1]

    monkeypatch.setattr(launch, "standby", launched)
    timers.takes_execs = True
    end(standby)
    for _ in range(5):
        end(standby)
        timers.pass_by()
        if not tells_its_end:
            standby.reaped({made[-1]: 9})
        for handler in list(timers.watched.values()):
            handler(0)
        assert not timers.watched
    assert len(made) == 3


def test_one_that_was_kept_for_long_enough_has_not_failed(
    standby: Standby, timers: Timers, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []
    monkeypatch.setattr(launch, "standby", lambda *_: made.append(1000) or made[-1])
    timers.takes_execs = True
    end(standby)
    for _ in range(5):
        end(standby)
        timers.pass_by()
        timers.pass_by()
        assert not timers.watched
    assert len(made) == 5


def test_three_that_have_failed_in_a_row_are_enough(standby: Standby, timers: Timers) -> None:
    end(standby)
    for accepted in (False, False, True, False, False):
        standby.settled(accepted=accepted)
        end(standby)
        assert timers.pass_by() == 1
    standby.settled(accepted=False)
    end(standby)
    assert timers.pass_by() == 0
