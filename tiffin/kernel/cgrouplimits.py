"""Limits: OCI's linux.resources into the files of a cgroup, v1 and v2. Everything raises OSError.

What `resources` does not name stays as it is. A file that the kernel does not have is ENOENT with
its name: whoever plans has asked before what there is.
"""

from __future__ import annotations

import errno
import os

from tiffin.kernel.cgroupfiles import make, read, try_write, write, write_each

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_FULL_BANDWIDTH_US = 950_000  # of a second: what the kernel leaves to realtime by default


# --- v1 -----------------------------------------------------------------------------------------


def limit_v1(
    directory_of: Callable[[str], str], root_of: Callable[[str], str], resources: dict[str, Any]
) -> None:
    """`directory_of`, `root_of`: a controller's directory and mount point; "" for none."""
    memory = directory_of("memory")
    if memory and (asked := resources.get("memory")):
        _limit_memory_v1(memory, asked)
    asked = resources.get("cpu") or {}
    if directory := directory_of("cpu"):
        write_named(
            directory,
            asked,
            (
                ("shares", "cpu.shares"),
                ("period", "cpu.cfs_period_us"),
                ("quota", "cpu.cfs_quota_us"),
            ),
        )
        _limit_realtime(directory, root_of("cpu"), asked)
    if directory := directory_of("cpuset"):
        write_named(directory, asked, (("cpus", "cpuset.cpus"), ("mems", "cpuset.mems")))
    pids = resources.get("pids")
    if pids and (directory := directory_of("pids")):
        write(f"{directory}/pids.max", pids_max(pids["limit"]))
    disk = resources.get("blockIO")
    if disk and (directory := directory_of("blkio")):
        _limit_disk_v1(directory, disk)


def _limit_memory_v1(directory: str, asked: dict[str, Any]) -> None:
    limit, swap = asked.get("limit"), asked.get("swap")
    pairs: list[tuple[str, int]] = []
    if limit is not None:
        pairs.append(("memory.limit_in_bytes", limit))
    if swap is not None and os.path.exists(f"{directory}/memory.memsw.limit_in_bytes"):
        pairs.append(("memory.memsw.limit_in_bytes", swap))
    try:
        for name, value in pairs:
            write(f"{directory}/{name}", str(value))
    except OSError as error:
        if error.errno != errno.EINVAL or len(pairs) < 2:
            raise
        # memory may not exceed memory+swap at any moment: raising a limit goes the other way round.
        for name, value in reversed(pairs):
            write(f"{directory}/{name}", str(value))
    if asked.get("reservation"):
        write(f"{directory}/memory.soft_limit_in_bytes", str(asked["reservation"]))
    if asked.get("kernelTCP"):
        write(f"{directory}/memory.kmem.tcp.limit_in_bytes", str(asked["kernelTCP"]))
    if asked.get("swappiness") is not None:
        write(f"{directory}/memory.swappiness", str(asked["swappiness"]))
    if asked.get("disableOOMKiller"):
        write(f"{directory}/memory.oom_control", "1")


def _limit_realtime(directory: str, root: str, asked: dict[str, Any]) -> None:
    period, runtime = asked.get("realtimePeriod"), asked.get("realtimeRuntime")
    if not period and not runtime:
        return
    _hand_down_realtime(os.path.dirname(directory), root)
    pairs = (("cpu.rt_period_us", period), ("cpu.rt_runtime_us", runtime))
    for name, value in pairs:
        if value:
            write(f"{directory}/{name}", str(value))


def _hand_down_realtime(directory: str, root: str) -> None:
    """A group has no more realtime than its parent, and a new one has none: ours pass it all on."""
    if len(directory) <= len(root):
        return
    _hand_down_realtime(os.path.dirname(directory), root)
    if int(read(f"{directory}/cpu.rt_runtime_us")) == 0:
        above = read(f"{os.path.dirname(directory)}/cpu.rt_runtime_us").strip()
        offered = _FULL_BANDWIDTH_US if above == "-1" else int(above)
        # Neighbours may hold some of it already: then half, and half of that.
        while offered >= 1000 and not _takes(f"{directory}/cpu.rt_runtime_us", offered):
            offered //= 2


def _takes(file: str, value: int) -> bool:
    try:
        write(file, str(value))
    except OSError as error:
        if error.errno == errno.EINVAL:
            return False
        raise
    return True


_THROTTLES_V1 = (
    ("throttleReadBpsDevice", "blkio.throttle.read_bps_device"),
    ("throttleWriteBpsDevice", "blkio.throttle.write_bps_device"),
    ("throttleReadIOPSDevice", "blkio.throttle.read_iops_device"),
    ("throttleWriteIOPSDevice", "blkio.throttle.write_iops_device"),
)


def _limit_disk_v1(directory: str, asked: dict[str, Any]) -> None:
    prefix = "blkio.bfq." if os.path.exists(f"{directory}/blkio.bfq.weight") else "blkio."
    if asked.get("weight"):
        write(f"{directory}/{prefix}weight", str(asked["weight"]))
    if asked.get("weightDevice"):
        lines = [f"{_number(device)} {device['weight']}" for device in asked["weightDevice"]]
        write_each(f"{directory}/{prefix}weight_device", lines)
    for key, file in _THROTTLES_V1:
        if asked.get(key):
            lines = [f"{_number(device)} {device['rate']}" for device in asked[key]]
            write_each(f"{directory}/{file}", lines)


def _number(device: dict[str, Any]) -> str:
    return f"{device['major']}:{device['minor']}"


def device_line(rule: dict[str, Any]) -> str:
    """One rule of the allow-list as devices.allow and devices.deny take it."""
    kind = rule.get("type") or "a"
    if kind == "a":
        return "a"
    major, minor = (_star(rule.get(name)) for name in ("major", "minor"))
    return f"{kind} {major}:{minor} {rule.get('access') or 'rwm'}"


