"""One shim as the daemon has it: what is known of it, and what it is asked to do."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import errno
import logging
import signal
from collections.abc import Callable, Sequence
from typing import Any

from tiffin.core.workload import Attachment, Created, Exit, ExitAnswer, KnownExec
from tiffin.errors import Conflict, EngineFailure, Unavailable
from tiffin.kernel import cgroup
from tiffin.runtime.connection import Connection, ShimFailed, ShimGone
from tiffin.runtime.messages import OLDEST_PROTOCOL, PROTOCOL, Message
from tiffin.runtime.owed import Owed
from tiffin.runtime.survivors import Process, kill_all, kill_shim
from tiffin.runtime.wording import cannot_exec

log = logging.getLogger(__name__)

START_DEADLINE_SECONDS = 60.0
KILL_DEADLINE_SECONDS = 10.0

# What the shims of protocol 1 know, and what those of every protocol do.
_FIRST_REQUESTS = frozenset({"start", "attach", "exec", "resize", "kill", "remove", "state"})
_ETERNAL_REQUESTS = frozenset({"kill", "remove"})


class Shim:
    def __init__(self, container_id: str, connection: Connection) -> None:
        self.container_id = container_id
        self.connection = connection
        self.owed = Owed(connection)
        self.group: cgroup.Cgroup | None = None
        self.process = Process(0, 0)
        self.protocol = PROTOCOL
        self.requests: frozenset[str] | None = None  # None: whatever this release has
        self.running = False
        self.paused = False
        self.exit: Exit | None = None
        self.execs: list[KnownExec] = []  # that its hello told of
        self.record = ""  # of the run, by its hello
        self.greeted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.exited: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.released: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def created(self) -> Created:
        return Created(self.process.pid, self.process.start_ticks)

    def knows(self, request: str) -> bool:
        return self.requests is None or request in self.requests

    def learn_protocol(self, hello: Message) -> None:
        self.protocol = hello["hello"] if isinstance(hello["hello"], int) else 0
        if self.protocol == 1:
            self.requests = _FIRST_REQUESTS
        elif OLDEST_PROTOCOL <= self.protocol <= PROTOCOL:
            self.requests = frozenset(hello.get("requests") or ())
        else:
            log.warning(
                "shim of another release container=%s protocol=%s: it can be waited for and ended",
                *(self.container_id, hello["hello"]),
            )
            self.requests = _ETERNAL_REQUESTS

    def see_freeze(self) -> None:
        if self.running and self.group is not None:
            with contextlib.suppress(OSError):
                self.paused = self.group.frozen()

    # -- requests --------------------------------------------------------------------------------

    async def ask(
        self, op: str, fields: Message | None = None, descriptors: Sequence[int] = ()
    ) -> Message:
        """Raises Conflict, EngineFailure, Unavailable."""
        self._check_known(op)
        try:
            return await self.connection.request(op, fields, descriptors)
        except ShimFailed as failed:
            if failed.report.get("errno") == errno.ESRCH:
                raise Conflict(f"container {self.container_id} is not running") from failed
            raise EngineFailure(failed.report["message"]) from failed
        except ShimGone as error:
            raise Conflict(f"container {self.container_id} is not running") from error
        except TimeoutError as error:
            raise Unavailable(
                f"the shim of container {self.container_id} does not answer"
            ) from error

    def _check_known(self, op: str) -> None:
        if not self.knows(op):
            raise Conflict(
                f"container {self.container_id} was started by another release of tiffin, whose "
                f"shim speaks protocol {self.protocol}: no {op} until it is started again"
            )

    async def attach(
        self, connection: int, attachment: Attachment, early: bytes, *, held: bool = False
    ) -> Message:
        fields = _client_of(attachment, early) | ({"held": True} if held else {})
        return await self.ask("attach", fields, [connection])

    async def exec(
        self, fields: Message, connection: int | None, attachment: Attachment, early: bytes
    ) -> int:
        """Raises CannotStart, Conflict, Unavailable."""
        descriptors = []
        if connection is not None:
            fields = fields | _client_of(attachment, early)
            descriptors = [connection]
        self._check_known("exec")
        try:
            answer = await self.connection.request_of_living(
                "exec", fields, descriptors, deadline=START_DEADLINE_SECONDS
            )
        except ShimFailed as failed:
            raise cannot_exec(failed.report) from failed
        except ShimGone as error:
            raise Conflict(f"container {self.container_id} is not running") from error
        except TimeoutError as error:
            raise Unavailable(
                f"the shim of container {self.container_id} did not start the exec in time"
            ) from error
        return int(answer["pid"])

    async def wait(self, connection: int, answer: ExitAnswer) -> None:
        fields = {
            "before": answer.before,
            "after": answer.after,
            "of_removal": answer.of_removal,
        }
        self.owed.count(1, of_removal=answer.of_removal)
        try:
            await self.ask("wait", fields, [connection])
        except BaseException:
            self.owed.count(-1, of_removal=answer.of_removal)
            raise

    async def hold(self, descriptors: Sequence[int], keep: Sequence[Sequence[Any]]) -> None:
        try:
            await self.ask("hold", {"keep": keep}, descriptors)
        except EngineFailure as error:
            if "unknown request" not in error.message:
                raise
            raise Conflict(
                f"container {self.container_id} was started by an older release: restart it first"
            ) from error

    # -- signals and cgroups ---------------------------------------------------------------------

    async def kill(self, number: int) -> None:
        try:
            await self.ask("kill", {"signal": number})
        except (Unavailable, EngineFailure):
            await self._kill_past(number)
        if number == signal.SIGKILL and self.paused and self.group is not None:
            self.paused = False
            with contextlib.suppress(Conflict):
                await self._freezer("kill", self.group.thaw)  # what is frozen does not die

    async def _kill_past(self, number: int) -> None:
        """A signal takes no shim, and what SIGKILL is for shall not need one that does not answer.

        Without its shim a container cannot go on: it is buried when the connection breaks.
        """
        log.warning("shim does not answer container=%s signal=%s", self.container_id, number)
        if number != signal.SIGKILL:
            self.process.signal(number)
            return
        await asyncio.to_thread(self._kill_with_container)

    async def end(self) -> None:
        """Kill what runs, and be told of its exit; or else end the shim too."""
        if self.paused and self.group is not None:
            with contextlib.suppress(OSError):
                await asyncio.to_thread(self.group.thaw)
        try:
            await self.connection.request("remove", deadline=KILL_DEADLINE_SECONDS)
            async with asyncio.timeout(KILL_DEADLINE_SECONDS):
                await asyncio.wait(
                    (self.exited, self.connection.ended), return_when=asyncio.FIRST_COMPLETED
                )
        except ShimGone:
            pass
        except (ShimFailed, TimeoutError):
            log.warning("shim does not end its container=%s", self.container_id)
            await asyncio.to_thread(self._kill_with_container)

    def _kill_with_container(self) -> None:
        kill_shim(self.process)
        kill_all(self.process, self.group)

    async def pause(self) -> None:
        if self.group is None:
            raise EngineFailure("cannot pause: no freezer cgroup")
        await self._freezer("pause", self.group.freeze)
        self.paused = True

    async def unpause(self) -> None:
        if self.group is not None:
            await self._freezer("unpause", self.group.thaw)
        self.paused = False

    async def _freezer(self, what: str, act: Callable[[], None]) -> None:
        try:
            await asyncio.to_thread(act)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENODEV):  # it ended, and its cgroup with it
                raise Conflict(f"container {self.container_id} is not running") from error
            words = error.strerror or str(error)
            raise EngineFailure(f"Cannot {what} container {self.container_id}: {words}") from error

    async def widen(self, group: cgroup.Cgroup) -> None:
        """On v1 a container is only where it had limits at its start: into the others as well."""
        await asyncio.to_thread(group.create)
        self.group = group
        if self.knows("widen"):  # an older shim's execs stay out
            with contextlib.suppress(EngineFailure):
                await self.ask("widen", {"controllers": list(group.controllers)})
        await asyncio.to_thread(group.gather)


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
