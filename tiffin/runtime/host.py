"""Reads of the host what a plan has to know. The only part of planning that looks outside."""

from __future__ import annotations

import os
from posixpath import basename

from tiffin.core import idrange
from tiffin.core.container import Mount
from tiffin.core.selinux import parse_contexts
from tiffin.core.workload import Workload
from tiffin.errors import CannotStart, NotFound
from tiffin.kernel import cgroup, rootpath, selinux
from tiffin.runtime import apparmor, capabilities, devices, limits, paths
from tiffin.runtime.facts import HostFacts, Observed

_SHARED = frozenset({"shared", "rshared"})
_SLAVE = frozenset({"slave", "rslave"})


def read_facts(cgroup_root: str, *, user_namespaces: bool, labelled: bool = False) -> HostFacts:
    """`user_namespaces`: whether a probe found that they work, with idmapped mounts.

    `labelled`: containers are to have SELinux labels, where the kernel has them.

    Has AppArmor, where the kernel has it, load the default profile.
    """
    layout = cgroup.detect()
    cpus = len(os.sched_getaffinity(0))
    status = _fields("/proc/self/status")
    has_apparmor = apparmor.enabled()
    has_selinux = selinux.enabled()
    refusal = apparmor.ensure_default() if has_apparmor else ""
    return HostFacts(
        cgroup_version=layout.version,
        controllers=_controllers(layout),
        cgroup_hierarchies=_hierarchies(layout),
        cgroup_root=cgroup_root,
        user_namespaces=user_namespaces,
        cgroup_namespaces=os.path.exists("/proc/self/ns/cgroup"),
        capabilities=capabilities.names_in(int(status.get("CapBnd", "0"), 16)),
        seccomp="Seccomp" in status,
        apparmor=has_apparmor,
        apparmor_profile="" if refusal or not has_apparmor else apparmor.DEFAULT,
        apparmor_refusal=refusal,
        selinux=has_selinux,
        labels=parse_contexts(selinux.contexts()) if has_selinux and labelled else None,
        swap_accounted=_swap_accounted(layout),
        features=_features(layout),
        cpus=cpus,
        cpuset_cpus=_read("/sys/devices/system/cpu/online").strip() or f"0-{cpus - 1}",
        cpuset_mems=_read("/sys/devices/system/node/online").strip() or "0",
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        architecture=os.uname().machine,
        kernel=_kernel(os.uname().release),
        kcore=os.path.exists("/proc/kcore"),
        thermal_paths=tuple(filter(os.path.exists, paths.thermal(cpus))),
    )


def observe(workload: Workload) -> Observed:
    """What this workload's plan needs to be asked now. Raises CannotStart in Docker's words."""
    for mount in workload.mounts:
        _check_propagation(mount)
        if mount.type == "volume" and mount.subpath:
            _check_subpath(mount)
    owners = () if workload.id_range is None else _owners(workload)
    return Observed(
        devices=devices.find(workload.host_config),
        owners=frozenset(owners),
        numbers=devices.numbers(limits.limited_devices(workload.host_config)),
    )


def _check_subpath(mount: Mount) -> None:
    path = os.path.join(mount.host_path, mount.subpath)
    try:
        root = os.open(mount.host_path, os.O_PATH | os.O_DIRECTORY)
        try:
            os.close(rootpath.open_in(root, mount.subpath, os.O_PATH))
        finally:
            os.close(root)
    except OSError as error:
        words = os.strerror(error.errno or 0).lower()
        raise NotFound(f"cannot access path {path}: {words}") from error


def _owners(workload: Workload) -> list[int]:
    """Ids above the range that own a bind source: unmapped, they could not be used or changed."""
    found: list[int] = []
    for mount in workload.mounts:
        if mount.host_path:
            try:
                status = os.stat(mount.host_path)
            except OSError:
                continue
            found += (status.st_uid, status.st_gid)
    return [number for number in found if number >= idrange.SIZE]


# --- propagation ----------------------------------------------------------------------------------


