"""What outlived a daemon, or did not: the shims behind RUN_ROOT/<id>, their records and processes.

A record is believed when it is whole and of this boot, a pid when its process has the start time
that was written down with it. Whatever is not is as if it were not there: nothing here raises.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import time
from typing import Any, NamedTuple

import msgspec

from tiffin.core.workload import Exit, KnownExec
from tiffin.errors import InvalidArgument
from tiffin.kernel import cgroup, syscalls
from tiffin.runtime import programs
from tiffin.runtime.connection import Connection
from tiffin.runtime.messages import SHIM_NAME, Message

_MAX_WORDS_BYTES = 16 * 1024
_ASIDE = "gone"


class Process(NamedTuple):
    """A container's first process, as its shim or its state.json names it."""

    pid: int
    start_ticks: int

    def is_alive(self) -> bool:
        return self.signal(0)

    def signal(self, number: int) -> bool:
        """Whether it was there to be signalled. Never reaches a stranger with the same pid."""
        with contextlib.suppress(OSError):
            handle = os.pidfd_open(self.pid)
            try:
                if syscalls.start_ticks(self.pid) != self.start_ticks:
                    return False
                signal.pidfd_send_signal(handle, number)
            finally:
                os.close(handle)
            return not _is_zombie(self.pid)
        return False

    def shim(self) -> int:
        """The pid of its shim, which is its parent for as long as that lives; 0 without one."""
        try:
            if syscalls.start_ticks(self.pid) != self.start_ticks:
                return 0
            parent = int(_status(self.pid)["PPid"])
            return parent if _name(parent) == SHIM_NAME else 0
        except (OSError, KeyError, ValueError):
            return 0


class Survivors:
    """Of one RUN_ROOT and the cgroup that its containers' lie in."""

    def __init__(self, run_root: str, cgroup_root: str) -> None:
        self._run_root = run_root
        self._cgroup_root = cgroup_root
        self.layout = cgroup.Layout(0, ())  # until the host is known

    def directory(self, container_id: str) -> str:
        if not container_id.isalnum():
            raise InvalidArgument(f"invalid container id: {container_id}")
        return os.path.join(self._run_root, container_id)

    def aside(self, container_id: str) -> str:
        """Where a run directory goes on its way out."""
        return os.path.join(self._run_root, _ASIDE, container_id)

    def open(self) -> None:
        """Make what is missing; an earlier daemon's leftovers go. Raises OSError."""
        os.makedirs(self._run_root, 0o711, exist_ok=True)
        aside = os.path.join(self._run_root, _ASIDE)
        shutil.rmtree(aside, ignore_errors=True)
        os.makedirs(aside, 0o700, exist_ok=True)

    def known(self) -> list[str]:
        """Ids of all that has a directory: running, or left by a crash."""
        names = os.listdir(self._run_root)
        return [name for name in names if is_container_id(name)]

    def shims(self) -> dict[int, str]:
        """Shims with a living container, of whatever parentage: pid -> container id."""
        found = {}
        for pid in map(int, filter(str.isdecimal, os.listdir("/proc"))):
            with contextlib.suppress(OSError, ValueError):
                if _name(pid) == SHIM_NAME and _has_children(pid):
                    # Where it complains: a path that tells whose it is, also once it is unlinked.
                    words = os.readlink(f"/proc/{pid}/fd/2").removesuffix(" (deleted)")
                    root, container_id, _ = words.rsplit("/", 2)
                    if root == self._run_root and is_container_id(container_id):
                        found[pid] = container_id
        return found

    def end_shim(self, pid: int) -> None:
        """With its container. Checked once more: by now the pid may be another's."""
        if pid in self.shims():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def connect(self, container_id: str) -> Connection | None:
        """To a living shim's socket, by its directory: an address holds 108 bytes, a path more."""
        try:
            directory = os.open(self.directory(container_id), os.O_PATH | os.O_DIRECTORY)
        except OSError:
            return None
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        connection.setblocking(False)
        try:
            connection.connect(f"/proc/self/fd/{directory}/control.sock")
        except OSError:
            connection.close()
            return None
        finally:
            os.close(directory)
        return Connection(connection)

    def exit(self, container_id: str) -> Exit | None:
        """What the shim wrote last."""
        record = self._read(container_id, "exit.json")
        return exit_of(container_id, record) if record is not None else None

    def run(self, container_id: str) -> str:
        """The record of the run that has ended; "" where there is none."""
        return run_record(self._read(container_id, "exit.json") or {})

    def execs(self, container_id: str) -> list[KnownExec]:
        """As they were when the container ended."""
        return known_execs(container_id, self._read(container_id, "exit.json") or {})

    def last_words(self, container_id: str) -> str:
        """What the shim has said to nobody: where it crashed, a traceback."""
        path = os.path.join(self.directory(container_id), "shim.log")
        with contextlib.suppress(OSError), open(path, "rb") as file:
            return file.read(_MAX_WORDS_BYTES).decode(errors="replace")
        return ""

    def process(self, container_id: str) -> Process | None:
        """The container's first process, which may have ended since."""
        return process_of(self._read(container_id, "state.json") or {})

    def group(self, container_id: str) -> cgroup.Cgroup | None:
        found = self.group_of(self._read(container_id, "state.json") or {})
        # And what an update may have added since.
        return found.with_controllers(("cpu", "cpuset")) if found is not None else None

    def group_of(self, state: Message) -> cgroup.Cgroup | None:
        """Of a hello, or what state.json holds."""
        path = state.get("cgroup")
        if not path or not isinstance(path, str) or not self.layout.version:
            return None
        names = tuple(state.get("controllers") or ()) or cgroup.BASE_CONTROLLERS
        return cgroup.Cgroup(self.layout, path, names)

    def cgroups(self) -> set[str]:
        """Ids that have a cgroup below ours."""
        found: set[str] = set()
        for directory in self._root().directories() if self.layout.version else ():
            with contextlib.suppress(OSError):
                found.update(filter(is_container_id, os.listdir(directory)))
        return found

    def end_cgroup(self, container_id: str) -> None:
        """With all that is in it. Raises OSError."""
        path = f"{self._cgroup_root}/{container_id}"
        group = cgroup.Cgroup(self.layout, path, self.layout.controllers)
        # On v1 it is only where the container had limits.
        present = [name for name in group.controllers if os.path.isdir(group.directory(name))]
        group = cgroup.Cgroup(self.layout, path, tuple(present))
        group.kill()
        group.remove()

    def remove_cgroup_root(self) -> None:
        """Unless some live on in it."""
        programs.remove_named(self._cgroup_root, cgroup.named())
        for directory in self._root().directories() if self.layout.version else ():
            with contextlib.suppress(OSError):
                os.rmdir(directory)

    def _root(self) -> cgroup.Cgroup:
        return cgroup.Cgroup(self.layout, self._cgroup_root, self.layout.controllers)

    def _read(self, container_id: str, name: str) -> dict[str, Any] | None:
        try:
            with open(os.path.join(self.directory(container_id), name), "rb") as file:
                record = msgspec.json.decode(file.read(), type=dict[str, Any])
        except (OSError, UnicodeError, msgspec.DecodeError):
            return None
        boot = record.get("boot_id", syscalls.boot_id())
        return record if boot == syscalls.boot_id() else None