def _star(number: int | None) -> str:
    return "*" if number is None or number < 0 else str(number)


def inherit_cpuset(root: str, path: str) -> None:
    """v1: a new cpuset is empty and admits nobody until it has cpus and nodes of its parent's."""
    if root:
        _fill(root + path, root, "cpuset.cpus")
        _fill(root + path, root, "cpuset.mems")


def _fill(directory: str, root: str, name: str) -> str:
    value = read(f"{directory}/{name}").strip()
    if value or directory == root:
        return value
    value = _fill(os.path.dirname(directory), root, name)
    write(f"{directory}/{name}", value)
    return value


# --- v2 -----------------------------------------------------------------------------------------


def wanted_v2(controllers: tuple[str, ...]) -> tuple[str, ...]:
    """v2's names of v1's controllers, of those that are controllers there."""
    renamed = {"cpuacct": "cpu", "blkio": "io", "devices": "", "freezer": ""}
    return tuple(dict.fromkeys(filter(None, (renamed.get(name, name) for name in controllers))))


def enable(root: str, path: str, wanted: tuple[str, ...]) -> None:
    """v2: a controller works in a cgroup when every ancestor hands it down."""
    parts = path.strip("/").split("/")[:-1]
    directory = root
    for part in ["", *parts]:
        directory = f"{directory}/{part}" if part else directory
        offered = read(f"{directory}/cgroup.controllers").split()
        handed = read(f"{directory}/cgroup.subtree_control").split()
        missing = [f"+{name}" for name in wanted if name in offered and name not in handed]
        if missing:
            _hand_down(directory, " ".join(missing))


def _hand_down(directory: str, change: str) -> None:
    try:
        write(f"{directory}/cgroup.subtree_control", change)
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        # "No internal processes": in another engine's container the root of our view has members.
        # They move to a leaf beside ours, as every engine in an engine does.
        leaf = f"{directory}/init"
        make(leaf)
        for pid in read(f"{directory}/cgroup.procs").split():
            try_write(f"{leaf}/cgroup.procs", pid)
        write(f"{directory}/cgroup.subtree_control", change)


def limit_v2(directory: str, resources: dict[str, Any]) -> None:
    if asked := resources.get("memory"):
        _limit_memory_v2(directory, asked)
    if asked := resources.get("cpu"):
        _limit_cpu_v2(directory, asked)
    if asked := resources.get("pids"):
        write(f"{directory}/pids.max", pids_max(asked["limit"]))
    if asked := resources.get("blockIO"):
        _limit_disk_v2(directory, asked)


def _limit_memory_v2(directory: str, asked: dict[str, int]) -> None:
    limit, swap = asked.get("limit"), asked.get("swap")
    if limit is not None:
        write(f"{directory}/memory.max", _max(limit))
    if swap is not None and os.path.exists(f"{directory}/memory.swap.max"):
        # OCI's swap is memory+swap, v2's is swap alone.
        value = _max(swap) if swap < 0 or limit is None else str(swap - limit)
        write(f"{directory}/memory.swap.max", value)
    if asked.get("reservation"):
        write(f"{directory}/memory.low", str(asked["reservation"]))


def _limit_cpu_v2(directory: str, asked: dict[str, Any]) -> None:
    if "quota" in asked or "period" in asked:
        quota = _max(int(asked.get("quota", -1)))
        write(f"{directory}/cpu.max", f"{quota} {asked.get('period', 100_000)}")
    if asked.get("shares"):
        write(f"{directory}/cpu.weight", str(weight_of(asked["shares"])))
    write_named(directory, asked, (("cpus", "cpuset.cpus"), ("mems", "cpuset.mems")))


_THROTTLES_V2 = (
    ("throttleReadBpsDevice", "rbps"),
    ("throttleWriteBpsDevice", "wbps"),
    ("throttleReadIOPSDevice", "riops"),
    ("throttleWriteIOPSDevice", "wiops"),
)


def _limit_disk_v2(directory: str, asked: dict[str, Any]) -> None:
    bfq = os.path.exists(f"{directory}/io.bfq.weight")
    file = f"{directory}/io.bfq.weight" if bfq else f"{directory}/io.weight"
    scale = (lambda weight: weight) if bfq else disk_weight_of
    lines = [f"default {scale(asked['weight'])}"] if asked.get("weight") else []
    weights = asked.get("weightDevice") or []
    lines += [f"{_number(device)} {scale(device['weight'])}" for device in weights]
    if lines:
        write_each(file, lines)
    lines = [
        f"{_number(device)} {word}={device['rate']}"
        for key, word in _THROTTLES_V2
        for device in asked.get(key) or []
    ]
    if lines:
        write_each(f"{directory}/io.max", lines)


def weight_of(shares: int) -> int:
    """v2's cpu.weight (1 to 10,000) for v1's cpu.shares (2 to 262,144), as runc 1.1 converts."""
    shares = min(max(shares, 2), 262_144)
    return 1 + (shares - 2) * 9999 // 262_142


def disk_weight_of(weight: int) -> int:
    """v2's io.weight (1 to 10,000) for v1's blkio.weight (10 to 1000), as runc converts."""
    return 1 + (weight - 10) * 9999 // 990


def _max(number: int) -> str:
    return "max" if number < 0 else str(number)


def pids_max(limit: int) -> str:
    return "max" if limit <= 0 else str(limit)


def write_named(directory: str, asked: dict[str, Any], names: tuple[tuple[str, str], ...]) -> None:
    """Each (key, file) whose key holds something."""
    for key, file in names:
        value = asked.get(key)
        if value not in (None, "", 0):
            write(f"{directory}/{file}", str(value))
