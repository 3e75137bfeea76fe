"""Timing by pairs, A B A B …, so that a drifting machine drifts under both. Medians, ratios."""

from __future__ import annotations

import http.client
import os
import socket
import statistics
import subprocess
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

from bench.engines import Engine


class Row(NamedTuple):
    """One line of the table. Times in milliseconds, memory in megabytes."""

    what: str
    ours: float
    theirs: float
    unit: str
    target: float  # ours/theirs must not be above it

    @property
    def ratio(self) -> float:
        return self.ours / self.theirs if self.theirs else float("inf")


PAUSE_SECONDS = 0.1


def paired(
    what: str,
    ours: Callable[[], object],
    theirs: Callable[[], object],
    target: float,
    *,
    runs: int = 15,
    settle: Callable[[], object] = lambda: None,
) -> Row:
    """Wall time of two actions, in turn, after one uncounted round of each.

    With a pause before each, and what `settle` does: what the other engine still does after its
    answer is not in its time.
    """
    samples: tuple[list[float], list[float]] = ([], [])
    for number in range(runs + 1):
        for action, times in zip((ours, theirs), samples, strict=True):
            settle()
            time.sleep(PAUSE_SECONDS)
            started = time.perf_counter()
            action()
            if number:
                times.append((time.perf_counter() - started) * 1000)
    return Row(what, statistics.median(samples[0]), statistics.median(samples[1]), "ms", target)


def paired_cpu(
    what: str,
    engines: tuple[Engine, Engine],
    actions: tuple[Callable[[], object], Callable[[], object]],
    target: float,
    *,
    runs: int = 10,
) -> Row:
    """CPU time of client, daemon, shims and container together, per action."""
    spent = [0.0, 0.0]
    for number in range(runs + 1):
        for index, (engine, action) in enumerate(zip(engines, actions, strict=True)):
            before = engine.cpu.seconds()
            action()
            if number:
                spent[index] += engine.cpu.seconds() - before
    return Row(what, spent[0] / runs * 1000, spent[1] / runs * 1000, "ms CPU", target)


def command(engine: Engine, argv: list[str], *, accounted: bool = False) -> Callable[[], None]:
    """A client's whole process; its CPU time is its engine's where that is `accounted`.

    Only there: to join a cgroup waits for the kernel, longer than many a command takes.
    """
    join = engine.cpu.join if accounted else None

    def run() -> None:
        subprocess.run(
            argv,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL,
            check=True,
            preexec_fn=join,
        )

    return run


class Unix(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost")
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self._path)


def call(connection: Unix, method: str, path: str, body: str | None = None) -> bytes:
    connection.request(method, path, body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    data = answer.read()
    if answer.status >= 400:
        raise RuntimeError(f"{method} {path}: {answer.status} {data!r}")
    return data


def proportional_memory(pids: Iterable[int]) -> float:
    """Megabytes of PSS: shared pages are split among those who share them."""
    total = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
                total += next(int(line.split()[1]) for line in file if line.startswith("Pss:"))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return total / 1024


def in_group(group: str) -> list[int]:
    """Pids in a cgroup: a daemon's and of all that it started outside its containers' cgroups."""
    pids: list[int] = []
    for folder, _, _ in os.walk(group):
        with open(os.path.join(folder, "cgroup.procs"), encoding="ascii") as file:
            pids += [int(line) for line in file]
    return pids
