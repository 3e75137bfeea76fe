"""Containers end with the machine: asked as they wish, killed when their time is up."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from tests.unit.api.kitchen import running
from tiffin.core.container import Container, State
from tiffin.engine import goodbye
from tiffin.kernel import syscalls

Child = subprocess.Popen[bytes]


@pytest.fixture
def children() -> Iterator[list[Child]]:
    started: list[Child] = []
    yield started
    for child in started:
        child.kill()
        child.wait()


def container(children: list[Child], script: str, *, ticks: int = 0, **config: Any) -> Container:
    child = subprocess.Popen(["sh", "-c", script], stdout=subprocess.PIPE)
    children.append(child)
    assert child.stdout is not None
    assert child.stdout.readline() == b"ready\n"
    state = State(pid=child.pid, start_ticks=ticks or syscalls.start_ticks(child.pid))
    base = running()
    return msgspec.structs.replace(
        base, state=state, config=msgspec.structs.replace(base.config, **config)
    )


WAITING = "echo ready; while :; do sleep 0.05; done"


def test_each_is_asked_by_its_own_signal(children: list[Child]) -> None:
    scripts = [f"trap 'exit {code}' {name}; {WAITING}" for code, name in ((7, "USR1"), (8, "TERM"))]
    first = container(children, scripts[0], stop_signal="SIGUSR1", stop_timeout=60)
    second = container(children, scripts[1], stop_signal="", stop_timeout=60)
    goodbye.end([first, second])
    assert [child.wait() for child in children] == [7, 8]


def test_who_does_not_obey_is_killed(children: list[Child]) -> None:
    goodbye.end([container(children, f"trap '' TERM; {WAITING}", stop_timeout=0)])
    assert children[0].wait() == -signal.SIGKILL


def test_another_process_of_that_number_is_left_alone(children: list[Child]) -> None:
    goodbye.end([container(children, WAITING, ticks=1, stop_timeout=0)])
    assert children[0].poll() is None


def test_nobody_is_asked_where_systemd_does_not_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setattr(goodbye, "SYSTEMD", str(tmp_path / "none"))
    assert not goodbye.machine_goes_down()
