"""The life of a container in the engine, on fakes: order, undo, waiting, recovery."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from tests.fakes.links import FakeLinks
from tests.fakes.runtime import FakeRuntime
from tiffin.core import idrange
from tiffin.core.container import (
    Container,
    HostConfig,
    IdRange,
    Mount,
    PortBinding,
    RestartPolicy,
    State,
    Status,
)
from tiffin.core.image import ContainerConfig
from tiffin.core.workload import Attachment, ExitAnswer, Overlay
from tiffin.engine.attachments import Attachments, HostNames
from tiffin.engine.catalog import Catalog, Rows
from tiffin.engine.events import Event, Events
from tiffin.engine.idranges import IdRanges
from tiffin.engine.networks import Networks
from tiffin.engine.processes import ExecRequest, Processes
from tiffin.engine.supervisor import EarlyClient, Supervisor
from tiffin.errors import CannotStart, Conflict, EngineFailure, NotFound, NotModified
from tiffin.runtime.waits import last_chunk
from tiffin.storage.database import Database

ID = "ab" * 32


class World:
    """A supervisor and everything around it, without a kernel."""

    def __init__(self, directory: Path) -> None:
        self.runtime = FakeRuntime()
        self.links = FakeLinks()
        self.events = Events()
        self.database = Database(str(directory / "tiffin.db"))
        self.rows = Rows(self.database)
        self.catalog = Catalog(self.rows)
        networks = Networks("10.1.0.0/24", "10.1.0.1")
        self.attachments = Attachments(self.links, networks, HostNames(), str(directory))
        self.id_ranges = IdRanges(available=True, subordinate_ids="", boot_id="boot")
        self.directory = directory
        self.supervisor = self.make_supervisor()

    def make_supervisor(self) -> Supervisor:
        snapshots: Any = SimpleNamespace(overlay=lambda active: Overlay((), f"/u/{active}", "/w"))
        return Supervisor(
            self.catalog,
            self.runtime,
            snapshots,
            self.attachments,
            self.id_ranges,
            self.events,
            str(self.directory),
        )

    async def add(
        self, host: HostConfig | None = None, *, name: str = "web", key: str = ID, **config: Any
    ) -> Container:
        return await self.catalog.put(
            Container(
                id=key,
                name=name,
                created_ns=1,
                image_id="sha256:1",
                image_reference="busybox",
                platform="linux",
                config=ContainerConfig(cmd=("true",), **config),
                host_config=host or HostConfig(),
                snapshot="1",
            )
        )

    def state(self) -> State:
        return self.catalog.get(ID).state

    async def settled(self, status: Status) -> None:
        """Until the container has this status: each change emits an event or ends a task."""
        while self.state().status is not status:
            await asyncio.sleep(0)

    def actions(self) -> list[str]:
        return [event.action for event in self._kept() if event.type == "container"]

    def told(self) -> list[tuple[str, str, str]]:
        return [(event.type, event.action, event.actor_id) for event in self._kept()]

    def _kept(self) -> list[Event]:
        return list(self.events._kept)

    def close(self) -> None:
        self.rows.close()
        self.database.close()


Scene = Callable[[World], Awaitable[None]]


@pytest.fixture
def play(tmp_path: Path) -> Callable[[Scene], None]:
    """Run a scene on a new world, within ten seconds."""

    def run(scene: Scene) -> None:
        async def whole() -> None:
            world = World(tmp_path)
            try:
                async with asyncio.timeout(10):
                    await scene(world)
            finally:
                await world.supervisor.close()
                world.close()

        asyncio.run(whole())

    return run


def test_a_start_gives_the_container_its_address_and_range(play: Callable[[Scene], None]) -> None:
    async def scene(world: World) -> None:
        await world.add()
        await world.supervisor.start("web")
        state = world.state()
        assert (state.status, state.pid, state.boot_id) == (Status.RUNNING, 1001, "boot")
        assert state.endpoints[0].address == "10.1.0.2"
        assert state.id_range is not None
        assert world.database.containers()[0].state == state

    play(scene)


def test_a_second_start_changes_nothing(play: Callable[[Scene], None]) -> None:
    async def scene(world: World) -> None:
        await world.add()
        await world.supervisor.start("web")
        with pytest.raises(NotModified):
            await world.supervisor.start("web")

    play(scene)


@pytest.mark.parametrize("verb", ["create", "start"])
def test_a_failed_start_gives_everything_back(play: Callable[[Scene], None], verb: str) -> None:
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


def test_a_taken_port_fails_before_anything_runs(play: Callable[[Scene], None]) -> None:
    async def scene(world: World) -> None:
        await world.add(HostConfig(port_bindings={"80/tcp": (PortBinding(host_port="8080"),)}))
        world.links.host_programs.add(("tcp", 8080))
        with pytest.raises(EngineFailure, match="driver failed programming external connectivity"):
            await world.supervisor.start("web")
        assert ("create", ID) not in world.runtime.calls

    play(scene)


def test_an_exit_is_recorded_and_told_to_who_waits(play: Callable[[Scene], None]) -> None:
    async def scene(world: World) -> None:
        await world.add()
        waiting = world.supervisor.wait("web", "next-exit")
        await world.supervisor.start("web")
        world.runtime.end(ID, 3)
        assert (await waiting).exit_code == 3
        state = world.state()
        assert (state.status, state.exit_code, state.pid) == (Status.EXITED, 3, 0)
        assert state.id_range is None
        assert world.links.connected == {}
        assert (await world.supervisor.wait("web")).exit_code == 3
        assert world.actions() == ["start", "die"]

    play(scene)


def test_an_exit_on_a_full_disk_is_told_all_the_same(
    play: Callable[[Scene], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene(world: World) -> None:
        await world.add()
        await world.supervisor.start("web")
        waiting = world.supervisor.wait("web")

        def refuse(_: Container) -> None:
            raise EngineFailure("cannot write the database: no space left on device")

        monkeypatch.setattr(world.database, "put_container", refuse)
        world.runtime.end(ID, 4)
        assert (await waiting).exit_code == 4
        assert world.state().status is Status.EXITED

    play(scene)


def test_a_client_that_waits_and_leaves_leaves_nothing(play: Callable[[Scene], None]) -> None:
    async def scene(world: World) -> None:
        await world.add()
        waiting = world.supervisor.wait("web", "next-exit")
        waiting.cancel()
        await asyncio.sleep(0)
        assert len(world.supervisor._waiters) == 0

    play(scene)


def test_an_exec_waits_for_a_start_under_way(play: Callable[[Scene], None]) -> None:
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


CODE = ExitAnswer('{"StatusCode":', "}")
REMOVAL = ExitAnswer('{"StatusCode":', "}", of_removal=True)


def told(code: int) -> bytes:
    return last_chunk(CODE.before, code, CODE.after)


async def waits(world: World, condition: str, answer: ExitAnswer) -> socket.socket:
    """The client's side of a connection that is owed an answer."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    exited = world.supervisor.wait(ID, condition)
    await world.supervisor.answer_exit(ID, exited, theirs.detach(), answer)
    return ours


