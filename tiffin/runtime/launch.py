"""Forking into namespaces: a container's first process, and further ones.

New namespaces come with the clone itself. To be the first process in another's, a short-lived
process in between enters them first and clones from there, and tells the pid of the result. An exec
needs none: who clones it names the process ids' namespace for its next child, and the child enters
the others itself. The maker is the shim's child, and so is, by CLONE_PARENT, whatever it clones,
and whatever that clones. The command line, which is nobody's maker, keeps its children (`adopter`
0).
"""

from __future__ import annotations

import errno
import os
from _socket import socket

from tiffin.kernel import syscalls
from tiffin.kernel.cgroup import Cgroup
from tiffin.runtime import init, labels, messages, operations, rlimits
from tiffin.runtime.init import ExecBirth
from tiffin.runtime.operations import Config
from tiffin.runtime.rootfs import Failed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tiffin.runtime.birth import Host

_JOINED_KINDS = operations.CLONE_FLAGS
_MOST_UNJOINED = 64  # execs that may be between their clone and their cgroup


def unborn(
    flags: int,
    channel: socket,
    last_capability: int,
    adopter: int = syscalls.CLONE_PARENT,
    preserved: int = 0,
) -> int:
    """Clone a first process that waits on `channel` to be told what for: its pid."""
    pid = syscalls.clone3(flags | adopter)
    if pid == 0:
        act = lambda: init.first_process(channel, last_capability, preserved)  # noqa: E731
        init.guarded(channel, act, lingers=True)
    return pid


def first_process(
    linux: Config,
    channel: socket,
    last_capability: int,
    adopter: int = syscalls.CLONE_PARENT,
    preserved: int = 0,
) -> int:
    """Clone the container's init: its pid, or 0 where the process in between will tell it."""
    flags = operations.birth_flags(linux)
    joined = operations.joined_namespaces(linux)
    if not joined:
        return unborn(flags, channel, last_capability, adopter, preserved)
    namespaces = _open_namespaces(joined)
    try:
        if syscalls.clone3(adopter) == 0:
            act = lambda: _born_in(  # noqa: E731
                channel, flags, namespaces, last_capability, preserved
            )
            init.guarded(channel, act, lingers=True)
    finally:
        messages.close_all([fd for fd, _kind in namespaces])
    return 0


def _open_namespaces(joined: list[tuple[str, str]]) -> list[tuple[int, int]]:
    opened: list[tuple[int, int]] = []
    for kind, path in joined:
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            messages.close_all([fd for fd, _kind in opened])
            raise Failed(f"join {kind} namespace of {path}", error) from error
        opened.append((fd, _JOINED_KINDS[kind]))
    return opened


def _born_in(
    channel: socket,
    flags: int,
    namespaces: list[tuple[int, int]],
    last_capability: int,
    preserved: int,
) -> None:
    """In between: enter, clone, tell."""
    # Not the other end of the channel either: we would never see it close.
    syscalls.close_all_but([channel.fileno(), *(fd for fd, _ in namespaces)], 3 + preserved)
    for fd, kind in namespaces:
        if not _is_own(fd, kind):
            _join(fd, kind)
    pid = syscalls.clone3(flags | syscalls.CLONE_PARENT)
    if pid == 0:
        init.first_process(channel, last_capability, preserved)
    _tell_pid(channel, pid)


def _join(fd: int, kind: int) -> None:
    try:
        syscalls.setns(fd, kind)
    except OSError as error:
        raise init.failure_of(f"join {_NAMESPACE_FILES[kind]} namespace", error) from error


_NAMESPACE_FILES = {
    syscalls.CLONE_NEWUSER: "user",
    syscalls.CLONE_NEWNET: "net",
    syscalls.CLONE_NEWPID: "pid",
    syscalls.CLONE_NEWIPC: "ipc",
    syscalls.CLONE_NEWUTS: "uts",
    syscalls.CLONE_NEWNS: "mnt",
    syscalls.CLONE_NEWCGROUP: "cgroup",
    syscalls.CLONE_NEWTIME: "time",
}


def _is_own(fd: int, kind: int) -> bool:
    """The kernel refuses to enter the user namespace that one is in."""
    theirs = os.fstat(fd)
    ours = os.stat(f"/proc/self/ns/{_NAMESPACE_FILES[kind]}")
    return (theirs.st_dev, theirs.st_ino) == (ours.st_dev, ours.st_ino)


def _tell_pid(channel: socket, pid: int) -> None:
    messages.send(channel, {"pid": pid})
    os._exit(0)


