"""What follows an exit, on fakes: record, release, restart, removal."""

from __future__ import annotations

import asyncio

import pytest

from tests.unit.engine.world import ID, Play, World
from tiffin.core.container import (
    Container,
    HostConfig,
    RestartPolicy,
    State,
    Status,
)
from tiffin.engine import exits
from tiffin.errors import EngineFailure, NotFound, NotModified


def test_an_exit_is_recorded_and_told_to_who_waits(play: Play) -> None:
    async def scene(world: World) -> None:
        await world.add()
        waiting = world.supervisor.clients.wait("web", "next-exit")
        await world.supervisor.start("web")
        world.runtime.end(ID, 3)
        assert (await waiting).exit_code == 3
        state = world.state()
        assert (state.status, state.exit_code, state.pid) == (Status.EXITED, 3, 0)
        assert state.id_range is None
        assert world.links.connected == {}
        assert (await world.supervisor.clients.wait("web")).exit_code == 3
        assert world.actions() == ["start", "die"]

    play(scene)


def test_who_asks_while_an_exit_is_written_down_is_told_of_it(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene(world: World) -> None:
        written = await ending_on_a_slow_disk(world, monkeypatch)
        asked = asyncio.ensure_future(world.supervisor.exits.recorded(ID))
        await asyncio.sleep(0)
        assert not asked.done()
        written.set()
        await asked
        assert (world.state().status, world.state().exit_code) == (Status.EXITED, 3)

    play(scene)


def test_nobody_waits_for_a_disk_that_does_not_answer(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene(world: World) -> None:
        written = await ending_on_a_slow_disk(world, monkeypatch)
        monkeypatch.setattr(exits, "_RECORD_SECONDS", 0.01)
        await world.supervisor.exits.recorded(ID)
        assert world.state().status is Status.RUNNING
        written.set()

    play(scene)


async def ending_on_a_slow_disk(world: World, monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """A container whose end is known, and not written down before the event."""
    await world.add()
    await world.supervisor.start("web")
    put, writing, written = world.catalog.put_state, asyncio.Event(), asyncio.Event()

    async def put_slowly(container: Container, state: State) -> Container:
        writing.set()
        await written.wait()
        return await put(container, state)

    monkeypatch.setattr(world.catalog, "put_state", put_slowly)
    world.runtime.end(ID, 3)
    await writing.wait()
    return written


def test_an_exit_on_a_full_disk_is_told_all_the_same(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene(world: World) -> None:
        await world.add()
        await world.supervisor.start("web")
        waiting = world.supervisor.clients.wait("web")

        def refuse(_: Container) -> None:
            raise EngineFailure("cannot write the database: no space left on device")

        monkeypatch.setattr(world.database, "put_container", refuse)
        world.runtime.end(ID, 4)
        assert (await waiting).exit_code == 4
        assert world.state().status is Status.EXITED

    play(scene)


def test_an_exit_is_recorded_before_what_tells_of_it_is_removed(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene(world: World) -> None:
        await world.add()
        await world.supervisor.start("web")
        recorded: list[Status] = []

        async def remove(container_id: str) -> None:
            recorded.append(world.database.containers()[0].state.status)

        monkeypatch.setattr(world.runtime, "remove", remove)
        world.runtime.end(ID, 3)
        await world.settled(Status.EXITED)
        await asyncio.gather(*world.supervisor.tasks._cut_short)
        assert recorded == [Status.EXITED]

    play(scene)


def test_an_exit_is_told_even_where_the_link_does_not_go(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene(world: World) -> None:
        await world.add()
        await world.supervisor.start("web")
        waiting = world.supervisor.clients.wait("web")

        async def disconnect(_: str) -> None:
            raise EngineFailure("cannot disconnect the container: No buffer space available")

        monkeypatch.setattr(world.links, "disconnect", disconnect)
        world.runtime.end(ID, 3)
        assert (await waiting).exit_code == 3
        assert world.id_ranges._used == {}

    play(scene)


def test_auto_remove_follows_the_exit(play: Play) -> None:
    async def scene(world: World) -> None:
        await world.add(HostConfig(auto_remove=True))
        removed = asyncio.Event()

        async def remove(container_id: str) -> None:
            removed.set()
            raise NotFound(container_id)

        world.supervisor.exits.remove = remove
        await world.supervisor.start("web")
        world.runtime.end(ID)
        await removed.wait()

    play(scene)


def test_a_restart_policy_starts_again_what_ends(play: Play) -> None:
    async def scene(world: World) -> None:
        await world.add(HostConfig(restart_policy=RestartPolicy("on-failure", 1)))
        await world.supervisor.start("web")
        world.runtime.end(ID, 1)
        await world.settled(Status.RESTARTING)
        with pytest.raises(NotModified):
            await world.supervisor.start("web")
        await world.settled(Status.RUNNING)
        world.runtime.end(ID, 1)
        await world.settled(Status.EXITED)
        assert world.state().restart_count == 1

    play(scene)


def test_a_restart_by_hand_does_not_wait_for_the_policy(play: Play) -> None:
    async def scene(world: World) -> None:
        container = await world.add(HostConfig(restart_policy=RestartPolicy("always")))
        await world.catalog.put_state(container, State(status=Status.RESTARTING, exit_code=1))
        await world.supervisor.restart("web")
        assert (world.state().status, world.state().restart_count) == (Status.RUNNING, 0)

    play(scene)


def test_the_backoff_is_measured_by_a_clock_that_nobody_sets(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene(world: World) -> None:
        await world.add(HostConfig(restart_policy=RestartPolicy("always")))
        now = 1000.0
        monkeypatch.setattr("time.clock_gettime", lambda _: now)
        monkeypatch.setattr(world.runtime, "start_ticks", lambda: int(now * 100))
        monkeypatch.setattr("time.time_ns", lambda: 5)  # set back by some decades
        await world.supervisor.start("web")
        world.runtime.end(ID, 1)
        await world.settled(Status.RESTARTING)
        await asyncio.gather(*world.supervisor.restarts._waiting.values())
        now = 1009.0
        world.runtime.end(ID, 1)
        await world.settled(Status.RESTARTING)
        assert world.supervisor.restarts._backoff_seconds[ID] == 0.2

    play(scene)
