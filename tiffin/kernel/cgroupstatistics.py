"""What a cgroup has used so far, and may use: memory, processor time, processes. v1 and v2.

For who watches containers: no shim has this module in memory. Everything raises OSError.
"""

from __future__ import annotations

import os

from tiffin.kernel.cgroup import UNLIMITED_FROM, Cgroup, Record
from tiffin.kernel.cgroupfiles import read_number, read_or, read_pairs

_USER_HZ = os.sysconf("SC_CLK_TCK")


class MemoryStatistics(Record):
    __slots__ = ("details", "failures", "limit", "max_usage", "usage")

    def __init__(
        self, usage: int, max_usage: int, limit: int, failures: int, details: dict[str, int]
    ) -> None:
        self.usage = usage
        self.max_usage = max_usage
        self.limit = limit  # 0 is no limit
        self.failures = failures
        self.details = details  # memory.stat


class CPUStatistics(Record):
    __slots__ = (
        "per_cpu_ns",
        "periods",
        "system_ns",
        "throttled_ns",
        "throttled_periods",
        "total_ns",
        "user_ns",
    )

    def __init__(
        self,
        total_ns: int,
        user_ns: int,
        system_ns: int,
        per_cpu_ns: tuple[int, ...],
        periods: int,
        throttled_periods: int,
        throttled_ns: int,
    ) -> None:
        self.total_ns = total_ns
        self.user_ns = user_ns
        self.system_ns = system_ns
        self.per_cpu_ns = per_cpu_ns  # v1 only
        self.periods = periods
        self.throttled_periods = throttled_periods
        self.throttled_ns = throttled_ns


class PidsStatistics(Record):
    __slots__ = ("current", "limit")

    def __init__(self, current: int, limit: int) -> None:
        self.current = current
        self.limit = limit  # 0 is no limit


class Statistics(Record):
    __slots__ = ("cpu", "memory", "pids")

    def __init__(self, memory: MemoryStatistics, cpu: CPUStatistics, pids: PidsStatistics) -> None:
        self.memory = memory
        self.cpu = cpu
        self.pids = pids


def statistics_of(group: Cgroup) -> Statistics:
    """Its readings; 0 for what the host does not count."""
    if group.layout.version == 2:
        return _statistics_v2(group.directories()[0])
    return _statistics_v1(group)


def _statistics_v1(group: Cgroup) -> Statistics:
    memory, cpu, pids = (group.directory(name) for name in ("memory", "cpu", "pids"))
    accounting = group.directory("cpuacct")
    limit = read_number(f"{memory}/memory.limit_in_bytes")
    ticks = read_pairs(f"{accounting}/cpuacct.stat")
    throttling = read_pairs(f"{cpu}/cpu.stat") if cpu else {}
    return Statistics(
        MemoryStatistics(
            read_number(f"{memory}/memory.usage_in_bytes"),
            read_number(f"{memory}/memory.max_usage_in_bytes"),
            0 if limit >= UNLIMITED_FROM else limit,
            read_number(f"{memory}/memory.failcnt"),
            read_pairs(f"{memory}/memory.stat"),
        ),
        CPUStatistics(
            read_number(f"{accounting}/cpuacct.usage"),
            ticks.get("user", 0) * 1_000_000_000 // _USER_HZ,
            ticks.get("system", 0) * 1_000_000_000 // _USER_HZ,
            tuple(map(int, read_or(f"{accounting}/cpuacct.usage_percpu").split())),
            throttling.get("nr_periods", 0),
            throttling.get("nr_throttled", 0),
            throttling.get("throttled_time", 0),
        ),
        PidsStatistics(read_number(f"{pids}/pids.current"), read_number(f"{pids}/pids.max")),
    )


def _statistics_v2(directory: str) -> Statistics:
    cpu = read_pairs(f"{directory}/cpu.stat")
    return Statistics(
        MemoryStatistics(
            read_number(f"{directory}/memory.current"),
            read_number(f"{directory}/memory.peak"),
            read_number(f"{directory}/memory.max"),
            read_pairs(f"{directory}/memory.events").get("max", 0),
            read_pairs(f"{directory}/memory.stat"),
        ),
        CPUStatistics(
            cpu.get("usage_usec", 0) * 1000,
            cpu.get("user_usec", 0) * 1000,
            cpu.get("system_usec", 0) * 1000,
            (),
            cpu.get("nr_periods", 0),
            cpu.get("nr_throttled", 0),
            cpu.get("throttled_usec", 0) * 1000,
        ),
        PidsStatistics(
            read_number(f"{directory}/pids.current"), read_number(f"{directory}/pids.max")
        ),
    )
