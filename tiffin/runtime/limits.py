"""Limits: from what the user asks to OCI's linux.resources, and the controllers needed. PURE."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tiffin.core.container import HostConfig, ThrottleDevice
from tiffin.runtime import devices
from tiffin.runtime.facts import HostFacts

Config = dict[str, Any]

# A fork bomb stops here, far above what servers need; --pids-limit -1 and --privileged lift it.
DEFAULT_PIDS_LIMIT = 4096
CPU_PERIOD_US = 100_000


def resources(
    host: HostConfig,
    facts: HostFacts,
    nodes: Iterable[devices.Node] = (),
    numbers: Mapping[str, tuple[int, int]] | None = None,
) -> Config:
    """linux.resources: limits that this host can keep (runtime.discards tells of the others).

    `numbers`: major and minor of each of `limited_devices`.
    """
    found: Config = {"devices": devices.rules(host, nodes)}
    if memory := _memory(host, facts):
        found["memory"] = memory
    if cpu := _cpu(host, facts):
        found["cpu"] = cpu
    if "pids" in facts.controllers:
        found["pids"] = {"limit": pids_limit(host)}
    if disk := _disk(host, facts, numbers or {}):
        found["blockIO"] = disk
    return found


def pids_limit(host: HostConfig) -> int:
    """-1 is no limit."""
    if host.pids_limit is None:
        return -1 if host.privileged else DEFAULT_PIDS_LIMIT
    return host.pids_limit if host.pids_limit > 0 else -1


def _memory(host: HostConfig, facts: HostFacts) -> Config:
    if "memory" not in facts.controllers:
        return {}
    found: Config = {}
    if host.memory > 0:
        found["limit"] = host.memory
        if facts.swap_accounted:
            # By default as much swap as memory: the limit of both is twice that of memory.
            found["swap"] = max(host.memory_swap, -1) or host.memory * 2
    if host.memory_reservation > 0:
        found["reservation"] = host.memory_reservation
    if host.memory_swappiness is not None and "swappiness" in facts.features:
        found["swappiness"] = host.memory_swappiness
    if host.oom_kill_disable and "oom-kill-disable" in facts.features:
        found["disableOOMKiller"] = True
    if host.kernel_memory_tcp > 0 and "kernel-tcp" in facts.features:
        found["kernelTCP"] = host.kernel_memory_tcp
    return found


def _cpu(host: HostConfig, facts: HostFacts) -> Config:
    found: Config = {}
    if "cpu" in facts.controllers:
        if host.nano_cpus > 0:
            found["period"] = CPU_PERIOD_US
            found["quota"] = host.nano_cpus * CPU_PERIOD_US // 1_000_000_000
        found.update(_given(shares=host.cpu_shares, period=host.cpu_period, quota=host.cpu_quota))
    if "cpu-realtime" in facts.features:
        found.update(
            _given(
                realtimePeriod=host.cpu_realtime_period, realtimeRuntime=host.cpu_realtime_runtime
            )
        )
    if "cpuset" in facts.controllers:
        found.update(_given(cpus=host.cpuset_cpus, mems=host.cpuset_mems))
    return found


# OCI's name, our field, what it needs of the kernel.
_THROTTLES = (
    ("throttleReadBpsDevice", "blkio_device_read_bps", "blkio-read-bps"),
    ("throttleWriteBpsDevice", "blkio_device_write_bps", "blkio-write-bps"),
    ("throttleReadIOPSDevice", "blkio_device_read_iops", "blkio-read-iops"),
    ("throttleWriteIOPSDevice", "blkio_device_write_iops", "blkio-write-iops"),
)


def _disk(host: HostConfig, facts: HostFacts, numbers: Mapping[str, tuple[int, int]]) -> Config:
    found: Config = {}
    if host.blkio_weight and "blkio-weight" in facts.features:
        found["weight"] = host.blkio_weight
    if host.blkio_weight_device and "blkio-weight-device" in facts.features:
        found["weightDevice"] = [
            {**_numbered(device.path, numbers), "weight": device.weight}
            for device in host.blkio_weight_device
        ]
    for name, field, feature in _THROTTLES:
        limits: tuple[ThrottleDevice, ...] = getattr(host, field)
        if limits and feature in facts.features:
            found[name] = [
                {**_numbered(limit.path, numbers), "rate": limit.rate} for limit in limits
            ]
    return found


def _numbered(path: str, numbers: Mapping[str, tuple[int, int]]) -> dict[str, int]:
    major, minor = numbers[path]
    return {"major": major, "minor": minor}


def limited_devices(host: HostConfig) -> list[str]:
    """Paths of the devices whose use is limited."""
    throttled = (limit for _, field, _ in _THROTTLES for limit in getattr(host, field))
    return [device.path for device in (*host.blkio_weight_device, *throttled)]


def _given(**values: int | str) -> Mapping[str, int | str]:
    return {name: value for name, value in values.items() if value}


def controllers(host: HostConfig, facts: HostFacts) -> list[str]:
    """The controllers that this container needs, of those that the host has. Each costs time.

    With a limit of memory or CPU all four that runtimes read to size themselves (a JVM wants to see
    memory, cpu, cpuacct and cpuset, or it ignores the limit).
    """
    wanted = ["memory", "pids", "devices", "freezer", "cpuacct"]
    if _memory(host, facts) or _cpu(host, facts):
        wanted += ["cpu", "cpuset"]
    if facts.cgroup_version == 2:
        return [*wanted, "blkio"]  # counts what disks do, for `stats`; here it costs no time
    if host.blkio_weight or limited_devices(host):
        wanted.append("blkio")
    return [name for name in wanted if name in facts.controllers]
