"""What containers use: readings of their cgroups and network namespaces, a second apart.

Each client that asks has readings of its own; nothing is measured while nobody looks.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import NamedTuple

from tiffin.core.container import Container
from tiffin.core.lifecycle import LIVE
from tiffin.engine.catalog import Catalog
from tiffin.engine.ports import ContainerRuntime
from tiffin.kernel.cgroup import Cgroup
from tiffin.kernel.cgroupstatistics import Statistics, statistics_of
from tiffin.kernel.pressure import Pressure, read_pressure

SECONDS_BETWEEN = 1.0
_SECOND_NS = 1_000_000_000
_TICK_NS = _SECOND_NS // os.sysconf("SC_CLK_TCK")
# /proc/net/dev: eight numbers received, eight sent.
_DEVICE_COLUMNS = {
    "rx_bytes": 0,
    "rx_packets": 1,
    "rx_errors": 2,
    "rx_dropped": 3,
    "tx_bytes": 8,
    "tx_packets": 9,
    "tx_errors": 10,
    "tx_dropped": 11,
}

_V1_FILE = "blkio.throttle.io_service_bytes_recursive"

Interfaces = dict[str, dict[str, int]]


class Transfer(NamedTuple):
    """Bytes moved from or to a block device."""

    major: int
    minor: int
    verb: str  # read, write; on v1 with a capital, and Sync, Async, Discard, Total as well
    size: int


class Usage(NamedTuple):
    """What a running container has used until `time_ns`."""

    time_ns: int
    cgroup_version: int
    group: Statistics
    system_ns: int  # CPU time of the whole host, of everybody
    cpus: int
    host_memory_bytes: int
    transfers: tuple[Transfer, ...]
    networks: Interfaces | None  # None: it has no network namespace of its own
    pressure: dict[str, Pressure]  # by resource; v2 alone


class Reading(NamedTuple):
    container: Container
    now: Usage | None  # None: it does not run
    before: Usage | None


class Gauges:
    """Takes readings. `rest` is awaited between two of them."""

    def __init__(
        self,
        catalog: Catalog,
        runtime: ContainerRuntime,
        rest: Callable[[], Awaitable[None]] = lambda: asyncio.sleep(SECONDS_BETWEEN),
    ) -> None:
        self._catalog = catalog
        self._runtime = runtime
        self._rest = rest

    async def once(self, reference: str, *, compared: bool) -> Reading:
        """One reading, `compared` with one taken a moment before. Raises NotFound."""
        container = self._catalog.get(reference)
        await self._count_disks(container)
        before = None
        if compared and container.state.status in LIVE:
            before = await self._usage(container)
            await self._rest()
            container = self._catalog.find_id(container.id) or container
        return Reading(container, await self._usage(container), before)

    def follow(self, reference: str) -> AsyncIterator[Reading]:
        """Readings until the container is removed. Raises NotFound at once."""
        return self._follow(self._catalog.get(reference).id)

    async def _follow(self, container_id: str) -> AsyncIterator[Reading]:
        before = None
        await self._count_disks(self._catalog.get(container_id))
        while (container := self._catalog.find_id(container_id)) is not None:
            now = await self._usage(container)
            yield Reading(container, now, before)
            before = now
            await self._rest()

    async def _count_disks(self, container: Container) -> None:
        """On v1 what disks do is counted from the first look on."""
        lock = self._catalog.lock(container.id)
        if lock.locked():
            return  # it starts or ends: the next one who looks
        async with lock:
            now = self._catalog.find_id(container.id)
            if now is not None and now.state.status in LIVE:
                await self._runtime.count_disks(container.id)

    async def _usage(self, container: Container) -> Usage | None:
        group = self._runtime.group(container.id)
        if group is None or container.state.status not in LIVE:
            return None
        # Files of the kernel's own, some microseconds each: no thread is worth it.
        mode = container.host_config.network_mode
        own = mode != "host" and not mode.startswith("container:")
        try:
            return Usage(
                time.time_ns(),
                group.layout.version,
                statistics_of(group),
                host_cpu_ns(_read("/proc/stat")),
                os.sysconf("SC_NPROCESSORS_ONLN"),
                os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
                _transfers(group),
                parse_devices(_read(f"/proc/{container.state.pid}/net/dev")) if own else None,
                read_pressure(group),
            )
        except (FileNotFoundError, ProcessLookupError):
            return None  # it ended meanwhile


def _transfers(group: Cgroup) -> tuple[Transfer, ...]:
    """Where the host counts them for this container."""
    try:
        if group.layout.version == 2:
            return parse_transfers(_read(group.directory("io") + "/io.stat"))
        directory = group.directory("blkio")
        return parse_transfers_v1(_read(f"{directory}/{_V1_FILE}")) if directory else ()
    except FileNotFoundError:
        return ()


def parse_transfers(text: str) -> tuple[Transfer, ...]:
    """Lines of v2's io.stat: "8:0 rbytes=4096 wbytes=0 rios=1 ..."."""
    found = []
    for line in text.splitlines():
        device, *pairs = line.split()
        major, _, minor = device.partition(":")
        sizes = dict(pair.partition("=")[::2] for pair in pairs)
        for verb, key in (("read", "rbytes"), ("write", "wbytes")):
            if key in sizes:
                found.append(Transfer(int(major), int(minor), verb, int(sizes[key])))
    return tuple(found)


def parse_transfers_v1(text: str) -> tuple[Transfer, ...]:
    """Lines of the throttle's counts: "8:0 Read 4096", and a total of all at the end."""
    found = []
    for line in text.splitlines():
        device, _, rest = line.partition(" ")
        verb, _, size = rest.partition(" ")
        major, colon, minor = device.partition(":")
        if colon and size.isdigit():
            found.append(Transfer(int(major), int(minor), verb, int(size)))
    return tuple(found)


def _read(path: str) -> str:
    with open(path, encoding="ascii", errors="replace") as file:
        return file.read()


def host_cpu_ns(text: str) -> int:
    """All CPU time, idle too, of /proc/stat: the columns that Docker adds up."""
    columns = text.partition("\n")[0].split()[1:8]
    return sum(map(int, columns)) * _TICK_NS


def parse_devices(text: str) -> Interfaces:
    """Counters by interface of /proc/net/dev, without the loopback."""
    found: Interfaces = {}
    for line in text.splitlines()[2:]:
        name, _, rest = line.partition(":")
        numbers = rest.split()
        if name.strip() != "lo" and len(numbers) >= 16:
            found[name.strip()] = {
                key: int(numbers[column]) for key, column in _DEVICE_COLUMNS.items()
            }
    return found
