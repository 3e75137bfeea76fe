"""Limits that few ask for: huge pages, network classes, RDMA, CPU bursts, and v2's files by name.

As in kernel.cgrouplimits; everything raises OSError.
"""

from __future__ import annotations

import errno
import os

from tiffin.kernel.cgroupfiles import write, write_each

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

RARE = frozenset(("hugepageLimits", "network", "rdma", "unified"))


def limit_rare(directory_of: Callable[[str], str], version: int, resources: dict[str, Any]) -> None:
    """`directory_of`: a controller's directory, "" for none."""
    if pages := resources.get("hugepageLimits"):
        _limit_huge_pages(directory_of("hugetlb"), version, pages)
    if network := resources.get("network"):
        _class_network(directory_of, network)
    if devices := resources.get("rdma"):
        _limit_rdma(directory_of("rdma"), devices)
    cpu = resources.get("cpu") or {}
    if cpu.get("burst") is not None:
        name = "cpu.max.burst" if version == 2 else "cpu.cfs_burst_us"
        write(f"{directory_of('cpu')}/{name}", str(cpu["burst"]))
    if cpu.get("idle") is not None:
        write(f"{directory_of('cpu')}/cpu.idle", str(cpu["idle"]))
    if unified := resources.get("unified"):
        _write_by_name(directory_of("unified"), version, unified)


def _limit_huge_pages(directory: str, version: int, pages: list[dict[str, Any]]) -> None:
    end = "max" if version == 2 else "limit_in_bytes"
    for page in pages:
        write(f"{directory}/hugetlb.{page['pageSize']}.{end}", str(page["limit"]))


def _class_network(directory_of: Callable[[str], str], network: dict[str, Any]) -> None:
    if network.get("classID"):
        write(f"{directory_of('net_cls')}/net_cls.classid", str(network["classID"]))
    priorities = network.get("priorities") or []
    if priorities:
        lines = [f"{entry['name']} {entry['priority']}" for entry in priorities]
        write_each(f"{directory_of('net_prio')}/net_prio.ifpriomap", lines)


def _limit_rdma(directory: str, devices: dict[str, dict[str, Any]]) -> None:
    lines = []
    for name, limits in devices.items():
        words = [name]
        if limits.get("hcaHandles") is not None:
            words.append(f"hca_handle={limits['hcaHandles']}")
        if limits.get("hcaObjects") is not None:
            words.append(f"hca_object={limits['hcaObjects']}")
        lines.append(" ".join(words))
    write_each(f"{directory}/rdma.max", lines)


def _write_by_name(directory: str, version: int, files: dict[str, str]) -> None:
    for name, value in files.items():
        # A file of this cgroup and of a controller: never its members, its children or another's.
        if version != 2 or "/" in name or "." not in name or name.startswith("cgroup."):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), f"unified {name}")
        for line in value.split("\n"):
            write(f"{directory}/{name}", line)
