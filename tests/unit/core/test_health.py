"""What a probe's result says of a container, and when the next one is due."""

from __future__ import annotations

import pytest

from tiffin.core import health
from tiffin.core.container import Health, Probe
from tiffin.core.image import ContainerConfig, Healthcheck

SECOND = 1_000_000_000
CHECK = Healthcheck(test=("CMD", "true"), retries=2)


def probe(exit_code: int, start_ns: int = 0) -> Probe:
    return Probe(start_ns, start_ns + 1, exit_code, "")


@pytest.mark.parametrize(
    ("test", "shell", "command"),
    [
        (None, None, ()),
        ((), None, ()),
        (("NONE",), None, ()),
        (("CMD", "curl", "-f"), None, ("curl", "-f")),
        (("CMD-SHELL", "curl -f x"), None, ("/bin/sh", "-c", "curl -f x")),
        (("CMD-SHELL", "x"), ("bash", "-c"), ("bash", "-c", "x")),
        (("WRONG", "x"), None, ()),
    ],
)
def test_what_is_run(
    test: tuple[str, ...] | None, shell: tuple[str, ...] | None, command: tuple[str, ...]
) -> None:
    config = ContainerConfig(healthcheck=Healthcheck(test=test), shell=shell)
    assert health.probe_command(config) == command
    assert health.at_start(config) == (Health("starting") if command else None)


def test_a_new_run_begins_with_what_the_last_one_was_told() -> None:
    config = ContainerConfig(healthcheck=Healthcheck(test=("CMD", "x")))
    before = Health("unhealthy", 3, (Probe(1, 2, 1, "no"),), was_healthy=True)
    assert health.at_start(config, before) == Health("starting", 0, before.log)
    assert health.at_start(ContainerConfig(), before) is None


def test_one_success_is_health_and_some_failures_in_a_row_are_illness() -> None:
    state = health.after(Health("starting"), probe(1), CHECK, 0)
    assert (state.status, state.failing_streak) == ("starting", 1)
    state = health.after(state, probe(0), CHECK, 0)
    assert (state.status, state.failing_streak) == ("healthy", 0)
    state = health.after(state, probe(-1), CHECK, 0)
    assert (state.status, state.failing_streak) == ("healthy", 1)
    state = health.after(state, probe(1), CHECK, 0)
    assert (state.status, state.failing_streak) == ("unhealthy", 2)
    assert len(state.log) == 4


def test_failures_do_not_count_while_it_starts_up() -> None:
    check = Healthcheck(test=("CMD", "x"), retries=1, start_period=10 * SECOND)
    young = health.after(Health("starting"), probe(1, 9 * SECOND), check, 0)
    assert (young.status, young.failing_streak) == ("starting", 0)
    old = health.after(young, probe(1, 10 * SECOND), check, 0)
    assert old.status == "unhealthy"
    well = health.after(young, probe(0, SECOND), check, 0)
    assert health.after(well, probe(1, 2 * SECOND), check, 0).status == "unhealthy"


def test_the_last_five_probes_are_kept() -> None:
    state = Health("starting")
    for number in range(7):
        state = health.after(state, probe(1, number), CHECK, 0)
    assert [one.start_ns for one in state.log] == [2, 3, 4, 5, 6]


def test_probes_come_faster_while_it_starts_up() -> None:
    check = Healthcheck(interval=30, start_interval=2, start_period=100)
    assert health.pause_ns(Health("starting"), check, 0, 50) == 2
    assert health.pause_ns(Health("healthy"), check, 0, 50) == 30
    assert health.pause_ns(Health("starting"), check, 0, 100) == 30
    assert health.pause_ns(Health("starting"), Healthcheck(), 0, 0) == 30 * SECOND
    slow = Healthcheck(start_period=100)
    assert health.pause_ns(Health("starting"), slow, 0, 0) == 5 * SECOND


def test_a_user_replaces_parts_of_the_image_s_check() -> None:
    image = Healthcheck(test=("CMD", "x"), interval=5, retries=7)
    merged = health.merge_healthcheck(image, Healthcheck(interval=9))
    assert merged == Healthcheck(test=("CMD", "x"), interval=9, retries=7)
    none = health.merge_healthcheck(image, Healthcheck(test=("NONE",)))
    assert health.probe_command(ContainerConfig(healthcheck=none)) == ()
    assert health.merge_healthcheck(image, None) == image
