"""When a shim has a process stand by for the next exec."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest

from tiffin.runtime.shim import Shim
from tiffin.runtime.standby import Standby

CONFIG = {"process": {"args": ["true"]}}


class Timers:
    """What of a shim is asked here: a loop that is told to do things later."""

    takes_execs = False

    def __init__(self) -> None:
        self.loop = self
        self.due: list[Callable[[], None]] = []

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


def test_three_that_have_failed_in_a_row_are_enough(standby: Standby, timers: Timers) -> None:
    end(standby)
    for accepted in (False, False, True, False, False):
        standby.settled(accepted=accepted)
        end(standby)
        assert timers.pass_by() == 1
    standby.settled(accepted=False)
    end(standby)
    assert timers.pass_by() == 0