def further_process(
    birth: ExecBirth, target: int, kinds: int, joins: list[int], group: Cgroup | None
) -> int:
    """Clone an exec into the namespaces of the process behind the pidfd `target`: its pid.

    It is to be in the cgroups that `joins` opens, those of `group`. Raises OSError: ESRCH where the
    process has ended, ENOMEM where the namespace has no init any more.
    """
    narrow = None if has_room(group) else group
    with _children_in(target, kinds & syscalls.CLONE_NEWPID):
        pid = syscalls.clone3(0)
        if pid == 0:
            act = lambda: _exec_in(birth, target, kinds, joins, narrow)  # noqa: E731
            init.guarded(birth.channel, act)
    return pid


def has_room(group: Cgroup | None) -> bool:
    """For all execs that may be on their way, as most have: it is not for the child to look."""
    return group is None or group.room() >= _MOST_UNJOINED


def standby(
    channel: socket,
    config: Config,
    user: str,
    host: Host,
    target: int,
    kinds: int,
    joins: list[int],
) -> int:
    """As further_process, one more like that of `config` and `user`: see init.standby.

    It is in the cgroups of whoever clones it until it is told what for.
    """
    stack = syscalls.stack_start()

    def act() -> None:
        proc = _limited(config["process"], host.oom_score)
        _enter(target, kinds)
        last = host.last_capability
        init.standby(channel, config, user, last, proc=proc, joins=joins, stack=stack)

    with _children_in(target, kinds & syscalls.CLONE_NEWPID):
        pid = syscalls.clone3(0)
        if pid == 0:
            init.guarded(channel, act)
    return pid


class _children_in:  # noqa: N801
    """The next children of this process get their ids in the namespace of another."""

    def __init__(self, target: int, kind: int) -> None:
        self._target = target
        self._kind = kind
        self._own = -1

    def __enter__(self) -> None:
        if self._kind:
            self._own = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
            try:
                syscalls.setns(self._target, self._kind)
            except OSError:
                os.close(self._own)
                raise

    def __exit__(self, *_raised: object) -> None:
        if self._kind:
            syscalls.setns(self._own, self._kind)
            os.close(self._own)


def _exec_in(
    birth: ExecBirth, target: int, kinds: int, joins: list[int], group: Cgroup | None
) -> None:
    """Of the host still, but for its pid, which nobody in there may signal or look into."""
    init.join_cgroups(joins)
    if group is not None and group.room() < 0:
        raise OSError(errno.EAGAIN, f"clone: {os.strerror(errno.EAGAIN)}")
    birth.program.proc = _limited(birth.program.process, birth.own_score)
    _enter(target, kinds)
    init.further_process(birth)


def _limited(process: Config, own_score: str) -> int:
    """What the host alone can give; its procfs, where the kernel will be told a label."""
    proc = labels.opened(process)
    try:
        set_limits(0, process, own_score)
    except Failed as failed:
        raise init.failure_of(failed.operation, failed.error) from failed
    return proc


def _enter(target: int, kinds: int) -> None:
    kinds &= ~syscalls.CLONE_NEWPID
    if kinds:
        syscalls.setns(target, kinds)


# --- what only the host may give a process ------------------------------------------------------


def write_maps(pid: int, linux: Config) -> None:
    for file, key in (("uid_map", "uidMappings"), ("gid_map", "gidMappings")):
        lines = [f"{m['containerID']} {m['hostID']} {m['size']}\n" for m in linux.get(key) or []]
        try:
            _write(f"/proc/{pid}/{file}", "".join(lines))
        except OSError as error:
            raise Failed(f"set linux.{key}", error) from error


def write_time_offsets(pid: int, offsets: Config) -> None:
    """Before anybody is in the time namespace: afterwards the kernel refuses."""
    for clock, offset in offsets.items():
        line = f"{clock} {offset.get('secs') or 0} {offset.get('nanosecs') or 0}\n"
        try:
            _write(f"/proc/{pid}/timens_offsets", line)
        except OSError as error:
            raise Failed(f"set linux.timeOffsets of {clock}", error) from error


def set_limits(pid: int, process: Config, own_score: str) -> None:
    """rlimits and oom_score_adj: the container's user namespace has no right to raise them.

    `pid` 0 is the caller.
    """
    rlimits.apply(pid, process)
    score = process.get("oomScoreAdj")
    if score is not None and str(score) != own_score:
        try:
            _write(f"/proc/{pid or 'self'}/oom_score_adj", str(score))
        except OSError as error:
            raise Failed(f"set oom_score_adj to {score}", error) from error


def _write(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)