def is_container_id(name: str) -> bool:
    return len(name) == 64 and not name.strip("0123456789abcdef")


def process_of(state: Message) -> Process | None:
    pid, ticks = state.get("pid"), state.get("start_ticks")
    if isinstance(pid, int) and isinstance(ticks, int) and pid > 0:
        return Process(pid, ticks)
    return None


def exit_of(container_id: str, message: Message) -> Exit | None:
    """None for what is no exit as this release knows them."""
    try:
        return msgspec.convert({**message, "container_id": container_id}, Exit)
    except msgspec.ValidationError:
        return None


def run_record(message: Message) -> str:
    """Of a hello, or what exit.json holds: what a daemon said of the run when it began."""
    record = message.get("record")
    begun = message.get("status", "exited") in ("running", "exited")
    return record if begun and isinstance(record, str) else ""


def known_execs(container_id: str, message: Message) -> list[KnownExec]:
    """Of a hello, or what exit.json holds: those that a daemon gave a record of."""
    found = []
    for known in message.get("execs") or ():
        record, pid = known.get("record"), known.get("pid")
        if record and isinstance(pid, int):
            ended = exit_of(container_id, known) if "exit_code" in known else None
            found.append(KnownExec(known["exec_id"], record, pid, ended))
    return found


def shim_killed(container_id: str) -> Exit:
    """What is told of a container that its shim did not outlive."""
    now = time.time_ns()
    return Exit(container_id, "", 137, 9, oom_killed=False, finished_ns=now, shim_died=True)


def kill_all(process: Process, group: cgroup.Cgroup | None) -> None:
    """End a container without its shim. Blocks until its processes are gone, or for ten seconds."""
    process.signal(signal.SIGKILL)
    if group is not None:
        with contextlib.suppress(OSError):
            group.kill()


def kill_shim(process: Process) -> None:
    """End a shim that does not answer: its container's end is then told by the closed socket."""
    shim = process.shim()
    if shim:
        with contextlib.suppress(OSError):
            os.kill(shim, signal.SIGKILL)


def _name(pid: int) -> str:
    with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
        return file.read().rstrip("\n")


def _has_children(pid: int) -> bool:
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return any(not _is_zombie(int(child)) for child in file.read().split())


def _is_zombie(pid: int) -> bool:
    return _status(pid).get("State", "Z").startswith("Z")


def _status(pid: int) -> dict[str, str]:
    with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
        pairs = (line.partition(":") for line in file)
        return {name: value.strip() for name, _, value in pairs}
