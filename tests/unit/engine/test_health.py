"""Health checks of the engine on a clock of the test's own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec

from tiffin.core.container import Container, Health, HostConfig, State, Status
from tiffin.core.image import ContainerConfig, Healthcheck
from tiffin.engine.catalog import Catalog, Rows
from tiffin.engine.events import Events
from tiffin.engine.health import HealthChecks, Result
from tiffin.errors import CannotStart
from tiffin.storage.database import Database

ID = "ab" * 32
SECOND = 1_000_000_000


class HandClock:
    """Time passes only in `pass_until`."""

    def __init__(self) -> None:
        self.time_ns = 1000 * SECOND
        self._sleepers: list[tuple[int, asyncio.Event]] = []

    def now_ns(self) -> int:
        return self.time_ns

    async def sleep(self, nanoseconds: int) -> None:
        due, woken = self.time_ns + nanoseconds, asyncio.Event()
        self._sleepers.append((due, woken))
        await woken.wait()

    async def next(self) -> None:
        """On to the next moment that somebody waits for."""
        while not self._sleepers:
            await asyncio.sleep(0)
        self._sleepers.sort(key=lambda sleeper: sleeper[0])
        self.time_ns, woken = self._sleepers.pop(0)
        woken.set()

    @property
    def idle(self) -> bool:
        return bool(self._sleepers)


class Ward:
    def __init__(self, directory: Path) -> None:
        self.database = Database(str(directory / "tiffin.db"))
        self.rows = Rows(self.database)
        self.catalog = Catalog(self.rows)
        self.events = Events()
        self.clock = HandClock()
        self.results: list[Result | Exception] = []
        self.probes: list[tuple[tuple[str, ...], int]] = []
        self.checks = HealthChecks(self.catalog, self.events, self._probe, self.clock)  # type: ignore[arg-type]

    async def _probe(self, _: Container, command: tuple[str, ...], timeout_ns: int) -> Result:
        self.probes.append((command, timeout_ns))
        result = self.results.pop(0)
        if isinstance(result, Exception):
            raise result
        return result

    async def admit(self, check: Healthcheck) -> None:
        state = State(
            status=Status.RUNNING, started_ns=self.clock.now_ns(), health=Health("starting")
        )
        config = ContainerConfig(healthcheck=check)
        container = Container(
            ID, "web", 1, "sha256:1", "busybox", "linux", config, HostConfig(), "1", (), state
        )
        await self.catalog.put(container)

    async def set_status(self, status: Status, action: str) -> None:
        container = self.catalog.get(ID)
        await self.catalog.put_state(
            container, msgspec.structs.replace(container.state, status=status)
        )
        self.events.emit("container", action, ID)

    async def probed(self, result: Result | Exception) -> Health:
        """The health after one more probe, and after the next is waited for."""
        self.results.append(result)
        await self.clock.next()
        while self.results or not self.clock.idle:
            await asyncio.sleep(0.001)
        found = self.catalog.get(ID).state.health
        assert found is not None
        return found

    def changes(self) -> list[str]:
        return [e.action for e in self.events._kept if e.action.startswith("health_status")]


def test_a_container_becomes_healthy_and_ill_and_both_are_told(tmp_path: Path) -> None:
    async def scene(ward: Ward) -> None:
        await ward.admit(Healthcheck(test=("CMD", "ok"), interval=SECOND, timeout=7, retries=2))
        ward.events.emit("container", "start", ID)
        assert (await ward.probed(Result(0, "fine"))).status == "healthy"
        assert (await ward.probed(Result(1, "bad"))).failing_streak == 1
        found = await ward.probed(Result(1, "bad"))
        assert (found.status, [one.output for one in found.log]) == (
            "unhealthy",
            ["fine", "bad", "bad"],
        )
        assert ward.changes() == ["health_status: healthy", "health_status: unhealthy"]
        assert ward.probes[0] == (("ok",), 7)
        assert ward.clock.now_ns() == 1003 * SECOND
        kept = ward.database.containers()[0].state.health
        assert kept is not None
        assert kept.status == "unhealthy"

    _play(scene, tmp_path)


def test_a_probe_that_cannot_be_run_has_failed(tmp_path: Path) -> None:
    async def scene(ward: Ward) -> None:
        await ward.admit(Healthcheck(test=("CMD", "no"), retries=1))
        ward.checks.resume()
        found = await ward.probed(CannotStart("exec: no: not found"))
        assert (found.status, found.log[0].exit_code) == ("unhealthy", -1)
        assert found.log[0].output == "exec: no: not found"

    _play(scene, tmp_path)


def test_nobody_probes_what_is_paused_or_has_ended(tmp_path: Path) -> None:
    async def scene(ward: Ward) -> None:
        await ward.admit(Healthcheck(test=("CMD", "ok")))
        ward.checks.resume()
        await ward.set_status(Status.PAUSED, "pause")
        assert ward.checks._tasks == {}
        await ward.set_status(Status.RUNNING, "unpause")
        assert len(ward.checks._tasks) == 1
        await ward.set_status(Status.EXITED, "die")
        assert ward.checks._tasks == {}

    _play(scene, tmp_path)


def test_resuming_disturbs_nobody_who_is_watched(tmp_path: Path) -> None:
    async def scene(ward: Ward) -> None:
        await ward.admit(Healthcheck(test=("CMD", "ok")))
        ward.events.emit("container", "start", ID)
        (task,) = ward.checks._tasks.values()
        ward.checks.resume()
        assert list(ward.checks._tasks.values()) == [task]

    _play(scene, tmp_path)


def _play(scene: Callable[[Ward], Awaitable[None]], directory: Path) -> None:
    async def whole() -> None:
        ward = Ward(directory)
        try:
            async with asyncio.timeout(10):
                await scene(ward)
        finally:
            await ward.checks.close()
            ward.rows.close()
            ward.database.close()

    asyncio.run(whole())
