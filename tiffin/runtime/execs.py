"""A shim's execs: further processes in its container, from the request to the end.

What is known of an exec outlives the daemon here: those that run, and the last that have ended with
their exit codes, each with the record that the daemon gave of it. A client asks the daemon for the
exit code when its stream ends, so while no daemon serves the end is withheld, for a while.
"""

from __future__ import annotations

import binascii
import os
import time
from _socket import socket

from tiffin.runtime import hired, launch, messages
from tiffin.runtime.birth import report_of
from tiffin.runtime.control import Control
from tiffin.runtime.hired import Hired
from tiffin.runtime.init import ExecBirth, Failure, Program
from tiffin.runtime.loop import READ
from tiffin.runtime.maker import REQUEST_FILE
from tiffin.runtime.messages import Message
from tiffin.runtime.operations import Config
from tiffin.runtime.streams import Streams, client_of, make_pipes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tiffin.runtime.shim import Shim

_REMEMBERED = 64  # ended execs, and
_REMEMBERED_BYTES = 256 * 1024  # of their records
_WITHHELD_SECONDS = 60.0  # a daemon that is not back by then is not waited for


class Exec:
    """One further process."""

    def __init__(self, exec_id: str, record: str, streams: Streams) -> None:
        self.id = exec_id
        self.record = record
        self.streams = streams
        self.child_ends: list[int] = []
        self.pid = 0
        self.executing = False
        self.failure: dict[str, Any] | None = None
        self.reply: tuple[Control, int] | None = None  # who asked for it


