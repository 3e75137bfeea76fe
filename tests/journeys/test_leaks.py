"""After many cycles of run, exec, failure and removal everything is as it was before."""

from __future__ import annotations

import json
import time

import pytest

from tests.cycles import counts, cycles
from tests.live import LiveDaemon
from tests.patience import patient

pytestmark = pytest.mark.root

WARM_UP, CYCLES = 5, 20  # bench/cycles.py makes a thousand, and looks at memory and threads too


def test_nothing_is_left_of_many_cycles(daemon: LiveDaemon) -> None:
    cycles(daemon, WARM_UP)
    before = settled(daemon)
    cycles(daemon, CYCLES)
    after = settled(daemon, before)
    assert more(before, after) == {}
    checked = daemon.tiffin("system", "check", "--format", "json")
    assert json.loads(checked.stdout)["Findings"] == []


def more(before: dict[str, int], after: dict[str, int]) -> dict[str, tuple[int, int]]:
    return {key: (n, after[key]) for key, n in before.items() if after[key] > n}


def settled(daemon: LiveDaemon, wanted: dict[str, int] | None = None) -> dict[str, int]:
    """What is deleted in the background takes its time: as it is when nothing changes any more."""
    last: dict[str, int] = {}
    deadline = time.monotonic() + patient(60)
    while time.monotonic() < deadline:
        now = counts(daemon)
        if now == last or (wanted is not None and not more(wanted, now)):
            break
        last = now if wanted is None else {}
        daemon.docker("version")  # some tens of milliseconds, and the daemon has its turn
    return now
