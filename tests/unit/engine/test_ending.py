"""Stops, kills and restarts by hand, on fakes."""

from __future__ import annotations

import asyncio

import pytest

from tests.unit.engine.world import ID, Play, World
from tiffin.core.container import (
    HostConfig,
    RestartPolicy,
    State,
    Status,
)
from tiffin.errors import NotModified


def test_stop_asks_then_kills(play: Play) -> None:
    async def scene(world: World) -> None:
        await world.add(stop_signal="SIGQUIT")
        await world.supervisor.start("web")
        world.runtime.ignores.add(3)
        await world.supervisor.stop("web", timeout=0)
        kills = [verb for verb, _ in world.runtime.calls if verb.startswith("kill")]
        assert kills == ["kill 3", "kill 9"]
        assert world.state().exit_code == 137
        with pytest.raises(NotModified):
            await world.supervisor.stop("web")

    play(scene)


def test_a_signal_in_the_middle_of_a_start_reaches_what_it_starts(
    play: Play,
) -> None:
    async def scene(world: World) -> None:
        await world.add()
        world.runtime.gate = asyncio.Event()
        starting = asyncio.create_task(world.supervisor.start("web"))
        while ("start", ID) not in world.runtime.calls:
            await asyncio.sleep(0)
        killing = asyncio.create_task(world.supervisor.kill("web", "SIGINT"))
        await asyncio.sleep(0)
        world.runtime.gate.set()
        await asyncio.gather(starting, killing)
        assert ("kill 2", ID) in world.runtime.calls

    play(scene)


@pytest.mark.parametrize(
    ("policy", "stop_signal", "signal", "stays_down"),
    [
        ("always", None, "SIGTERM", True),
        ("always", None, "SIGHUP", True),  # whatever was sent by hand
        ("on-failure", None, "SIGHUP", True),
        ("always", "SIGUSR1", "SIGUSR1", True),
        ("always", "SIGUSR1", "SIGKILL", True),
        ("always", "SIGUSR1", "SIGTERM", False),  # it has a signal of its own for that
        ("on-failure", "SIGUSR1", "SIGTERM", False),
        ("unless-stopped", "SIGUSR1", "SIGTERM", True),  # it counts as stopped
    ],
)
def test_a_signal_by_hand_silences_the_restart_policy(
    play: Play, policy: str, stop_signal: str | None, signal: str, stays_down: bool
) -> None:
    async def scene(world: World) -> None:
        host = HostConfig(restart_policy=RestartPolicy(policy))
        await world.add(host, stop_signal=stop_signal)
        await world.supervisor.start("web")
        await world.supervisor.kill("web", signal)
        await world.settled(Status.EXITED if stays_down else Status.RESTARTING)

    play(scene)


@pytest.mark.parametrize(
    ("stop_signal", "signal", "status"),
    [
        (None, "SIGKILL", Status.EXITED),
        (None, "SIGUSR2", Status.EXITED),
        ("SIGTERM", "SIGUSR2", Status.RESTARTING),
    ],
)
def test_a_kill_between_two_runs_ends_the_restarts(
    play: Play, stop_signal: str | None, signal: str, status: Status
) -> None:
    async def scene(world: World) -> None:
        host = HostConfig(restart_policy=RestartPolicy("always"))
        container = await world.add(host, stop_signal=stop_signal)
        await world.catalog.put_state(container, State(status=Status.RESTARTING, exit_code=1))

        await world.supervisor.kill("web", signal)

        assert (world.state().status, world.state().exit_code) == (status, 1)
        assert not any(verb.startswith("kill") for verb, _ in world.runtime.calls)

    play(scene)


@pytest.mark.parametrize(
    ("stop_signal", "signal", "status"),
    [
        (None, "SIGUSR2", Status.RUNNING),
        ("SIGTERM", "SIGTERM", Status.RUNNING),
        ("SIGTERM", "SIGUSR2", Status.PAUSED),
    ],
)
def test_what_is_asked_to_end_goes_on_to_hear_it(
    play: Play, stop_signal: str | None, signal: str, status: Status
) -> None:
    async def scene(world: World) -> None:
        await world.add(stop_signal=stop_signal)
        await world.supervisor.start("web")
        world.runtime.ignores |= {12, 15}
        await world.supervisor.pause("web")

        await world.supervisor.kill("web", signal)

        assert world.state().status is status

    play(scene)


def test_a_stop_lets_what_is_paused_go_on_and_says_so(play: Play) -> None:
    async def scene(world: World) -> None:
        await world.add()
        await world.supervisor.start("web")
        await world.supervisor.pause("web")

        await world.supervisor.stop("web")

        assert world.actions() == ["start", "pause", "kill", "unpause", "die", "stop"]

    play(scene)


def test_a_stop_between_two_runs_is_told(play: Play) -> None:
    async def scene(world: World) -> None:
        container = await world.add()
        await world.catalog.put_state(container, State(status=Status.RESTARTING, exit_code=1))
        await world.supervisor.stop("web")
        assert world.state().status is Status.EXITED
        assert world.actions() == ["stop"]

    play(scene)


def test_restarting_what_is_removed_after_its_exit_does_not_remove_it(
    play: Play,
) -> None:
    async def scene(world: World) -> None:
        removed: list[str] = []

        async def remove(container_id: str) -> None:
            removed.append(container_id)

        world.supervisor.exits.remove = remove
        await world.add(HostConfig(auto_remove=True))
        await world.supervisor.start("web")
        await world.supervisor.restart("web")
        assert (world.state().status, removed) == (Status.RUNNING, [])
        await world.supervisor.stop("web")
        await asyncio.gather(*world.supervisor.tasks._cut_short)
        assert removed == [ID]

    play(scene)


@pytest.mark.parametrize("status", [Status.EXITED, Status.CREATED])
def test_restarting_what_does_not_run_starts_it(play: Play, status: Status) -> None:
    async def scene(world: World) -> None:
        container = await world.add()
        await world.catalog.put_state(container, State(status=status))
        await world.supervisor.restart("web")
        assert world.state().status is Status.RUNNING
        assert world.actions() == ["start", "restart"]

    play(scene)