class Execs:
    def __init__(self, shim: Shim) -> None:
        self._shim = shim
        self._loop = shim.loop
        self._running: dict[str, Exec] = {}
        self._ended: list[Message] = []
        self._launching = 0  # that the hired runtime is making, their pids not known yet
        self._leaving: list[Streams] = []  # of ended ones, that clients have not taken all of
        self._withheld: list[Streams] = []  # of those, the ones whose clients wait for a daemon

    @property
    def launching(self) -> bool:
        """Whether there may be children whose pids nobody has told yet."""
        return self._launching > 0

    @property
    def has_clients(self) -> bool:
        self._leaving = [streams for streams in self._leaving if streams.has_clients]
        return bool(self._leaving)

    @property
    def withholds(self) -> bool:
        return bool(self._withheld)

    def known(self) -> list[Message]:
        """For a daemon that comes, and for the record of the container's exit."""
        return [*self._ended, *(_description(running) for running in self._running.values())]

    def streams(self, exec_id: str) -> Streams:
        running = self._running.get(exec_id)
        if running is None:
            raise Failure(f"No such exec instance: {exec_id}", "exec")
        return running.streams

    # -- to its start ---

    def start(self, control: Control, message: Message, descriptors: list[int]) -> None:
        config = self._read_config()
        of_container = config["process"]
        process = {**of_container, **message["process"]}
        process["env"] = _with_hostname(process.get("env") or [], of_container.get("env") or [])
        config["process"] = process
        # As the container's stdin with StdinOnce: a client's end of input is the process's.
        streams = Streams(self._loop, stdin_once=True)
        streams.on_detached = lambda: self._shim.tell_detached(message["exec_id"])
        running = Exec(message["exec_id"], message.get("record") or "", streams)
        running.reply = (control, message["id"])
        client = client_of(message, descriptors) if descriptors else None
        stdin = client is not None and client.reads
        if client is not None:  # before there can be any output
            streams.attach(client, binascii.a2b_base64(message.get("early") or ""))
        if not process.get("terminal"):
            owner = self._shim.ids.on_host(0) if self._shim.ids.extents else -1
            ours, running.child_ends = make_pipes(stdin=stdin, owner=owner)
            streams.take(*ours)
        self._running[running.id] = running
        launch_it = self._launch if self._shim.hired is None else self._hire
        try:
            launch_it(running, config, message.get("user") or "", stdin=stdin)
        except (Failure, OSError) as error:
            running.failure = report_of(error)
            self._settled(running)
        finally:
            messages.close_all(running.child_ends)

    def _read_config(self) -> Config:
        """The container's. It is not kept in memory: most containers see no exec."""
        path = f"{self._shim.directory}/{REQUEST_FILE}"
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            request = messages.decode(os.read(fd, os.fstat(fd).st_size))
        finally:
            os.close(fd)
        config: Config = request["config"]
        return config

    def _launch(self, running: Exec, config: Config, user: str, *, stdin: bool) -> None:
        ours, theirs = messages.pair()
        shim = self._shim
        program = Program(config, shim.host.last_capability, user)
        program.makes_working_dir = False
        size = config["process"].get("consoleSize") or {}
        birth = ExecBirth(
            theirs,
            running.child_ends,
            program,
            (size.get("height") or 0, size.get("width") or 0),
            shim.host.oom_score,
        )
        joins: list[int] = []
        try:
            joins = shim.open_joins()
            running.pid = launch.further_process(birth, shim.pidfd, shim.kinds, joins, shim.cgroup)
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
            messages.close_all(joins)
        ours.setblocking(False)
        self._loop.add(ours.fileno(), READ, lambda _e: self._on_said(running, ours, stdin))

    def _hire(self, running: Exec, config: Config, user: str, *, stdin: bool) -> None:
        """As `_launch`, by the runtime that has made the container."""
        runtime = self._shim.hired
        assert runtime is not None
        root = os.open(f"/proc/{self._shim.pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            identity = hired.identify(root, config.get("tiffin") or {}, user)
        finally:
            os.close(root)
        process = hired.plain_process(config["process"], identity)
        names = [f"exec-{running.id}.{end}" for end in ("json", "pid")]
        words = ["--detach", "--process", runtime.write_json(names[0], process)]
        words += ["--pid-file", f"{self._shim.directory}/{names[1]}"]
        listener = None
        if process.get("terminal"):
            listener = runtime.listen_for_console()
            words += ["--console-socket", hired.CONSOLE_SOCKET]

        def ended(status: int) -> None:
            os.unlink(f"{self._shim.directory}/{names[0]}")
            self._on_hired(running, runtime, listener, process, status, stdin=stdin)

        self._shim.help(runtime.spawn("exec", words, running.child_ends or None), ended)
        self._launching += 1

    def _on_hired(
        self,
        running: Exec,
        runtime: Hired,
        listener: socket | None,
        process: Config,
        status: int,
        *,
        stdin: bool,
    ) -> None:
        self._launching -= 1
        try:
            if status:
                raise runtime.failure("exec")
            running.pid = runtime.read_pid(f"exec-{running.id}.pid")
            if listener is not None:
                master = runtime.take_console(listener, process.get("consoleSize") or {})
                running.streams.set_terminal(master, stdin=stdin)
            running.executing = True
        except Failure as failure:
            running.failure = failure.report
            if listener is not None:
                listener.close()
        self._settled(running)

    def _on_said(self, running: Exec, channel: socket, stdin: bool) -> None:
        while True:
            try:
                message, descriptors = messages.receive(channel)
            except BlockingIOError:
                return
            except (messages.ConnectionEnded, ValueError, OSError):
                self._loop.remove(channel.fileno())
                channel.close()
                self._settled(running)
                return
            self._on_message(running, channel, message, descriptors, stdin=stdin)
            messages.close_all(descriptors)

    def _on_message(
        self,
        running: Exec,
        channel: socket,
        message: Message,
        descriptors: list[int],
        *,
        stdin: bool,
    ) -> None:
        if "console" in message and descriptors:
            running.streams.set_terminal(descriptors.pop(), stdin=stdin)
        elif "chown" in message:
            running.streams.give_to(self._shim.ids.on_host(message["chown"]))
            _answer(channel, {"done": True})
        elif "executing" in message:
            running.executing = True
        elif "failed" in message and running.failure is None:
            running.failure = message["failed"]

    def _settled(self, running: Exec) -> None:
        """The exec runs, or has failed: answer."""
        assert running.reply is not None
        control, request_id = running.reply
        if running.failure is None and running.executing:
            control.send({"id": request_id, "pid": running.pid})
        else:
            died = Failure("process died before it was executed", "exec").report
            self._bury(running.pid)
            self._running.pop(running.id, None)
            running.streams.forget_clients()  # the caller has its own copy to say why
            running.streams.process_ended()
            running.streams.close()
            control.send({"id": request_id, "failed": running.failure or died})
        self._shim.claim()

    def _bury(self, pid: int) -> None:
        """The process of an exec that has failed; it is past its last words."""
        try:
            if pid and self._shim.unclaimed.pop(pid, None) is None:
                os.waitpid(pid, 0)
        except ChildProcessError:
            return

    # -- to its end ---

    def claim(self, unclaimed: dict[int, int]) -> None:
        """Take those of the ended children (pid -> wait status) that are execs."""
        for running in list(self._running.values()):
            if running.pid in unclaimed and running.executing:
                self._on_end(running, unclaimed.pop(running.pid))

    def pids(self) -> set[int]:
        return {running.pid for running in self._running.values()}

    def _on_end(self, running: Exec, status: int) -> None:
        del self._running[running.id]
        running.streams.process_ended()
        code, signal = exit_of(status)
        event = {
            "event": "exit",
            "exec_id": running.id,
            "exit_code": code,
            "signal": signal,
            "oom_killed": False,
            "finished_ns": time.time_ns(),
        }
        if running.record:
            self._remember({**event, "pid": running.pid, "record": running.record})
        self._shim.broadcast(event)
        self._leaving.append(running.streams)
        if self._is_served(running) or not running.streams.has_clients:
            running.streams.close_clients()
        else:
            self._withheld.append(running.streams)
            self._loop.later(_WITHHELD_SECONDS, self.release)

    def _is_served(self, running: Exec) -> bool:
        """Whether its clients find a daemon to ask: the one that started it, or the next."""
        assert running.reply is not None
        return self._shim.served or self._shim.is_connected(running.reply[0])

    def _remember(self, ended: Message) -> None:
        self._ended.append(ended)
        while len(self._ended) > _REMEMBERED or self._remembered_bytes() > _REMEMBERED_BYTES:
            del self._ended[0]

    def _remembered_bytes(self) -> int:
        return sum(len(ended["record"]) for ended in self._ended)

    def release(self) -> None:
        """Tell the ends that were withheld: there is a daemon to ask, or will be none."""
        for streams in self._withheld:
            streams.close_clients()
        self._withheld.clear()


def _description(running: Exec) -> Message:
    return {"exec_id": running.id, "pid": running.pid, "record": running.record}


def _with_hostname(env: list[str], of_container: list[str]) -> list[str]:
    """An exec's environment has the container's HOSTNAME, unless it brings its own."""
    if any(word.startswith("HOSTNAME=") for word in env):
        return env
    return [*env, *(word for word in of_container if word.startswith("HOSTNAME="))]


def _answer(channel: socket, message: Message) -> None:
    try:
        messages.send(channel, message)
    except (messages.ConnectionEnded, OSError):
        return


def exit_of(status: int) -> tuple[int, int]:
    """(exit code as Docker counts it, signal) of a wait status."""
    if os.WIFSIGNALED(status):
        signal = os.WTERMSIG(status)
        return 128 + signal, signal
    return os.WEXITSTATUS(status), 0
