"""The daemon's zygote: started where there is none, and asked to fork."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
from collections.abc import Sequence

from tiffin.errors import Unavailable
from tiffin.runtime import interpreter
from tiffin.runtime.connection import Connection, ShimGone, settle
from tiffin.runtime.messages import Message

ANSWER_DEADLINE_SECONDS = 30.0
START_ATTEMPTS = 2  # the first may have been killed

# What shims run is loaded first, so that it lies together: they copy each page that they write to.
BOOT = (
    "import sys; sys.path.insert(0, sys.argv[1]); from tiffin.runtime import messages, loop; "
    "from tiffin.runtime import control, waits, shim; "
    "from tiffin.runtime.zygote import main; main(int(sys.argv[2]))"
)


class ZygoteClient:
    """One zygote at a time. Its shims outlive it."""

    def __init__(self, interpreter: str) -> None:
        self._interpreter = interpreter
        self._starting = asyncio.Lock()
        self._launched: tuple[Connection, asyncio.Future[Message]] | None = None
        self._spare: int | None = None
        self.connection: Connection | None = None
        self.process: subprocess.Popen[bytes] | None = None

    def is_there(self) -> bool:
        return self.connection is not None and not self.connection.ended.done()

    async def ask(
        self, message: Message, descriptors: Sequence[int] = ()
    ) -> tuple[Connection, asyncio.Future[Message]]:
        """Have it fork somebody: the connection to that, and the answer to come."""
        zygote = await self._ensure()
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

    async def keep_spare(self, birth_flags: int | None = None) -> None:
        """Have it keep a shim ready that was born with these flags, or with those given last."""
        self._spare = self._spare if birth_flags is None else birth_flags
        if self.connection is not None and self._spare is not None:
            await self.connection.send({"spare": self._spare})

    def end(self) -> None:
        """One that does not answer: the next request has a new one."""
        if self.process is not None:
            self.process.kill()
        if self.connection is not None:
            self.connection.close()

    async def close(self) -> None:
        """It ends when nobody can ask it any more."""
        if self._launched is not None:
            self._launched[0].close()
        if self.connection is not None:
            self.connection.close()
        if self.process is not None:
            await asyncio.to_thread(self.process.wait)

    async def _ensure(self) -> Connection:
        async with self._starting:
            if self.connection is None or not self.is_there():
                self.connection = await self._start()
                await self.keep_spare()
            return self.connection

    def launch(self) -> None:
        """Execute one. Whoever asks first waits until it is ready; much can be done meanwhile."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            if self.process is not None:
                self.process.poll()  # bury the one that died
            try:
                self._execute(theirs.fileno())
            except BaseException:
                ours.close()
                raise
        connection = Connection(ours)
        ready: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        connection.on_event = lambda message: settle(ready, message)
        self._launched = connection, ready

    async def _start(self) -> Connection:
        for _ in range(START_ATTEMPTS):
            if self._launched is None:
                self.launch()
            connection = await self._launched_one()
            if connection is not None:
                return connection
        raise Unavailable("the container runtime's zygote did not start")

    async def _launched_one(self) -> Connection | None:
        """Once it is ready. None where it has died before."""
        assert self._launched is not None
        (connection, ready), self._launched = self._launched, None
        try:
            async with asyncio.timeout(ANSWER_DEADLINE_SECONDS):
                await asyncio.wait((ready, connection.ended), return_when=asyncio.FIRST_COMPLETED)
        except TimeoutError as error:
            connection.close()
            raise Unavailable("the container runtime's zygote does not answer") from error
        return connection if ready.done() else None

    def _execute(self, channel: int) -> None:
        """By the loop's own thread: the zygote dies with the thread that started it."""
        package_parent = os.path.dirname(os.path.dirname(os.path.dirname(__file__)))
        try:
            program = interpreter.opened(self._interpreter)
        except OSError as error:
            why = f"{self._interpreter} cannot be mounted read-only: {error.strerror}"
            raise Unavailable(f"the container runtime's zygote did not start: {why}") from error
        command = [self._interpreter, "-I", "-S", "-X", "utf8", "-c", BOOT]
        try:
            self.process = subprocess.Popen(
                [*command, package_parent, str(channel)],
                executable=f"/proc/self/fd/{program}",
                pass_fds=[channel, program],
                env={**os.environ, "LD_BIND_NOW": "1"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,  # shims would hold the daemon's open, for years
                start_new_session=True,
            )
        finally:
            os.close(program)
