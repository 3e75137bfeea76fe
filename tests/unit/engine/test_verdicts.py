"""Who ended a container, and containers that are ended for their health: on fakes."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from tests.unit.engine.world import ID, Play, World
from tiffin.core.container import Health, HostConfig, RestartPolicy, State, Status
from tiffin.core.image import Healthcheck
from tiffin.core.verdict import By, Cause, Verdict
from tiffin.engine.unhealthy import UnhealthyRestarts
from tiffin.errors import CannotStart


def verdict(world: World) -> Verdict:
    found = world.state().verdict
    assert found is not None
    return found


def test_a_stop_and_a_kill_are_the_users(play: Play) -> None:
    async def scene(world: World) -> None:
        await world.add()
        await world.supervisor.start("web")
        assert world.state().verdict is None
        await world.supervisor.stop("web", timeout=30)
        assert verdict(world).text == "stopped by the user (SIGTERM)"
        await world.supervisor.start("web")
        assert world.state().verdict is None
        await world.supervisor.kill("web", "INT")
        await world.settled(Status.EXITED)
        assert verdict(world).text == "killed by the user (SIGINT)"

    play(scene)


def test_who_does_not_stop_in_time_is_killed_and_that_is_told(
    play: Play,
) -> None:
    async def scene(world: World) -> None:
        await world.add()
        world.runtime.ignores = {15}
        await world.supervisor.start("web")
        await world.supervisor.stop("web", timeout=0)
        assert (verdict(world).cause, verdict(world).by) == (Cause.TIMEOUT, By.USER)

    play(scene)


def test_a_signal_before_does_not_take_the_blame(play: Play) -> None:
    async def scene(world: World) -> None:
        await world.add()
        world.runtime.ignores = {1}
        await world.supervisor.start("web")
        await world.supervisor.kill("web", "HUP")
        world.runtime.end(ID, 3)
        await world.settled(Status.EXITED)
        assert (verdict(world).cause, verdict(world).by) == (Cause.EXIT, By.PROGRAM)
        assert verdict(world).text.endswith("after SIGHUP from the user")

    play(scene)


def test_a_failed_start_is_a_verdict_too(play: Play) -> None:
    async def scene(world: World) -> None:
        await world.add()
        world.runtime.fail["start"] = CannotStart("no such file", exit_code=127)
        with pytest.raises(CannotStart):
            await world.supervisor.start("web")
        assert (verdict(world).cause, verdict(world).text) == (
            Cause.START,
            "did not start: no such file",
        )

    play(scene)


def test_what_a_dead_daemon_had_asked_is_remembered(play: Play) -> None:
    async def scene(world: World) -> None:
        await world.add()
        world.runtime.ignores = {15}
        await world.supervisor.start("web")
        stopping = asyncio.create_task(world.supervisor.stop("web", timeout=1000))
        while ("kill 15", ID) not in world.runtime.calls:
            await asyncio.sleep(0)
        stopping.cancel()
        await world.new_daemon()
        world.runtime.end(ID, 143, 15)
        await world.settled(Status.EXITED)
        assert verdict(world).text == "stopped by the user (SIGTERM)"

    play(scene)


def test_a_lost_end_says_why_nobody_saw_it(play: Play) -> None:
    async def scene(world: World) -> None:
        container = await world.add()
        await world.supervisor.start("web")
        old = msgspec.structs.replace(world.state(), boot_id="another")
        await world.catalog.put_state(container, old)
        await world.supervisor.recoveries.all()
        assert verdict(world).text == "nobody saw the end: the machine went down"

    play(scene)


def test_a_start_by_hand_counts_its_restarts_anew(play: Play) -> None:
    async def scene(world: World) -> None:
        await world.add(HostConfig(restart_policy=RestartPolicy("on-failure", 1)))
        for _ in range(2):
            await world.supervisor.start("web")
            world.runtime.end(ID, 1)
            await world.settled(Status.RESTARTING)
            await world.settled(Status.RUNNING)
            world.runtime.end(ID, 1)
            await world.settled(Status.EXITED)
            assert world.state().restart_count == 1

    play(scene)


@pytest.mark.parametrize("ended", ["before", "meanwhile"])
def test_a_new_daemon_goes_on_with_the_restart_policy(play: Play, ended: str) -> None:
    async def scene(world: World) -> None:
        await world.add(HostConfig(restart_policy=RestartPolicy("on-failure", 3)))
        await world.supervisor.start("web")
        if ended == "before":
            world.runtime.end(ID, 7)
            await world.settled(Status.RESTARTING)
        await world.new_daemon()
        world.runtime.end(ID, 7)
        # Nobody watched that one: the recovery finds what the shim has written.
        await world.new_daemon()
        await world.supervisor.recoveries.all()
        assert (world.state().status, world.state().exit_code) == (Status.RESTARTING, 7)
        world.supervisor.restarts.with_daemon()
        await world.settled(Status.RUNNING)
        assert world.state().restart_count == 1

    play(scene)


CHECK = Healthcheck(test=("CMD", "ok"))
ON_UNHEALTHY = HostConfig(restart_policy=RestartPolicy("on-unhealthy", 1))


async def fall_ill(world: World) -> None:
    container = world.catalog.get(ID)
    state = msgspec.structs.replace(container.state, health=Health("unhealthy", 3))
    await world.catalog.put_state(container, state)
    world.events.emit("container", "health_status: unhealthy", ID)


def test_who_turns_unhealthy_is_ended_and_started_again_while_it_may_be(
    play: Play,
) -> None:
    async def scene(world: World) -> None:
        restarts = UnhealthyRestarts(world.catalog, world.events, world.supervisor.ending.unhealthy)
        await world.add(ON_UNHEALTHY, healthcheck=CHECK)
        await world.supervisor.start("web")
        first = world.state().pid
        await fall_ill(world)
        await world.settled(Status.RESTARTING)
        assert (verdict(world).by, verdict(world).verb) == (By.ENGINE, "unhealthy")
        await world.settled(Status.RUNNING)
        assert (world.state().pid, world.state().restart_count) == (first + 1, 1)
        assert world.state().health == Health("starting")
        await fall_ill(world)  # its one retry is spent: it is left alone
        await restarts.close()
        assert world.state().status is Status.RUNNING

    play(scene)


def test_a_new_daemon_or_another_policy_finds_who_was_unhealthy_already(
    play: Play,
) -> None:
    async def scene(world: World) -> None:
        await world.add(HostConfig(), healthcheck=CHECK)
        restarts = UnhealthyRestarts(world.catalog, world.events, world.supervisor.ending.unhealthy)
        await world.supervisor.start("web")
        await fall_ill(world)
        restarts.resume()
        assert world.state().status is Status.RUNNING
        container = msgspec.structs.replace(world.catalog.get(ID), host_config=ON_UNHEALTHY)
        await world.catalog.put(container)
        world.events.emit("container", "update", ID)
        await world.settled(Status.RESTARTING)
        await restarts.close()

    play(scene)


def test_a_stop_by_hand_beats_the_engines_own(play: Play) -> None:
    async def scene(world: World) -> None:
        world.runtime.ignores = {15}
        await world.add(ON_UNHEALTHY, healthcheck=CHECK, stop_timeout=1000)
        await world.supervisor.start("web")
        UnhealthyRestarts(world.catalog, world.events, world.supervisor.ending.unhealthy)
        await fall_ill(world)
        while ("kill 15", ID) not in world.runtime.calls:
            await asyncio.sleep(0)
        await world.supervisor.stop("web", timeout=0)
        state: State = world.state()
        assert (state.status, state.restart_count) == (Status.EXITED, 0)
        assert verdict(world).by is By.USER

    play(scene)
