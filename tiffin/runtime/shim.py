"""A shim: the process that stays with one container, whatever becomes of the daemon.

It makes the container's namespaces and root, is its first process's parent, holds its stdio or
terminal, writes its log, runs execs in it, and answers on a socket: the pair that the daemon gave
at birth, and RUN_ROOT/<id>/control.sock for later daemons. How the container ended is written to
exit.json, by rename, before anybody is told. It leaves once that is done and every attached client
has its output.

Requests (see runtime.messages): start, attach, replayed, wait, exec, resize, kill, widen, hold,
state and remove; news from the daemon: ready, tell, serving. Events: exit, released, detached.
"""

from __future__ import annotations

import binascii
import errno
import os
import time
from _socket import socket

from tiffin.kernel import failpoints
from tiffin.kernel.cgroup import Cgroup
from tiffin.runtime import (
    closing,
    heldports,
    logsinks,
    messages,
    records,
    rootfs,
)
from tiffin.runtime.birth import Host
from tiffin.runtime.control import Control
from tiffin.runtime.execs import Execs, exit_of
from tiffin.runtime.hired import Hired
from tiffin.runtime.init import Failure
from tiffin.runtime.logfile import LogWriter
from tiffin.runtime.loop import READ, Loop
from tiffin.runtime.maker import CONTROL_SOCKET, EXIT_FILE, REQUEST_FILE, STATE_FILE
from tiffin.runtime.messages import Message
from tiffin.runtime.streamclients import client_of
from tiffin.runtime.streams import Streams
from tiffin.runtime.waits import Waits

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as signals
    from collections.abc import Callable
    from typing import Any
else:
    import _signal as signals


