"""A shim's execs: further processes in its container, from the request to the end.

What is known of an exec outlives the daemon here: those that run, and the last that have ended with
their exit codes, each with the record that the daemon gave of it. A client asks the daemon for the
exit code when its stream ends, so while no daemon serves the end is withheld, for a while.

A client creates an exec and starts it a millisecond or two later. Meanwhile its process gets ready
to execute its program, one at a time in a container; if the start does not come soon, or wants
something else, or the process did not get that far, it is forgotten, and the start begins anew.
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
from tiffin.runtime.init import ExecBirth, Failure, Program, exec_program
from tiffin.runtime.loop import READ
from tiffin.runtime.maker import REQUEST_FILE
from tiffin.runtime.messages import Message
from tiffin.runtime.operations import Config
from tiffin.runtime.standby import Standby
from tiffin.runtime.streamclients import Client, client_of
from tiffin.runtime.streams import Streams, make_pipes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from tiffin.runtime.shim import Shim

_REMEMBERED = 64  # ended execs, and
_REMEMBERED_BYTES = 256 * 1024  # of their records
_READY_SECONDS = 0.5  # that the process of an exec waits for its start
_LATE_SECONDS = 2.0  # that clients wait for what an ended exec's children say, as in Docker
_WITHHELD_SECONDS = 60.0  # a daemon that is not back by then is not waited for


class Exec:
    """One further process."""

    def __init__(self, exec_id: str, streams: Streams) -> None:
        self.id = exec_id
        self.record = ""
        self.streams = streams
        self.child_ends: list[int] = []
        self.channel: socket | None = None
        self.pid = 0
        self.executing = False
        self.failure: dict[str, Any] | None = None
        self.reply: tuple[Control, int] | None = None  # who asked for it
        self.wish: tuple[Any, ...] = ()  # what a start has to ask for to have one that is ready
        self.like: tuple[Config, str] | None = None  # what another one would be made of
        self.unsure = False  # whether its process can be what it was told to be
        self.then: Callable[[], None] | None = None  # its start, which waits for that

    def resume(self) -> None:
        then, self.then = self.then, None
        if then is not None:
            then()


class Execs:
    def __init__(self, shim: Shim) -> None:
        self._shim = shim
        self._loop = shim.loop
        self._running: dict[str, Exec] = {}
        self._ready: Exec | None = None  # it waits for its start
        self._standby = Standby(shim)
        self._config: Config | None = None
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

    def ready(self, message: Message) -> None:
        """Have the process of an exec that is likely to be started soon. Nobody is answered."""
        if self._ready is not None or self._shim.hired is not None:
            return
        running = self._new(message["exec_id"])
        running.wish = _wish(message, stdin=message["stdin"])
        try:
            self._begin(running, message, stdin=message["stdin"], waits=True)
        except (Failure, OSError):
            running.streams.close()  # its start will say why
            return
        self._ready = running
        self._loop.later(_READY_SECONDS, lambda: self._forget(running))

    def _forget(self, running: Exec) -> None:
        """It has ended, or ends when its channel does; frozen, once it is thawed."""
        if self._ready is running:
            self._ready = None
            self._close(running)
            running.streams.close()
            running.resume()

    def start(self, control: Control, message: Message, descriptors: list[int]) -> None:
        client = client_of(message, descriptors) if descriptors else None
        self._start(control, message, client)

    def _start(self, control: Control, message: Message, client: Client | None) -> None:
        stdin = client is not None and client.reads
        ready = self._ready
        if ready is not None and ready.wish != _wish(message, stdin=stdin):
            ready = None
        if ready is not None and ready.unsure:  # it says so soon, or ends, and another is made
            ready.then = lambda: self._start(control, message, client)
            return
        if ready is not None and not self._goes_on(ready):
            ready = None
        running = ready or self._new(message["exec_id"])
        running.record = message.get("record") or ""
        running.reply = (control, message["id"])
        self._running[running.id] = running
        if client is not None:  # before any output is read
            running.streams.attach(client, binascii.a2b_base64(message.get("early") or ""))
        if ready is not None:
            return
        try:
            self._begin(running, message, stdin=stdin, waits=False)
        except (Failure, OSError) as error:
            running.failure = report_of(error)
            self._settled(running)

    def _goes_on(self, ready: Exec) -> bool:
        """Whether the process that waited for its start is still there to be told."""
        assert ready.channel is not None
        try:
            messages.send(ready.channel, {"go": True})
        except (messages.ConnectionEnded, OSError):
            self._forget(ready)
            return False
        self._ready = None
        return True

    def _new(self, exec_id: str) -> Exec:
        # As the container's stdin with StdinOnce: a client's end of input is the process's.
        streams = Streams(self._loop, stdin_once=True)
        streams.on_detached = lambda: self._shim.tell_detached(exec_id)
        return Exec(exec_id, streams)

    def _begin(self, running: Exec, message: Message, *, stdin: bool, waits: bool) -> None:
        """Raises Failure, OSError."""
        config = {**self._container_config()}
        of_container = config["process"]
        process = {**of_container, **message["process"]}
        process["env"] = _with_hostname(process.get("env") or [], of_container.get("env") or [])
        config["process"] = process
        user = message.get("user") or ""
        ours: list[int] = []
        if not process.get("terminal"):
            owner = self._shim.ids.on_host(0) if self._shim.ids.extents else -1
            ours, running.child_ends = make_pipes(stdin=stdin, owner=owner)
        try:
            if self._shim.hired is None:
                self._launch(running, config, user, stdin=stdin, waits=waits)
            else:
                self._hire(running, config, user, stdin=stdin)
        finally:
            messages.close_all(running.child_ends)
            if ours:
                running.streams.take(*ours)  # while the child gets on

    def _container_config(self) -> Config:
        """Kept from the first exec on: most containers see none."""
        if self._config is None:
            path = f"{self._shim.directory}/{REQUEST_FILE}"
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                request = messages.decode(os.read(fd, os.fstat(fd).st_size))
            finally:
                os.close(fd)
            config: Config = request["config"]
            personality = (config.get("linux") or {}).get("personality")
            self._config = {
                "process": config["process"],
                "tiffin": config.get("tiffin") or {},
                "linux": {"personality": personality},
            }
        return self._config

    def _launch(
        self, running: Exec, config: Config, user: str, *, stdin: bool, waits: bool
    ) -> None:
        taken = None
        if waits:  # it may die of what it is told: then the start begins anew
            running.like = config, user
            taken = self._standby.take(config, user, running.child_ends)
            running.unsure = taken is not None
        if taken is None:
            program = exec_program(config, user, self._shim.host.last_capability, waits=waits)
            taken = self._clone(program, running.child_ends)
        running.pid, channel = taken
        channel.setblocking(False)
        running.channel = channel
        self._loop.add(channel.fileno(), READ, lambda _e: self._on_said(running, channel, stdin))

    def _clone(self, program: Program, stdio: list[int]) -> tuple[int, socket]:
        shim = self._shim
        ours, theirs = messages.pair()
        birth = ExecBirth(theirs, stdio, program, shim.host.oom_score)
        joins: list[int] = []
        try:
            joins = shim.open_joins()
            pid = launch.further_process(birth, shim.pidfd, shim.kinds, joins, shim.cgroup)
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
            messages.close_all(joins)
        return pid, ours

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
                if running.reply is None:
                    if running.unsure:
                        self._standby.settled(accepted=False)
                    self._forget(running)
                else:
                    self._close(running)
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
        elif "accepted" in message:
            running.unsure = False
            running.executing = "executing" in message
            self._standby.settled(accepted=True)
            running.resume()
        elif "executing" in message:
            running.executing = True
        elif "failed" in message and running.failure is None:
            running.failure = message["failed"]

    def _close(self, running: Exec) -> None:
        if running.channel is not None:
            self._loop.remove(running.channel.fileno())
            running.channel.close()
            running.channel = None

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
        self._standby.reaped(unclaimed)
        for running in list(self._running.values()):
            if running.pid in unclaimed and running.executing:
                self._on_end(running, unclaimed.pop(running.pid))

    def pids(self) -> set[int]:
        return {running.pid for running in self._running.values()}

    def _on_end(self, running: Exec, status: int) -> None:
        del self._running[running.id]
        running.streams.process_ended()
        if running.like is not None:
            self._standby.exec_ended(*running.like)
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
            running.streams.close_clients_late(_LATE_SECONDS)
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

    def container_ended(self) -> None:
        """Its first process has; execs without a pid namespace to end with need not have yet."""
        self._standby.end()

    def release(self) -> None:
        """Tell the ends that were withheld: there is a daemon to ask, or will be none."""
        for streams in self._withheld:
            streams.close_clients()
        self._withheld.clear()


def _description(running: Exec) -> Message:
    return {"exec_id": running.id, "pid": running.pid, "record": running.record}


def _wish(message: Message, *, stdin: bool) -> tuple[Any, ...]:
    return message["exec_id"], message["process"], message.get("user"), stdin


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
