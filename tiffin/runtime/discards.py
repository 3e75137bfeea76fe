"""What was asked and this host cannot give: taken out of the request, told in Docker's words. PURE.

A limit that the kernel lacks does not keep a container from being made; the warning says so, and
`inspect` shows what is in force.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from tiffin.core.container import HostConfig
from tiffin.runtime.facts import HostFacts

Discard = tuple[str, dict[str, Any]]  # the warning, the fields as they are without it

_MISSING = "or the cgroup is not mounted."


def adapt(host: HostConfig, facts: HostFacts) -> tuple[HostConfig, list[str]]:
    """The request as this host can keep it, and what its user is told."""
    found = [*_memory(host, facts), *_processors(host, facts), *_disks(host, facts)]
    found += [*_old_memory(host, facts), *_other(host, facts)]
    fields = {name: value for _, without in found for name, value in without.items()}
    return msgspec.structs.replace(host, **fields), [text for text, _ in found if text]


def _memory(host: HostConfig, facts: HostFacts) -> Iterator[Discard]:
    accounted = "memory" in facts.controllers
    if host.memory > 0 and not accounted:
        yield (
            (
                f"Your kernel does not support memory limit capabilities {_MISSING} "
                "Limitation discarded."
            ),
            {"memory": 0, "memory_swap": -1},
        )
    elif host.memory > 0 and host.memory_swap != -1 and not facts.swap_accounted:
        yield (
            (
                f"Your kernel does not support swap limit capabilities {_MISSING} "
                "Memory limited without swap."
            ),
            {"memory_swap": -1},
        )
    if host.memory_reservation > 0 and not accounted:
        yield (
            (
                f"Your kernel does not support memory soft limit capabilities {_MISSING} "
                "Limitation discarded."
            ),
            {"memory_reservation": 0},
        )
    if host.memory_swappiness is not None and "swappiness" not in facts.features:
        yield (
            (
                f"Your kernel does not support memory swappiness capabilities {_MISSING} "
                "Memory swappiness discarded."
            ),
            {"memory_swappiness": None},
        )
    if "oom-kill-disable" not in facts.features:
        if host.oom_kill_disable:
            yield (
                "Your kernel does not support OomKillDisable. OomKillDisable discarded.",
                {"oom_kill_disable": None},
            )
        elif host.oom_kill_disable is not None:
            yield "", {"oom_kill_disable": None}
    elif host.oom_kill_disable and not host.memory:
        yield (
            (
                "OOM killer is disabled for the container, but no memory limit is set, this can "
                "result in the system running out of resources."
            ),
            {},
        )


def _old_memory(host: HostConfig, facts: HostFacts) -> Iterator[Discard]:
    """Of kernels and API versions that are gone: Linux took the first of these out in 5.16."""
    if host.kernel_memory:
        yield (
            (
                f"Your kernel does not support kernel memory limit capabilities {_MISSING} "
                "Limitation discarded."
            ),
            {"kernel_memory": 0},
        )
    if host.kernel_memory_tcp > 0 and "kernel-tcp" not in facts.features:
        yield (
            (
                f"Your kernel does not support kernel memory TCP limit capabilities {_MISSING} "
                "Limitation discarded."
            ),
            {"kernel_memory_tcp": 0},
        )


def _processors(host: HostConfig, facts: HostFacts) -> Iterator[Discard]:
    have = facts.controllers
    if (host.pids_limit or 0) > 0 and "pids" not in have:
        yield (
            (
                f"Your kernel does not support PIDs limit capabilities {_MISSING} "
                "PIDs limit discarded."
            ),
            {"pids_limit": None},
        )
    if host.cpu_shares > 0 and "cpu" not in have:
        yield (
            f"Your kernel does not support CPU shares {_MISSING} Shares discarded.",
            {"cpu_shares": 0},
        )
    if (host.cpu_period or host.cpu_quota) and "cpu" not in have:
        yield (
            "Your kernel does not support CPU CFS scheduler. CPU period/quota discarded.",
            {"cpu_period": 0, "cpu_quota": 0},
        )
    if host.cpu_percent > 0:
        yield "linux does not support CPU percent. Percent discarded.", {"cpu_percent": 0}
    if host.cpu_count > 0:
        yield "linux does not support CPU count. Count discarded.", {"cpu_count": 0}
    if (host.cpuset_cpus or host.cpuset_mems) and "cpuset" not in have:
        yield (
            f"Your kernel does not support cpuset {_MISSING} Cpuset discarded.",
            {"cpuset_cpus": "", "cpuset_mems": ""},
        )


# Field, what it needs of the kernel, the middle and the end of Docker's sentence.
_DISKS = (
    ("blkio_weight", "blkio-weight", "Block I/O weight", "Weight"),
    ("blkio_weight_device", "blkio-weight-device", "Block I/O weight_device", "Weight-device"),
    ("blkio_device_read_bps", "blkio-read-bps", "BPS Block I/O read limit",
     "Block I/O BPS read limit"),
    ("blkio_device_write_bps", "blkio-write-bps", "BPS Block I/O write limit",
     "Block I/O BPS write limit"),
    ("blkio_device_read_iops", "blkio-read-iops", "IOPS Block read limit",
     "Block I/O IOPS read limit"),
    ("blkio_device_write_iops", "blkio-write-iops", "IOPS Block write limit",
     "Block I/O IOPS write limit"),
)  # fmt: skip


def _disks(host: HostConfig, facts: HostFacts) -> Iterator[Discard]:
    for field, feature, middle, end in _DISKS:
        asked = getattr(host, field)
        if asked and feature not in facts.features:
            yield (
                f"Your kernel does not support {middle} {_MISSING} {end} discarded.",
                {field: type(asked)()},
            )


def _other(host: HostConfig, facts: HostFacts) -> Iterator[Discard]:
    if host.network_mode == "host" and host.port_bindings:
        yield "Published ports are discarded when using host network mode", {}
    if host.cgroupns_mode == "private" and not facts.cgroup_namespaces:
        yield (
            "Your kernel does not support cgroup namespaces.  Cgroup namespace setting discarded.",
            {},
        )
