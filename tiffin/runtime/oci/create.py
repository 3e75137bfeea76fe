"""create: from a bundle to a container whose first process waits at its gate.

The machinery is the shim's maker's (runtime.birth). What is different: nobody stays. The first
process inherits our stdio and becomes the child of who called us; whoever connects to the socket
that it listens on may start it.
"""

from __future__ import annotations

import errno
import os
import stat
from _socket import AF_UNIX, SOCK_CLOEXEC, SOCK_SEQPACKET, socket

from tiffin.kernel import syscalls
from tiffin.runtime import hooks, launch, messages, operations, rootfs
from tiffin.runtime.birth import Birth, Host, report_of
from tiffin.runtime.failure import Failure
from tiffin.runtime.messages import Message
from tiffin.runtime.oci import console, state
from tiffin.runtime.oci.state import Container, Refused
from tiffin.runtime.operations import Config

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as signals
    from collections.abc import Callable
else:
    import _signal as signals


class Creator(Birth):
    """Makes what `container` is the record of. `master` is the terminal's, once there is one."""

    def __init__(self, container: Container, config: Config, host: Host, socket_path: str) -> None:
        super().__init__(config, host, 0)
        self._container = container
        self._socket_path = socket_path
        self.master = -1

    def create(self) -> None:
        """Raises Failure, having undone everything."""
        try:
            self._create()
        except (
            Failure,
            rootfs.Failed,
            operations.InvalidConfig,
            OSError,
            messages.ConnectionEnded,
        ) as error:
            self._undo()
            if isinstance(error, messages.ConnectionEnded):
                raise Failure(self._how_it_died(), "init") from error
            report = report_of(error)
            raise Failure(report["message"], report["operation"], report["errno"]) from error

    def _create(self) -> None:
        plan = operations.plan(self.config)
        self._check_cgroup()
        self.launch()
        self.name_ids()
        self._record()
        self.tell_init(messages.encode({"config": self.config}))
        self.make_cgroup()
        self._give_away_stdio()
        joins = self.cgroup.open_join() if self.cgroup is not None else []
        self.tell_init(b'{"stdio":0}', joins)
        messages.close_all(joins)
        self.send_mounts(plan, self._container.directory)
        self._listen_until("ready")
        self._open_gate()
        self._container.record["created"] = state.now()
        self._container.save()

    def launch(self) -> None:
        super().launch()
        if operations.joined_namespaces(self.linux):
            self._bury_the_one_between()

    def _bury_the_one_between(self) -> None:
        """It cloned the first process as our child, said so, and has nothing else to do."""
        pid, _status = os.waitpid(-1, 0)
        if pid == self.pid:
            self.pid = 0
            raise messages.ConnectionEnded

    def _check_cgroup(self) -> None:
        """Deleting a container deletes what its creation has made, and nothing else."""
        self._container.record["cgroup_is_ours"] = not self._container.cgroup().exists()

    def _record(self) -> None:
        record = self._container.record
        record["pid"], record["start_ticks"] = self.pid, self.start_ticks
        record["extents"] = self.ids.extents
        self._container.save()

    def _give_away_stdio(self) -> None:
        """Whoever the program runs as may open /dev/stdout anew."""
        if not self.process.get("terminal"):
            give_away_stdio(self.ids, self.process)

    def _listen_until(self, word: str) -> None:
        """What init asks for meanwhile is done. Raises Failure, ConnectionEnded."""
        assert self.channel is not None
        while True:
            message, descriptors = messages.receive(self.channel)
            if "console" in message and descriptors:
                self._take_console(descriptors.pop())
            messages.close_all(descriptors)
            if "failed" in message:
                report = message["failed"]
                raise Failure(report["message"], report["operation"], report["errno"])
            if "hooks" in message:
                self._run_hooks()
            if "offsets" in message:
                launch.write_time_offsets(self.pid, self.linux.get("timeOffsets") or {})
                self.tell_init(b'{"offsets":true}')
            if word in message:
                return

    def _take_console(self, master: int) -> None:
        if self._socket_path:
            console.hand_over(self._socket_path, master)
        else:
            self.master = master

    def _run_hooks(self) -> None:
        """Those of the host's namespaces; then init may run its own.

        The environment is there, so they are told "created", though create has not answered yet.
        """
        known = self.config.get("hooks") or {}
        told = self._container.state("created")
        for kind in ("prestart", "createRuntime"):
            hooks.run_all(kind, known.get(kind) or [], told)
        self.tell_init(messages.encode({"state": told}))

    def _open_gate(self) -> None:
        listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC)
        with _in_directory(self._container.directory):
            previous = os.umask(0o177)
            try:
                listener.bind(state.GATE)
            finally:
                os.umask(previous)
        listener.listen(1)
        self.tell_init(b'{"gate":true}', [listener.fileno()])
        listener.close()
        self._listen_until("gated")

    def _how_it_died(self) -> str:
        if self.cgroup is not None and self.cgroup.oom_kills():
            return "container init was OOM-killed (memory limit too low?)"
        return "the container's first process died before it was ready"

    def _undo(self) -> None:
        if self.pid:
            end(self.pid)
        clean_up(self._container)
        told = self._container.state("stopped")
        known = self.config.get("hooks") or {}
        hooks.run_each("poststop", known.get("poststop") or [], told)
        self._container.forget()


