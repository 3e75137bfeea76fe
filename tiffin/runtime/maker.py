"""The maker: a process beside a shim that makes one container for it, and ends.

Reading a config, planning, cgroups and mounts write to more than a megabyte of what a fork shares
with the zygote. In the shim that would stay for as long as the container lives; here it is gone
after some milliseconds. What remains is handed over: descriptors and a few fields.

The container's first process is cloned as the shim's child, not as ours. Most makers are made
ahead (`spare`), with a first process in its namespaces, before there is a container.
"""

from __future__ import annotations

import os
from _socket import AF_UNIX, SOCK_CLOEXEC, SOCK_NONBLOCK, SOCK_SEQPACKET, socket

from tiffin.kernel import syscalls
from tiffin.kernel.cgroup import Cgroup, Layout
from tiffin.runtime import init, launch, logs, messages, operations, rootfs, streams
from tiffin.runtime.init import Failure
from tiffin.runtime.messages import Message
from tiffin.runtime.operations import Config

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as signals
else:
    import _signal as signals

EXIT_FILE = "exit.json"
STATE_FILE = "state.json"
REQUEST_FILE = "request.json"  # what the daemon asked for: the config, for execs
CONTROL_SOCKET = "control.sock"


class Host:
    """What the zygote found out for all its shims."""

    __slots__ = ("boot_id", "last_capability", "layout", "oom_score")

    def __init__(self, layout: Layout, boot_id: str, last_capability: int, oom_score: str) -> None:
        self.layout = layout
        self.boot_id = boot_id
        self.last_capability = last_capability
        self.oom_score = oom_score


class Unborn:
    """A first process in namespaces of its own, made before anybody asked for it."""

    def __init__(self, flags: int, host: Host) -> None:
        self._flags = flags
        self.channel, theirs = messages.pair()
        try:
            self.pid = launch.unborn(flags, theirs, host.last_capability)
        finally:
            theirs.close()

    def fits(self, linux: Config) -> bool:
        joins = operations.joined_namespaces(linux)
        return not joins and operations.birth_flags(linux) == self._flags

    def end(self) -> None:
        self.channel.close()
        os.kill(self.pid, signals.SIGKILL)


def spare(connection: socket, flags: int, host: Host, heir: socket) -> None:
    """Wait on `connection` to be told what to make; ends without a word when that closes."""
    syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signals.SIGKILL)
    unborn = Unborn(flags, host)
    operations.plan(_SAMPLE)  # memory that a fork shares is copied at its first use: now, not later
    messages.decode(messages.encode(_SAMPLE))
    try:
        data, descriptors = messages.receive_packet(connection)
    except messages.ConnectionEnded:
        unborn.end()
        return
    connection.close()
    Maker(data, descriptors, host, unborn).make(heir)


_SAMPLE: Config = {
    "process": {"args": ["true"]},
    "root": {"path": "/"},
    "mounts": [{"destination": "/proc", "type": "proc", "options": ["nosuid"]}],
    "linux": {"namespaces": [{"type": "user"}, {"type": "mount"}], "maskedPaths": ["/proc/kcore"]},
}


