"""The daemon's side of the runtime: asks the zygote for shims and talks to them.

Implements engine.ports.ContainerRuntime. What is known of a container lives in its shim and in
RUN_ROOT/<id>; the daemon may die at any point and `reconnect` finds both again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

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
from tiffin.kernel import cgroup
from tiffin.runtime import devices, host, limits, operations, planning, programs
from tiffin.runtime.cleanups import Cleanups
from tiffin.runtime.connection import ShimFailed, ShimGone, checked
from tiffin.runtime.facts import HostFacts
from tiffin.runtime.messages import Message
from tiffin.runtime.replays import HeldClient
from tiffin.runtime.shimclient import START_DEADLINE_SECONDS, Shim
from tiffin.runtime.shims import Shims
from tiffin.runtime.survivors import Process, Survivors
from tiffin.runtime.wording import CREATE_FAILED, cannot_limit, cannot_start
from tiffin.runtime.zygoteclient import ZygoteClient

log = logging.getLogger(__name__)

CREATE_DEADLINE_SECONDS = 30.0
_MAX_RECORD = 32 * 1024  # that a shim keeps of its run
CREATE_ATTEMPTS = 3  # each on a zygote that was there when it began
PROBE_ATTEMPTS = 3

_USUAL_NAMESPACES = ("cgroup", "ipc", "mount", "network", "pid", "uts")


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
        labelled: bool = False,
    ) -> None:
        self._labelled = labelled
        self._run_root = os.path.abspath(run_root)
        self._cgroup_root = cgroup_root
        self._probe_directory = probe_directory or self._run_root
        self.survivors = Survivors(self._run_root, cgroup_root)
        self._zygote = ZygoteClient(interpreter)
        self._shims = Shims(self.survivors)
        self._cleanups = Cleanups(self.survivors)
        self._usual_flags = 0  # of what a shim is kept ready for
        self.facts = HostFacts()
        self.install(others or {})
        self.user_namespaces_refusal = ""  # why there are none, for `info`

    # -- opening and closing ---------------------------------------------------------------------

    def launch(self) -> None:
        """Start the zygote, which then gets ready by itself. Raises Unavailable."""
        os.makedirs(self._run_root, 0o711, exist_ok=True)
        self._zygote.launch()

    async def open(self) -> None:
        """Find out what this host allows. Starts the zygote, if nobody has launched it before."""
        await asyncio.to_thread(self.survivors.open)
        answer = await self._probe()
        self.user_namespaces_refusal = answer["reason"]
        self.facts = await asyncio.to_thread(
            host.read_facts,
            self._cgroup_root,
            user_namespaces=bool(answer["user_namespaces"]),
            labelled=self._labelled,
        )
        self.survivors.layout = await asyncio.to_thread(cgroup.detect)
        # A shim is kept ready for what most containers are.
        usual = ("user",) if self.facts.user_namespaces else ()
        linux = {"namespaces": [{"type": kind} for kind in (*usual, *_USUAL_NAMESPACES)]}
        self._usual_flags = operations.birth_flags(linux)
        with contextlib.suppress(ShimGone):  # killed: the next one is told when it is there
            await self._zygote.keep_spare(self._usual_flags)

    async def _probe(self) -> Message:
        """What this host allows. A death is no answer unless it is one each time.

        Else whoever is killed in the wrong moment would have us serve without user namespaces.
        """
        for _ in range(PROBE_ATTEMPTS):
            with contextlib.suppress(ShimGone, TimeoutError):
                return await self._probe_once()
        return {"user_namespaces": False, "reason": "the probe died"}

    async def _probe_once(self) -> Message:
        """Raises ShimGone, TimeoutError."""
        connection, answer = await self._zygote.ask(
            {"op": "probe", "directory": self._probe_directory}
        )
        try:
            async with asyncio.timeout(CREATE_DEADLINE_SECONDS):
                return await answer
        finally:
            connection.close()

    async def close(self) -> None:
        """End the zygote and let go of the shims, which live on."""
        await self._cleanups.close()
        await self._shims.settle()
        self._shims.close()
        await asyncio.to_thread(self.survivors.remove_cgroup_root)
        await self._zygote.close()

    def install(self, others: Programs) -> None:
        """`others`: runtimes besides the usual ones, from now on."""
        self.programs = programs.installed(others)

    def knows(self, runtime: str) -> bool:
        return is_own(runtime) or find(runtime, self.programs) is not None

    def on_exit(self, callback: Callable[[Exit], None]) -> None:
        self._shims.on_exit(callback)

    def on_detached(self, callback: Callable[[str, str], None]) -> None:
        self._shims.on_detached = callback

    # -- create, start, remove -------------------------------------------------------------------

    async def create(self, workload: Workload, *, hold: Sequence[int] = ()) -> Created:
        await self._cleanups.settled(workload.id)
        if workload.id in self._shims:
            raise Conflict(f"container {workload.id} exists already")
        layout = self.survivors.layout
        config = await planning.config_of(workload, self.facts, self.programs, layout)
        request = {
            "op": "create",
            "usual": self._is_usual(config),
            "container_id": workload.id,
            "directory": self.survivors.directory(workload.id),
            "config": config,
        }
        gone = ShimGone()
        for _ in range(CREATE_ATTEMPTS):
            try:
                return await self._create(request, hold)
            except ShimGone as error:  # it or the zygote was killed, and our request with it
                gone = error
        if self._zygote.is_there():
            _raise(gone, "create")
        raise Unavailable("the container runtime's zygote died") from gone

    def _is_usual(self, config: dict[str, Any]) -> bool:
        """Whether what is kept ready will do for it."""
        flags = operations.birth_flags(config["linux"])
        joins = operations.joined_namespaces(config["linux"])
        return flags == self._usual_flags and not joins and not config["tiffin"].get("runtime")

    async def _create(self, request: Message, hold: Sequence[int]) -> Created:
        """Raises ShimGone when the zygote, or the shim, dies over it; else in the user's words."""
        try:
            async with asyncio.timeout(CREATE_DEADLINE_SECONDS):
                connection, answer = await self._zygote.ask(request, hold)
        except TimeoutError as error:
            self._zygote.end()
            raise Unavailable("the container runtime's zygote does not answer") from error
        shim = self._shims.adopt(request["container_id"], connection)
        shim.group = self._group(request["config"])
        try:
            async with asyncio.timeout(CREATE_DEADLINE_SECONDS):
                created = checked(await answer)
        except BaseException as error:
            if isinstance(error, TimeoutError):
                self._zygote.end()  # it may be that which hangs: the next create has a new one
            await self._abandon(shim, error)
            if isinstance(error, ShimGone):
                raise
            _raise(error, "create")
        shim.process = Process(created["pid"], created["start_ticks"])
        return shim.created

    def _group(self, config: dict[str, Any]) -> cgroup.Cgroup | None:
        path, layout = config["linux"].get("cgroupsPath"), self.survivors.layout
        if not path or not layout.version:
            return None
        return cgroup.Cgroup(layout, path, tuple(config["tiffin"]["cgroup"]["controllers"]))

    async def _abandon(self, shim: Shim, error: BaseException) -> None:
        if isinstance(error, ShimGone):  # before its directory goes, and its words with it
            words = self.survivors.last_words(shim.container_id)
            log.error(
                "shim died container=%s before its container ran %s", shim.container_id, words
            )
        await self._shims.abandon(shim)
        await asyncio.to_thread(self._cleanups.clean, shim.container_id, shim.group)

    async def start(self, container_id: str, *, record: str = "") -> None:
        shim = self._shims.get(container_id)
        shim.running = True
        fields = {"record": record} if len(record) <= _MAX_RECORD else {}
        try:
            await shim.connection.request("start", fields, deadline=START_DEADLINE_SECONDS)
        except BaseException as error:  # noqa: BLE001 (raised again, in words)
            shim.running = False
            await self._abandon(shim, error)
            _raise(error, "start")
        with contextlib.suppress(ShimGone):
            # Now, while the program runs: the next start may be soon.
            await self._zygote.keep_spare()

    async def remove(self, container_id: str) -> None:
        shim = self._shims.find(container_id)
        if shim is None:
            await self._cleanups.settled(container_id)
            if not os.path.isdir(self.survivors.directory(container_id)):
                return
            await self.reconnect(container_id)
            shim = self._shims.find(container_id)
        if shim is not None and shim.exit is None:
            await shim.end()
        if shim is not None:
            self._shims.let_go(shim)
        self._cleanups.begin(container_id, shim)

    async def cleaned_up(self, container_id: str) -> None:
        """Until what `remove` left to be done is done."""
        await self._cleanups.settled(container_id)

    # -- streams, execs, clients that wait -------------------------------------------------------

    async def attach(
        self, container_id: str, connection: int, attachment: Attachment, *, early: bytes = b""
    ) -> None:
        await self._shims.get(container_id).attach(connection, attachment, early)

    async def hold_client(
        self, container_id: str, connection: int, attachment: Attachment, *, early: bytes = b""
    ) -> HeldClient | None:
        return await self._shims.hold_client(container_id, connection, attachment, early)

    async def resize(self, container_id: str, exec_id: str, rows: int, columns: int) -> None:
        fields = {"exec_id": exec_id, "rows": rows, "columns": columns}
        await self._shims.get(container_id).ask("resize", fields)

    def ready_exec(self, container_id: str, process: ExecProcess, *, stdin: bool) -> None:
        shim = self._shims.find(container_id)
        if shim is not None and shim.knows("ready"):
            asked = {"op": "ready", "stdin": stdin, **self._exec_fields(process)}
            shim.connection.mention(asked)

    def _exec_fields(self, process: ExecProcess) -> Message:
        return {
            "exec_id": process.exec_id,
            "user": process.user,
            "process": planning.exec_process(process, self.facts),
        }

    async def exec(
        self,
        container_id: str,
        process: ExecProcess,
        connection: int | None,
        attachment: Attachment,
        *,
        early: bytes = b"",
    ) -> int:
        fields = {"record": process.record, **self._exec_fields(process)}
        return await self._shims.get(container_id).exec(fields, connection, attachment, early)

    async def wait(self, container_id: str, connection: int, answer: ExitAnswer) -> None:
        await self._shims.get(container_id).wait(connection, answer)

    async def tell(self, container_id: str, *, removed: bool) -> None:
        await self._shims.tell(container_id, removed=removed)

    async def serving(self) -> None:
        await self._shims.serving()

    async def hold(
        self, container_id: str, descriptors: Sequence[int], keep: Sequence[PublishedPort]
    ) -> None:
        names = [[port.protocol, port.host_ip, port.host_port] for port in keep]
        await self._shims.get(container_id).hold(descriptors, names)

    # -- signals, cgroups ------------------------------------------------------------------------

    async def kill(self, container_id: str, number: int) -> None:
        await self._shims.get(container_id).kill(number)

    async def pause(self, container_id: str) -> None:
        await self._shims.get(container_id).pause()

    async def unpause(self, container_id: str) -> None:
        await self._shims.get(container_id).unpause()

    def is_paused(self, container_id: str) -> bool:
        shim = self._shims.find(container_id)
        return shim is not None and shim.paused

    async def limit(self, container_id: str, host: HostConfig) -> None:
        shim = self._shims.get(container_id)
        if shim.group is None:
            raise EngineFailure("there are no cgroups to limit it by")
        numbers = devices.numbers(limits.limited_devices(host))
        resources = limits.resources(host, self.facts, numbers=numbers)
        del resources["devices"]
        group = shim.group.with_controllers(tuple(limits.controllers(host, self.facts)))
        try:
            if group.controllers != shim.group.controllers:
                await shim.widen(group)
            await asyncio.to_thread(group.limit, resources)
        except OSError as error:
            raise cannot_limit(error) from error

    async def count_disks(self, container_id: str) -> None:
        """On v1 by the blkio controller, whose cgroup would cost each start half a millisecond."""
        shim = self._shims.find(container_id)
        if shim is None or shim.group is None or shim.group.layout.version == 2:
            return
        group = shim.group.with_controllers(("blkio",))
        if group.controllers != shim.group.controllers:
            with contextlib.suppress(OSError):
                await shim.widen(group)

    def group(self, container_id: str) -> cgroup.Cgroup | None:
        """A running container's, for statistics."""
        shim = self._shims.find(container_id)
        return shim.group if shim is not None else None

    async def pids(self, container_id: str) -> list[int]:
        shim = self._shims.get(container_id)
        if shim.group is None:
            return [shim.process.pid]
        return await asyncio.to_thread(shim.group.pids)

    # -- after a daemon's restart, and after a crash ---------------------------------------------

    async def reconnect(self, container_id: str) -> Created | Exit | None:
        return await self._shims.reconnect(container_id)

    def found_run(self, container_id: str) -> str:
        return self._shims.found_run(container_id)

    def found_execs(self, container_id: str) -> list[KnownExec]:
        return self._shims.found_execs(container_id)

    def tracks(self, container_id: str) -> bool:
        """Whether it is alive, just made, or just being cleaned up."""
        return container_id in self._shims or container_id in self._cleanups


def _raise(error: BaseException, what: str) -> NoReturn:
    """In the user's words."""
    if isinstance(error, ShimFailed):
        raise cannot_start(error.report) from error
    if isinstance(error, ShimGone):
        raise CannotStart(f"{CREATE_FAILED}the shim died: unknown", operation=what) from error
    if isinstance(error, TimeoutError):
        raise Unavailable(f"the container's shim did not {what} it in time") from error
    raise error
