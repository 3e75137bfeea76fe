"""Readings of what containers use: from the kernel's texts, a moment apart, until the removal."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from types import SimpleNamespace

import msgspec

from tests.fakes.runtime import FakeRuntime
from tiffin.core.container import Container, HostConfig, State, Status
from tiffin.core.image import ContainerConfig
from tiffin.engine.catalog import Catalog, Rows
from tiffin.engine.statistics import (
    Gauges,
    Transfer,
    host_cpu_ns,
    parse_devices,
    parse_transfers,
    parse_transfers_v1,
)
from tiffin.storage.database import Database

ID = "ab" * 32
DEVICES = """\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo
    lo:  10  1  0  0  0  0  0  0  10  1  0  0  0  0  0  0
  eth0: 5338 36 1 2 0 0 0 0  648 8 3 4 0 0 0 0
"""


def test_interfaces_are_counted_without_the_loopback() -> None:
    assert parse_devices(DEVICES) == {
        "eth0": {
            "rx_bytes": 5338,
            "rx_packets": 36,
            "rx_errors": 1,
            "rx_dropped": 2,
            "tx_bytes": 648,
            "tx_packets": 8,
            "tx_errors": 3,
            "tx_dropped": 4,
        }
    }


def test_transfers_are_read_from_io_stat() -> None:
    text = "8:0 rbytes=4096 wbytes=12 rios=1 wios=1 dbytes=0 dios=0\n254:1\n"
    assert parse_transfers(text) == (Transfer(8, 0, "read", 4096), Transfer(8, 0, "write", 12))


def test_transfers_of_v1_are_read_from_what_the_throttle_counts() -> None:
    text = "8:0 Read 4096\n8:0 Write 12\n8:0 Total 4108\nTotal 4108\n"
    assert parse_transfers_v1(text) == (
        Transfer(8, 0, "Read", 4096),
        Transfer(8, 0, "Write", 12),
        Transfer(8, 0, "Total", 4108),
    )


def test_the_host_s_time_is_that_of_all_columns() -> None:
    tick_ns = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
    assert host_cpu_ns("cpu  1 2 3 4 5 6 7 8 9\ncpu0 1 2 3\n") == 28 * tick_ns


class Room:
    """Gauges over one container, whose rests the test counts."""

    def __init__(self, directory: Path) -> None:
        self.database = Database(str(directory / "tiffin.db"))
        self.rows = Rows(self.database)
        self.catalog = Catalog(self.rows)
        self.runtime = FakeRuntime()
        self.rests = 0
        self.gauges = Gauges(self.catalog, self.runtime, self._rest)

    async def _rest(self) -> None:
        self.rests += 1

    async def add(self, status: Status) -> Container:
        self.runtime.groups[ID] = SimpleNamespace(
            layout=SimpleNamespace(version=1), statistics=lambda: "numbers", directory=lambda _: ""
        )
        state = State(status=status, pid=os.getpid())
        container = Container(
            ID, "web", 1, "sha256:1", "busybox", "linux", ContainerConfig(), HostConfig(), "1"
        )
        return await self.catalog.put(msgspec.structs.replace(container, state=state))

    def close(self) -> None:
        self.rows.close()
        self.database.close()


def test_one_reading_is_compared_with_one_before_it(tmp_path: Path) -> None:
    async def scene(room: Room) -> None:
        await room.add(Status.RUNNING)
        reading = await room.gauges.once("web", compared=True)
        assert reading.now is not None
        assert reading.before is not None
        assert reading.before.time_ns <= reading.now.time_ns
        assert reading.now.networks is not None
        assert room.rests == 1
        assert (await room.gauges.once("web", compared=False)).before is None
        assert room.rests == 1

    _play(scene, tmp_path)


def test_what_does_not_run_uses_nothing(tmp_path: Path) -> None:
    async def scene(room: Room) -> None:
        await room.add(Status.EXITED)
        assert (await room.gauges.once("web", compared=True))[1:] == (None, None)
        assert room.rests == 0

    _play(scene, tmp_path)


def test_following_ends_with_the_removal(tmp_path: Path) -> None:
    async def scene(room: Room) -> None:
        container = await room.add(Status.RUNNING)
        readings = []
        async for reading in room.gauges.follow("web"):
            readings.append(reading)
            if len(readings) == 3:
                await room.catalog.delete(container)
        assert [r.before is None for r in readings] == [True, False, False]
        assert readings[1].before == readings[0].now

    _play(scene, tmp_path)


def _play(scene: object, directory: Path) -> None:
    async def whole() -> None:
        room = Room(directory)
        try:
            async with asyncio.timeout(10):
                await scene(room)  # type: ignore[operator]
        finally:
            room.close()

    asyncio.run(whole())
