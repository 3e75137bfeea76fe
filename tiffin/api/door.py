"""A door: a process of its own that stands between clients and who answers them.

Over a control socket the daemon (doorkeeper) gives it each client with the end of a socket pair to
serve it by. It hears "ready" or "wrong: why", and whatever else there is to tell. When the daemon
has gone the door goes on with the clients whom somebody still answers (a shim), and ends with the
last of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from abc import ABC, abstractmethod

PIECE = 65536


class Door(ABC):
    """Everybody whom the daemon gave us. `serve` returns when it and the last of them have gone."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._clients: set[asyncio.Task[None]] = set()
        self._alone = asyncio.Event()

    @abstractmethod
    async def admit(self, client: socket.socket, inner: socket.socket, early: bytes) -> None:
        """The whole of one connection. `early` has come of it already. Closes both."""

    def is_open(self) -> bool:
        """To one more."""
        return True

    async def serve(self) -> None:
        self._control.setblocking(False)
        asyncio.get_running_loop().add_reader(self._control, self._hear)
        await self._alone.wait()
        while self._clients:
            await asyncio.wait(self._clients)

    def _hear(self) -> None:
        descriptors: list[int] = []
        try:
            said, descriptors, _, _ = socket.recv_fds(self._control, PIECE, 2)
        except BlockingIOError:
            return
        except OSError:
            said = b""
        given = [socket.socket(fileno=number) for number in descriptors]
        if not said:
            self.daemon_has_gone()
        elif len(given) == 2 and self.is_open():
            client, inner = given
            task = asyncio.get_running_loop().create_task(self.admit(client, inner, said[1:]))
            self.admitted(task)
        else:  # the kernel gives fewer where we may have no more open
            for each in given:
                each.close()

    def admitted(self, task: asyncio.Task[None]) -> None:
        """One more is being served."""
        self._clients.add(task)
        task.add_done_callback(self._clients.discard)

    def daemon_has_gone(self) -> None:
        asyncio.get_running_loop().remove_reader(self._control)
        _forget_streams()
        self._control.close()
        self._alone.set()

    def tell(self, words: str) -> None:
        with contextlib.suppress(OSError):  # a daemon that has gone, or does not listen
            self._control.send(words.encode())


def serve(door: Door) -> None:
    """The rest of this process's life."""
    os.chdir("/")
    door.tell("ready")
    asyncio.run(door.serve())


def take_name(name: bytes) -> None:
    """What ps and top show, up to 15 bytes."""
    with open("/proc/self/comm", "wb", buffering=0) as comm:
        comm.write(name)


def _forget_streams() -> None:
    """The daemon's streams are no longer ours to keep open."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nowhere, number)
    os.close(nowhere)
