"""The shims that a daemon is connected to: taken on, listened to, found again after a restart."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec

from tiffin.core.workload import Attachment, Created, Exit, KnownExec
from tiffin.errors import Conflict
from tiffin.runtime.connection import Connection, ShimFailed, ShimGone, settle
from tiffin.runtime.messages import Message
from tiffin.runtime.replays import HeldClient
from tiffin.runtime.shimclient import KILL_DEADLINE_SECONDS, Shim
from tiffin.runtime.survivors import (
    Survivors,
    exit_of,
    kill_all,
    known_execs,
    process_of,
    run_record,
    shim_killed,
)

log = logging.getLogger(__name__)

HELLO_DEADLINE_SECONDS = 3.0  # of a daemon's start; who answers later is heard later


class Shims:
    def __init__(self, survivors: Survivors) -> None:
        self._survivors = survivors
        self._alive: dict[str, Shim] = {}
        self._parted: list[Shim] = []  # of containers let go of, which owe their clients a word
        self._serving = False
        self._callbacks: list[Callable[[Exit], None]] = []
        self.on_detached: Callable[[str, str], None] = lambda _container_id, _exec_id: None
        self._tasks: set[asyncio.Task[None]] = set()

    def __contains__(self, container_id: str) -> bool:
        return container_id in self._alive

    def find(self, container_id: str) -> Shim | None:
        return self._alive.get(container_id)

    def get(self, container_id: str) -> Shim:
        """Raises Conflict."""
        shim = self._alive.get(container_id)
        if shim is None:
            raise Conflict(f"container {container_id} is not running")
        return shim

    def on_exit(self, callback: Callable[[Exit], None]) -> None:
        self._callbacks.append(callback)

    def adopt(self, container_id: str, connection: Connection) -> Shim:
        shim = Shim(container_id, connection)
        self._alive[container_id] = shim
        connection.on_event = lambda message: self._on_event(shim, message)
        connection.ended.add_done_callback(lambda _future: self._on_gone(shim))
        return shim

    def let_go(self, shim: Shim) -> None:
        """Its container is no more. Who owes its clients a word is kept until that is said."""
        if self._alive.pop(shim.container_id, None) is not None and shim.owed:
            self._parted.append(shim)

    async def abandon(self, shim: Shim) -> None:
        """A create that failed: the shim has undone everything, or is made to."""
        self._alive.pop(shim.container_id, None)
        with contextlib.suppress(ShimFailed, ShimGone, TimeoutError):
            await shim.connection.request("remove", deadline=KILL_DEADLINE_SECONDS)
        shim.connection.close()

    async def hold_client(
        self, container_id: str, connection: int, attachment: Attachment, early: bytes
    ) -> HeldClient | None:
        shim = self.get(container_id)
        if not shim.knows("replayed"):
            return None
        shim.owed.replays += 1
        try:
            answer = await shim.attach(connection, attachment, early, held=True)
        except BaseException:
            shim.owed.replays -= 1
            raise
        return HeldClient(shim.connection, answer, shim.owed, lambda: self._part(shim))

    async def tell(self, container_id: str, *, removed: bool) -> None:
        for shim in [shim for shim in self._parted if shim.container_id == container_id]:
            await shim.owed.tell(removed=removed)
            self._part(shim)

    async def serving(self) -> None:
        self._serving = True
        for shim in (*self._alive.values(), *self._parted):
            await shim.owed.serving()
            self._part(shim)

    def _part(self, shim: Shim) -> None:
        """From a shim that was let go of, as soon as it owes nothing."""
        if shim in self._parted and not shim.owed:
            self._parted.remove(shim)
            if shim.released.done():
                shim.connection.close()

    async def settle(self) -> None:
        """Until what follows events that came is done."""
        if self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def close(self) -> None:
        """Let go of all of them, who live on."""
        for shim in (*self._alive.values(), *self._parted):
            shim.connection.on_event = lambda _message: None
            shim.connection.close()
        self._alive.clear()
        self._parted.clear()

    # -- events ----------------------------------------------------------------------------------

    def _on_event(self, shim: Shim, message: Message) -> None:
        if message.get("event") == "exit":
            ended = exit_of(shim.container_id, message)
            if ended is not None:
                self._note_exit(shim, ended)
        elif message.get("event") == "detached":
            self.on_detached(shim.container_id, message["exec_id"])
        elif message.get("event") == "released":
            settle(shim.released, None)
        elif "hello" in message:
            self._recognise(shim, message)

    def _note_exit(self, shim: Shim, exit_: Exit) -> None:
        if not exit_.exec_id:
            if shim.exit is not None:
                return
            shim.exit = exit_
            settle(shim.exited, None)
        shim.execs = [  # told of, and not fetched yet
            msgspec.structs.replace(known, exit=exit_) if known.exec_id == exit_.exec_id else known
            for known in shim.execs
        ]
        for callback in self._callbacks:
            callback(exit_)

    def _on_gone(self, shim: Shim) -> None:
        """The connection has ended; without an exit before, the shim was killed."""
        settle(shim.released, None)
        if shim in self._parted:
            self._parted.remove(shim)
        if shim.exit is not None or self._alive.get(shim.container_id) is not shim:
            return
        if shim.running:
            self._own(f"bury {shim.container_id}", self._bury(shim))

    def _own(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """What nobody waits for, but the end of the daemon."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _bury(self, shim: Shim) -> None:
        """A container without its shim has no log, no stdin and no exit code any more: it ends."""
        recorded = self._survivors.exit(shim.container_id)
        if recorded is None:
            words = self._survivors.last_words(shim.container_id)
            log.error("shim died container=%s: killing what ran in it %s", shim.container_id, words)
            await asyncio.to_thread(kill_all, shim.process, shim.group)
            recorded = shim_killed(shim.container_id)
        self._note_exit(shim, recorded)

    def _recognise(self, shim: Shim, hello: Message) -> None:
        """Take its word for what it is, also where that comes late."""
        shim.learn_protocol(hello)
        shim.process = process_of(hello) or shim.process
        shim.group = self._survivors.group_of(hello) or shim.group
        shim.execs = known_execs(shim.container_id, hello)
        shim.record = run_record(hello)
        shim.owed.recognise(hello)
        if self._serving:
            self._own(f"greet {shim.container_id}", shim.owed.serving())
        ended = exit_of(shim.container_id, hello["exit"]) if hello.get("exit") else None
        shim.running = ended is None
        shim.see_freeze()
        settle(shim.greeted, None)
        if ended is not None:
            settle(shim.released, None)  # it has said so, before we came
            self._note_exit(shim, ended)

    # -- after a daemon's restart ----------------------------------------------------------------

    async def reconnect(self, container_id: str) -> Created | Exit | None:
        known = self._alive.get(container_id)
        if known is not None:
            return known.exit or known.created
        connection = self._survivors.connect(container_id)
        if connection is None:
            return self._survivors.exit(container_id) or await self._end_orphan(container_id)
        shim = self.adopt(container_id, connection)
        await asyncio.wait(
            (shim.greeted, connection.ended),
            timeout=HELLO_DEADLINE_SECONDS,
            return_when=asyncio.FIRST_COMPLETED,
        )
        if shim.greeted.done():
            return shim.exit or shim.created
        if connection.ended.done():  # it was just leaving
            self._alive.pop(container_id, None)
            return self._survivors.exit(container_id)
        return self._recall(shim)

    def _recall(self, shim: Shim) -> Created | None:
        """One that does not answer, by its record. It may later: then its hello is heard."""
        recorded = self._survivors.process(shim.container_id)
        if recorded is None:
            return None
        log.warning("shim does not answer container=%s: believing its record", shim.container_id)
        shim.process = recorded
        shim.group = self._survivors.group(shim.container_id)
        shim.running = True
        shim.see_freeze()
        return shim.created

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

    def found_run(self, container_id: str) -> str:
        """The record of the run that a `reconnect` has found."""
        shim = self._alive.get(container_id)
        return shim.record if shim is not None else self._survivors.run(container_id)

    def found_execs(self, container_id: str) -> list[KnownExec]:
        """What a `reconnect` has learnt, once."""
        shim = self._alive.get(container_id)
        if shim is None:
            return self._survivors.execs(container_id)
        found, shim.execs = shim.execs, []
        return found
