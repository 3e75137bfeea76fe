"""Paths of /proc and /sys that a container sees empty or read-only: current moby's lists."""

from __future__ import annotations

MASKED = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",  # GHSA-6fw5-f8r9-fgfm: a side channel on what the host types
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",  # GHSA-jq35-85cj-fj4p: power tells what is computed
    "/sys/firmware",
)

READ_ONLY = (
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
)


def thermal(cpus: int) -> tuple[str, ...]:
    """Directories that are masked too, where the host has them (GHSA-6fw5-f8r9-fgfm)."""
    return tuple(f"/sys/devices/system/cpu/cpu{n}/thermal_throttle" for n in range(cpus))
