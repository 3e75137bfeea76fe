"""A client that a shim holds back until the daemon has given it the log."""

from __future__ import annotations

from collections.abc import Callable

from tiffin.core.workload import LogPosition
from tiffin.runtime.connection import Connection, ShimFailed, ShimGone
from tiffin.runtime.messages import Message
from tiffin.runtime.owed import Owed


class HeldClient:
    """Implements engine.ports.HeldClient. What its shim is owed until the end keeps the connection
    to that.
    """

    def __init__(
        self, connection: Connection, answer: Message, owed: Owed, paid: Callable[[], None]
    ) -> None:
        self.log = LogPosition(*answer["log"]) if answer["log"] else None
        self._connection = connection
        self._number = answer["client"]
        self._owed = owed
        self._paid = paid

    async def taken(self) -> bool:
        return await self._say("")

    async def end(self, *, joined: bool) -> None:
        await self._say("join" if joined else "drop")
        self._owed.replays -= 1
        self._paid()

    async def _say(self, end: str) -> bool:
        fields = {"client": self._number, "end": end}
        try:
            await self._connection.request("replayed", fields)
        except (ShimFailed, ShimGone, TimeoutError):
            return False
        return True
