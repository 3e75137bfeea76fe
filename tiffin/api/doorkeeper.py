"""The daemon's side of the TLS door: starts it, and gives it the clients that connect.

The door (tlsdoor) is a process of its own, with the keys; the listening sockets stay the daemon's
and end with it, so that the next daemon finds its ports free while the door still serves.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import subprocess
import sys

from tiffin.errors import EngineFailure, InvalidArgument

log = logging.getLogger(__name__)

PATIENCE_SECONDS = 30.0
GOODBYE_SECONDS = 5.0
_PROGRAM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "tlsdoor.py")
_HEARD = 4096


class Doorkeeper:
    """One door at a time: where it ends, another one is started."""

    def __init__(self, certificate: str, key: str, ca: str) -> None:
        self._files = (certificate, key, ca)
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._ready = False
        self._leaving = False
        self._let_go = asyncio.Event()

    def start(self) -> None:
        """Returns when it stands. Blocks; raises InvalidArgument for wrong certificates."""
        control = self._spawn()
        control.settimeout(PATIENCE_SECONDS)
        try:
            said = control.recv(_HEARD).decode(errors="replace")
        except OSError as error:
            self.abandon()
            raise EngineFailure(f"the TLS door does not answer: {error.strerror}") from error
        if said != "ready":
            self.abandon()
            certificate, key, ca = self._files
            if not said:
                raise EngineFailure("the TLS door did not start")
            raise InvalidArgument(
                f'could not load X509 key pair (cert: "{certificate}", key: "{key}", '
                f'ca: "{ca}"): {said.removeprefix("wrong: ")}'
            )
        self._ready = True

    def attend(self) -> None:
        """From here on the running loop hears of it."""
        if self._control is not None:
            self._control.setblocking(False)
            asyncio.get_running_loop().add_reader(self._control, self._hear)

    def admit(self, client: int) -> socket.socket | None:
        """By what to serve the client of this descriptor; None where the door takes no more."""
        try:
            if self._control is None:
                self._spawn()
                self.attend()
            assert self._control is not None
            ours, theirs = socket.socketpair()
        except OSError as error:
            log.warning("a client at the TLS door was refused: %s", error)
            return None
        with theirs:
            try:
                socket.send_fds(self._control, [b"+"], [client, theirs.fileno()])
            except OSError:  # it has as many before it as the kernel lets wait, or has just ended
                ours.close()
                return None
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

    def _spawn(self) -> socket.socket:
        """What is sent to it before it is there waits for it."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            number = theirs.fileno()
            command = [sys.executable, "-I", "-S", "-X", "utf8", _PROGRAM, str(number)]
            try:
                self._process = subprocess.Popen(
                    [*command, *self._files],
                    pass_fds=[number],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    start_new_session=True,  # Ctrl-C is for the daemon
                )
            except BaseException:
                ours.close()
                raise
        self._control = ours
        self._ready = False
        return ours

    def _hear(self) -> None:
        assert self._control is not None
        try:
            said = self._control.recv(_HEARD).decode(errors="replace")
        except BlockingIOError:
            return
        except OSError:
            said = ""
        if said == "ready":
            self._ready = True
        elif said:
            log.info("%s", said)
        else:
            self._ended()

    def _ended(self) -> None:
        stood = self._ready
        self._part()
        self._let_go.set()
        if self._leaving:
            return
        self._bury()
        log.error("the TLS door ended, and the connections through it")
        if stood:  # one that cannot start is tried again by the next client
            with contextlib.suppress(OSError):
                self._spawn()
                self.attend()

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
