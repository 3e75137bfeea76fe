"""Control groups, v1 and v2: where a container's processes are counted, limited, frozen and killed.

A host's layout is read from mountinfo: one hierarchy (v2) or several, each with its controllers
(v1; a hybrid layout, where a bare cgroup2 sits beside v1 hierarchies, is v1). A cgroup here is one
path, present in every hierarchy that its controllers need. Paths are absolute from the hierarchies'
mount points: "/tiffin-ab12/<id>".

A child joins by itself: it inherits the descriptors of `open_join` and writes "0" to each. On v1
that is `tasks`; the parent writing a pid to `cgroup.procs` waits for an RCU grace period (7.5 ms
against 0.2).

Resources are the OCI runtime config's `linux.resources`. Everything raises OSError.
"""

from __future__ import annotations

import errno
import os
import select
import sys
import time
from itertools import groupby

from tiffin.kernel import bpf, cgroupextras, cgrouplimits
from tiffin.kernel.cgroupfiles import (
    make,
    members_of,
    read,
    read_number,
    read_or,
    read_pairs,
    tree,
    try_write,
    write,
    write_each,
)

TYPE_CHECKING = False  # mypy knows the name; every shim has this module in memory
if TYPE_CHECKING:
    import signal
    from typing import Any
else:  # without the enumerations of the signal module
    import _signal as signal

# Always there: memory for out-of-memory kills and statistics, pids against fork bombs, devices for
# the allow-list, freezer for pause, cpuacct for statistics. The rest only where it is asked for.
BASE_CONTROLLERS = ("memory", "pids", "devices", "freezer", "cpuacct")

UNLIMITED_FROM = 1 << 62  # v1 says "no limit" with the largest page-aligned number
_GATHERINGS = 100  # rounds against a container that forks all the time
_EVENT_WAIT_MS = 20  # the longest nap between two looks where the kernel offers no event


class Record:
    """Equal when of one kind with equal parts."""

    __slots__: tuple[str, ...] = ()

    def _parts(self) -> tuple[object, ...]:
        return tuple(getattr(self, name) for name in self.__slots__)

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self._parts() == other._parts()

    def __hash__(self) -> int:
        return hash(self._parts())

    def __repr__(self) -> str:
        return f"{type(self).__name__}{self._parts()}"


class Hierarchy(Record):
    __slots__ = ("controllers", "mount_point")

    def __init__(self, mount_point: str, controllers: tuple[str, ...]) -> None:
        self.mount_point = mount_point
        self.controllers = controllers  # v2: what cgroup.controllers of the root offers


class Layout(Record):
    __slots__ = ("hierarchies", "unified", "version")

    def __init__(self, version: int, hierarchies: tuple[Hierarchy, ...], unified: str = "") -> None:
        self.version = version  # 1, 2; 0 where no hierarchy is mounted
        self.hierarchies = hierarchies
        self.unified = unified  # mount point of a cgroup2 beside v1 hierarchies

    @property
    def controllers(self) -> tuple[str, ...]:
        return tuple(name for hierarchy in self.hierarchies for name in hierarchy.controllers)

    def mount_point_of(self, controller: str) -> str:
        """The mount point of the hierarchy with that controller; "" where there is none."""
        for hierarchy in self.hierarchies:
            if controller in hierarchy.controllers:
                return hierarchy.mount_point
        return ""


# --- the host's layout --------------------------------------------------------------------------

_V1_CONTROLLERS = frozenset(
    "cpuset cpu cpuacct blkio memory devices freezer"
    " net_cls perf_event net_prio hugetlb pids rdma misc".split()
)


def detect(mountinfo: str | None = None) -> Layout:
    """The layout of this host, or that of a given mountinfo text."""
    if mountinfo is None:
        mountinfo = read("/proc/self/mountinfo")
    hierarchies: dict[tuple[str, ...], str] = {}
    unified = ""
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        fields, kind = left.split(" "), right.split(" ")
        if len(fields) < 5 or len(kind) < 3:
            continue
        mount_point = _unescape(fields[4])
        if kind[0] == "cgroup2":
            unified = unified or mount_point
        elif kind[0] == "cgroup":
            names = tuple(name for name in kind[2].split(",") if name in _V1_CONTROLLERS)
            if names:
                hierarchies.setdefault(names, mount_point)
    if hierarchies:
        found = tuple(Hierarchy(point, names) for names, point in hierarchies.items())
        return Layout(1, found, unified)
    if unified:
        offered = tuple(read_or(f"{unified}/cgroup.controllers").split())
        return Layout(2, (Hierarchy(unified, offered),), unified)
    return Layout(0, ())


