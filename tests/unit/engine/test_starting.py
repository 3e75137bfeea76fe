"""What a start takes and gives back, on fakes: order, undo."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from tests.unit.engine.world import ID, Play, World
from tiffin.core import idrange
from tiffin.core.container import (
    HostConfig,
    IdRange,
    Mount,
    PortBinding,
    Status,
)
from tiffin.core.workload import Attachment
from tiffin.engine.processes import ExecRequest, Processes
from tiffin.errors import CannotStart, Conflict, EngineFailure, NotFound, NotModified


def test_a_start_gives_the_container_its_address_and_range(play: Play) -> None:
    async def scene(world: World) -> None:
        await world.add()
        await world.supervisor.start("web")
        state = world.state()
        assert (state.status, state.pid, state.boot_id) == (Status.RUNNING, 1001, "boot")
        assert state.endpoints[0].address == "10.1.0.2"
        assert state.id_range is not None
        assert world.database.containers()[0].state == state

    play(scene)


def test_a_second_start_changes_nothing(play: Play) -> None:
    async def scene(world: World) -> None:
        await world.add()
        await world.supervisor.start("web")
        with pytest.raises(NotModified):
            await world.supervisor.start("web")

    play(scene)


@pytest.mark.parametrize("verb", ["create", "start"])
def test_a_failed_start_gives_everything_back(play: Play, verb: str) -> None:
    async def scene(world: World) -> None:
        await world.add(HostConfig(port_bindings={"80/tcp": (PortBinding(host_port="8080"),)}))
        world.runtime.fail[verb] = CannotStart("executable file not found", exit_code=127)
        with pytest.raises(CannotStart):
            await world.supervisor.start("web")
        state = world.state()
        assert (state.status, state.exit_code) == (Status.CREATED, 127)
        assert state.error == "executable file not found"
        assert world.runtime.alive == {}
        assert world.links.connected == {}
        await world.supervisor.start("web")  # the port, the address and the range are free again
        assert world.state().ports[0].host_port == 8080

    play(scene)


def test_a_taken_port_fails_before_anything_runs(play: Play) -> None:
    async def scene(world: World) -> None:
        await world.add(HostConfig(port_bindings={"80/tcp": (PortBinding(host_port="8080"),)}))
        world.links.host_programs.add(("tcp", 8080))
        with pytest.raises(EngineFailure, match="driver failed programming external connectivity"):
            await world.supervisor.start("web")
        assert ("create", ID) not in world.runtime.calls

    play(scene)


def test_without_a_free_id_range_a_start_fails_by_name(play: Play) -> None:
    async def scene(world: World) -> None:
        await world.add()
        world.id_ranges.keep("everybody", IdRange(idrange.FIRST, idrange.LAST + 1 - idrange.FIRST))
        with pytest.raises(EngineFailure, match="no id range is left"):
            await world.supervisor.start("web")
        assert (world.state().status, world.runtime.alive) == (Status.CREATED, {})
        assert world.id_ranges.held() == {"everybody"}

    play(scene)


def test_a_ring_of_joined_networks_is_refused(play: Play) -> None:
    async def scene(world: World) -> None:
        other = "cd" * 32
        await world.add(HostConfig(network_mode="container:db"))
        await world.add(HostConfig(), name="db", key=other)
        await world.supervisor.start("db")
        turned = msgspec.structs.replace(
            world.catalog.get("db"), host_config=HostConfig(network_mode="container:web")
        )
        await world.catalog.put(turned)
        with pytest.raises(Conflict, match="cannot join own network"):
            await world.supervisor.start("web")

    play(scene)


def test_an_exec_waits_for_a_start_under_way(play: Play) -> None:
    async def scene(world: World) -> None:
        await world.add()
        processes = Processes(world.catalog, world.runtime, world.supervisor, world.events)
        world.runtime.gate = asyncio.Event()
        starting = asyncio.create_task(world.supervisor.start("web"))
        while ("start", ID) not in world.runtime.calls:
            await asyncio.sleep(0)
        asked = asyncio.create_task(processes.create("web", ExecRequest(cmd=("true",))))
        await asyncio.sleep(0)
        assert not asked.done()
        world.runtime.gate.set()
        await starting
        assert processes.get(await asked).container_id == ID

    play(scene)


def test_an_exec_that_never_started_ends_with_its_container(play: Play) -> None:
    async def scene(world: World) -> None:
        await world.add()
        processes = Processes(world.catalog, world.runtime, world.supervisor, world.events)
        await world.supervisor.start("web")
        waits = await processes.create("web", ExecRequest(cmd=("true",)))
        ran = await processes.create("web", ExecRequest(cmd=("true",)))
        await processes.start(ran, None, Attachment())
        assert processes.of(ID) == [waits, ran]
        world.runtime.end(ID)
        await world.settled(Status.EXITED)
        assert (processes.of(ID), processes.get(ran).exit_code) == ([], 137)
        with pytest.raises(NotFound, match=f"No such exec instance: {waits}"):
            processes.get(waits)

    play(scene)


def test_a_client_that_goes_away_does_not_cut_a_start_in_two(
    play: Play,
) -> None:
    async def scene(world: World) -> None:
        await world.add()
        world.runtime.gate = asyncio.Event()
        client = asyncio.create_task(world.supervisor.start("web"))
        while ("start", ID) not in world.runtime.calls:
            await asyncio.sleep(0)
        client.cancel()
        await asyncio.sleep(0)
        world.runtime.gate.set()
        await world.settled(Status.RUNNING)

    play(scene)


def test_networks_and_volumes_that_a_run_uses_are_told(play: Play) -> None:
    async def scene(world: World) -> None:
        container = await world.add()
        mount = Mount("volume", "/v/data/_data", "/data", name="data", driver="local")
        await world.catalog.put(msgspec.structs.replace(container, mounts=(mount,)))
        await world.supervisor.start("web")
        (endpoint,) = world.state().endpoints

        exited = world.supervisor.clients.wait("web")
        world.runtime.end(ID)
        await exited

        network = endpoint.network_id
        assert world.told() == [
            ("network", "connect", network),
            ("volume", "mount", "data"),
            ("container", "start", ID),
            ("container", "die", ID),
            ("network", "disconnect", network),
            ("volume", "unmount", "data"),
        ]

    play(scene)
