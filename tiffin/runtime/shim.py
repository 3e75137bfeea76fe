"""A shim: the process that stays with one container, whatever becomes of the daemon.

It makes the container's namespaces and root, is its first process's parent, holds its stdio or
terminal, writes its log, runs execs in it, and answers on a socket: the pair that the daemon gave
at birth, and RUN_ROOT/<id>/control.sock for later daemons. How the container ended is written to
exit.json, by rename, before anybody is told. It leaves once that is done and every attached client
has its output.

Requests (see runtime.messages): start, attach, exec, resize, kill, widen, hold, state. Event: exit.
"""

from __future__ import annotations

import binascii
import errno
import os
import time
from _socket import socket

from tiffin.kernel import syscalls
from tiffin.kernel.cgroup import Cgroup
from tiffin.runtime import heldports, init, launch, maker, messages, rootfs
from tiffin.runtime.birth import Host
from tiffin.runtime.init import ExecBirth, Failure, Program
from tiffin.runtime.logs import LogWriter
from tiffin.runtime.loop import READ, WRITE, Loop
from tiffin.runtime.maker import CONTROL_SOCKET, EXIT_FILE, REQUEST_FILE, STATE_FILE
from tiffin.runtime.messages import Message
from tiffin.runtime.operations import Config
from tiffin.runtime.streams import Client, Streams, make_pipes

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as signals
    from collections.abc import Callable
    from typing import Any
else:
    import _signal as signals

_MAX_BACKLOG = 256  # messages to a control connection that does not read
_REMEMBERED_EXECS = 64


class Control:
    """One connection to a daemon."""

    def __init__(self, shim: Shim, connection: socket) -> None:
        self._shim = shim
        self._connection = connection
        self._backlog: list[Message] = []
        connection.setblocking(False)
        shim.loop.add(connection.fileno(), READ, self._on_event)

    def send(self, message: Message) -> None:
        self._backlog.append(message)
        self._flush()

    def _flush(self) -> None:
        try:
            while self._backlog:
                messages.send(self._connection, self._backlog[0])
                self._backlog.pop(0)
        except BlockingIOError:
            if len(self._backlog) > _MAX_BACKLOG:
                self.close()
                return
        except (messages.ConnectionEnded, OSError):
            self.close()
            return
        events = READ | (WRITE if self._backlog else 0)
        self._shim.loop.change(self._connection.fileno(), events)

    def _on_event(self, events: int) -> None:
        if events & WRITE:
            self._flush()
        if not events & ~WRITE:
            return
        try:
            message, descriptors = messages.receive(self._connection)
        except BlockingIOError:
            return
        except ValueError as error:
            self.send({"failed": {"message": str(error)}})
            return
        except (messages.ConnectionEnded, OSError):
            self.close()
            return
        self._shim.handle(self, message, descriptors)

    def close(self) -> None:
        if self._connection.fileno() >= 0:
            self._shim.loop.remove(self._connection.fileno())
            self._connection.close()
            self._shim.forget(self)


class Exec:
    """A further process, from the request to its end."""

    def __init__(self, exec_id: str, streams: Streams, child_ends: list[int]) -> None:
        self.id = exec_id
        self.streams = streams
        self.child_ends = child_ends
        self.pid = 0
        self.between = 0  # the process that cloned it
        self.executing = False
        self.failure: dict[str, Any] | None = None
        self.reply: tuple[Control, int] | None = None