def _check_propagation(mount: Mount) -> None:
    if mount.propagation not in _SHARED | _SLAVE:
        return
    point, tags = source_mount(mount.host_path, _read("/proc/self/mountinfo"))
    shared = any(tag.startswith("shared:") for tag in tags)
    slave = any(tag.startswith("master:") for tag in tags)
    if mount.propagation in _SHARED and not shared:
        raise _not_a(mount.host_path, point, "shared")
    if mount.propagation in _SLAVE and not (shared or slave):
        raise _not_a(mount.host_path, point, "shared or slave")


def _not_a(source: str, point: str, kind: str) -> CannotStart:
    return CannotStart(
        f"path {source} is mounted on {point} but it is not a {kind} mount",
        operation=f"bind {source}",
        asked_wrong=True,
    )


def source_mount(source: str, mountinfo: str) -> tuple[str, tuple[str, ...]]:
    """The mount point that a path lies on (the last one mounted there) and its optional tags."""
    path = os.path.realpath(source)
    found: str = "/"
    tags: tuple[str, ...] = ()
    for line in mountinfo.splitlines():
        fields = line.partition(" - ")[0].split(" ")
        point = fields[4]
        inside = path == point or path.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(found):
            found, tags = point, tuple(fields[6:])
    return found, tags


# --- cgroups --------------------------------------------------------------------------------------


def _controllers(layout: cgroup.Layout) -> frozenset[str]:
    found = set(layout.controllers)
    if layout.version == 2:
        found |= {"devices", "freezer"}  # BPF and cgroup.freeze: part of v2 itself
        found |= {"cpuacct"} if "cpu" in found else set()
    return frozenset(found)


def _hierarchies(layout: cgroup.Layout) -> tuple[tuple[str, tuple[str, ...]], ...]:
    if layout.version != 1:
        return ()
    return tuple((basename(h.mount_point), h.controllers) for h in layout.hierarchies)


def _swap_accounted(layout: cgroup.Layout) -> bool:
    if layout.version == 1:
        root = layout.mount_point_of("memory")
        return os.path.exists(f"{root}/memory.memsw.limit_in_bytes")
    if layout.version == 2:
        return "memory" in layout.controllers and os.path.exists("/proc/swaps")
    return False


# What v1 may lack, by a file of its controller; v2 has neither of the first four.
_FEATURES_V1 = (
    ("swappiness", "memory", "memory.swappiness"),
    ("oom-kill-disable", "memory", "memory.oom_control"),
    ("kernel-tcp", "memory", "memory.kmem.tcp.limit_in_bytes"),
    ("cpu-realtime", "cpu", "cpu.rt_period_us"),
    ("blkio-weight", "blkio", "blkio.weight"),
    ("blkio-weight", "blkio", "blkio.bfq.weight"),
    ("blkio-weight-device", "blkio", "blkio.weight_device"),
    ("blkio-weight-device", "blkio", "blkio.bfq.weight_device"),
    ("blkio-read-bps", "blkio", "blkio.throttle.read_bps_device"),
    ("blkio-write-bps", "blkio", "blkio.throttle.write_bps_device"),
    ("blkio-read-iops", "blkio", "blkio.throttle.read_iops_device"),
    ("blkio-write-iops", "blkio", "blkio.throttle.write_iops_device"),
)


def _features(layout: cgroup.Layout) -> frozenset[str]:
    if layout.version == 2:
        io = "io" in layout.controllers
        return frozenset(name for name, kind, _ in _FEATURES_V1 if kind == "blkio" and io)
    return frozenset(
        name
        for name, controller, file in _FEATURES_V1
        if (root := layout.mount_point_of(controller)) and os.path.exists(f"{root}/{file}")
    )


# --- files ----------------------------------------------------------------------------------------


def _kernel(release: str) -> tuple[int, int]:
    """(6, 18) of "6.18.44-fc"."""
    numbers = []
    for part in release.split(".")[:2]:
        digits = part[: len(part) - len(part.lstrip("0123456789"))] or "0"
        numbers.append(int(digits))
    return (numbers[0], numbers[1]) if len(numbers) == 2 else (numbers[0], 0)


def _fields(path: str) -> dict[str, str]:
    pairs = (line.partition(":") for line in _read(path).splitlines())
    return {name: value.strip() for name, _, value in pairs}


def _read(path: str) -> str:
    """Empty where it cannot be read: a fact that is not there is the answer."""
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except OSError:
        return ""