class Maker:
    """`data` is the daemon's create; the first of the descriptors is its connection."""

    def __init__(
        self, data: bytes, descriptors: list[int], host: Host, unborn: Unborn | None = None
    ) -> None:
        self._data = data
        self._host = host
        self._unborn = unborn
        request = messages.decode(data)
        self._request_id: int = request["id"]
        self._id: str = request["container_id"]
        self._directory: str = request["directory"]
        self._config: Config = request["config"]
        self._linux: Config = self._config.get("linux") or {}
        self._extra: Config = self._config.get("tiffin") or {}
        self._process: Config = self._config["process"]
        self._connection = socket(fileno=descriptors.pop(0))
        self._hold = descriptors
        self._ids = rootfs.Ids(self._linux.get("uidMappings") or [], -1)
        self._plan = operations.Plan()
        self._cgroup: Cgroup | None = None
        self._channel: socket | None = None
        self._pid = 0
        self._start_ticks = 0
        self._answered = False
        self._given: dict[str, int] = {}  # what the shim will hold
        self._child_ends: list[int] = []

    def make(self, heir: socket) -> None:
        """Tell the daemon as soon as the namespaces are there, the shim when all is made."""
        report = None
        try:
            self._make()
        except Failure as failure:
            report = failure.report
        except rootfs.Failed as failed:
            report = init.failure_of(failed.operation, failed.error).report
        except operations.InvalidConfig as invalid:
            report = Failure(str(invalid), "plan").report
        except OSError as error:
            report = init.failure_of(str(error.strerror), error).report
        self._hand_over(heir, report)

    def _make(self) -> None:
        self._launch()
        self._name_ids()
        # Init makes what it can by itself while we make the rest, and the daemon connects it.
        self._tell_init(self._data)
        self._answer()
        self._prepare()
        self._make_cgroup()
        self._make_stdio()
        self._give_stdio()
        self._send_mounts()
        self._write_file(REQUEST_FILE, self._data)
        self._write_file(STATE_FILE, messages.encode(self._state()))

    def _hand_over(self, heir: socket, report: Message | None) -> None:
        channel = self._channel.fileno() if self._channel is not None else -1
        given = {"connection": self._connection.fileno(), "channel": channel, **self._given}
        names = [name for name, fd in given.items() if fd >= 0]
        message: Message = {
            **self._state(),
            "directory": self._directory,
            "ids": self._ids.extents,
            "kinds": operations.clone_flags(
                [n["type"] for n in self._linux.get("namespaces") or []]
            ),
            "own_pids": "pid" in operations.new_namespaces(self._linux),
            "stdin": self._extra.get("stdin") or {},
            "log": self._extra.get("log") or {},
            "failed": report,
            "request_id": 0 if self._answered else self._request_id,
            "given": names,
            "hold": len(self._hold),
        }
        messages.send(heir, message, [given[name] for name in names])
        if self._hold:
            messages.send(heir, {}, self._hold)

    def _prepare(self) -> None:
        os.makedirs(self._directory, 0o700, exist_ok=True)
        self._listen()
        self._plan = operations.plan(self._config)

    def _listen(self) -> None:
        # By a relative name: the path may be longer than the 108 bytes that an address has.
        os.chdir(self._directory)
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            self._given["words"] = os.open("shim.log", flags, 0o600)
            for name in (CONTROL_SOCKET, EXIT_FILE, STATE_FILE):
                try:
                    os.unlink(name)
                except FileNotFoundError:
                    continue
            listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK)
            previous = os.umask(0o177)
            listener.bind(CONTROL_SOCKET)
            os.umask(previous)
            listener.listen(16)
            self._given["listener"] = listener.detach()
        finally:
            os.chdir("/")

    def _launch(self) -> None:
        """Clone the first process, or take the one that waits for us."""
        if self._unborn is not None and self._unborn.fits(self._linux):
            self._pid, self._channel = self._unborn.pid, self._unborn.channel
            return
        if self._unborn is not None:
            self._unborn.end()
        self._channel, theirs = messages.pair()
        try:
            self._pid = launch.first_process(self._linux, theirs, self._host.last_capability)
        finally:
            theirs.close()
        if not self._pid:
            self._pid = self._await_pid()

    def _await_pid(self) -> int:
        """From the process in between."""
        assert self._channel is not None
        try:
            message, _descriptors = messages.receive(self._channel)
        except messages.ConnectionEnded as ended:
            raise Failure("joining namespaces failed", "join namespaces") from ended
        if "failed" in message:
            report = message["failed"]
            raise Failure(report["message"], report["operation"], report["errno"])
        return int(message["pid"])

    def _name_ids(self) -> None:
        """Maps and limits: from here on the namespaces are of use to others."""
        self._given["pidfd"] = os.pidfd_open(self._pid)
        self._start_ticks = syscalls.start_ticks(self._pid)
        if "user" in operations.new_namespaces(self._linux):
            launch.write_maps(self._pid, self._linux)
        launch.set_limits(self._pid, self._process, self._host.oom_score)
        self._given["mount_namespace"] = self._open_namespace("mnt")
        if operations.has_own_ids(self._linux):
            path = dict(operations.joined_namespaces(self._linux)).get("user", "")
            self._ids.namespace = self._open_namespace("user", path)
            self._given["user_namespace"] = self._ids.namespace

    def _open_namespace(self, name: str, path: str = "") -> int:
        return os.open(path or f"/proc/{self._pid}/ns/{name}", os.O_RDONLY | os.O_CLOEXEC)

    def _answer(self) -> None:
        answer = {"id": self._request_id, "pid": self._pid, "start_ticks": self._start_ticks}
        self._answered = True
        try:
            messages.send(self._connection, answer)
        except messages.ConnectionEnded:
            return  # the shim will see it too

    def _make_cgroup(self) -> None:
        path = self._linux.get("cgroupsPath")
        if not path or not self._host.layout.version:
            return
        names = self._controllers()
        layout = self._host.layout
        group = Cgroup(layout, path, names) if names else Cgroup(layout, path)
        try:
            group.create(self._linux.get("resources"))
        except OSError as error:
            raise rootfs.Failed(
                "error setting cgroup config for procHooks process", error
            ) from error
        self._cgroup = group

    def _controllers(self) -> tuple[str, ...]:
        return tuple((self._extra.get("cgroup") or {}).get("controllers") or ())

    def _make_stdio(self) -> None:
        log: Config = self._extra.get("log") or {}
        if log.get("path"):
            try:
                self._given["log"] = logs.open_log(log["path"])
            except OSError as error:
                raise rootfs.Failed(f"open log {log['path']}", error) from error
        if not self._process.get("terminal"):
            asked: Config = self._extra.get("stdin") or {}
            owner = self._ids.on_host(0) if self._ids.extents else -1
            ours, self._child_ends = streams.make_pipes(stdin=bool(asked.get("open")), owner=owner)
            self._given.update(zip(("stdin", "stdout", "stderr"), ours, strict=True))

    def _give_stdio(self) -> None:
        joins = self._cgroup.open_join() if self._cgroup is not None else []
        message = messages.encode({"stdio": len(self._child_ends)})
        self._tell_init(message, [*self._child_ends, *joins])

    def _send_mounts(self) -> None:
        detached = rootfs.detach(self._plan.detached, self._ids, self._directory)
        for first in range(0, len(detached), 200):
            self._tell_init(b'{"slots":true}', detached[first : first + 200])

    def _tell_init(self, data: bytes, descriptors: list[int] | None = None) -> None:
        assert self._channel is not None
        try:
            messages.send_packet(self._channel, data, descriptors or [])
        except messages.ConnectionEnded:
            return  # what it died of is told by its own report, or its end

    def _state(self) -> Message:
        return {
            "container_id": self._id,
            "status": "created",
            "pid": self._pid,
            "start_ticks": self._start_ticks,
            "cgroup": self._linux.get("cgroupsPath") or "",
            "controllers": list(self._controllers()),
            "exit": None,
            "execs": [],
        }

    def _write_file(self, name: str, data: bytes) -> None:
        path = f"{self._directory}/{name}"
        fd = os.open(f"{path}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, data)
        finally:
            os.close(fd)
        os.rename(f"{path}.new", path)