class Shim:
    def __init__(self, made: Message, given: dict[str, int], hold: list[int], host: Host) -> None:
        """`made` is what the maker says of the container, `given` its descriptors by name."""
        self.id: str = made["container_id"]
        self.loop = Loop()
        self._made = made
        self._directory: str = made["directory"]
        self._hold = hold
        self._host = host
        self._pid: int = made["pid"]
        self._start_ticks: int = made["start_ticks"]
        self._pidfd = given.get("pidfd", -1)
        self._mount_namespace = given.get("mount_namespace", -1)
        self._ids = rootfs.Ids(made["ids"], given.get("user_namespace", -1))
        self._cgroup = self._find_cgroup()
        self._status = "created"  # starting, running, exited, failed
        self._failure: dict[str, Any] | None = None
        self._executing = False
        self._execs: dict[str, Exec] = {}
        self._ended_execs: list[Message] = []
        self._launching = 0  # processes in between whose children's pids are not known yet
        self._unclaimed: dict[int, int] = {}  # pid -> wait status of children not known yet
        self._exit: Message | None = None
        self._removed = False
        self._controls: list[Control] = []
        self._create_reply: tuple[Control, int] | None = None
        self._start_reply: tuple[Control, int] | None = None
        control = self._add_control(socket(fileno=given["connection"]))
        if made["request_id"]:
            self._create_reply = (control, made["request_id"])
        self._listener: socket | None = None
        if "listener" in given:
            self._listener = socket(fileno=given["listener"])
            self.loop.add(self._listener.fileno(), READ, self._on_connection)
        self._channel: socket | None = None
        if "channel" in given:
            self._channel = socket(fileno=given["channel"])
            self.loop.add(self._channel.fileno(), READ, lambda _events: self._on_init())
        self._streams = self._make_streams(given)

    def _find_cgroup(self) -> Cgroup | None:
        path, names = self._made["cgroup"], tuple(self._made["controllers"])
        if not path or not self._host.layout.version:
            return None
        if names:
            return Cgroup(self._host.layout, path, names)
        return Cgroup(self._host.layout, path)

    def _make_streams(self, given: dict[str, int]) -> Streams:
        log, writer = self._made["log"], None
        if "log" in given:
            writer = LogWriter(log["path"], log["max_size_bytes"], log["max_files"], given["log"])
        streams = Streams(self.loop, stdin_once=bool(self._made["stdin"].get("once")), log=writer)
        if "stdout" in given:
            streams.take(given.get("stdin", -1), given["stdout"], given["stderr"])
        return streams

    def run(self) -> None:
        """Serve until nobody needs us."""
        self._watch_children()
        if self._made["failed"]:
            self._fail(self._made["failed"])
        self._reap()  # whoever ended before we were watching
        while not self._is_done():
            self.loop.run_once()
        self._leave()

    def _add_control(self, connection: socket) -> Control:
        control = Control(self, connection)
        self._controls.append(control)
        return control

    def forget(self, control: Control) -> None:
        """A daemon has gone. What it had only created nobody will start."""
        self._controls.remove(control)
        if not self._controls and self._status == "created":
            self._removed = True
            if self._pid:
                os.kill(self._pid, signals.SIGKILL)

    def _watch_children(self) -> None:
        reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signals.set_wakeup_fd(writing, warn_on_full_buffer=False)
        signals.signal(signals.SIGCHLD, lambda _number, _frame: None)

        def woken(_events: int) -> None:
            os.read(reading, 512)
            self._reap()

        self.loop.add(reading, READ, woken)

    def _on_connection(self, _events: int) -> None:
        assert self._listener is not None
        try:
            fd, _address = self._listener._accept()  # type: ignore[attr-defined] # noqa: SLF001
        except OSError:
            return
        connection = socket(fileno=fd)
        if messages.peer_uid(connection) != os.getuid():
            connection.close()
            return
        control = self._add_control(connection)
        control.send({"hello": messages.PROTOCOL, **self._state()})

    def _open_joins(self) -> list[int]:
        return self._cgroup.open_join() if self._cgroup is not None else []

    def _tell_init(self, message: Message, descriptors: list[int] | None = None) -> None:
        if self._channel is not None:
            try:
                messages.send(self._channel, message, descriptors)
            except messages.ConnectionEnded:
                return  # what it died of is told by its own report, or its end

    def _answer_create(self, message: Message) -> None:
        if self._create_reply is not None:
            control, request_id = self._create_reply
            self._create_reply = None
            control.send({"id": request_id, **message})

    # -- init's words ------------------------------------------------------------------------------

    def _on_init(self) -> None:
        """Everything that init has said so far."""
        if self._channel is not None:
            self._channel.setblocking(False)  # only now: what we tell it first may be long
        while self._channel is not None:
            try:
                message, descriptors = messages.receive(self._channel)
            except BlockingIOError:
                return
            except (messages.ConnectionEnded, ValueError, OSError):
                self._on_init_silent()
                return
            self._on_init_message(message, descriptors)
            if self._failure is not None:
                self._fail(self._failure)
                return

    def _on_init_message(self, message: Message, descriptors: list[int]) -> None:
        if "console" in message and descriptors:
            stdin = bool(self._made["stdin"].get("open"))
            self._streams.set_terminal(descriptors.pop(), stdin=stdin)
        elif "chown" in message:
            self._streams.give_to(self._ids.on_host(message["chown"]))
            self._tell_init({"done": True})
        elif "executing" in message:
            self._executing = True
        elif "failed" in message:
            self._failure = message["failed"]
        messages.close_all(descriptors)

    def _on_init_silent(self) -> None:
        """The channel is closed: init has executed the program, or failed, or died."""
        self._close_channel()
        if self._failure is not None:
            self._fail(self._failure)
        elif self._executing:
            self._status = "running"
            if self._start_reply is not None:
                control, request_id = self._start_reply
                self._start_reply = None
                control.send({"id": request_id})
        # Else it died: the end of the process, which comes next, says of what.

    def _close_channel(self) -> None:
        if self._channel is not None:
            if self._channel.fileno() >= 0:
                self.loop.remove(self._channel.fileno())
            self._channel.close()
            self._channel = None

    def _fail(self, report: dict[str, Any]) -> None:
        """The container does not come up: undo everything, then say so, to who starts it."""
        self._failure = report
        if self._status == "created" and self._create_reply is None and self._pid:
            return  # the daemon is connecting it; the start is told
        self._status = "failed"
        self._close_channel()
        self._kill_init()
        self._streams.process_ended()
        self._streams.close_clients()
        self._streams.close()
        self._release()
        self._stop_listening()
        for name in ("shim.log", STATE_FILE, REQUEST_FILE):
            self._unlink(name)
        for directory in (f"{self._directory}/layers", f"{self._directory}/root", self._directory):
            try:
                os.rmdir(directory)
            except OSError:
                continue
        self._answer_create({"failed": report})
        if self._start_reply is not None:
            control, request_id = self._start_reply
            self._start_reply = None
            control.send({"id": request_id, "failed": report})
            self._failure = None

    def _unlink(self, name: str) -> None:
        try:
            os.unlink(f"{self._directory}/{name}")
        except OSError:
            return

    def _kill_init(self) -> None:
        if not self._pid:
            return
        try:
            os.kill(self._pid, signals.SIGKILL)
            while True:
                pid, _status = os.waitpid(-1, 0)
                if pid == self._pid:
                    break
        except (ProcessLookupError, ChildProcessError):
            pass
        self._pid = 0

    def _release(self) -> None:
        """Let go of what belongs to a living container. Idempotent."""
        messages.close_all(self._hold)
        for fd in (self._pidfd, self._mount_namespace, self._ids.namespace):
            if fd >= 0:
                os.close(fd)
        self._pidfd = self._mount_namespace = self._ids.namespace = -1
        if self._cgroup is not None:
            try:
                self._cgroup.remove()
            except OSError as error:
                os.write(2, f"remove cgroup: {error}\n".encode())
            self._cgroup = None

    # -- requests ----------------------------------------------------------------------------------

    def handle(self, control: Control, message: Message, descriptors: list[int]) -> None:
        request_id = message.get("id", 0)
        handler = self._HANDLERS.get(str(message.get("op")))
        try:
            if handler is None:
                raise Failure(f"shim: unknown request {message.get('op')}", "shim")
            handler(self, control, message, descriptors)
        except Failure as failure:
            control.send({"id": request_id, "failed": failure.report})
        except OSError as error:
            report = Failure(str(error), str(message.get("op")), error.errno or 0).report
            control.send({"id": request_id, "failed": report})
        finally:
            messages.close_all(descriptors)

    def _start(self, control: Control, message: Message, _descriptors: list[int]) -> None:
        if self._status == "failed" and self._failure is not None:
            failure, self._failure = self._failure, None
            control.send({"id": message["id"], "failed": failure})
            return
        if self._status != "created":
            raise Failure(f"container is {self._status}", "start")
        self._status = "starting"
        self._start_reply = (control, message["id"])
        if self._failure is not None:
            self._fail(self._failure)
        else:
            self._tell_init({"start": True})

    def _attach(self, control: Control, message: Message, descriptors: list[int]) -> None:
        streams = self._streams_of(message.get("exec_id") or "")
        client = _client(message, descriptors)
        streams.attach(client, binascii.a2b_base64(message.get("early") or ""))
        control.send({"id": message["id"]})

    def _streams_of(self, exec_id: str) -> Streams:
        if not exec_id:
            return self._streams
        process = self._execs.get(exec_id)
        if process is None:
            raise Failure(f"No such exec instance: {exec_id}", "exec")
        return process.streams

    def _resize(self, control: Control, message: Message, _descriptors: list[int]) -> None:
        streams = self._streams_of(message.get("exec_id") or "")
        streams.resize(int(message["rows"]), int(message["columns"]))
        control.send({"id": message["id"]})

    def _kill(self, control: Control, message: Message, _descriptors: list[int]) -> None:
        if not self._pid:
            raise Failure("process not found", "kill", errno.ESRCH)
        os.kill(self._pid, int(message["signal"]))  # ours and not reaped: the pid is still its own
        control.send({"id": message["id"]})

    def _remove(self, control: Control, message: Message, _descriptors: list[int]) -> None:
        """Not wanted any more: end whatever there is, and leave."""
        self._removed = True
        if self._pid:
            os.kill(self._pid, signals.SIGKILL)
        control.send({"id": message["id"]})

    def _widen(self, control: Control, message: Message, _descriptors: list[int]) -> None:
        """The container is in more cgroups than at its start: execs are to join them as well."""
        self._made["controllers"] = message["controllers"]
        self._cgroup = self._find_cgroup()
        control.send({"id": message["id"]})

    def _hold_ports(self, control: Control, message: Message, descriptors: list[int]) -> None:
        """The container's published ports have changed."""
        self._hold += descriptors
        descriptors.clear()
        heldports.retain(self._hold, message["keep"])
        control.send({"id": message["id"]})

    def _tell_state(self, control: Control, message: Message, _descriptors: list[int]) -> None:
        control.send({"id": message["id"], **self._state()})

    def _state(self) -> Message:
        return {
            "container_id": self.id,
            "status": self._status,
            "pid": self._pid,
            "start_ticks": self._start_ticks,
            "cgroup": self._made["cgroup"],
            "controllers": self._made["controllers"],
            "exit": self._exit,
            "execs": self._ended_execs,
            "requests": list(self._HANDLERS),
        }

    # -- execs -------------------------------------------------------------------------------------

    def _exec(self, control: Control, message: Message, descriptors: list[int]) -> None:
        if self._status != "running":
            raise Failure("cannot exec in a stopped container", "exec", errno.ESRCH)
        config = self._read_config()
        of_container = config["process"]
        process = {**of_container, **message["process"]}
        process["env"] = _with_hostname(process.get("env") or [], of_container.get("env") or [])
        config["process"] = process
        # As the container's stdin with StdinOnce: a client's end of input is the process's.
        streams = Streams(self.loop, stdin_once=True)
        running = Exec(message["exec_id"], streams, [])
        running.reply = (control, message["id"])
        client = _client(message, descriptors) if descriptors else None
        stdin = client is not None and client.reads
        if client is not None:  # before there can be any output
            streams.attach(client, binascii.a2b_base64(message.get("early") or ""))
        if not process.get("terminal"):
            owner = self._ids.on_host(0) if self._ids.extents else -1
            ours, running.child_ends = make_pipes(stdin=stdin, owner=owner)
            streams.take(*ours)
        self._launch_exec(running, config, message.get("user") or "", stdin=stdin)

    def _read_config(self) -> Config:
        """The container's. It is not kept in memory: most containers see no exec."""
        fd = os.open(f"{self._directory}/{REQUEST_FILE}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            request = messages.decode(os.read(fd, os.fstat(fd).st_size))
        finally:
            os.close(fd)
        config: Config = request["config"]
        return config

    def _launch_exec(self, running: Exec, config: Config, user: str, *, stdin: bool) -> None:
        ours, theirs = messages.pair()
        process: Config = config["process"]
        program = Program(config, self._host.last_capability, user)
        size = process.get("consoleSize") or {}
        birth = ExecBirth(
            theirs, running.child_ends, program, (size.get("height") or 0, size.get("width") or 0)
        )
        joins = self._open_joins()
        try:
            running.between = launch.further_process(birth, self._pidfd, self._made["kinds"], joins)
        finally:
            theirs.close()
            messages.close_all(joins)
            messages.close_all(running.child_ends)
        self._launching += 1
        self._execs[running.id] = running
        ours.setblocking(False)
        self.loop.add(ours.fileno(), READ, lambda _e: self._on_exec(running, ours, process, stdin))

    def _on_exec(self, running: Exec, channel: socket, process: Config, stdin: bool) -> None:
        while True:
            try:
                message, descriptors = messages.receive(channel)
            except BlockingIOError:
                return
            except (messages.ConnectionEnded, ValueError, OSError):
                self.loop.remove(channel.fileno())
                channel.close()
                self._exec_settled(running)
                return
            self._on_exec_message(running, channel, process, message, descriptors, stdin=stdin)
            messages.close_all(descriptors)

    def _on_exec_message(
        self,
        running: Exec,
        channel: socket,
        process: Config,
        message: Message,
        descriptors: list[int],
        *,
        stdin: bool,
    ) -> None:
        if "pid" in message:
            running.pid = message["pid"]
            self._launching -= 1
            answer: Message = {"mapped": True}
            try:
                launch.set_limits(running.pid, process, self._host.oom_score)
            except rootfs.Failed as failed:
                running.failure = init.failure_of(failed.operation, failed.error).report
                os.kill(running.pid, signals.SIGKILL)
            _answer(channel, answer)
        elif "console" in message and descriptors:
            running.streams.set_terminal(descriptors.pop(), stdin=stdin)
        elif "chown" in message:
            running.streams.give_to(self._ids.on_host(message["chown"]))
            _answer(channel, {"done": True})
        elif "executing" in message:
            running.executing = True
        elif "failed" in message and running.failure is None:
            running.failure = message["failed"]

    def _exec_settled(self, running: Exec) -> None:
        """The exec runs, or has failed: answer."""
        assert running.reply is not None
        control, request_id = running.reply
        if running.failure is None and running.executing:
            control.send({"id": request_id, "pid": running.pid})
        else:
            if not running.pid:
                self._launching -= 1
            died = Failure("process died before it was executed", "exec").report
            self._bury(running)
            self._execs.pop(running.id, None)
            running.streams.forget_clients()  # the caller has its own copy to say why
            running.streams.process_ended()
            running.streams.close()
            control.send({"id": request_id, "failed": running.failure or died})
        self._claim()

    def _bury(self, running: Exec) -> None:
        """Both processes of an exec that has failed; they are past their last words."""
        for pid in (running.between, running.pid):
            try:
                if pid and self._unclaimed.pop(pid, None) is None:
                    os.waitpid(pid, 0)
            except ChildProcessError:
                continue

    # -- ends --------------------------------------------------------------------------------------

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if not pid:
                break
            self._unclaimed[pid] = status
        self._claim()

    def _claim(self) -> None:
        """Match ended children with what we know. Others are orphans, or between us and an exec."""
        for running in list(self._execs.values()):
            if running.pid in self._unclaimed and running.executing:
                self._exec_ended(running, self._unclaimed.pop(running.pid))
        if self._pid and self._pid in self._unclaimed:
            status = self._unclaimed.pop(self._pid)
            self._on_init()  # its last words
            self._init_ended(status)
        if not self._launching:
            known = {running.pid for running in self._execs.values()}
            self._unclaimed = {p: s for p, s in self._unclaimed.items() if p in known}

    def _exec_ended(self, running: Exec, status: int) -> None:
        del self._execs[running.id]
        running.streams.process_ended()
        code, signal = _exit_of(status)
        event = {
            "event": "exit",
            "exec_id": running.id,
            "exit_code": code,
            "signal": signal,
            "oom_killed": False,
            "finished_ns": time.time_ns(),
        }
        self._ended_execs = [*self._ended_execs[-_REMEMBERED_EXECS + 1 :], event]
        self._broadcast(event)
        running.streams.close_clients()

    def _init_ended(self, status: int) -> None:
        pid, self._pid = self._pid, 0
        if self._status not in ("running", "failed"):
            self._died_early(status)
            return
        if self._status == "failed":
            return
        messages.close_all(self._hold)
        self._end_the_rest()
        self._streams.process_ended()
        code, signal = _exit_of(status)
        self._exit = {
            "event": "exit",
            "exec_id": "",
            "exit_code": code,
            "signal": signal,
            "oom_killed": self._cgroup is not None and self._cgroup.oom_kills() > 0,
            "finished_ns": time.time_ns(),
        }
        self._status = "exited"
        self._record(pid)
        self._stop_listening()
        self._broadcast(self._exit)
        self._streams.close_clients()
        self._release()
        self._broadcast({"event": "released"})

    def _stop_listening(self) -> None:
        """Who comes now reads exit.json. The directory is the next run's from here on."""
        if self._listener is not None:
            self.loop.remove(self._listener.fileno())
            self._listener.close()
            self._listener = None
        self._unlink(CONTROL_SOCKET)

    def _died_early(self, status: int) -> None:
        code, signal = _exit_of(status)
        what = f"signal {signal}" if signal else f"exit status {code}"
        if self._cgroup is not None and self._cgroup.oom_kills():
            what = "container init was OOM-killed (memory limit too low?)"
        self._fail(self._failure or Failure(f"init died: {what}", "init").report)

    def _end_the_rest(self) -> None:
        """Without a pid namespace of its own, nothing has ended with the first process."""
        if not self._made["own_pids"] and self._cgroup is not None:
            try:
                self._cgroup.kill()
            except OSError as error:
                os.write(2, f"kill cgroup: {error}\n".encode())
            self._reap()

    def _record(self, pid: int) -> None:
        """exit.json: whole or not there."""
        assert self._exit is not None
        record = {
            **self._exit,
            "protocol": messages.PROTOCOL,
            "container_id": self.id,
            "pid": pid,
            "start_ticks": self._start_ticks,
            "boot_id": self._host.boot_id,
        }
        self._write_file(EXIT_FILE, record)

    def _write_file(self, name: str, record: Message) -> None:
        path = f"{self._directory}/{name}"
        try:
            fd = os.open(f"{path}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            try:
                os.write(fd, messages.encode(record))
            finally:
                os.close(fd)
            os.rename(f"{path}.new", path)
        except OSError as error:
            os.write(2, f"write {path}: {error}\n".encode())

    def _broadcast(self, event: Message) -> None:
        for control in list(self._controls):
            control.send(event)

    def _is_done(self) -> bool:
        if self._status == "failed":
            told = self._failure is None or self._start_ticks == 0
            return told or self._removed or not self._controls
        if self._status == "exited":
            return not self._streams.has_clients
        return False

    def _leave(self) -> None:
        self._streams.close()

    _HANDLERS = {  # noqa: RUF012
        "start": _start,
        "attach": _attach,
        "exec": _exec,
        "resize": _resize,
        "kill": _kill,
        "state": _tell_state,
        "widen": _widen,
        "hold": _hold_ports,
        "remove": _remove,
    }


def _client(message: Message, descriptors: list[int]) -> Client:
    """Takes the first descriptor."""
    if not descriptors:
        raise Failure("attach without a connection", "attach", errno.EBADF)
    keys = binascii.a2b_base64(message.get("detach_keys") or "")
    fd = descriptors.pop(0)
    return Client(fd, message["attachment"], keys, framed=bool(message.get("framed")))


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


def _exit_of(status: int) -> tuple[int, int]:
    """(exit code as Docker counts it, signal) of a wait status."""
    if os.WIFSIGNALED(status):
        signal = os.WTERMSIG(status)
        return 128 + signal, signal
    return os.WEXITSTATUS(status), 0


# --- in the zygote's child ----------------------------------------------------------------------


def main(data: bytes, descriptors: list[int], host: Host) -> None:
    """Become the shim of one container."""

    def make(heir: socket) -> None:
        maker.Maker(data, descriptors, host).make(heir)

    _become(make, descriptors, host)


def spare(connection: socket, flags: int, host: Host) -> None:
    """Become a shim before there is a container; what for will come by `connection`."""
    descriptors = [connection.detach()]

    def make(heir: socket) -> None:
        maker.spare(socket(fileno=descriptors.pop()), flags, host, heir)

    _become(make, descriptors, host)


def _become(make: Callable[[socket], None], descriptors: list[int], host: Host) -> None:
    """Have a child make the container, wait for it, and serve. The descriptors are the child's."""
    _leave_zygote()
    ours, theirs = messages.pair()
    if os.fork() == 0:
        ours.close()
        make(theirs)
        os._exit(0)
    theirs.close()
    messages.close_all(descriptors)
    try:
        made, received = messages.receive(ours)
        hold = messages.receive(ours)[1] if made["hold"] else []
    except messages.ConnectionEnded:
        return  # there will be no container: a first process dies with us
    ours.close()
    given = dict(zip(made["given"], received, strict=True))
    if "words" in given:
        os.dup2(given["words"], 2)
        os.close(given["words"])
    Shim(made, given, hold, host).run()


def _leave_zygote() -> None:
    os.setsid()
    signals.signal(signals.SIGCHLD, signals.SIG_DFL)
    syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 1)
    syscalls.set_process_name(messages.SHIM_NAME)
