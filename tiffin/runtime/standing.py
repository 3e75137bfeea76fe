"""Makers that stand by: each makes one container after another, for shims that wait for it.

A maker of a shim's own copies a megabyte, page by page, of what its fork shares, and gives it back
some milliseconds later. One that has done so before has it: the next container takes half of the
time. The shim is then born with the container's first process (runtime.shimbirth), which must be
its child, and tells of it; the rest is the same work, and the same words between the two.

Only for containers as most are; what does not fit a shim's own maker makes. So it does where nobody
gets on: nothing waits for long for one that hangs. After whatever is out of the ordinary a maker
ends, and another takes its place. Most of the time there is one, idle; few at any time, who are
faster one after the other than many side by side.
"""

from __future__ import annotations

import os
import select
from _socket import MSG_DONTWAIT, socket

from tiffin.kernel import syscalls
from tiffin.runtime import messages
from tiffin.runtime.birth import Host
from tiffin.runtime.maker import Maker, Unborn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

MOST = 4  # at a time
LIFE = 200  # containers: nobody collects garbage here

_IDLE = b"i"


class Makers:
    """The zygote's hold on them.

    In a fork, `leave` closes all but what it is given, and `guarded` runs what it is to do, for
    good.
    """

    def __init__(
        self,
        host: Host,
        guarded: Callable[[Callable[[], None]], None],
        leave: Callable[[list[int]], None],
    ) -> None:
        self._host = host
        self._guarded = guarded
        self._leave = leave
        self._all: list[_Standing] = []

    def hand(self, data: bytes, descriptors: list[int]) -> bool:
        """Have one make what the daemon asks for. False where none is to be had.

        The first two of the descriptors lead to the shim and its child.
        """
        for maker in self._idle():
            if self._sent(maker, data, descriptors):
                return True
        another = self._fork()
        return another is not None and self._sent(another, data, descriptors)

    def available(self) -> bool:
        """Whether `hand` has somebody, as far as can be told."""
        return bool(self._idle()) or len(self._all) < MOST

    def wait(self, others: list[socket], milliseconds: int) -> list[int]:
        """Until one says that it is idle, or there is something to read: whose descriptors."""
        poll = select.poll()
        for connection in (*(maker.connection for maker in self._all), *others):
            poll.register(connection.fileno(), select.POLLIN)
        return [descriptor for descriptor, _event in poll.poll(milliseconds)]

    def settled(self) -> bool:
        """Whether there is one for the next request, and no more than that."""
        idle = len(self._idle())
        return idle == 1 or (not idle and len(self._all) >= MOST)

    def leave(self) -> None:
        """In a fork: they are not its."""
        for maker in self._all:
            maker.connection.close()

    def settle(self) -> None:
        idle = self._idle()
        if not idle:
            self._fork()
        for maker in idle[1:]:
            self._drop(maker)  # which it sees, and ends

    def _idle(self) -> list[_Standing]:
        for maker in list(self._all):
            if not maker.is_there():
                self._drop(maker)
        return [maker for maker in self._all if maker.idle]

    def _sent(self, maker: _Standing, data: bytes, descriptors: list[int]) -> bool:
        try:
            messages.send_packet(maker.connection, data, descriptors)
        except (messages.ConnectionEnded, OSError):
            self._drop(maker)
            return False
        maker.idle = False
        return True

    def _fork(self) -> _Standing | None:
        if len(self._all) >= MOST:
            return None
        ours, theirs = messages.pair()
        try:
            child = os.fork() == 0
        except OSError:  # no more processes
            ours.close()
            theirs.close()
            return None
        if child:
            ours.close()
            self._leave([theirs.fileno()])
            self._guarded(lambda: serve(theirs, self._host))
        theirs.close()
        maker = _Standing(ours)
        self._all.append(maker)
        return maker

    def _drop(self, maker: _Standing) -> None:
        self._all.remove(maker)
        maker.connection.close()


class _Standing:
    """One of them, as the zygote sees it."""

    __slots__ = ("connection", "idle")

    def __init__(self, connection: socket) -> None:
        self.connection = connection
        self.idle = True

    def is_there(self) -> bool:
        """And, as far as it has said so, idle."""
        if self.idle:
            return True
        try:
            self.idle = self.connection.recv(1, MSG_DONTWAIT) == _IDLE
        except BlockingIOError:
            return True
        except OSError:
            return False
        return self.idle


# --- in the zygote's child ----------------------------------------------------------------------


def serve(connection: socket, host: Host) -> None:
    """Until the zygote is gone, or wants fewer."""
    syscalls.set_process_name("tiffin-maker")
    for _ in range(LIFE):
        try:
            data, descriptors = messages.receive_packet(connection)
        except messages.ConnectionEnded:
            return
        as_ever = _make(data, descriptors, host)
        # Whatever that has opened; a copy of the layers, for one, which takes its time.
        syscalls.close_all_but([connection.fileno()])
        if not as_ever:
            return
        try:
            connection.send(_IDLE)
        except OSError:
            return


def _make(data: bytes, descriptors: list[int], host: Host) -> bool:
    """Whether all went as it does as a rule. Leaves descriptors open, and nobody who minds them."""
    shim, channel = socket(fileno=descriptors.pop(0)), socket(fileno=descriptors.pop(0))
    try:
        born = messages.receive(shim)[0]
        if not born["unborn"]:  # the shim could not have a child
            messages.send_packet(shim, data, descriptors)
            return True
        unborn = Unborn(born["unborn"], channel, born["flags"])
        maker = Maker(data, list(descriptors), host, unborn)
        try:
            if maker.is_usual():
                return maker.make(shim)
            messages.send_packet(shim, data, descriptors)
            return True
        finally:
            maker.let_go()
    except messages.ConnectionEnded:  # the shim was killed, and what it was born with
        return False
    finally:
        shim.detach()
        channel.detach()
