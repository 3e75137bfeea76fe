"""run and exec: commands that have a program of their own to wait for."""

from __future__ import annotations

import os
import select
from _socket import socket

from tiffin.kernel import syscalls
from tiffin.runtime import launch, messages, operations, rootfs, traits
from tiffin.runtime.birth import Host
from tiffin.runtime.failure import Failure
from tiffin.runtime.init import ExecBirth, Program
from tiffin.runtime.messages import Message
from tiffin.runtime.oci import bundle, console, create
from tiffin.runtime.oci.flags import UsageError, Values
from tiffin.runtime.oci.shape import PROCESS, check
from tiffin.runtime.oci.state import Container, Refused
from tiffin.runtime.operations import Config

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as signals
else:
    import _signal as signals

_NOT_OURS = (signals.SIGCHLD, signals.SIGPIPE, signals.SIGKILL, signals.SIGSTOP, signals.SIGURG)


def await_end(pid: int, master: int) -> int:
    """Of our child: its exit code, 128 and more for a signal. Signals to us are passed on."""
    handle = os.pidfd_open(pid)
    _pass_signals_on(pid)
    try:
        if master >= 0:
            with console.Relay(master) as relay:
                signals.signal(signals.SIGWINCH, lambda _number, _frame: relay.resize())
                relay.pump(handle)
        poller = select.poll()
        poller.register(handle, select.POLLIN)
        poller.poll()
    finally:
        os.close(handle)
    _pid, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        return 128 + os.WTERMSIG(status)
    return os.WEXITSTATUS(status)


def _pass_signals_on(pid: int) -> None:
    def pass_on(number: int, _frame: object) -> None:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return

    for number in range(1, 32):
        if number not in _NOT_OURS:
            signals.signal(number, pass_on)


# --- exec ---------------------------------------------------------------------------------------


def exec_process(container: Container, given: Values, words: list[str]) -> Config:
    """The process that exec's flags, or its --process file, describe. Raises InvalidBundle."""
    base: Config = container.config().get("process") or {}
    if "process" in given:
        with open(given["process"], "rb") as file:
            asked = bundle.parse(file.read(), given["process"])
        check(asked, PROCESS, "process")
        process = {**_inherited(base), **{k: v for k, v in asked.items() if v is not None}}
    else:
        process = _from_flags(base, given, words)
    bundle.judge_process(process)
    unknown = bundle.unknown_capabilities(process, len(syscalls.CAPABILITIES))
    return bundle.without_capabilities(process, unknown) if unknown else process


def _inherited(base: Config) -> Config:
    """What a process.json that does not speak of it has from the container."""
    keys = ("capabilities", "rlimits", "noNewPrivileges", "oomScoreAdj", "apparmorProfile")
    return {key: base[key] for key in keys if base.get(key) is not None}


def _from_flags(base: Config, given: Values, words: list[str]) -> Config:
    process = {key: value for key, value in base.items() if key != "consoleSize"}
    if not words:
        raise UsageError("exec needs a program to execute, or --process")
    process["args"] = words
    process["terminal"] = bool(given.get("tty"))
    process["env"] = [*(base.get("env") or []), *given.get("env", [])]
    if "cwd" in given:
        process["cwd"] = given["cwd"]
    if "user" in given:
        process["user"] = _user(given["user"])
    if given.get("additional-gids"):
        gids = [_id(word) for word in given["additional-gids"]]
        process["user"] = {**(process.get("user") or {}), "additionalGids": gids}
    if given.get("no-new-privs"):
        process["noNewPrivileges"] = True
    if "apparmor" in given:
        process["apparmorProfile"] = given["apparmor"]
    if "process-label" in given:
        process["selinuxLabel"] = given["process-label"]
    if given.get("cap"):
        process["capabilities"] = _with_capabilities(base.get("capabilities") or {}, given["cap"])
    return process


def _user(text: str) -> Config:
    uid, _, gid = text.partition(":")
    return {"uid": _id(uid), "gid": _id(gid or "0")}