class Shim:
    def __init__(self, made: Message, given: dict[str, int], hold: list[int], host: Host) -> None:
        """`made` is what the maker says of the container, `given` its descriptors by name."""
        self.id: str = made["container_id"]
        self.loop = Loop()
        self._made = made
        self.directory: str = made["directory"]
        self._hold = hold
        self.host = host
        self._pid: int = made["pid"]
        self._start_ticks: int = made["start_ticks"]
        self.pidfd = given.get("pidfd", -1)
        self._mount_namespace = given.get("mount_namespace", -1)
        self.ids = rootfs.Ids(made["ids"], given.get("user_namespace", -1))
        self.cgroup = self._find_cgroup()
        self._status = "created"  # starting, running, exited, failed
        self._failure: dict[str, Any] | None = None
        self._executing = False
        self._run = ""  # what a later daemon is to know of it
        self.served = True  # a daemon is there for clients to ask
        self._execs = Execs(self)
        self._waits = Waits(self.loop)
        self.unclaimed: dict[int, int] = {}  # pid -> wait status of children not known yet
        self._exit: Message | None = None
        self._removed = False
        self._releasing = False  # what belongs to a living container, now that it has ended
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
        self.hired: Hired | None = None  # the runtime that has made it, where we have not
        if made.get("runtime"):
            bundle = given.get("bundle", -1)
            self.hired = Hired(made["runtime"], self.directory, self.id, host.layout, bundle)
        self._helpers: dict[int, Callable[[int], None]] = {}  # its commands that run, by pid

    def _find_cgroup(self) -> Cgroup | None:
        path, names = self._made["cgroup"], tuple(self._made["controllers"])
        if not path or not self.host.layout.version:
            return None
        if names:
            return Cgroup(self.host.layout, path, names)
        return Cgroup(self.host.layout, path)

    def _make_streams(self, given: dict[str, int]) -> Streams:
        log: dict[str, Any] = self._made["log"]
        writer = None
        if "log" in given:
            writer = LogWriter(
                log["path"],
                log["max_size_bytes"],
                log["max_files"],
                given["log"],
                format=log["kind"],
                compress=log["compress"],
                attrs=log.get("attrs", ""),
            )
        streams = Streams(
            self.loop,
            stdin_once=bool(self._made["stdin"].get("once")),
            log=writer,
            spool_directory=os.path.dirname(log.get("path") or ""),
        )
        streams.on_detached = lambda: self.tell_detached("")
        if log.get("sink"):
            sink = logsinks.Sink(self.loop, log["sink"], streams.regulate)
            streams.log_to(logsinks.Log(writer, sink))
        if "stdout" in given:
            streams.take(given.get("stdin", -1), given["stdout"], given["stderr"])
        if "terminal" in given:
            streams.set_terminal(given["terminal"], stdin=bool(self._made["stdin"].get("open")))
        return streams

    def run(self) -> None:
        """Serve until nobody needs us."""
        self._watch_children()
        self.begin()
        while not self._is_done():
            self.loop.run_once()
        self.leave()

    def begin(self) -> None:
        if self._made["failed"]:
            self._fail(self._made["failed"])
        self._reap()  # whoever ended before we were watching
        failpoints.reach("shim-serving")

    def _add_control(self, connection: socket) -> Control:
        control = Control(self, connection)
        self._controls.append(control)
        return control

    def forget(self, control: Control) -> None:
        """A daemon has gone. What it had only created nobody will start."""
        self._controls.remove(control)
        self._streams.drop_held_by(control)
        if self._controls:
            return
        self.served = False
        if self._status == "created":
            self._removed = True
            if self._pid:
                os.kill(self._pid, signals.SIGKILL)
        elif self._status == "exited":
            self._waits.tell(removed=True)

    def is_connected(self, control: Control) -> bool:
        return control in self._controls

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

    @property
    def pid(self) -> int:
        return self._pid

    @property
    def kinds(self) -> Any:
        """Of namespaces that the container has of its own."""
        return self._made["kinds"]

    @property
    def takes_execs(self) -> bool:
        """Whether it runs, and we make its execs."""
        return self._status == "running" and self._pid > 0 and self.hired is None

    def open_joins(self) -> list[int]:
        return self.cgroup.open_join() if self.cgroup is not None else []

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
            self._streams.give_to(self.ids.on_host(message["chown"]))
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
            self._answer_start()
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
        self._waits.forget()
        self._release()
        self._stop_listening()
        for name in ("shim.log", STATE_FILE, REQUEST_FILE):
            self._unlink(name)
        for directory in (f"{self.directory}/layers", f"{self.directory}/root", self.directory):
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
            os.unlink(f"{self.directory}/{name}")
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
        for fd in (self.pidfd, self._mount_namespace, self.ids.namespace):
            if fd >= 0:
                os.close(fd)
        self.pidfd = self._mount_namespace = self.ids.namespace = -1
        if self.hired is not None:
            self.hired.delete()
            self.hired = None
        if self.cgroup is not None:
            try:
                self.cgroup.remove()
            except OSError as error:
                os.write(2, f"remove cgroup: {error}\n".encode())
            self.cgroup = None

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
        self._run = message.get("record") or ""
        failpoints.reach("shim-starting")
        self._start_reply = (control, message["id"])
        if self._failure is not None:
            self._fail(self._failure)
        elif self.hired is not None:
            self.help(self.hired.spawn("start", []), self._on_hired_start)
        else:
            self._tell_init({"start": True})

    def help(self, pid: int, act: Callable[[int], None]) -> None:
        """Have `act` called with the wait status of a command of the hired runtime's."""
        self._helpers[pid] = act

    def _on_hired_start(self, status: int) -> None:
        assert self.hired is not None
        if status:
            self._fail(self.hired.failure("start").report)
            return
        self._status = "running"
        self._answer_start()

    def _answer_start(self) -> None:
        if self._start_reply is not None:
            control, request_id = self._start_reply
            self._start_reply = None
            control.send({"id": request_id})

    def _attach(self, control: Control, message: Message, descriptors: list[int]) -> None:
        streams = self._streams_of(message.get("exec_id") or "")
        client = client_of(message, descriptors)
        early = binascii.a2b_base64(message.get("early") or "")
        answer = {"id": message["id"]}
        if message.get("held"):
            answer |= streams.hold(client, control, early)
        else:
            streams.attach(client, early)
        control.send(answer)

    def _replayed(self, control: Control, message: Message, _descriptors: list[int]) -> None:
        self._streams.replayed(message["client"], message.get("end") or "")
        control.send({"id": message["id"]})

    def _streams_of(self, exec_id: str) -> Streams:
        return self._execs.streams(exec_id) if exec_id else self._streams

    def _exec(self, control: Control, message: Message, descriptors: list[int]) -> None:
        if self._status != "running":
            raise Failure("cannot exec in a stopped container", "exec", errno.ESRCH)
        if "until" in message and time.monotonic() > message["until"]:
            raise Failure("nobody waits for the exec any more", "exec", errno.ETIMEDOUT)
        self._execs.start(control, message, descriptors)

    def _ready(self, _control: Control, message: Message, _descriptors: list[int]) -> None:
        """An exec has been created. That nothing comes of it is no failure."""
        if self._status == "running":
            self._execs.ready(message)

    def _wait(self, control: Control, message: Message, descriptors: list[int]) -> None:
        """Keep a client that waits for the end; the answer says that it is ours from now on."""
        if not descriptors:
            raise Failure("wait without a connection", "wait", errno.EBADF)
        if self._status == "failed":
            raise Failure("the container has not started", "wait", errno.ESRCH)
        fd, of_removal = descriptors.pop(0), bool(message.get("of_removal"))
        self._waits.add(fd, message["before"], message["after"], of_removal=of_removal)
        control.send({"id": message["id"]})

    def _tell(self, _control: Control, message: Message, _descriptors: list[int]) -> None:
        """The daemon has taken note of the exit, or of the removal."""
        self._waits.tell(removed=bool(message.get("removed")))

    def _serving(self, _control: Control, _message: Message, _descriptors: list[int]) -> None:
        """The daemon answers clients: those that will ask it may be sent on their way."""
        self.served = True
        self._execs.release()
        if self._status == "exited":
            self._close_listener()  # who serves knows of the exit, and has the directory

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
        self.cgroup = self._find_cgroup()
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
            "execs": self._execs.known(),
            "record": self._run,
            "waits": self._waits.counts(),
            "withholds": self._execs.withholds,
            "requests": list(self._HANDLERS),
        }

    # -- ends --------------------------------------------------------------------------------------

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if not pid:
                break
            self._streams.child_ended(pid, status)
            self.unclaimed[pid] = status
        if self.unclaimed:
            self.claim()

    def claim(self) -> None:
        """Match ended children with what we know. Others are orphans, or an exec's yet."""
        for pid in [pid for pid in self._helpers if pid in self.unclaimed]:
            self._helpers.pop(pid)(self.unclaimed.pop(pid))
        self._execs.claim(self.unclaimed)
        if self.hired is not None and self._status == "starting":
            return  # its end, if it has ended already, counts once the runtime has said "started"
        if self._pid and self._pid in self.unclaimed:
            status = self.unclaimed.pop(self._pid)
            self._on_init()  # its last words
            self._init_ended(status)
        if not self._execs.launching:
            known = {*self._execs.pids(), *self._helpers}
            self.unclaimed = {p: s for p, s in self.unclaimed.items() if p in known}

    def _init_ended(self, status: int) -> None:
        pid, self._pid = self._pid, 0
        if self._status not in ("running", "failed"):
            self._died_early(status)
            return
        if self._status == "failed":
            return
        messages.close_all(self._hold)
        self._execs.container_ended()
        self._end_the_rest()
        self._streams.process_ended()
        code, signal = exit_of(status)
        self._exit = {
            "event": "exit",
            "exec_id": "",
            "exit_code": code,
            "signal": signal,
            "oom_killed": self.cgroup is not None and self.cgroup.oom_kills() > 0,
            "finished_ns": time.time_ns(),
        }
        self._status = "exited"
        self._waits.ended(code)
        failpoints.reach("shim-exit-seen")
        self._record(pid)
        failpoints.reach("shim-exit-recorded")
        if not self._execs.withholds:
            self._stop_listening()
        self._streams.await_readers()
        self.broadcast(self._exit)
        if not self._controls:
            self._waits.tell(removed=True)
        self._streams.close_clients()
        namespace, self._mount_namespace = self._mount_namespace, -1
        self._release()
        if namespace >= 0:
            self._releasing = True
            closing.close_beside(self.loop, namespace, self._tell_released)
        else:
            self._tell_released()

    def _tell_released(self) -> None:
        self._releasing = False
        self.broadcast({"event": "released"})
        failpoints.reach("shim-released")

    def _stop_listening(self) -> None:
        """Who comes now reads exit.json. The directory is the next run's from here on."""
        self._close_listener()
        self._unlink(CONTROL_SOCKET)

    def _close_listener(self) -> None:
        if self._listener is not None:
            self.loop.remove(self._listener.fileno())
            self._listener.close()
            self._listener = None

    def _died_early(self, status: int) -> None:
        code, signal = exit_of(status)
        what = f"signal {signal}" if signal else f"exit status {code}"
        if self.cgroup is not None and self.cgroup.oom_kills():
            what = "container init was OOM-killed (memory limit too low?)"
        self._fail(self._failure or Failure(f"init died: {what}", "init").report)

    def _end_the_rest(self) -> None:
        """Without a pid namespace of its own, nothing has ended with the first process."""
        if not self._made["own_pids"] and self.cgroup is not None:
            try:
                self.cgroup.kill()
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
            "boot_id": self.host.boot_id,
            "execs": self._execs.known(),
            "record": self._run,
        }
        path = f"{self.directory}/{EXIT_FILE}"
        shorter = {**record, "execs": []}
        for whole in (record, shorter, {**shorter, "record": ""}):  # there is room for the last
            try:
                records.write(path, messages.encode(whole))
            except OSError as error:
                os.write(2, f"write {path}: {error}\n".encode())
            else:
                return

    def tell_detached(self, exec_id: str) -> None:
        self.broadcast({"event": "detached", "exec_id": exec_id})

    def broadcast(self, event: Message) -> None:
        for control in list(self._controls):
            control.send(event)

    def _is_done(self) -> bool:
        if self._status == "failed":
            told = self._failure is None or self._start_ticks == 0
            return told or self._removed or not self._controls
        if self._status == "exited":
            clients = self._streams.has_clients or self._execs.has_clients or self._waits
            return not (clients or self._releasing)
        return False

    def leave(self) -> None:
        """Let go of the container's output and its log."""
        self._streams.close()

    _HANDLERS = {  # noqa: RUF012
        "start": _start,
        "attach": _attach,
        "replayed": _replayed,
        "ready": _ready,
        "exec": _exec,
        "wait": _wait,
        "tell": _tell,
        "serving": _serving,
        "resize": _resize,
        "kill": _kill,
        "state": _tell_state,
        "widen": _widen,
        "hold": _hold_ports,
        "remove": _remove,
    }
