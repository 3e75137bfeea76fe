"""linux.resources: what this host's cgroups can be held to. The rest is refused by name."""

from __future__ import annotations

from tiffin.kernel.cgroup import Cgroup, Layout
from tiffin.kernel.cgroupstatistics import statistics_of
from tiffin.runtime.oci.shape import InvalidBundle
from tiffin.runtime.operations import Config

# What needs which controller; v2 has no network classes at all.
_CONTROLLERS = {
    "memory": "memory",
    "cpu": "cpu",
    "pids": "pids",
    "blockIO": "blkio",
    "hugepageLimits": "hugetlb",
    "rdma": "rdma",
}
_ONLY_V1 = {
    "memory": ("kernelTCP", "swappiness", "disableOOMKiller"),
    "cpu": ("realtimeRuntime", "realtimePeriod"),
}


def judge_resources(resources: Config, layout: Layout) -> None:
    """Raises InvalidBundle for a limit that would not hold: no controller, no such file in it."""
    _judge_weights(resources.get("blockIO") or {})
    _judge_controllers(resources, layout)
    memory: Config = resources.get("memory") or {}
    if memory.get("kernel", -1) > 0:
        raise InvalidBundle("linux.resources.memory.kernel is not supported: kernels ignore it")
    if layout.version == 2:
        for part, keys in _ONLY_V1.items():
            for key in keys:
                asked = (resources.get(part) or {}).get(key)
                if asked is not None and asked is not False:  # a swappiness of 0 is one
                    raise InvalidBundle(f"linux.resources.{part}.{key} needs cgroup v1")


def _judge_controllers(resources: Config, layout: Layout) -> None:
    wanted = {key: name for key, name in _CONTROLLERS.items() if resources.get(key)}
    cpu = resources.get("cpu") or {}
    if cpu and not any(cpu.get(key) for key in cpu if key not in ("cpus", "mems")):
        wanted.pop("cpu", None)
    if cpu.get("cpus") or cpu.get("mems"):
        wanted["cpu.cpus and cpu.mems"] = "cpuset"
    network = resources.get("network") or {}
    if network.get("classID"):
        wanted["network.classID"] = "net_cls"
    if network.get("priorities"):
        wanted["network.priorities"] = "net_prio"
    for key, name in wanted.items():
        if layout.version == 2 and name == "blkio":
            name = "io"  # noqa: PLW2901 (its name there)
        if name not in layout.controllers:
            raise InvalidBundle(f"linux.resources.{key}: there is no cgroup controller {name} here")
    if resources.get("unified") and layout.version != 2:
        raise InvalidBundle("linux.resources.unified needs cgroup v2")


def _judge_weights(disk: Config) -> None:
    """A leaf's weight went with the CFQ scheduler, from Linux 5.0."""
    where = "linux.resources.blockIO"
    if disk.get("leafWeight"):
        raise InvalidBundle(f"{where}.leafWeight is not supported: kernels have none")
    for number, device in enumerate(disk.get("weightDevice") or []):
        if device.get("leafWeight"):
            words = f"{where}.weightDevice[{number}].leafWeight"
            raise InvalidBundle(f"{words} is not supported: kernels have none")
        if not device.get("weight"):
            raise InvalidBundle(f"{where}.weightDevice[{number}].weight must be set")


def judge_update(asked: Config, group: Cgroup) -> None:
    """memory.checkBeforeUpdate: a limit below what is in use is none. Raises InvalidBundle."""
    memory: Config = asked.get("memory") or {}
    limit = memory.get("limit", -1)
    if not memory.get("checkBeforeUpdate") or limit < 0:
        return
    usage = statistics_of(group).memory.usage
    if limit < usage:
        raise InvalidBundle(
            f"resources.memory.limit {limit} is less than the {usage} bytes that are in use"
        )


def without_zeros(resources: Config) -> Config:
    """Zero is "not said", as runc's callers mean it (swappiness alone means it): it is no limit."""
    found = {}
    for part, asked in resources.items():
        if isinstance(asked, dict) and part in ("memory", "cpu", "pids", "blockIO"):
            asked = {  # noqa: PLW2901 (the same, without)
                key: value
                for key, value in asked.items()
                if value not in (0, "", None) or (key == "swappiness" and value is not None)
            }
        if asked:
            found[part] = asked
    return found