def named(mountinfo: str | None = None) -> list[str]:
    """Mount points of v1 hierarchies that have a name and no controller, as systemd's."""
    found = []
    for line in (read("/proc/self/mountinfo") if mountinfo is None else mountinfo).splitlines():
        left, _, right = line.partition(" - ")
        kind = right.split(" ")
        if kind[0] == "cgroup" and len(kind) > 2 and "name=" in kind[2]:
            found.append(_unescape(left.split(" ")[4]))
    return found


def _unescape(text: str) -> str:
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, character)
    return text


# --- a cgroup -----------------------------------------------------------------------------------


class Cgroup:
    """One path in the hierarchies that it needs. Making one of these touches nothing."""

    __slots__ = ("controllers", "layout", "path")

    def __init__(
        self, layout: Layout, path: str, controllers: tuple[str, ...] = BASE_CONTROLLERS
    ) -> None:
        if ".." in path.split("/"):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), path)
        self.layout = layout
        self.path = "/" + path.strip("/")
        self.controllers = controllers

    def directory(self, controller: str) -> str:
        """Its directory in that controller's hierarchy; "" where the host or it lacks that."""
        if self.layout.version == 2:
            return self.layout.unified + self.path
        if controller not in self.controllers:
            return ""
        mount_point = self.layout.mount_point_of(controller)
        return mount_point + self.path if mount_point else ""

    def directories(self) -> list[str]:
        """Each directory once: controllers that are mounted together share theirs."""
        if self.layout.version == 2:
            return [self.layout.unified + self.path]
        return list(dict.fromkeys(filter(None, map(self.directory, self.controllers))))

    def create(self, resources: dict[str, Any] | None = None) -> None:
        """Make it and its parents and set the limits. What is there already is taken over."""
        try:
            for directory in self.directories():
                make(directory)
            if self.layout.version == 2:
                wanted = cgrouplimits.wanted_v2(self.controllers)
                cgrouplimits.enable(self.layout.unified, self.path, wanted)
            elif "cpuset" in self.controllers:
                root = self.layout.mount_point_of("cpuset")
                cgrouplimits.inherit_cpuset(root, self.path)
            if resources:
                self.limit(resources)
        except OSError:
            self._try_remove()
            raise

    def _try_remove(self) -> None:
        try:
            self.remove(timeout_seconds=0)
        except OSError:
            return

    def exists(self) -> bool:
        return any(os.path.isdir(directory) for directory in self.directories())

    # --- joining ---

    def join_files(self) -> list[str]:
        """The files into which a child with one thread writes "0" to become a member."""
        name = "cgroup.procs" if self.layout.version == 2 else "tasks"
        return [f"{directory}/{name}" for directory in self.directories()]

    def open_join(self) -> list[int]:
        """Descriptors of join_files, close-on-exec; the caller closes.

        Rights are the opener's: the child needs none.
        """
        opened: list[int] = []
        try:
            opened.extend(os.open(f, os.O_WRONLY | os.O_CLOEXEC) for f in self.join_files())
        except OSError:
            for descriptor in opened:
                os.close(descriptor)
            raise
        return opened

    def open_directory(self) -> int:
        """v2: the descriptor for CLONE_INTO_CGROUP. Caller closes."""
        return os.open(self.directories()[0], os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def add(self, pid: int) -> None:
        """Move a process in. Slow on v1 (an RCU grace period); a child should join by itself."""
        for directory in self.directories():
            write(f"{directory}/cgroup.procs", str(pid))

    def with_controllers(self, names: tuple[str, ...]) -> Cgroup:
        """The same path with further controllers, those of the host."""
        offered = names if self.layout.version == 2 else self.layout.controllers
        more = (name for name in names if name in offered and name not in self.controllers)
        return Cgroup(self.layout, self.path, (*self.controllers, *more))

    def gather(self) -> None:
        """v1: have the members of its first hierarchy in all of them, their children too."""
        if self.layout.version == 2:
            return
        _, *others = self.directories()
        for directory in others:
            # Who forks meanwhile has children outside: again, until nobody is missing.
            for _ in range(_GATHERINGS):
                missing = set(self.pids()).difference(members_of(directory))
                if not missing:
                    break
                for pid in missing:
                    try_write(f"{directory}/cgroup.procs", str(pid))

    # --- limits ---

    def limit(self, resources: dict[str, Any]) -> None:
        """Set what `resources` names; what it does not name stays."""
        if self.layout.version == 2:
            cgrouplimits.limit_v2(self.directories()[0], resources)
        else:
            cgrouplimits.limit_v1(self.directory, self.layout.mount_point_of, resources)
        if not cgroupextras.RARE.isdisjoint(resources) or "cpu" in resources:
            cgroupextras.limit_rare(self.directory, self.layout.version, resources)
        if "devices" in resources:
            self._limit_devices(resources["devices"])

    def _limit_devices(self, rules: list[dict[str, Any]]) -> None:
        directory = self.directory("devices")
        if not directory:
            return
        if self.layout.version == 2:
            bpf.attach_device_program(directory, bpf.device_program(rules))
            return
        for allow, group in groupby(rules, key=lambda rule: bool(rule["allow"])):
            name = "devices.allow" if allow else "devices.deny"
            write_each(f"{directory}/{name}", map(cgrouplimits.device_line, group))

    # --- members ---

    def pids(self) -> list[int]:
        """Everything in it and below it."""
        return [pid for directory in self.directories()[:1] for pid in members_of(directory)]

    def freeze(self, timeout_seconds: float = 10.0) -> None:
        """Stop every member; returns once all are stopped. TimeoutError leaves it thawed."""
        try:
            self._freezer(frozen=True, deadline=time.monotonic() + timeout_seconds)
        except OSError:
            self.thaw()
            raise

    def thaw(self) -> None:
        self._freezer(frozen=False, deadline=time.monotonic() + 10.0)

    def frozen(self) -> bool:
        if self.layout.version == 2:
            return read_or(self.directory("freezer") + "/cgroup.freeze").strip() == "1"
        directory = self.directory("freezer")
        return bool(directory) and read_or(f"{directory}/freezer.state").strip() != "THAWED"

    def _freezer(self, *, frozen: bool, deadline: float) -> None:
        directory = self.directory("freezer")
        if not directory:
            raise OSError(errno.ENOTSUP, "no freezer controller", self.path)
        if self.layout.version == 2:
            write(f"{directory}/cgroup.freeze", "1" if frozen else "0")
            _wait_event(f"{directory}/cgroup.events", "frozen", "1" if frozen else "0", deadline)
            return
        state = "FROZEN" if frozen else "THAWED"
        file = f"{directory}/freezer.state"
        write(file, state)
        # v1 has no event: FREEZING becomes FROZEN when somebody looks.
        nap = 0.2
        while read(file).strip() != state:
            _check_deadline(deadline, file)
            nap = _nap(nap)
            write(file, state)

    def kill(self, timeout_seconds: float = 10.0) -> None:
        """SIGKILL every member, forks included, and wait until all have ended; else TimeoutError.

        Frozen members are thawed. Zombies whose parents do not reap them count as ended.
        """
        deadline = time.monotonic() + timeout_seconds
        if not self.exists():
            return
        if self.layout.version == 2:
            self._kill_v2(deadline)
        else:
            self._kill_v1(deadline)

    def _kill_v2(self, deadline: float) -> None:
        directory = self.directories()[0]
        try:
            write(f"{directory}/cgroup.kill", "1")
        except FileNotFoundError:  # before Linux 5.14
            self._kill_each(deadline)
        _wait_event(f"{directory}/cgroup.events", "populated", "0", deadline)

    def _kill_v1(self, deadline: float) -> None:
        members = self.pids()
        if not members:
            return
        limit = self.directory("pids")
        if limit:
            for member in tree(limit):
                try_write(f"{member}/pids.max", "0")  # nobody forks any more
        self._kill_each(deadline)

    def _kill_each(self, deadline: float) -> None:
        nap = 0.2
        while members := self.pids():
            handles = _kill_all(members)
            if self.directory("freezer") and self.frozen():
                self.thaw()
            try:
                _wait_ended(handles, deadline)
            finally:
                for handle in handles:
                    os.close(handle)
            _check_deadline(deadline, self.path)
            if not handles:
                nap = _nap(nap)

    # --- numbers ---

    def room(self) -> int:
        """How many more processes and threads the limit allows; below 0 where some moved in beyond.

        The kernel asks when one is cloned into a cgroup, not when one moves in.
        """
        directory = self.directory("pids")
        limit = read_or(f"{directory}/pids.max").strip()
        if not limit.isdigit():
            return sys.maxsize
        return int(limit) - read_number(f"{directory}/pids.current")

    def memory_limit(self) -> int:
        """In bytes; 0 is none."""
        directory = self.directory("memory")
        if self.layout.version == 2:
            return read_number(f"{directory}/memory.max")
        limit = read_number(f"{directory}/memory.limit_in_bytes")
        return 0 if limit >= UNLIMITED_FROM else limit

    def oom_kills(self) -> int:
        """How many members the kernel has killed for want of memory."""
        directory = self.directory("memory")
        if self.layout.version == 2:
            return read_pairs(f"{directory}/memory.events").get("oom_kill", 0)
        return read_pairs(f"{directory}/memory.oom_control").get("oom_kill", 0)

    # --- the end ---

    def remove(self, timeout_seconds: float = 10.0) -> None:
        """Remove it and what is below it, once its members have ended. Kills nobody. Idempotent.

        Waits for members that are ending. TimeoutError after that; a second call goes on.
        """
        deadline = time.monotonic() + timeout_seconds
        for directory in self.directories():
            if not _is_removed(directory):
                for member in reversed(tree(directory)):
                    _remove_directory(member, deadline)


# --- waiting ------------------------------------------------------------------------------------


def _kill_all(pids: list[int]) -> list[int]:
    """SIGKILL each; pidfds of those that were there."""
    handles = []
    for pid in pids:
        try:
            handle = os.pidfd_open(pid)
        except OSError:
            continue
        handles.append(handle)
        try:
            signal.pidfd_send_signal(handle, signal.SIGKILL)
        except ProcessLookupError:
            continue
    return handles


def _wait_ended(handles: list[int], deadline: float) -> None:
    for handle in handles:
        poller = select.poll()
        poller.register(handle, select.POLLIN)
        if not poller.poll(max(0.0, deadline - time.monotonic()) * 1000):
            raise TimeoutError(errno.ETIMEDOUT, "a killed process does not end")


def _wait_event(file: str, name: str, value: str, deadline: float) -> None:
    """v2: cgroup.events wakes a poll for POLLPRI when it changes."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        poller = select.poll()
        poller.register(descriptor, select.POLLPRI)
        wanted = f"{name} {value}\n"
        while wanted not in os.pread(descriptor, 4096, 0).decode():
            _check_deadline(deadline, file)
            poller.poll(max(0.0, deadline - time.monotonic()) * 1000)
    finally:
        os.close(descriptor)


def _is_removed(directory: str) -> bool:
    """False while it has members, or directories in it."""
    try:
        os.rmdir(directory)
    except FileNotFoundError:
        return True
    except OSError as error:
        if error.errno not in (errno.EBUSY, errno.ENOTEMPTY):
            raise
        return False
    return True


def _remove_directory(directory: str, deadline: float) -> None:
    nap = 0.2
    while not _is_removed(directory):
        _check_deadline(deadline, directory)
        if not _wait_members(directory, deadline):
            nap = _nap(nap)  # the last task is past its exit but not yet taken off the list


def _wait_members(directory: str, deadline: float) -> bool:
    """Wait for one member to end; False where no member can be seen."""
    for pid in map(int, read_or(f"{directory}/cgroup.procs").split()):
        try:
            handle = os.pidfd_open(pid)
        except OSError:
            continue
        try:
            _wait_ended([handle], deadline)
        finally:
            os.close(handle)
        return True
    return False


def _check_deadline(deadline: float, what: str) -> None:
    if time.monotonic() > deadline:
        raise TimeoutError(errno.ETIMEDOUT, "cgroup does not settle", what)


def _nap(milliseconds: float) -> float:
    """Where the kernel offers no event: give way, longer each time. Returns the next length."""
    select.select([], [], [], milliseconds / 1000)
    return min(milliseconds * 2, _EVENT_WAIT_MS)