def _id(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise UsageError(f"parsing user: {text!r} is not a number")
    return int(text)


def _with_capabilities(asked: Config, more: list[str]) -> Config:
    names = [name if name.startswith("CAP_") else f"CAP_{name}" for name in map(str.upper, more)]
    return {
        kind: list(dict.fromkeys([*(asked.get(kind) or []), *names]))
        for kind in ("bounding", "effective", "permitted", "inheritable", "ambient")
        if asked.get(kind) or kind in ("bounding", "effective", "permitted")
    }


class Execution:
    """One exec, from the clone until its program runs."""

    def __init__(self, container: Container, process: Config, host: Host, given: Values) -> None:
        self._container = container
        self._process = process
        self._host = host
        self._socket_path: str = given.get("console-socket", "")
        self._preserved: int = given.get("preserve-fds", 0)
        self._sub_cgroup: str = given.get("cgroup", "")
        self.pid = 0
        self.master = -1

    def start(self) -> None:
        """Raises Failure, OSError."""
        syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)
        config = self._container.config()
        config["process"] = self._process
        config["tiffin"]["preserved"] = self._preserved
        if self._process.get("apparmorProfile") is None:
            config["process"].pop("apparmorProfile", None)
        ours, theirs = messages.pair()
        program = Program(config, self._host.last_capability)
        birth = ExecBirth(theirs, [], program, self._host.oom_score)
        if not self._process.get("terminal"):
            ids = rootfs.Ids(self._container.record["extents"], -1)
            create.give_away_stdio(ids, self._process)
        traits.set_affinity(self._process, "initial")
        self.pid = self._clone(birth, config)
        theirs.close()
        try:
            self._serve(ours)
        except BaseException:
            create.end(self.pid)
            raise
        finally:
            ours.close()

    def _clone(self, birth: ExecBirth, config: Config) -> int:
        kinds = [n["type"] for n in (config.get("linux") or {}).get("namespaces") or []]
        group = self._container.cgroup()
        joins = self._open_joins(group.join_files()) if group.exists() else []
        target = os.pidfd_open(self._container.pid)
        if self._container.status() not in ("running", "paused", "created"):
            raise Refused("cannot exec in a stopped container")
        try:
            flags = operations.clone_flags(kinds)
            return launch.further_process(birth, target, flags, joins, group)
        finally:
            messages.close_all([target, *joins])

    def _open_joins(self, files: list[str]) -> list[int]:
        """With --cgroup the files of cgroups below the container's."""
        if self._sub_cgroup:
            below = self._sub_cgroup.strip("/")
            if ":" in below or ".." in below.split("/"):
                raise UsageError(f"--cgroup {self._sub_cgroup}: only a path below is supported")
            files = ["{}/{}/{}".format(*_split(file, below)) for file in files]
        return [os.open(file, os.O_WRONLY | os.O_CLOEXEC) for file in files]

    def _serve(self, channel: socket) -> None:
        executing = False
        while True:
            try:
                message, descriptors = messages.receive(channel)
            except messages.ConnectionEnded:
                break
            if "console" in message and descriptors:
                self._take_console(descriptors.pop())
            messages.close_all(descriptors)
            executing = executing or "executing" in message
            self._answer(channel, message)
        if not executing:
            raise Failure("the process died before it executed its program", "exec")

    def _answer(self, channel: socket, message: Message) -> None:
        if "chown" in message:
            messages.send(channel, {"done": True})
        elif "failed" in message:
            report = message["failed"]
            raise Failure(report["message"], report["operation"], report["errno"])

    def _take_console(self, master: int) -> None:
        if self._socket_path:
            console.hand_over(self._socket_path, master)
        else:
            self.master = master


def _split(file: str, below: str) -> tuple[str, str, str]:
    directory, _, name = file.rpartition("/")
    return directory, below, name


def check_exec(container: Container, given: Values) -> None:
    """Raises Refused, UsageError."""
    status = container.status()
    if status == "paused" and not given.get("ignore-paused"):
        raise Refused("cannot exec in a paused container (use --ignore-paused to override)")
    if status in ("stopped", "creating"):
        raise Refused(f"cannot exec in a container that is {status}")
    if given.get("detach") and given.get("tty") and not given.get("console-socket"):
        raise UsageError(
            "cannot allocate tty if runtime will detach without setting console socket"
        )
