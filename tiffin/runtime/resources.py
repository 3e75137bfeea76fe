"""Limits that no start could keep, refused at creation in Docker's words. PURE."""

from __future__ import annotations

import re

from tiffin.core.container import HostConfig
from tiffin.errors import InvalidArgument
from tiffin.runtime.facts import HostFacts

MIN_MEMORY = 6 * 1024 * 1024
MIN_KERNEL_MEMORY = 4 * 1024 * 1024
_RANGE = re.compile(r"([0-9]{1,9})(?:-([0-9]{1,9}))?", re.ASCII)
_MOST_NUMBERS = 8192


def check_resources(host: HostConfig, facts: HostFacts) -> None:
    """Raises InvalidArgument."""
    _check_memory(host, facts)
    _check_cpu(host, facts)
    _check_realtime(host, facts)
    _check_cpuset(host, facts)
    _check_disks(host, facts)
    _check_device_requests(host)
    _check_windows(host)


def _check_memory(host: HostConfig, facts: HostFacts) -> None:
    memory, swap, reservation = host.memory, host.memory_swap, host.memory_reservation
    if memory != 0 and memory < MIN_MEMORY:
        raise InvalidArgument("Minimum memory limit allowed is 6MB")
    if memory > 0 and 0 < swap < memory:
        raise InvalidArgument(
            "Minimum memoryswap limit should be larger than memory limit, see usage"
        )
    if memory == 0 and swap > 0:
        raise InvalidArgument(
            "You should always set the Memory limit when using Memoryswap limit, see usage"
        )
    if 0 < reservation < MIN_MEMORY:
        raise InvalidArgument("Minimum memory reservation allowed is 6MB")
    if 0 < memory < reservation:
        raise InvalidArgument(
            "Minimum memory limit can not be less than memory reservation limit, see usage"
        )
    if 0 < host.kernel_memory < MIN_KERNEL_MEMORY:
        raise InvalidArgument("Minimum kernel memory limit allowed is 4MB")
    swappiness = host.memory_swappiness
    if swappiness is not None and "swappiness" in facts.features and not 0 <= swappiness <= 100:
        raise InvalidArgument(
            f"Invalid value: {swappiness}, valid memory swappiness range is 0-100"
        )


def _check_cpu(host: HostConfig, facts: HostFacts) -> None:
    if host.nano_cpus > 0 and host.cpu_period > 0:
        raise InvalidArgument("Conflicting options: Nano CPUs and CPU Period cannot both be set")
    if host.nano_cpus > 0 and host.cpu_quota > 0:
        raise InvalidArgument("Conflicting options: Nano CPUs and CPU Quota cannot both be set")
    if host.nano_cpus > 0 and "cpu" not in facts.controllers:
        raise InvalidArgument(
            "NanoCPUs can not be set, as your kernel does not support CPU CFS scheduler "
            "or the cgroup is not mounted"
        )
    if host.nano_cpus < 0 or host.nano_cpus > facts.cpus * 1_000_000_000:
        raise InvalidArgument(
            f"Range of CPUs is from 0.01 to {facts.cpus}.00, "
            f"as there are only {facts.cpus} CPUs available"
        )
    if host.cpu_shares < 0:
        raise InvalidArgument(
            f"invalid CPU shares ({host.cpu_shares}): value must be a positive integer"
        )
    if host.cpu_period != 0 and not 1000 <= host.cpu_period <= 1_000_000:
        raise InvalidArgument(
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)"
        )
    if 0 < host.cpu_quota < 1000:
        raise InvalidArgument("CPU cfs quota can not be less than 1ms (i.e. 1000)")


def _check_cpuset(host: HostConfig, facts: HostFacts) -> None:
    for what, asked, offered, label in (
        ("cpus", host.cpuset_cpus, facts.cpuset_cpus, "CPUs"),
        ("mems", host.cpuset_mems, facts.cpuset_mems, "memory nodes"),
    ):
        if not asked:
            continue
        try:
            wanted = parse_list(asked)
        except ValueError as error:
            raise InvalidArgument(f"Invalid value {asked} for cpuset {what}: {error}") from error
        if not wanted <= parse_list(offered):
            raise InvalidArgument(
                f"Requested {label} are not available - requested {asked}, available: {offered}"
            )


def parse_list(text: str) -> frozenset[int]:
    """The numbers of the kernel's list format: "0-3,8". ValueError for anything else."""
    found: set[int] = set()
    text = text.removesuffix("\n")
    for part in text.split(",") if text else ():
        match = _RANGE.fullmatch(part)
        start, end = (int(match[1]), int(match[2] or match[1])) if match else (0, -1)
        if start > end:
            raise ValueError(f"invalid format: {text}")
        if end > _MOST_NUMBERS:
            raise ValueError(f"value of out range, maximum is {_MOST_NUMBERS}")
        found.update(range(start, end + 1))
    return frozenset(found)


def _check_realtime(host: HostConfig, facts: HostFacts) -> None:
    period, runtime = host.cpu_realtime_period, host.cpu_realtime_runtime
    if not (period or runtime):
        return
    if "cpu-realtime" not in facts.features:
        raise InvalidArgument("kernel does not support CPU real-time scheduler")
    if period < 0 or runtime < 0:
        raise InvalidArgument("cpu real-time period and runtime cannot be negative")
    if period and runtime > period:
        raise InvalidArgument("cpu real-time runtime cannot be higher than cpu real-time period")


def _check_disks(host: HostConfig, facts: HostFacts) -> None:
    if host.blkio_weight and "blkio-weight" in facts.features:
        _check_weight(host.blkio_weight)
    for device in host.blkio_weight_device:
        _check_path(device.path)
        _check_weight(device.weight)
    for limits in (
        host.blkio_device_read_bps,
        host.blkio_device_write_bps,
        host.blkio_device_read_iops,
        host.blkio_device_write_iops,
    ):
        for limit in limits:
            _check_path(limit.path)
            if not 0 <= limit.rate < 1 << 64:
                raise InvalidArgument(f"invalid rate for device {limit.path}: {limit.rate}")


def _check_weight(weight: int) -> None:
    if not 10 <= weight <= 1000:
        raise InvalidArgument("Range of blkio weight is from 10 to 1000")


def _check_path(path: str) -> None:
    if not path.startswith("/") or "\0" in path:
        raise InvalidArgument(f"invalid device path: {path!r}")


def _check_device_requests(host: HostConfig) -> None:
    """No driver is registered: neither a vendor's nor CDI's."""
    for request in host.device_requests:
        capabilities = " ".join(f"[{' '.join(words)}]" for words in request.capabilities)
        raise InvalidArgument(
            f'could not select device driver "{request.driver}" with capabilities: [{capabilities}]'
        )


def _check_windows(host: HostConfig) -> None:
    if host.isolation.lower() not in ("", "default"):
        raise InvalidArgument(
            f"invalid isolation ({host.isolation}): linux only supports 'default'"
        )
    for value, what in (
        (host.io_maximum_bandwidth, "bandwidth"),
        (host.io_maximum_iops, "IOPs"),
    ):
        if value:
            raise InvalidArgument(
                f"invalid option: QoS maximum {what} configuration is not supported on linux"
            )
