"""The maker: a process beside a shim that makes one container for it, and ends.

Reading a config, planning, cgroups and mounts write to more than a megabyte of what a fork shares
with the zygote. In the shim that would stay for as long as the container lives; here it is gone
after some milliseconds. What remains is handed over: descriptors and a few fields.

The container's first process is the shim's child, not ours. Most are made ahead of the container,
by the shim (`Unborn`); and most makers serve more than one shim (runtime.standing).
"""

from __future__ import annotations

import errno
import os
from _socket import AF_UNIX, SOCK_CLOEXEC, SOCK_NONBLOCK, SOCK_SEQPACKET, socket

from tiffin.kernel import failpoints, syscalls
from tiffin.runtime import logfile, messages, operations, records, rootfs, streams
from tiffin.runtime.birth import Birth, Host, report_of
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


class Unborn:
    """A first process in namespaces of its own, made before anybody asked for it."""

    def __init__(self, pid: int, channel: socket, flags: int) -> None:
        self.pid = pid
        self.channel = channel
        self.flags = flags

    def fits(self, linux: Config) -> bool:
        """And waits still: who looks for memory, or for us, may have killed it."""
        joins = operations.joined_namespaces(linux)
        return (
            not joins
            and operations.birth_flags(linux) == self.flags
            and not messages.has_ended(self.channel)
        )

    def end(self) -> None:
        self.channel.close()
        os.kill(self.pid, signals.SIGKILL)


class Maker(Birth):
    """`data` is the daemon's create; the first of the descriptors is its connection."""

    def __init__(
        self, data: bytes, descriptors: list[int], host: Host, unborn: Unborn | None = None
    ) -> None:
        request = messages.decode(data)
        super().__init__(request["config"], host, syscalls.CLONE_PARENT)
        self._data = data
        self._unborn = unborn
        self._request_id: int = request["id"]
        self._id: str = request["container_id"]
        self._directory: str = request["directory"]
        self._connection = socket(fileno=descriptors.pop(0))
        self._hold = descriptors
        self._plan = operations.Plan()
        self._answered = False
        self._given: dict[str, int] = {}  # what the shim will hold
        self._child_ends: list[int] = []

    def is_usual(self) -> bool:
        """Whether the first process that there is will do, and nobody else is to make the rest."""
        fits = self._unborn is not None and self._unborn.fits(self.linux)
        return fits and not self.extra.get("runtime")

    def let_go(self) -> None:
        """Of what is not ours to close."""
        self._connection.detach()

    def make(self, heir: socket) -> bool:
        """Tell the daemon as soon as the namespaces are there, the shim when all is made, or not.

        Whether it is.
        """
        report = None
        try:
            self._make()
        except (Failure, rootfs.Failed, operations.InvalidConfig, OSError) as error:
            report = report_of(error)
        self._hand_over(heir, report)
        return report is None

    def _make(self) -> None:
        self.launch()
        try:
            self.name_ids()
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ESRCH):
                raise Failure("init was killed before it began", "launch", error.errno) from error
            raise
        # Init makes what it can by itself while we make the rest, and the daemon connects it.
        self.tell_init(self._data)
        failpoints.reach("maker-launched")
        self._answer()
        self._prepare()
        failpoints.reach("maker-prepared")
        self.make_cgroup()
        failpoints.reach("maker-cgroup")
        self._make_stdio()
        self._give_stdio()
        self.send_mounts(self._plan, self._directory)
        self._write_file(REQUEST_FILE, self._data)
        state = {**self._state(), "boot_id": self.host.boot_id}
        self._write_file(STATE_FILE, messages.encode(state))
        failpoints.reach("maker-recorded")

    def _hand_over(self, heir: socket, report: Message | None) -> None:
        channel = self.channel.fileno() if self.channel is not None else -1
        given = {"connection": self._connection.fileno(), "channel": channel, **self._given}
        names = [name for name, fd in given.items() if fd >= 0]
        message: Message = {
            **self._state(),
            "directory": self._directory,
            "ids": self.ids.extents,
            "kinds": operations.clone_flags(
                [n["type"] for n in self.linux.get("namespaces") or []]
            ),
            "own_pids": "pid" in operations.new_namespaces(self.linux),
            "stdin": self.extra.get("stdin") or {},
            "log": self.extra.get("log") or {},
            "failed": report,
            "request_id": 0 if self._answered else self._request_id,
            "given": names,
            "hold": len(self._hold),
            "runtime": self.extra.get("runtime"),
        }
        messages.send(heir, message, [given[name] for name in names])
        if self._hold:
            messages.send(heir, {}, self._hold)

    def _prepare(self) -> None:
        os.makedirs(self._directory, 0o700, exist_ok=True)
        self._listen()
        try:
            records.reserve(f"{self._directory}/{EXIT_FILE}")
        except OSError as error:
            raise rootfs.Failed(f"reserve room in {self._directory}", error) from error
        self._plan = operations.plan(self.config)

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

    def launch(self) -> None:
        """Clone the first process, or take the one that waits for us."""
        if self._unborn is not None and self._unborn.fits(self.linux):
            self.pid, self.channel = self._unborn.pid, self._unborn.channel
            return
        if self._unborn is not None:
            self._unborn.end()
        super().launch()

    def name_ids(self) -> None:
        super().name_ids()
        self._given["pidfd"] = self.pidfd
        self._given["mount_namespace"] = self.open_namespace("mnt")
        if self.ids.namespace >= 0:
            self._given["user_namespace"] = self.ids.namespace

    def _answer(self) -> None:
        answer = {"id": self._request_id, "pid": self.pid, "start_ticks": self.start_ticks}
        self._answered = True
        try:
            messages.send(self._connection, answer)
        except messages.ConnectionEnded:
            return  # the shim will see it too

    def _make_stdio(self) -> None:
        log: Config = self.extra.get("log") or {}
        if log.get("path"):
            try:
                self._given["log"] = logfile.open_log(log["path"])
            except OSError as error:
                raise rootfs.Failed(f"open log {log['path']}", error) from error
        if not self.process.get("terminal"):
            asked: Config = self.extra.get("stdin") or {}
            owner = self.ids.on_host(0) if self.ids.extents else -1
            ours, self._child_ends = streams.make_pipes(stdin=bool(asked.get("open")), owner=owner)
            self._given.update(zip(("stdin", "stdout", "stderr"), ours, strict=True))

    def _give_stdio(self) -> None:
        joins = self.cgroup.open_join() if self.cgroup is not None else []
        message = messages.encode({"stdio": len(self._child_ends)})
        self.tell_init(message, [*self._child_ends, *joins])

    def _state(self) -> Message:
        return {
            "container_id": self._id,
            "status": "created",
            "pid": self.pid,
            "start_ticks": self.start_ticks,
            "cgroup": self.linux.get("cgroupsPath") or "",
            "controllers": list(self.controllers()),
            "exit": None,
            "execs": [],
        }

    def _write_file(self, name: str, data: bytes) -> None:
        path = f"{self._directory}/{name}"
        try:
            records.write(path, data)
        except OSError as error:
            raise rootfs.Failed(f"write {path}", error) from error
