"""A process that stands by in a container to become its next exec.

Who runs one command after another in a container has each of them wait for a fork, for the pages
that it copies, for the namespaces and the filter. So when two execs have ended shortly one after
the other, the process of a third is made while nothing else happens, for one like the last: it is
in the namespaces, as the same user with the same rights, and waits to be told what to execute,
without an interpreter where that can be (see runtime.orders). It joins the cgroups only then: until
it is somebody's exec the container is not charged for it, and `top` does not show it. Where no exec
comes soon it ends; so it does with the container, and with the shim.
"""

from __future__ import annotations

import os
import time
from _socket import socket

from tiffin.runtime import launch, messages, orders
from tiffin.runtime.loop import READ
from tiffin.runtime.operations import Config
from tiffin.runtime.program import own_words

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as signals
    from typing import Any

    from tiffin.runtime.shim import Shim
else:
    import _signal as signals

_APART_SECONDS = 2.0  # at most, for two execs to be one after the other
_QUIET_SECONDS = 0.005  # in which the client of the last one has its answers
_KEPT_SECONDS = 2.0
_PATIENCE = 3  # that of a container whose filter, or whose kernel, does not let it work


class Standby:
    """At most one."""

    def __init__(self, shim: Shim) -> None:
        self._shim = shim
        self._channel: socket | None = None
        self._facts: orders.Facts | None = None  # that it has told; empty: it can read
        self._pid = 0
        self._failures = 0  # one after the other
        self._kind: tuple[Any, ...] = ()
        self._last_end = float("-inf")
        self._is_due = False

    def exec_ended(self, config: Config, user: str) -> None:
        """One that a client has created, of `config` with its process, as `user`."""
        now = time.monotonic()
        is_next = now - self._last_end < _APART_SECONDS
        self._last_end = now
        # Who types at a terminal does not notice.
        has_terminal = config["process"].get("terminal")
        if is_next and not self._is_due and not has_terminal and self._failures < _PATIENCE:
            self._is_due = True
            self._shim.loop.later(_QUIET_SECONDS, lambda: self._make(config, user))

    def _make(self, config: Config, user: str) -> None:
        self._is_due = False
        shim = self._shim
        if self._channel is not None or not shim.takes_execs:
            return
        ours, theirs = messages.pair()
        joins: list[int] = []
        try:
            joins = shim.open_joins()
            self._pid = launch.standby(
                theirs, config, user, shim.host, shim.pidfd, shim.kinds, joins
            )
        except OSError:
            ours.close()
            return
        finally:
            theirs.close()
            messages.close_all(joins)
        self._channel, self._kind = ours, _kind(config, user)
        shim.loop.add(ours.fileno(), READ, lambda _events: self._hear(ours))
        shim.loop.later(_KEPT_SECONDS, lambda: self._drop(ours))

    def take(self, config: Config, user: str, stdio: list[int]) -> tuple[int, socket] | None:
        """Its pid and its channel, told what it is to be; None: there is none for this."""
        facts = self._facts
        if self._channel is None or facts is None or self._kind != _kind(config, user):
            return None
        if not launch.has_room(self._shim.cgroup):
            return None
        process = config["process"]
        told = orders.listed(facts, process) if facts else messages.encode(own_words(process))
        if told is None:
            return None
        channel = self._release()
        try:
            messages.send_packet(channel, told, stdio)
        except (messages.ConnectionEnded, OSError):
            channel.close()
            return None
        return self._pid, channel

    def settled(self, *, accepted: bool) -> None:
        """Whether one can be what it was told to be, or stand at all."""
        self._failures = 0 if accepted else self._failures + 1

    def reaped(self, ended: dict[int, int]) -> None:
        """Children by pid; from here on such a pid may be anybody's."""
        if self._channel is not None and self._pid in ended:
            self._fail(self._channel)

    def end(self) -> None:
        """With the container, whose mounts it holds until it has ended, in any pid namespace."""
        if self._channel is not None:
            self._drop(self._channel)
            os.kill(self._pid, signals.SIGKILL)
            os.waitpid(self._pid, 0)

    def _hear(self, channel: socket) -> None:
        """That it stands, or has failed or ended: it says nothing else before it is told."""
        try:
            message, descriptors = messages.receive(channel)
        except (messages.ConnectionEnded, ValueError, OSError):
            self._fail(channel)
            return
        messages.close_all(descriptors)
        self._facts = message.get("stands")
        if self._facts is None:
            self._fail(channel)

    def _fail(self, channel: socket) -> None:
        """Nobody has taken it or let it go."""
        self.settled(accepted=False)
        self._drop(channel)

    def _drop(self, channel: socket) -> None:
        if channel is self._channel:
            self._release().close()

    def _release(self) -> socket:
        channel, self._channel, self._facts = self._channel, None, None
        assert channel is not None
        self._shim.loop.remove(channel.fileno())
        return channel


def _kind(config: Config, user: str) -> tuple[Any, ...]:
    process: Config = config["process"]
    own = own_words(process)
    return user, {name: value for name, value in process.items() if name not in own}
