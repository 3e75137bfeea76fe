"""The daemon's side of a door (api.door): starts it, and gives it clients.

A door is a process of its own; listening sockets stay the daemon's and end with it, so that the
next daemon finds its ports free while the door still serves.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import subprocess
import sys

log = logging.getLogger(__name__)

GOODBYE_SECONDS = 5.0
MAX_EARLY_BYTES = 32768  # of a client, that go to the door with it
_PACKAGE_PARENT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
_BOOT = (
    "import sys; sys.path.insert(0, sys.argv[1]); "
    "from tiffin.api.{} import main; main(*sys.argv[2:])"
)
HEARD_BYTES = 4096


class Doorkeeper:
    """One door at a time: where it ends, the next client has another one."""

    def __init__(self, what: str, module: str, *words: str) -> None:
        """`what` the log calls it; `words` go to the main of its module in tiffin.api."""
        self.what = what
        self._module = module
        self._words = words
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self.ready = False
        self._leaving = False
        self._let_go = asyncio.Event()

    def attend(self) -> None:
        """From here on the running loop hears of it."""
        if self._control is not None:
            self._control.setblocking(False)
            asyncio.get_running_loop().add_reader(self._control, self._hear)

    def admit(self, client: int, early: bytes = b"") -> socket.socket | None:
        """By what to serve the client of this descriptor; None where the door takes no more."""
        try:
            try:
                return self._give(client, early)
            except (BrokenPipeError, ConnectionResetError):
                self._ended()  # we know before the loop has seen it
                return self._give(client, early)
        except BlockingIOError:  # it has as many before it as the kernel lets wait
            return None
        except OSError as error:
            log.warning("a client at the %s was refused: %s", self.what, error)
            return None

    def _give(self, client: int, early: bytes) -> socket.socket:
        if self._control is None:
            self.spawn()
            self.attend()
        assert self._control is not None
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                socket.send_fds(self._control, [b"+" + early], [client, theirs.fileno()])
            except BaseException:
                ours.close()
                raise
        return ours

    async def close(self) -> None:
        """The door goes on alone. Returns when it has let go of what is the daemon's."""
        self._leaving = True
        if self._control is None:
            return
        self._control.shutdown(socket.SHUT_WR)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GOODBYE_SECONDS):
                await self._let_go.wait()
        self._part()

    def abandon(self) -> None:
        """The door ends at once, with whoever is at it."""
        self._part()
        self._bury()

    def spawn(self) -> socket.socket:
        """What is sent to it before it is there waits for it."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            number = theirs.fileno()
            boot = _BOOT.format(self._module)
            command = [sys.executable, "-I", "-S", "-X", "utf8", "-c", boot, _PACKAGE_PARENT]
            try:
                self._process = subprocess.Popen(
                    [*command, str(number), *self._words],
                    pass_fds=[number],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    start_new_session=True,  # Ctrl-C is for the daemon
                )
            except BaseException:
                ours.close()
                raise
        self._control = ours
        self.ready = False
        return ours

    def _hear(self) -> None:
        assert self._control is not None
        try:
            said = self._control.recv(HEARD_BYTES).decode(errors="replace")
        except BlockingIOError:
            return
        except OSError:
            said = ""
        if said == "ready":
            self.ready = True
        elif said:
            log.info("%s", said)
        else:
            self._ended()

    def _ended(self) -> None:
        stood = self.ready
        self._part()
        self._let_go.set()
        if self._leaving:
            return
        self._bury()
        log.error("the %s ended, and the connections through it", self.what)
        if stood:
            self.after_its_end()

    def after_its_end(self) -> None:
        """Of one that stood. One that cannot start is tried again by the next client."""

    def _part(self) -> None:
        if self._control is not None:
            with contextlib.suppress(RuntimeError):  # before there was a loop
                asyncio.get_running_loop().remove_reader(self._control)
            self._control.close()
            self._control = None

    def _bury(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