class _in_directory:  # noqa: N801 (reads as what it does)
    """An address holds 108 bytes, a path more: by a relative name."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._before = -1

    def __enter__(self) -> None:
        self._before = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        os.chdir(self._directory)

    def __exit__(self, *_error: object) -> None:
        os.fchdir(self._before)
        os.close(self._before)


def give_away_stdio(ids: rootfs.Ids, process: Config) -> None:
    owner = ids.on_host((process.get("user") or {}).get("uid") or 0)
    for fd in range(3):
        try:
            status = os.fstat(fd)
            # A device is not given away: /dev/null is everybody's.
            if status.st_uid != owner and not stat.S_ISCHR(status.st_mode):
                os.fchown(fd, owner, -1)
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.EINVAL, errno.EROFS, errno.EBADF):
                raise


def clean_up(container: Container) -> None:
    """The cgroup, if it was made for this container, with all that is left in it."""
    group = container.cgroup()
    if not container.record["layout"]["version"] or not container.record["cgroup_is_ours"]:
        return
    try:
        group.kill()
        group.remove()
    except OSError as error:
        os.write(2, f"cgroup {container.record['cgroup']} stays: {error}\n".encode())


def end(pid: int) -> None:
    """Kill a child and bury it."""
    try:
        os.kill(pid, signals.SIGKILL)
        os.waitpid(pid, 0)
    except (ProcessLookupError, ChildProcessError):
        return


def start(container: Container) -> None:
    """Let it become its program. Raises Refused, Failure."""
    lock = container.lock()
    try:
        status = container.status()
        if status != "created":
            raise Refused(f"cannot start a container that is {_said(status)}")
        _pass_the_gate(container)
        os.unlink(container.gate)
    finally:
        os.close(lock)


def _said(status: str) -> str:
    return "already running" if status == "running" else status


def _pass_the_gate(container: Container) -> None:
    connection = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC)
    try:
        with _in_directory(container.directory):
            connection.connect(state.GATE)
        messages.send(connection, {"start": container.state("created")})
        _await_execution(connection)
    except (ConnectionRefusedError, FileNotFoundError) as error:
        raise Refused("cannot start a container whose first process has ended") from error
    finally:
        connection.close()


def _await_execution(connection: socket) -> None:
    """Until the connection ends: init has executed, or says why not, or has died."""
    executing = False
    while True:
        try:
            message, descriptors = messages.receive(connection)
        except messages.ConnectionEnded:
            break
        messages.close_all(descriptors)
        executing = executing or "executing" in message
        if "chown" in message:
            messages.send(connection, {"done": True})
        if "failed" in message:
            report: Message = message["failed"]
            raise Failure(report["message"], report["operation"], report["errno"])
    if not executing:
        raise Failure("the container's first process died before it executed its program", "start")


def after_start(container: Container, config: Config, warn: Callable[[str], None]) -> None:
    """poststart: one that fails is a warning, the others run all the same."""
    known = (config.get("hooks") or {}).get("poststart") or []
    for words in hooks.run_each("poststart", known, container.state("running")):
        warn(words)


def after_delete(told: Message, config: Config, warn: Callable[[str], None]) -> None:
    known = (config.get("hooks") or {}).get("poststop") or []
    for words in hooks.run_each("poststop", known, told):
        warn(words)


def make(
    container: Container, config: Config, host: Host, socket_path: str, pid_file: str
) -> Creator:
    """The whole of create. Raises Failure, OSError; nothing is left then."""
    syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)
    os.umask(0)
    creator = Creator(container, config, host, socket_path)
    creator.create()
    if pid_file:
        state.write_pid(pid_file, creator.pid)
    return creator
