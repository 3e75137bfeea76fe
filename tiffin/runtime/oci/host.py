"""What a command has to know of the host: read once, at its start."""

from __future__ import annotations

from tiffin.kernel import cgroup, syscalls
from tiffin.runtime.birth import Host


def look() -> Host:
    return Host(
        layout=cgroup.detect(),
        boot_id=syscalls.boot_id(),
        last_capability=int(_read("/proc/sys/kernel/cap_last_cap")),
        oom_score=_read("/proc/self/oom_score_adj"),
    )


def _read(path: str) -> str:
    with open(path, encoding="ascii") as file:
        return file.read().strip()