async def received(client: socket.socket) -> bytes:
    with client:
        return await asyncio.get_running_loop().sock_recv(client, 4096)


def test_a_client_that_waits_is_the_shims_while_the_container_runs(
    play: Callable[[Scene], None],
) -> None:
    async def scene(world: World) -> None:
        await world.add()
        early = await waits(world, "next-exit", CODE)
        assert len(world.supervisor._held) == 1
        await world.supervisor.start("web")
        late = await waits(world, "not-running", CODE)
        assert len(world.supervisor._held) == 0
        assert len(world.runtime.waiting[ID]) == 2
        world.runtime.end(ID, 3)
        assert await received(early) == told(3)
        assert await received(late) == told(3)
        assert await received(await waits(world, "not-running", CODE)) == told(3)

    play(scene)


def test_a_client_that_waits_learns_of_a_start_that_fails(play: Callable[[Scene], None]) -> None:
    async def scene(world: World) -> None:
        await world.add()
        client = await waits(world, "next-exit", CODE)
        world.runtime.fail["start"] = CannotStart("no", exit_code=127)
        with pytest.raises(CannotStart):
            await world.supervisor.start("web")
        assert await received(client) == told(127)
        assert len(world.supervisor._held) == 0

    play(scene)


def test_who_waits_for_a_removal_that_only_a_daemon_does_is_not_given_away(
    play: Callable[[Scene], None],
) -> None:
    async def scene(world: World) -> None:
        container = await world.add()
        client = await waits(world, "removed", REMOVAL)
        await world.supervisor.start("web")
        assert ID not in world.runtime.waiting
        world.runtime.end(ID, 3)
        await world.supervisor.wait("web")
        await world.supervisor.removed(world.catalog.get(container.id))
        assert await received(client) == told(3)

    play(scene)


