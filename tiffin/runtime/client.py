"""The daemon's side of the runtime: asks the zygote for shims and talks to them.

Implements engine.ports.ContainerRuntime. What is known of a container lives in its shim and in
RUN_ROOT/<id>; the daemon may die at any point and `reconnect` finds both again.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import errno
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import msgspec

from tiffin.core.container import HostConfig, PublishedPort
from tiffin.core.runtimes import Programs, find, is_own
from tiffin.core.workload import (
    Attachment,
    Created,
    ExecProcess,
    Exit,
    ExitAnswer,
    KnownExec,
    Workload,
)
from tiffin.errors import CannotStart, Conflict, EngineFailure, Unavailable
from tiffin.kernel import cgroup, seccomp
from tiffin.kernel.ownthread import may_hang
from tiffin.runtime import (
    capabilities,
    devices,
    host,
    interpreter,
    limits,
    messages,
    operations,
    programs,
    spec,
)
from tiffin.runtime.connection import (
    Connection,
    ShimFailed,
    ShimGone,
    checked,
    settle,
)
from tiffin.runtime.facts import HostFacts
from tiffin.runtime.messages import OLDEST_PROTOCOL, PROTOCOL, Message
from tiffin.runtime.owed import Owed
from tiffin.runtime.survivors import (
    Process,
    Survivors,
    exit_of,
    is_container_id,
    kill_all,
    kill_shim,
    known_execs,
    process_of,
    shim_killed,
)
from tiffin.runtime.wording import CREATE_FAILED, cannot_exec, cannot_limit, cannot_start

log = logging.getLogger(__name__)

CREATE_DEADLINE_SECONDS = 30.0
CREATE_ATTEMPTS = 3  # each on a zygote that was there when it began
START_DEADLINE_SECONDS = 60.0
KILL_DEADLINE_SECONDS = 10.0
HELLO_DEADLINE_SECONDS = 3.0  # of a daemon's start; who answers later is heard later

# What the shims of protocol 1 know, and what those of every protocol do.
_FIRST_REQUESTS = frozenset({"start", "attach", "exec", "resize", "kill", "remove", "state"})
_ETERNAL_REQUESTS = frozenset({"kill", "remove"})
_USUAL_NAMESPACES = ("cgroup", "ipc", "mount", "network", "pid", "uts")
_ZYGOTE = (
    "import sys; sys.path.insert(0, sys.argv[1]); "
    "from tiffin.runtime.zygote import main; main(int(sys.argv[2]))"
)


class _Shim:
    """What the daemon knows of one shim."""

    def __init__(self, container_id: str, connection: Connection) -> None:
        self.container_id = container_id
        self.connection = connection
        self.owed = Owed(connection)
        self.group: cgroup.Cgroup | None = None
        self.process = Process(0, 0)
        self.protocol = messages.PROTOCOL
        self.requests: frozenset[str] | None = None  # None: whatever this release has
        self.running = False
        self.paused = False
        self.exit: Exit | None = None
        self.execs: list[KnownExec] = []  # that its hello told of
        self.greeted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.exited: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.released: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def created(self) -> Created:
        return Created(self.process.pid, self.process.start_ticks)

    def knows(self, request: str) -> bool:
        return self.requests is None or request in self.requests


class Runtime:
    """One per RUN_ROOT. `probe_directory` is on the file system that layers lie on."""

    def __init__(
        self,
        run_root: str,
        cgroup_root: str,
        interpreter: str = sys.executable,
        *,
        probe_directory: str = "",
        others: Programs | None = None,
    ) -> None:
        self._run_root = os.path.abspath(run_root)
        self._cgroup_root = cgroup_root
        self._interpreter = interpreter
        self._probe_directory = probe_directory or self._run_root
        self._zygote: Connection | None = None
        self._opened = False
        self._zygote_process: subprocess.Popen[bytes] | None = None
        self._starting_zygote = asyncio.Lock()
        self._shims: dict[str, _Shim] = {}
        self._parted: list[_Shim] = []  # of containers let go of, which owe their clients a word
        self._serving = False
        self._cleanups: dict[str, asyncio.Task[None]] = {}
        self._exit_callbacks: list[Callable[[Exit], None]] = []
        self._layout = cgroup.Layout(0, ())
        self._survivors = Survivors(self._run_root, self._layout)
        self.facts = HostFacts()
        self.programs = programs.installed(others or {})
        self.user_namespaces_refusal = ""  # why there are none, for `info`

    # -- opening and closing ---------------------------------------------------------------------

    async def open(self) -> None:
        """Start the zygote and find out what this host allows."""
        os.makedirs(self._run_root, 0o711, exist_ok=True)
        answer = await self._probe()
        self.user_namespaces_refusal = answer["reason"]
        self.facts = await asyncio.to_thread(
            host.read_facts, self._cgroup_root, user_namespaces=bool(answer["user_namespaces"])
        )
        self._layout = await asyncio.to_thread(cgroup.detect)
        self._survivors = Survivors(self._run_root, self._layout)
        await self._keep_spare()
        self._opened = True

    async def close(self) -> None:
        """End the zygote and let go of the shims, which live on."""
        if self._cleanups:
            await asyncio.gather(*self._cleanups.values(), return_exceptions=True)
        for shim in (*self._shims.values(), *self._parted):
            shim.connection.on_event = lambda _message: None
            shim.connection.close()
        self._shims.clear()
        self._parted.clear()
        await asyncio.to_thread(self._remove_cgroup_root)
        if self._zygote is not None:
            self._zygote.close()
        if self._zygote_process is not None:
            await asyncio.to_thread(self._zygote_process.wait)

    def _remove_cgroup_root(self) -> None:
        """The cgroup that containers' lie in, unless some live on."""
        programs.remove_named(self._cgroup_root)
        root = cgroup.Cgroup(self._layout, self._cgroup_root, self._layout.controllers)
        for directory in root.directories() if self._layout.version else ():
            with contextlib.suppress(OSError):
                os.rmdir(directory)

    async def _ensure_zygote(self) -> Connection:
        async with self._starting_zygote:
            if self._zygote is None or not self._has_zygote():
                self._zygote = await self._start_zygote()
                if self._opened:
                    await self._keep_spare()
            return self._zygote

    def _has_zygote(self) -> bool:
        return self._zygote is not None and not self._zygote.ended.done()

    def _end_zygote(self) -> None:
        """Its shims live on."""
        if self._zygote_process is not None:
            self._zygote_process.kill()
        if self._zygote is not None:
            self._zygote.close()

    async def _keep_spare(self) -> None:
        """Have the zygote keep a shim ready for what most containers are."""
        usual = ("user",) if self.facts.user_namespaces else ()
        linux = {"namespaces": [{"type": kind} for kind in (*usual, *_USUAL_NAMESPACES)]}
        if self._zygote is not None:
            await self._zygote.send({"spare": operations.birth_flags(linux)})

    async def _start_zygote(self) -> Connection:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        package_parent = os.path.dirname(os.path.dirname(os.path.dirname(__file__)))
        command = [self._interpreter, "-I", "-S", "-X", "utf8", "-c", _ZYGOTE]
        with theirs:
            if self._zygote_process is not None:
                self._zygote_process.poll()  # bury the one that died
            try:
                program = interpreter.opened(self._interpreter)
            except OSError as error:
                why = f"{self._interpreter} cannot be mounted read-only: {error.strerror}"
                raise Unavailable(f"the container runtime's zygote did not start: {why}") from error
            try:
                # By the loop's own thread: the zygote dies with the thread that started it.
                self._zygote_process = subprocess.Popen(  # noqa: ASYNC220
                    [*command, package_parent, str(theirs.fileno())],
                    executable=f"/proc/self/fd/{program}",
                    pass_fds=[theirs.fileno(), program],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,  # shims would hold the daemon's open, for years
                    start_new_session=True,
                )
            finally:
                os.close(program)
        connection = Connection(ours)
        ready: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        connection.on_event = lambda message: settle(ready, message)
        try:
            async with asyncio.timeout(CREATE_DEADLINE_SECONDS):
                await asyncio.wait((ready, connection.ended), return_when=asyncio.FIRST_COMPLETED)
        except TimeoutError as error:
            connection.close()
            raise Unavailable("the container runtime's zygote does not answer") from error
        if not ready.done():
            raise Unavailable("the container runtime's zygote did not start")
        return connection

    async def _ask_zygote(
        self, message: Message, descriptors: Sequence[int] = ()
    ) -> tuple[Connection, asyncio.Future[Message]]:
        """Have it fork somebody: the connection to that, and the answer to come."""
        zygote = await self._ensure_zygote()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        connection = Connection(ours)
        number, answer = connection.next_id()
        try:
            with theirs:
                await zygote.send({"id": number, **message}, [theirs.fileno(), *descriptors])
        except ShimGone:
            connection.close()
            zygote.close()  # we may know before the loop has seen its end
            raise
        except BaseException:
            connection.close()
            raise
        return connection, answer

    async def _probe(self) -> Message:
        connection, answer = await self._ask_zygote(
            {"op": "probe", "directory": self._probe_directory}
        )
        try:
            async with asyncio.timeout(CREATE_DEADLINE_SECONDS):
                return await answer
        except (ShimGone, TimeoutError):
            return {"user_namespaces": False, "reason": "the probe died"}
        finally:
            connection.close()

    def on_exit(self, callback: Callable[[Exit], None]) -> None:
        self._exit_callbacks.append(callback)

    def group(self, container_id: str) -> cgroup.Cgroup | None:
        """A running container's, for statistics."""
        shim = self._shims.get(container_id)
        return shim.group if shim is not None else None

    # -- create and start ------------------------------------------------------------------------

    async def create(self, workload: Workload, *, hold: Sequence[int] = ()) -> Created:
        await self._settled(workload.id)
        if workload.id in self._shims:
            raise Conflict(f"container {workload.id} exists already")
        config = await self._plan(workload)
        request = {
            "op": "create",
            "container_id": workload.id,
            "directory": self._survivors.directory(workload.id),
            "config": config,
        }
        gone = ShimGone()
        for _ in range(CREATE_ATTEMPTS):
            try:
                return await self._create(request, hold)
            except ShimGone as error:  # it or the zygote was killed, and our request with it
                gone = error
        if self._has_zygote():
            self._raise(gone, "create")
        raise Unavailable("the container runtime's zygote died") from gone

    async def _create(self, request: Message, hold: Sequence[int]) -> Created:
        """Raises ShimGone when the zygote, or the shim, dies over it; else in the user's words."""
        try:
            async with asyncio.timeout(CREATE_DEADLINE_SECONDS):
                connection, answer = await self._ask_zygote(request, hold)
        except TimeoutError as error:
            self._end_zygote()
            raise Unavailable("the container runtime's zygote does not answer") from error
        shim = self._adopt(request["container_id"], connection)
        shim.group = self._group(request["config"])
        try:
            async with asyncio.timeout(CREATE_DEADLINE_SECONDS):
                created = checked(await answer)
        except BaseException as error:
            if isinstance(error, TimeoutError):
                self._end_zygote()  # it may be that which hangs: the next create has a new one
            await self._abandon(shim)
            if isinstance(error, ShimGone):
                raise
            self._raise(error, "create")
        shim.process = Process(created["pid"], created["start_ticks"])
        return shim.created

    async def _plan(self, workload: Workload) -> dict[str, Any]:
        asks_host = (
            workload.mounts or workload.host_config.devices or workload.host_config.privileged
        )
        if asks_host:
            observed = await may_hang(host.observe, workload)
        else:
            observed = host.observe(workload)
        config = spec.plan(workload, self.facts, observed)
        if config["tiffin"]["init"]:
            add_init(config)
        if not is_own(workload.host_config.runtime):
            name = workload.host_config.runtime
            return programs.hire(config, name, self.programs, self._layout)
        profile = config["linux"].pop("seccomp", None)
        if profile is not None:
            # Three milliseconds for the first of its kind; the rest come from the cache.
            program = seccomp.compile_cached(profile, config["tiffin"]["seccomp"])
            config["tiffin"]["seccomp_flags"] = sum(
                seccomp.FLAGS.get(name, 0) for name in profile.get("flags") or ()
            )
            config["tiffin"]["seccomp_program"] = base64.b64encode(program).decode()
        return config

    def knows(self, runtime: str) -> bool:
        return is_own(runtime) or find(runtime, self.programs) is not None

    def _group(self, config: dict[str, Any]) -> cgroup.Cgroup | None:
        path = config["linux"].get("cgroupsPath")
        if not path or not self._layout.version:
            return None
        return cgroup.Cgroup(self._layout, path, tuple(config["tiffin"]["cgroup"]["controllers"]))

    async def _abandon(self, shim: _Shim) -> None:
        """A create that failed: the shim has undone everything, or is made to."""
        self._shims.pop(shim.container_id, None)
        with contextlib.suppress(ShimFailed, ShimGone, TimeoutError):
            await shim.connection.request("remove", deadline=KILL_DEADLINE_SECONDS)
        shim.connection.close()
        await asyncio.to_thread(self._clean, shim.container_id, shim.group)

    def _adopt(self, container_id: str, connection: Connection) -> _Shim:
        shim = _Shim(container_id, connection)
        self._shims[container_id] = shim
        connection.on_event = lambda message: self._on_event(shim, message)
        connection.ended.add_done_callback(lambda _future: self._on_gone(shim))
        return shim

    async def start(self, container_id: str) -> None:
        shim = self._get(container_id)
        shim.running = True
        try:
            await shim.connection.request("start", deadline=START_DEADLINE_SECONDS)
        except BaseException as error:  # noqa: BLE001 (raised again, in words)
            shim.running = False
            await self._abandon(shim)
            self._raise(error, "start")
        with contextlib.suppress(ShimGone):
            await self._keep_spare()  # now, while the program runs: the next start may be soon

    def _raise(self, error: BaseException, what: str) -> None:
        """In the user's words."""
        if isinstance(error, ShimFailed):
            raise cannot_start(error.report) from error
        if isinstance(error, ShimGone):
            raise CannotStart(f"{CREATE_FAILED}the shim died: unknown", operation=what) from error
        if isinstance(error, TimeoutError):
            raise Unavailable(f"the container's shim did not {what} it in time") from error
        raise error

    # -- streams ---------------------------------------------------------------------------------

    async def attach(
        self, container_id: str, connection: int, attachment: Attachment, *, early: bytes = b""
    ) -> None:
        shim = self._get(container_id)
        await self._ask(shim, "attach", _client_of(attachment, early), [connection])

    async def resize(self, container_id: str, exec_id: str, rows: int, columns: int) -> None:
        fields = {"exec_id": exec_id, "rows": rows, "columns": columns}
        await self._ask(self._get(container_id), "resize", fields)

    async def exec(
        self,
        container_id: str,
        process: ExecProcess,
        connection: int | None,
        attachment: Attachment,
        *,
        early: bytes = b"",
    ) -> int:
        shim = self._get(container_id)
        fields: Message = {
            "exec_id": process.exec_id,
            "user": process.user,
            "process": self._exec_process(process),
            "record": process.record,
        }
        descriptors = []
        if connection is not None:
            fields |= _client_of(attachment, early)
            descriptors = [connection]
        self._check_known(shim, "exec")
        try:
            answer = await shim.connection.request_of_living(
                "exec", fields, descriptors, deadline=START_DEADLINE_SECONDS
            )
        except ShimFailed as failed:
            raise cannot_exec(failed.report) from failed
        except ShimGone as error:
            raise Conflict(f"container {container_id} is not running") from error
        except TimeoutError as error:
            raise Unavailable(
                f"the shim of container {container_id} did not start the exec in time"
            ) from error
        return int(answer["pid"])

    def _exec_process(self, process: ExecProcess) -> dict[str, Any]:
        planned: dict[str, Any] = {
            "args": list(process.argv),
            "env": spec.environment(process.env, "", tty=process.tty),
            "cwd": process.working_dir or "/",
            "terminal": process.tty,
            "user": {"uid": 0, "gid": 0},
        }
        planned["env"] = [word for word in planned["env"] if word != "HOSTNAME="]
        if process.console_size is not None:
            rows, columns = process.console_size
            planned["consoleSize"] = {"height": rows, "width": columns}
        if process.privileged:
            names = list(capabilities.choose((), (), self.facts.capabilities, privileged=True))
            kinds = ("bounding", "effective", "permitted")
            planned["capabilities"] = dict.fromkeys(kinds, names)
        return planned

    # -- clients that wait -----------------------------------------------------------------------

    async def wait(self, container_id: str, connection: int, answer: ExitAnswer) -> None:
        shim = self._get(container_id)
        fields = {
            "before": answer.before,
            "after": answer.after,
            "of_removal": answer.of_removal,
        }
        shim.owed.count(1, of_removal=answer.of_removal)
        try:
            await self._ask(shim, "wait", fields, [connection])
        except BaseException:
            shim.owed.count(-1, of_removal=answer.of_removal)
            raise

    async def tell(self, container_id: str, *, removed: bool) -> None:
        for shim in [shim for shim in self._parted if shim.container_id == container_id]:
            await shim.owed.tell(removed=removed)
            self._part(shim)

    async def serving(self) -> None:
        self._serving = True
        for shim in (*self._shims.values(), *self._parted):
            await shim.owed.serving()
            self._part(shim)

    def _part(self, shim: _Shim) -> None:
        """From a shim that was let go of, as soon as it owes nothing."""
        if shim in self._parted and not shim.owed:
            self._parted.remove(shim)
            if shim.released.done():
                shim.connection.close()

    # -- signals, cgroups ------------------------------------------------------------------------

    async def kill(self, container_id: str, number: int) -> None:
        shim = self._get(container_id)
        try:
            await self._ask(shim, "kill", {"signal": number})
        except (Unavailable, EngineFailure):
            await self._kill_past(shim, number)
        if number == signal.SIGKILL and shim.paused and shim.group is not None:
            shim.paused = False
            with contextlib.suppress(Conflict):
                await self._freezer(shim, "kill", shim.group.thaw)  # what is frozen does not die

    async def _kill_past(self, shim: _Shim, number: int) -> None:
        """A signal takes no shim, and what SIGKILL is for shall not need one that does not answer.

        Without its shim a container cannot go on: it is buried when the connection breaks.
        """
        log.warning("shim does not answer container=%s signal=%s", shim.container_id, number)
        if number != signal.SIGKILL:
            shim.process.signal(number)
            return
        await asyncio.to_thread(_kill_with_shim, shim)

    async def pause(self, container_id: str) -> None:
        shim = self._get(container_id)
        if shim.group is None:
            raise EngineFailure("cannot pause: no freezer cgroup")
        await self._freezer(shim, "pause", shim.group.freeze)
        shim.paused = True

    async def unpause(self, container_id: str) -> None:
        shim = self._get(container_id)
        if shim.group is not None:
            await self._freezer(shim, "unpause", shim.group.thaw)
        shim.paused = False

    @staticmethod
    async def _freezer(shim: _Shim, what: str, act: Callable[[], None]) -> None:
        try:
            await asyncio.to_thread(act)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENODEV):  # it ended, and its cgroup with it
                raise Conflict(f"container {shim.container_id} is not running") from error
            words = error.strerror or str(error)
            raise EngineFailure(f"Cannot {what} container {shim.container_id}: {words}") from error

    def is_paused(self, container_id: str) -> bool:
        shim = self._shims.get(container_id)
        return shim is not None and shim.paused

    async def limit(self, container_id: str, host: HostConfig) -> None:
        shim = self._get(container_id)
        if shim.group is None:
            raise EngineFailure("there are no cgroups to limit it by")
        numbers = devices.numbers(limits.limited_devices(host))
        resources = limits.resources(host, self.facts, numbers=numbers)
        del resources["devices"]
        group = shim.group.with_controllers(tuple(limits.controllers(host, self.facts)))
        try:
            if group.controllers != shim.group.controllers:
                await self._widen(shim, group)
            await asyncio.to_thread(group.limit, resources)
        except OSError as error:
            raise cannot_limit(error) from error

    async def hold(
        self, container_id: str, descriptors: Sequence[int], keep: Sequence[PublishedPort]
    ) -> None:
        shim = self._get(container_id)
        names = [[port.protocol, port.host_ip, port.host_port] for port in keep]
        try:
            await self._ask(shim, "hold", {"keep": names}, descriptors)
        except EngineFailure as error:
            if "unknown request" not in error.message:
                raise
            raise Conflict(
                f"container {container_id} was started by an older release: restart it first"
            ) from error

    async def _widen(self, shim: _Shim, group: cgroup.Cgroup) -> None:
        """On v1 a container is only where it had limits at its start: into the others as well."""
        await asyncio.to_thread(group.create)
        shim.group = group
        if shim.knows("widen"):  # an older shim's execs stay out
            with contextlib.suppress(EngineFailure):
                await self._ask(shim, "widen", {"controllers": list(group.controllers)})
        await asyncio.to_thread(group.gather)

    async def pids(self, container_id: str) -> list[int]:
        shim = self._get(container_id)
        if shim.group is None:
            return [shim.process.pid]
        return await asyncio.to_thread(shim.group.pids)

    async def _ask(
        self, shim: _Shim, op: str, fields: Message, descriptors: Sequence[int] = ()
    ) -> Message:
        self._check_known(shim, op)
        try:
            return await shim.connection.request(op, fields, descriptors)
        except ShimFailed as failed:
            if failed.report.get("errno") == errno.ESRCH:
                raise Conflict(f"container {shim.container_id} is not running") from failed
            raise EngineFailure(failed.report["message"]) from failed
        except ShimGone as error:
            raise Conflict(f"container {shim.container_id} is not running") from error
        except TimeoutError as error:
            raise Unavailable(
                f"the shim of container {shim.container_id} does not answer"
            ) from error

    @staticmethod
    def _check_known(shim: _Shim, op: str) -> None:
        if not shim.knows(op):
            raise Conflict(
                f"container {shim.container_id} was started by another release of tiffin, whose "
                f"shim speaks protocol {shim.protocol}: no {op} until it is started again"
            )

    def _get(self, container_id: str) -> _Shim:
        shim = self._shims.get(container_id)
        if shim is None:
            raise Conflict(f"container {container_id} is not running")
        return shim

    # -- ends ------------------------------------------------------------------------------------

    def _on_event(self, shim: _Shim, message: Message) -> None:
        if message.get("event") == "exit":
            ended = exit_of(shim.container_id, message)
            if ended is not None:
                self._note_exit(shim, ended)
        elif message.get("event") == "released":
            settle(shim.released, None)
        elif "hello" in message:
            self._recognise(shim, message)

    def _note_exit(self, shim: _Shim, exit_: Exit) -> None:
        if not exit_.exec_id:
            if shim.exit is not None:
                return
            shim.exit = exit_
            settle(shim.exited, None)
        shim.execs = [  # told of, and not fetched yet
            msgspec.structs.replace(known, exit=exit_) if known.exec_id == exit_.exec_id else known
            for known in shim.execs
        ]
        for callback in self._exit_callbacks:
            callback(exit_)

    def _on_gone(self, shim: _Shim) -> None:
        """The connection has ended; without an exit before, the shim was killed."""
        settle(shim.released, None)
        if shim in self._parted:
            self._parted.remove(shim)
        if shim.exit is not None or self._shims.get(shim.container_id) is not shim:
            return
        if shim.running:
            self._own(f"bury {shim.container_id}", self._bury(shim))

    def _own(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """What nobody waits for, but the end of the daemon."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._cleanups[name] = task
        task.add_done_callback(lambda _task: self._cleanups.pop(name, None))

    async def _bury(self, shim: _Shim) -> None:
        """A container without its shim has no log, no stdin and no exit code any more: it ends."""
        recorded = self._survivors.exit(shim.container_id)
        if recorded is None:
            words = self._survivors.last_words(shim.container_id)
            log.error("shim died container=%s: killing what ran in it %s", shim.container_id, words)
            await asyncio.to_thread(kill_all, shim.process, shim.group)
            recorded = shim_killed(shim.container_id)
        self._note_exit(shim, recorded)

    async def remove(self, container_id: str) -> None:
        shim = self._shims.get(container_id)
        if shim is None:
            await self._settled(container_id)
            if not os.path.isdir(self._survivors.directory(container_id)):
                return
            await self.reconnect(container_id)
            shim = self._shims.get(container_id)
        if shim is not None and shim.exit is None:
            await self._end(shim)
        if self._shims.pop(container_id, None) is not None and shim is not None and shim.owed:
            self._parted.append(shim)
        task = asyncio.get_running_loop().create_task(self._clean_later(container_id, shim))
        self._cleanups[container_id] = task

    async def _end(self, shim: _Shim) -> None:
        if shim.paused and shim.group is not None:
            with contextlib.suppress(OSError):
                await asyncio.to_thread(shim.group.thaw)
        try:
            await shim.connection.request("remove", deadline=KILL_DEADLINE_SECONDS)
            async with asyncio.timeout(KILL_DEADLINE_SECONDS):
                await asyncio.wait(
                    (shim.exited, shim.connection.ended), return_when=asyncio.FIRST_COMPLETED
                )
        except ShimGone:
            pass
        except (ShimFailed, TimeoutError):
            log.warning("shim does not end its container=%s", shim.container_id)
            await asyncio.to_thread(_kill_with_shim, shim)

    async def _clean_later(self, container_id: str, shim: _Shim | None) -> None:
        """Off the path of whoever removes: a new container of that id waits for it."""
        try:
            if shim is not None:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(KILL_DEADLINE_SECONDS):
                        await shim.released
                # It may go on serving a client that reads slowly.
                if shim not in self._parted:
                    shim.connection.close()
            group = shim.group if shim is not None else None
            await asyncio.to_thread(self._clean, container_id, group)
        finally:
            if self._cleanups.get(container_id) is asyncio.current_task():
                del self._cleanups[container_id]

    def _clean(self, container_id: str, group: cgroup.Cgroup | None) -> None:
        directory = self._survivors.directory(container_id)
        group = group or self._survivors.group(container_id)
        if group is not None:
            try:
                group.kill()
                group.remove()
            except OSError as error:
                log.warning("cgroup stays container=%s: %s", container_id, error)
            programs.remove_named(group.path)
        shutil.rmtree(directory, ignore_errors=True)

    async def _settled(self, container_id: str) -> None:
        """Until what the container's last run has left is gone."""
        cleanup = self._cleanups.get(container_id)
        if cleanup is not None:
            await asyncio.wait((cleanup,))

    # -- what a crash may have left ----------------------------------------------------------------

    def tracks(self, container_id: str) -> bool:
        """Whether it is alive, just made, or just being cleaned up."""
        return container_id in self._shims or container_id in self._cleanups

    def shims(self) -> dict[int, str]:
        """Shims of this RUN_ROOT that hold a living container: pid -> container id."""
        return self._survivors.shims()

    def end_shim(self, pid: int) -> None:
        """With its container. Checked once more: by now the pid may be another's."""
        if pid in self._survivors.shims():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def cgroups(self) -> set[str]:
        """Ids that have a cgroup below ours."""
        root = cgroup.Cgroup(self._layout, self._cgroup_root, self._layout.controllers)
        found: set[str] = set()
        for directory in root.directories() if self._layout.version else ():
            with contextlib.suppress(OSError):
                found.update(filter(is_container_id, os.listdir(directory)))
        return found

    def end_cgroup(self, container_id: str) -> None:
        """With all that is in it. Raises OSError."""
        path = f"{self._cgroup_root}/{container_id}"
        group = cgroup.Cgroup(self._layout, path, self._layout.controllers)
        # On v1 it is only where the container had limits.
        present = [name for name in group.controllers if os.path.isdir(group.directory(name))]
        group = cgroup.Cgroup(self._layout, path, tuple(present))
        group.kill()
        group.remove()

    # -- after a daemon's restart ----------------------------------------------------------------

    async def known(self) -> list[str]:
        """Ids of all that has a directory in RUN_ROOT: running, or left by a crash."""
        return await asyncio.to_thread(self._survivors.known)

    async def reconnect(self, container_id: str) -> Created | Exit | None:
        known = self._shims.get(container_id)
        if known is not None:
            return known.exit or known.created
        connection = self._survivors.connect(container_id)
        if connection is None:
            return self._survivors.exit(container_id) or await self._end_orphan(container_id)
        shim = self._adopt(container_id, connection)
        await asyncio.wait(
            (shim.greeted, connection.ended),
            timeout=HELLO_DEADLINE_SECONDS,
            return_when=asyncio.FIRST_COMPLETED,
        )
        if shim.greeted.done():
            return shim.exit or shim.created
        if connection.ended.done():  # it was just leaving
            self._shims.pop(container_id, None)
            return self._survivors.exit(container_id)
        return self._recall(shim)

    def found_execs(self, container_id: str) -> list[KnownExec]:
        shim = self._shims.get(container_id)
        if shim is None:
            return self._survivors.execs(container_id)
        found, shim.execs = shim.execs, []
        return found

    def _recognise(self, shim: _Shim, hello: Message) -> None:
        """Take its word for what it is, also where that comes late."""
        self._learn_protocol(shim, hello)
        shim.process = process_of(hello) or shim.process
        shim.group = self._survivors.group_of(hello) or shim.group
        shim.execs = known_execs(shim.container_id, hello)
        shim.owed.recognise(hello)
        if self._serving:
            self._own(f"greet {shim.container_id}", shim.owed.serving())
        ended = exit_of(shim.container_id, hello["exit"]) if hello.get("exit") else None
        shim.running = ended is None
        self._see_freeze(shim)
        settle(shim.greeted, None)
        if ended is not None:
            settle(shim.released, None)  # it has said so, before we came
            self._note_exit(shim, ended)

    def _learn_protocol(self, shim: _Shim, hello: Message) -> None:
        shim.protocol = hello["hello"] if isinstance(hello["hello"], int) else 0
        if shim.protocol == 1:
            shim.requests = _FIRST_REQUESTS
        elif OLDEST_PROTOCOL <= shim.protocol <= PROTOCOL:
            shim.requests = frozenset(hello.get("requests") or ())
        else:
            log.warning(
                "shim of another release container=%s protocol=%s: it can be waited for and ended",
                *(shim.container_id, hello["hello"]),
            )
            shim.requests = _ETERNAL_REQUESTS

    def _recall(self, shim: _Shim) -> Created | None:
        """One that does not answer, by its record. It may later: then its hello is heard."""
        recorded = self._survivors.process(shim.container_id)
        if recorded is None:
            return None
        log.warning("shim does not answer container=%s: believing its record", shim.container_id)
        shim.process = recorded
        shim.group = self._survivors.group(shim.container_id)
        shim.running = True
        self._see_freeze(shim)
        return shim.created

    @staticmethod
    def _see_freeze(shim: _Shim) -> None:
        if shim.running and shim.group is not None:
            with contextlib.suppress(OSError):
                shim.paused = shim.group.frozen()

    async def _end_orphan(self, container_id: str) -> Exit | None:
        """A shim that wrote no exit.json was killed; what may run on without it ends, and is told.

        None where nothing says that there was one in this boot.
        """
        process = self._survivors.process(container_id)
        if process is None:
            return None
        log.error("shim was killed container=%s: killing what ran in it", container_id)
        await asyncio.to_thread(kill_all, process, self._survivors.group(container_id))
        return shim_killed(container_id)


# Programs that do what --init asks for: pass signals on, bury orphans. Static ones only.
_INIT_PROGRAMS = ("docker-init", "tini-static", "catatonit")
_INIT_TARGET = "/sbin/docker-init"


def add_init(config: dict[str, Any]) -> None:
    """--init: the host's docker-init becomes the first process. CannotStart if there is none."""
    found = next(filter(None, map(shutil.which, _INIT_PROGRAMS)), None)
    if found is None:
        raise cannot_start(
            {
                "message": 'exec: "docker-init": executable file not found in $PATH',
                "operation": "exec docker-init",
                "errno": errno.ENOENT,
                "exit_code": 127,
            }
        )
    options = ["bind", "ro", "rprivate"]
    config["mounts"].append(
        {"destination": _INIT_TARGET, "type": "bind", "source": found, "options": options}
    )
    config["process"]["args"] = [_INIT_TARGET, "--", *config["process"]["args"]]


def _client_of(attachment: Attachment, early: bytes) -> Message:
    return {
        "attachment": {
            "stdin": attachment.stdin,
            "stdout": attachment.stdout,
            "stderr": attachment.stderr,
        },
        "framed": attachment.framed,
        "detach_keys": base64.b64encode(attachment.detach_keys).decode(),
        "early": base64.b64encode(early).decode(),
    }


def _kill_with_shim(shim: _Shim) -> None:
    kill_shim(shim.process)
    kill_all(shim.process, shim.group)
