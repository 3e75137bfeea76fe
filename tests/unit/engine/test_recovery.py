"""A new daemon over what the last one left, on fakes."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.unit.engine.world import ID, Play, World
from tiffin.core.container import HostConfig, RestartPolicy, Status
from tiffin.engine.runrecord import written
from tiffin.errors import EngineFailure


async def after_a_crash(world: World) -> None:
    """A new daemon over what the last one left."""
    await world.new_daemon()
    await world.supervisor.recoveries.all()


@pytest.mark.parametrize(
    ("policy", "after"),
    [
        (RestartPolicy("on-failure"), Status.RUNNING),
        (RestartPolicy("on-failure", 1), Status.EXITED),  # its one retry is spent
        (RestartPolicy("always"), Status.RUNNING),
        (RestartPolicy(), Status.EXITED),
    ],
)
def test_what_a_reboot_ended_is_started_again_as_its_policy_says(
    play: Play, policy: RestartPolicy, after: Status
) -> None:
    async def scene(world: World) -> None:
        container = await world.add(HostConfig(restart_policy=policy))
        await world.supervisor.start("web")
        old = msgspec.structs.replace(world.state(), boot_id="another", restart_count=1)
        await world.catalog.put_state(container, old)
        await world.supervisor.recoveries.all()
        world.supervisor.restarts.with_daemon()
        await world.settled(after)
        assert world.state().restart_count == 1

    play(scene)


@pytest.mark.parametrize(
    ("meanwhile", "status", "exit_code"),
    [("runs", Status.RUNNING, 0), ("ended", Status.EXITED, 5), ("lost", Status.EXITED, 255)],
)
def test_a_new_daemon_makes_the_records_true(
    play: Play, meanwhile: str, status: Status, exit_code: int
) -> None:
    async def scene(world: World) -> None:
        await world.add()
        await world.supervisor.start("web")
        await world.supervisor.close()
        if meanwhile == "ended":
            world.runtime._callbacks.clear()
            world.runtime.end(ID, 5)
        elif meanwhile == "lost":
            world.runtime.alive.clear()
        await after_a_crash(world)
        await world.supervisor.recoveries.all()  # a second time changes nothing
        assert (world.state().status, world.state().exit_code) == (status, exit_code)

    play(scene)


def test_what_another_boot_left_is_not_believed(play: Play) -> None:
    async def scene(world: World) -> None:
        container = await world.add()
        await world.supervisor.start("web")
        old = msgspec.structs.replace(world.state(), boot_id="another")
        await world.catalog.put_state(container, old)
        await world.supervisor.recoveries.all()
        assert (world.state().status, world.state().exit_code) == (Status.EXITED, 255)

    play(scene)


@pytest.mark.parametrize(
    ("meanwhile", "status", "exit_code"),
    [("runs", Status.RUNNING, 0), ("ended", Status.EXITED, 5), ("lost", Status.CREATED, 0)],
)
def test_a_run_that_is_in_no_record_is_found(
    play: Play, meanwhile: str, status: Status, exit_code: int
) -> None:
    async def scene(world: World) -> None:
        container = await world.add()
        await world.supervisor.start("web")
        ran = world.state()
        await world.catalog.put_state(container, container.state)  # as if it had not been written
        if meanwhile == "ended":
            world.runtime._callbacks.clear()
            world.runtime.end(ID, 5)
        elif meanwhile == "lost":
            world.runtime.alive.clear()
        await after_a_crash(world)
        found = world.state()
        assert (found.status, found.exit_code) == (status, exit_code)
        assert found.started_ns == (0 if meanwhile == "lost" else ran.started_ns)

    play(scene)


@pytest.mark.parametrize("record", ["", "{", '{"boot_id": 3}', "another boot's", "an older run's"])
def test_a_run_without_a_record_of_now_is_ended(play: Play, record: str) -> None:
    async def scene(world: World) -> None:
        container = await world.add()
        await world.supervisor.start("web")
        ran, known = world.state(), container.state
        given = record
        if record == "another boot's":
            given = written(msgspec.structs.replace(ran, boot_id="another"))
        elif record == "an older run's":
            given = written(ran)
            known = msgspec.structs.replace(
                known, status=Status.EXITED, started_ns=ran.started_ns, exit_code=3
            )
        world.runtime.runs[ID] = given
        await world.catalog.put_state(container, known)
        await after_a_crash(world)
        assert world.state() == known
        assert ID not in world.runtime.alive

    play(scene)


def test_a_freeze_that_nobody_recorded_is_undone(play: Play) -> None:
    async def scene(world: World) -> None:
        await world.add()
        await world.supervisor.start("web")
        world.runtime.frozen.add(ID)
        await after_a_crash(world)
        assert (world.state().status, world.runtime.frozen) == (Status.RUNNING, set())

    play(scene)


def test_a_thaw_that_nobody_recorded_is_seen(play: Play) -> None:
    async def scene(world: World) -> None:
        await world.add()
        await world.supervisor.start("web")
        await world.supervisor.pause("web")
        world.runtime.frozen.clear()
        await after_a_crash(world)
        assert world.state().status is Status.RUNNING

    play(scene)


def test_one_container_that_cannot_be_recovered_does_not_keep_the_others(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene(world: World) -> None:
        other = "cd" * 32
        await world.add()
        await world.add(name="db", key=other)
        await world.supervisor.start("web")
        await world.supervisor.start("db")
        reconnect = world.runtime.reconnect

        async def fails_for_one(container_id: str) -> Any:
            if container_id == ID:
                raise EngineFailure("no")
            return await reconnect(container_id)

        monkeypatch.setattr(world.runtime, "reconnect", fails_for_one)
        world.runtime.alive.pop(other)
        await after_a_crash(world)
        assert world.catalog.get("db").state.status is Status.EXITED

    play(scene)