def test_a_held_client_that_leaves_is_forgotten(play: Callable[[Scene], None]) -> None:
    async def scene(world: World) -> None:
        await world.add()
        (await waits(world, "next-exit", CODE)).close()
        while len(world.supervisor._held):
            await asyncio.sleep(0)

    play(scene)


def test_a_client_that_attached_first_is_joined_by_the_start(play: Callable[[Scene], None]) -> None:
    async def scene(world: World) -> None:
        await world.add()
        ours, theirs = socket.socketpair()
        with ours, theirs:
            waiting = EarlyClient(theirs.detach(), Attachment(stdout=True), b"")
            world.supervisor.hold_for_start(ID, waiting)
            await world.supervisor.start("web")
            verbs = [verb for verb, _ in world.runtime.calls]
            assert verbs == ["create", "attach", "start"]
            assert ours.recv(1) == b""  # the engine's copy is closed; the shim would hold its own

    play(scene)


def test_networks_and_volumes_that_a_run_uses_are_told(play: Callable[[Scene], None]) -> None:
    async def scene(world: World) -> None:
        container = await world.add()
        mount = Mount("volume", "/v/data/_data", "/data", name="data", driver="local")
        await world.catalog.put(msgspec.structs.replace(container, mounts=(mount,)))
        await world.supervisor.start("web")
        (endpoint,) = world.state().endpoints

        exited = world.supervisor.wait("web")
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


def test_stop_asks_then_kills(play: Callable[[Scene], None]) -> None:
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


