"""Ports of a running container, changed on fakes: whole or not at all, and mended after a crash."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.unit.engine.world import ID, Scene, World
from tiffin.core.container import HostConfig, PortBinding, PublishedPort
from tiffin.core.publishing import Publishing, Removal
from tiffin.engine.publishing import Publisher
from tiffin.errors import Conflict, EngineFailure

OLD = PublishedPort(80, "tcp", "0.0.0.0", 8080)
NEW = PublishedPort(81, "tcp", "0.0.0.0", 8081)
TURN = Publishing({"81/tcp": (PortBinding("", "8081"),)}, (Removal("8080"),))


@pytest.fixture
def play(tmp_path: Path) -> Callable[[Scene], None]:
    def run(scene: Scene) -> None:
        async def whole() -> None:
            world = World(tmp_path)
            bindings = {"80/tcp": (PortBinding("", "8080"),)}
            try:
                await world.add(HostConfig(port_bindings=bindings))
                await world.supervisor.start("web")
                async with asyncio.timeout(30):
                    await scene(world)
            finally:
                await world.runtime.remove(ID)
                await world.links.close(keep=False)
                await world.supervisor.close()
                world.close()

        asyncio.run(whole())

    return run


def test_a_change_is_in_force_and_in_the_record(play: Callable[[Scene], None]) -> None:
    async def scene(world: World) -> None:
        publisher = Publisher(world.links, world.runtime)
        async with AsyncExitStack() as undo:
            after = await publisher.change(world.catalog.get(ID), TURN, undo)
            undo.pop_all()
        assert after.state.ports == world.links.published[ID] == world.runtime.kept[ID] == (NEW,)
        assert list(after.host_config.port_bindings) == ["81/tcp"]

    play(scene)


def test_a_record_that_is_not_kept_puts_the_ports_back(play: Callable[[Scene], None]) -> None:
    async def scene(world: World) -> None:
        publisher = Publisher(world.links, world.runtime)
        async with AsyncExitStack() as undo:
            await publisher.change(world.catalog.get(ID), TURN, undo)
        assert world.links.published[ID] == world.runtime.kept[ID] == (OLD,)

    play(scene)


def test_a_shim_that_cannot_is_no_reason_to_keep_half_of_it(
    play: Callable[[Scene], None],
) -> None:
    async def scene(world: World) -> None:
        publisher = Publisher(world.links, world.runtime)
        world.runtime.fail["hold"] = EngineFailure("shim: unknown request hold")
        with pytest.raises(EngineFailure, match="unknown request"):
            async with AsyncExitStack() as undo:
                await publisher.change(world.catalog.get(ID), TURN, undo)
        assert world.links.published[ID] == (OLD,)

    play(scene)


def test_a_taken_port_is_a_conflict_and_nothing_was_touched(
    play: Callable[[Scene], None],
) -> None:
    async def scene(world: World) -> None:
        world.links.host_programs.add(("tcp", 8081))
        publisher = Publisher(world.links, world.runtime)
        async with AsyncExitStack() as undo:
            with pytest.raises(Conflict, match="address already in use"):
                await publisher.change(world.catalog.get(ID), TURN, undo)
        assert world.links.published[ID] == (OLD,)
        assert ID not in world.runtime.kept

    play(scene)


@pytest.mark.parametrize("left", [(), (NEW,), (OLD, NEW)])
def test_a_new_daemon_makes_the_filter_agree_with_the_record(
    play: Callable[[Scene], None], left: tuple[PublishedPort, ...]
) -> None:
    async def scene(world: World) -> None:
        world.links.published[ID] = left
        await Publisher(world.links, world.runtime).recover([world.catalog.get(ID)])
        assert world.links.published[ID] == world.runtime.kept[ID] == (OLD,)

    play(scene)
