"""Clients that attach before a start or wait for an end, on fakes."""

from __future__ import annotations

import asyncio
import socket

import pytest

from tests.unit.engine.world import ID, Play, World
from tiffin.core.container import State, Status
from tiffin.core.loglines import LogBatch
from tiffin.core.workload import Attachment, ExitAnswer
from tiffin.engine.clients import EarlyClient
from tiffin.engine.containerstreams import ContainerStreams
from tiffin.errors import CannotStart
from tiffin.runtime.waits import last_chunk


def test_a_client_that_waits_and_leaves_leaves_nothing(play: Play) -> None:
    async def scene(world: World) -> None:
        await world.add()
        waiting = world.supervisor.clients.wait("web", "next-exit")
        waiting.cancel()
        await asyncio.sleep(0)
        assert len(world.supervisor.clients._waiters) == 0

    play(scene)


CODE = ExitAnswer('{"StatusCode":', "}")
REMOVAL = ExitAnswer('{"StatusCode":', "}", of_removal=True)


def told(code: int) -> bytes:
    return last_chunk(CODE.before, code, CODE.after)


async def waits(world: World, condition: str, answer: ExitAnswer) -> socket.socket:
    """The client's side of a connection that is owed an answer."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    exited = world.supervisor.clients.wait(ID, condition)
    await world.supervisor.clients.answer_exit(ID, exited, theirs.detach(), answer)
    return ours


async def received(client: socket.socket) -> bytes:
    with client:
        return await asyncio.get_running_loop().sock_recv(client, 4096)


def test_a_client_that_waits_is_the_shims_while_the_container_runs(
    play: Play,
) -> None:
    async def scene(world: World) -> None:
        await world.add()
        early = await waits(world, "next-exit", CODE)
        assert len(world.supervisor.clients._held) == 1
        await world.supervisor.start("web")
        late = await waits(world, "not-running", CODE)
        assert len(world.supervisor.clients._held) == 0
        assert len(world.runtime.waiting[ID]) == 2
        world.runtime.end(ID, 3)
        assert await received(early) == told(3)
        assert await received(late) == told(3)
        assert await received(await waits(world, "not-running", CODE)) == told(3)

    play(scene)


def test_a_client_that_waits_learns_of_a_start_that_fails(play: Play) -> None:
    async def scene(world: World) -> None:
        await world.add()
        client = await waits(world, "next-exit", CODE)
        world.runtime.fail["start"] = CannotStart("no", exit_code=127)
        with pytest.raises(CannotStart):
            await world.supervisor.start("web")
        assert await received(client) == told(127)
        assert len(world.supervisor.clients._held) == 0

    play(scene)


def test_who_waits_for_a_removal_that_only_a_daemon_does_is_not_given_away(
    play: Play,
) -> None:
    async def scene(world: World) -> None:
        container = await world.add()
        client = await waits(world, "removed", REMOVAL)
        await world.supervisor.start("web")
        assert ID not in world.runtime.waiting
        world.runtime.end(ID, 3)
        await world.supervisor.clients.wait("web")
        await world.supervisor.removed(world.catalog.get(container.id))
        assert await received(client) == told(3)

    play(scene)


def test_a_held_client_that_leaves_is_forgotten(play: Play) -> None:
    async def scene(world: World) -> None:
        await world.add()
        (await waits(world, "next-exit", CODE)).close()
        while len(world.supervisor.clients._held):
            await asyncio.sleep(0)

    play(scene)


def test_a_client_that_attached_first_is_joined_by_the_start(play: Play) -> None:
    async def scene(world: World) -> None:
        await world.add()
        ours, theirs = socket.socketpair()
        with ours, theirs:
            waiting = EarlyClient(theirs.detach(), Attachment(stdout=True), b"")
            world.supervisor.clients.hold_for_start(ID, waiting)
            await world.supervisor.start("web")
            verbs = [verb for verb, _ in world.runtime.calls]
            assert verbs == ["create", "attach", "start"]
            assert ours.recv(1) == b""  # the engine's copy is closed; the shim would hold its own

    play(scene)


@pytest.mark.parametrize("with_logs", [False, True])
def test_a_start_finds_who_has_not_read_the_head_yet_and_lets_him(
    play: Play, with_logs: bool
) -> None:
    async def scene(world: World) -> None:
        await world.add()
        streams = ContainerStreams(
            world.catalog, world.supervisor, world.runtime, world.events, str(world.directory)
        )
        ours, theirs = socket.socketpair()
        with ours, theirs:
            theirs.send(b"head")
            client = EarlyClient(theirs.fileno(), Attachment(stdout=True), b"", True)
            if with_logs:
                await streams.attach_with_logs("web", client, no_lines)
            else:
                await streams.attach("web", client)
            starting = asyncio.create_task(world.supervisor.start("web"))
            while ("create", ID) not in world.runtime.calls:
                await asyncio.sleep(0)
            assert world.runtime.attached == []
            assert ours.recv(4) == b"head"
            await starting
            assert [verb for verb, _ in world.runtime.calls] == ["create", "attach", "start"]

    play(scene)


def test_who_attached_for_a_run_that_has_come_and_gone_is_not_held(play: Play) -> None:
    async def scene(world: World) -> None:
        await world.add()
        streams = ContainerStreams(
            world.catalog, world.supervisor, world.runtime, world.events, str(world.directory)
        )
        ours, theirs = socket.socketpair()
        async with world.catalog.lock(ID):
            client = EarlyClient(theirs.fileno(), Attachment(stdout=True), b"")
            attaching = asyncio.create_task(streams.attach("web", client))
            await asyncio.sleep(0)
            ended = State(status=Status.EXITED, started_ns=1, finished_ns=2)
            await world.catalog.put_state(world.catalog.get(ID), ended)
        await attaching
        theirs.close()
        with ours:
            assert ours.recv(1) == b""

    play(scene)


def test_who_joins_nothing_but_a_closed_stdin_is_at_its_end(play: Play) -> None:
    async def scene(world: World) -> None:
        ended = State(status=Status.EXITED, started_ns=1, finished_ns=2)
        await world.catalog.put_state(await world.add(), ended)
        streams = ContainerStreams(
            world.catalog, world.supervisor, world.runtime, world.events, str(world.directory)
        )
        ours, theirs = socket.socketpair()
        with ours:
            client = EarlyClient(theirs.fileno(), Attachment(stdin=True), b"")
            await streams.attach_with_logs("web", client, no_lines)
            theirs.close()
            assert ours.recv(1) == b""

    play(scene)


async def no_lines(_: LogBatch) -> None:
    pass
