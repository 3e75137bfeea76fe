"""From a fork to the user's program: what a container's first process does in its new namespaces.

`build` carries out the operations of `create` in order, `become` gives the process its identity and
executes the program; an exec in a running container is `become` alone. Whatever fails is reported
on the channel, which closes by itself when the program is executed: that is how the shim knows.

This is still the host's interpreter inside a hostile root, so it may not import, look up a codec or
call anything that would read the image's files but by intention; and it is not dumpable, so that
nobody inside can reach it through /proc.
"""

from __future__ import annotations

import os
import stat
from _socket import socket

from tiffin.kernel import mounts, syscalls, traits
from tiffin.runtime import hooks, labels, messages, operations, orders
from tiffin.runtime.building import Root, adopt_terminal, build
from tiffin.runtime.failure import EXIT_BROKEN, Failure, failure_of
from tiffin.runtime.operations import Config
from tiffin.runtime.program import (
    Program,
    apply_sysctls,
    assume,
    become,
    execute,
    look_ahead,
    own_stdio,
    own_words,
    rehearse,
)
from tiffin.runtime.traits import set_affinity

__all__ = ["ExecBirth", "Failure", "Program", "failure_of", "first_process", "further_process"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Callable
    from typing import Any
else:  # without the enumerations of the signal module
    import _signal as signal


def report(channel: socket, failure: Failure) -> None:
    try:
        messages.send(channel, {"failed": failure.report})
    except (OSError, messages.ConnectionEnded):
        return  # nobody is left to be told


def guarded(channel: socket, act: Callable[[], None], *, lingers: bool = False) -> None:
    """Run `act`, which ends in an exec; report what keeps it from that. Never returns.

    With `lingers` until the channel is closed: the daemon may be connecting a network, and
    the user shall read why the container cannot start, not that its namespace is gone.
    """
    try:
        act()
    except Failure as failure:
        report(channel, failure)
    except OSError as error:
        report(channel, failure_of(str(error.strerror), error))
    except messages.ConnectionEnded:
        pass
    except BaseException as error:  # noqa: BLE001 (there is nobody above to see it)
        report(channel, Failure(f"{type(error).__name__}: {error}", "init"))
    if lingers:
        _await_end(channel)
    os._exit(EXIT_BROKEN)


def _await_end(channel: socket) -> None:
    try:
        while True:
            messages.close_all(messages.receive_packet(channel)[1])
    except (OSError, ValueError, messages.ConnectionEnded):
        return


# --- the two ways in ----------------------------------------------------------------------------


def join_cgroups(files: list[int]) -> None:
    for fd in files:
        os.write(fd, b"0")


def first_process(channel: socket, last_capability: int, preserved: int = 0) -> None:
    """The container's init, from the clone on. Ends in an exec; raises Failure.

    It may be born before anybody knows what for (runtime.maker.Unborn): everything comes by the
    channel, once the ids are mapped. `preserved`: how many descriptors beside stdio are its own.
    """
    syscalls.close_all_but([channel.fileno()], 3 + preserved)
    os.setsid()
    syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
    config: Config = _expect(channel, "config")["config"]
    proc = labels.opened(config.get("process") or {})
    late = operations.late_flags(config.get("linux") or {})
    plan = operations.plan(config)
    become_root()
    mounts.mount(None, "/", None, mounts.MS_REC | mounts.MS_PRIVATE)
    syscalls.unshare(late & ~syscalls.CLONE_NEWCGROUP)
    time = _open_time() if late & syscalls.CLONE_NEWTIME else -1
    root = Root(channel)
    root.in_order = bool((config.get("tiffin") or {}).get("orphan"))
    root.make_file_systems(plan.create)
    _receive_stdio(channel)
    syscalls.unshare(late & syscalls.CLONE_NEWCGROUP)
    root.slots = receive_slots(channel, len(plan.detached))
    build(root, plan.create)
    root.close()
    program = Program(config, last_capability)
    program.proc = proc
    if time >= 0:
        _enter_time(channel, time)
    if program.orphan:
        _join_keyring(program)
        look_ahead(program)
    else:
        program.prepare()
    messages.send(channel, {"ready": True})
    state = _await_start(channel)
    if plan.start:
        apply_sysctls(root.sys_controls, plan.start)
    if program.orphan:
        _prepare_alone(config, program, state)
    become(program, channel, root.console)


def _join_keyring(program: Program) -> None:
    """A session keyring of the container's own, as it would get with a login."""
    if program.keyring:
        try:
            traits.join_session_keyring(program.keyring)
        except OSError as error:
            raise failure_of("join session keyring", error) from error


def _await_start(channel: socket) -> dict[str, Any]:
    """Until somebody says so: who made us, or, at a gate, whoever comes. The container's state."""
    message, descriptors = messages.receive(channel)
    if "gate" not in message:
        messages.close_all(descriptors)
        if "start" not in message:
            raise Failure("init expected start", "init")
        return {}
    gate = socket(fileno=descriptors.pop(0))
    syscalls.prctl(syscalls.PR_SET_PDEATHSIG, 0)
    messages.send(channel, {"gated": True})
    while True:
        fd, _address = gate._accept()  # type: ignore[attr-defined] # noqa: SLF001
        # What fails from here on is said to who is there now.
        os.dup2(fd, channel.fileno(), inheritable=False)
        os.close(fd)
        try:
            message, descriptors = messages.receive(channel)
        except messages.ConnectionEnded:
            continue
        messages.close_all(descriptors)
        if "start" in message:
            gate.close()
            state: dict[str, Any] = message["start"]
            return state


def _prepare_alone(config: Config, program: Program, state: dict[str, Any]) -> None:
    """Late, with all rights still there: hooks of the container's own see what it will see."""
    started = (config.get("hooks") or {}).get("startContainer") or []
    hooks.run_all("startContainer", started, state)
    program.prepare()


def _open_time() -> int:
    """The new time namespace, which is for children only until it is entered."""
    return os.open("/proc/self/ns/time_for_children", os.O_RDONLY | os.O_CLOEXEC)


def _enter_time(channel: socket, namespace: int) -> None:
    """Once its clocks are set, which only the host may; nobody can set them after an entry."""
    messages.send(channel, {"offsets": True})
    _expect(channel, "offsets")
    syscalls.setns(namespace, syscalls.CLONE_NEWTIME)
    os.close(namespace)


def _receive_stdio(channel: socket) -> None:
    """And the cgroups, to be in them before there is a cgroup namespace."""
    message, descriptors = messages.receive(channel)
    stdio, joins = descriptors[: message["stdio"]], descriptors[message["stdio"] :]
    join_cgroups(joins)
    for number, fd in enumerate(stdio):
        os.dup2(fd, number)
    messages.close_all(descriptors)


def become_root() -> None:
    """Root of the container's user namespace: files that we make must have an owner there."""
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    # A change of ids makes it dumpable again where the host's suid_dumpable says so.
    syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)
    os.umask(0o022)