def test_a_client_that_goes_away_does_not_cut_a_start_in_two(
    play: Callable[[Scene], None],
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


def test_a_signal_in_the_middle_of_a_start_reaches_what_it_starts(
    play: Callable[[Scene], None],
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


def test_a_restart_policy_starts_again_what_ends(play: Callable[[Scene], None]) -> None:
    async def scene(world: World) -> None:
        await world.add(HostConfig(restart_policy=RestartPolicy("on-failure", 1)))
        await world.supervisor.start("web")
        world.runtime.end(ID, 1)
        await world.settled(Status.RESTARTING)
        await world.settled(Status.RUNNING)
        world.runtime.end(ID, 1)
        await world.settled(Status.EXITED)
        assert world.state().restart_count == 1

    play(scene)


def test_a_ring_of_joined_networks_is_refused(play: Callable[[Scene], None]) -> None:
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


def test_auto_remove_follows_the_exit(play: Callable[[Scene], None]) -> None:
    async def scene(world: World) -> None:
        await world.add(HostConfig(auto_remove=True))
        removed = asyncio.Event()

        async def remove(container_id: str) -> None:
            removed.set()
            raise NotFound(container_id)

        world.supervisor.remove_after_exit = remove
        await world.supervisor.start("web")
        world.runtime.end(ID)
        await removed.wait()

    play(scene)


@pytest.mark.parametrize(
    ("meanwhile", "status", "exit_code"),
    [("runs", Status.RUNNING, 0), ("ended", Status.EXITED, 5), ("lost", Status.EXITED, 255)],
)
def test_a_new_daemon_makes_the_records_true(
    play: Callable[[Scene], None], meanwhile: str, status: Status, exit_code: int
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
        await world.supervisor.recover()  # a second time changes nothing
        assert (world.state().status, world.state().exit_code) == (status, exit_code)

    play(scene)


def test_what_another_boot_left_is_not_believed(play: Callable[[Scene], None]) -> None:
    async def scene(world: World) -> None:
        container = await world.add()
        await world.supervisor.start("web")
        old = msgspec.structs.replace(world.state(), boot_id="another")
        await world.catalog.put_state(container, old)
        await world.supervisor.recover()
        assert (world.state().status, world.state().exit_code) == (Status.EXITED, 255)

    play(scene)


async def after_a_crash(world: World) -> None:
    """A new daemon over what the last one left."""
    await world.supervisor.close()
    world.catalog = Catalog(world.rows)
    await world.catalog.load()
    world.supervisor = world.make_supervisor()
    await world.supervisor.recover()


def test_an_exit_is_recorded_before_what_tells_of_it_is_removed(
    play: Callable[[Scene], None], monkeypatch: pytest.MonkeyPatch
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
        await asyncio.gather(*world.supervisor._tasks)
        assert recorded == [Status.EXITED]

    play(scene)


def test_an_exit_is_told_even_where_the_link_does_not_go(
    play: Callable[[Scene], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene(world: World) -> None:
        await world.add()
        await world.supervisor.start("web")
        waiting = world.supervisor.wait("web")

        async def disconnect(_: str) -> None:
            raise EngineFailure("cannot disconnect the container: No buffer space available")

        monkeypatch.setattr(world.links, "disconnect", disconnect)
        world.runtime.end(ID, 3)
        assert (await waiting).exit_code == 3
        assert world.id_ranges._used == {}

    play(scene)


def test_restarting_what_is_removed_after_its_exit_does_not_remove_it(
    play: Callable[[Scene], None],
) -> None:
    async def scene(world: World) -> None:
        removed: list[str] = []

        async def remove(container_id: str) -> None:
            removed.append(container_id)

        world.supervisor.remove_after_exit = remove
        await world.add(HostConfig(auto_remove=True))
        await world.supervisor.start("web")
        await world.supervisor.restart("web")
        assert (world.state().status, removed) == (Status.RUNNING, [])
        await world.supervisor.stop("web")
        await asyncio.gather(*world.supervisor._tasks)
        assert removed == [ID]

    play(scene)


@pytest.mark.parametrize("status", [Status.EXITED, Status.CREATED])
def test_restarting_what_does_not_run_starts_it(
    play: Callable[[Scene], None], status: Status
) -> None:
    async def scene(world: World) -> None:
        container = await world.add()
        await world.catalog.put_state(container, State(status=status))
        await world.supervisor.restart("web")
        assert world.state().status is Status.RUNNING
        assert world.actions() == ["start", "restart"]

    play(scene)


def test_a_freeze_that_nobody_recorded_is_undone(play: Callable[[Scene], None]) -> None:
    async def scene(world: World) -> None:
        await world.add()
        await world.supervisor.start("web")
        world.runtime.frozen.add(ID)
        await after_a_crash(world)
        assert (world.state().status, world.runtime.frozen) == (Status.RUNNING, set())

    play(scene)


def test_a_thaw_that_nobody_recorded_is_seen(play: Callable[[Scene], None]) -> None:
    async def scene(world: World) -> None:
        await world.add()
        await world.supervisor.start("web")
        await world.supervisor.pause("web")
        world.runtime.frozen.clear()
        await after_a_crash(world)
        assert world.state().status is Status.RUNNING

    play(scene)


def test_one_container_that_cannot_be_recovered_does_not_keep_the_others(
    play: Callable[[Scene], None], monkeypatch: pytest.MonkeyPatch
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


def test_the_backoff_is_measured_by_a_clock_that_nobody_sets(
    play: Callable[[Scene], None], monkeypatch: pytest.MonkeyPatch
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
        await asyncio.gather(*world.supervisor._restarts.values())
        now = 1009.0
        world.runtime.end(ID, 1)
        await world.settled(Status.RESTARTING)
        assert world.supervisor._backoff_seconds[ID] == 0.2

    play(scene)


@pytest.mark.parametrize(
    ("signal", "stays_down"),
    [("SIGTERM", True), ("SIGINT", True), ("SIGUSR1", True), ("SIGHUP", False)],
)
def test_a_signal_that_asks_to_end_silences_the_restart_policy(
    play: Callable[[Scene], None], signal: str, stays_down: bool
) -> None:
    async def scene(world: World) -> None:
        policy = HostConfig(restart_policy=RestartPolicy("always"))
        await world.add(policy, stop_signal="SIGUSR1")
        await world.supervisor.start("web")
        await world.supervisor.kill("web", signal)
        await world.settled(Status.EXITED if stays_down else Status.RESTARTING)

    play(scene)


def test_without_a_free_id_range_a_start_fails_by_name(play: Callable[[Scene], None]) -> None:
    async def scene(world: World) -> None:
        await world.add()
        world.id_ranges.keep("everybody", IdRange(idrange.FIRST, idrange.LAST + 1 - idrange.FIRST))
        with pytest.raises(EngineFailure, match="no id range is left"):
            await world.supervisor.start("web")
        assert (world.state().status, world.runtime.alive) == (Status.CREATED, {})
        assert world.id_ranges.held() == {"everybody"}

    play(scene)