def receive_slots(channel: socket, count: int) -> list[int]:
    slots: list[int] = []
    while len(slots) < count:
        _message, descriptors = messages.receive(channel)
        slots.extend(descriptors)
    return slots


def _expect(channel: socket, word: str) -> dict[str, Any]:
    message, descriptors = messages.receive(channel)
    messages.close_all(descriptors)
    if word not in message:
        raise Failure(f"init expected {word}", "init")
    return message


class ExecBirth:
    """What a further process is born with, in the namespaces already."""

    def __init__(self, channel: socket, stdio: list[int], program: Program, own_score: str) -> None:
        """`own_score` is the oom_score_adj of who clones it."""
        self.channel = channel
        self.stdio = stdio
        self.program = program
        self.own_score = own_score

    @property
    def size(self) -> tuple[int, int]:
        """Of the terminal: rows, columns."""
        size = self.program.process.get("consoleSize") or {}
        return size.get("height") or 0, size.get("width") or 0


def further_process(birth: ExecBirth) -> None:
    """An exec, in its namespaces. Ends in an exec; raises Failure."""
    _take_stdio(birth.stdio)
    _settle([birth.channel.fileno(), birth.program.proc], birth.program.kept)
    _go_on(birth)


def standby(
    channel: socket,
    config: Config,
    user: str,
    last_capability: int,
    *,
    proc: int,
    joins: list[int],
    stack: int,
) -> None:
    """An exec that nobody has asked for yet, in its namespaces: one more like that of `config`.

    It is its user already. Once it says "stands", what comes by the channel are the descriptors
    that are its stdio, and a list (see runtime.orders); or, where it says so without any facts,
    "args", "env" and "cwd". Only then does it join its cgroups.
    """
    _settle([channel.fileno(), proc, *joins], 3)
    area, databases = orders.area(), orders.databases()
    program = exec_program(config, user, last_capability, waits=True)
    program.proc = proc
    _join_keyring(program)
    program.prepare()
    set_affinity(program.process, "final")
    assume(program, [channel.fileno(), *joins])
    if area is not None and None not in databases:
        orders.stand_by(area, channel, joins, program.identity, databases, stack)
    rehearse(program)
    messages.send(channel, {"stands": {}})
    program.become_another(messages.decode(messages.encode(own_words(program.process))))
    message, stdio = messages.receive(channel)
    join_cgroups(joins)
    _take_stdio(stdio)
    program.become_another(message)
    messages.send(channel, {"accepted": True})
    own_stdio(channel, program.identity, -1)
    execute(program, channel)


def exec_program(config: Config, user: str, last_capability: int, *, waits: bool) -> Program:
    program = Program(config, last_capability, user)
    program.makes_working_dir = False
    program.awaits_word = waits
    return program


def _take_stdio(stdio: list[int]) -> None:
    for number, fd in enumerate(stdio):
        os.dup2(fd, number)


def _settle(descriptors: list[int], kept: int) -> None:
    syscalls.close_all_but(descriptors, kept)
    os.setsid()
    become_root()
    os.chdir("/")


def _go_on(birth: ExecBirth) -> None:
    program, channel = birth.program, birth.channel
    console = -1
    if not birth.stdio and (not program.orphan or program.process.get("terminal")):
        console = adopt_terminal(channel, _open_ptmx(), *birth.size)
    _join_keyring(program)
    program.prepare()
    set_affinity(program.process, "final")
    become(program, channel, console)


def _open_ptmx() -> int:
    """The multiplexer of the container's devpts, not what the image has put in its place."""
    master = os.open("/dev/pts/ptmx", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC | os.O_NOFOLLOW)
    status = os.fstat(master)
    if not stat.S_ISCHR(status.st_mode) or status.st_rdev != os.makedev(5, 2):
        os.close(master)
        raise Failure("/dev/pts/ptmx is not a terminal multiplexer", "open /dev/pts/ptmx")
    return master
