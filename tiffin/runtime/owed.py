"""What a shim's clients are owed until the daemon has given its word, as the daemon counts it.

Clients that wait for an exit or a removal, and those of execs that ended while no daemon served,
are the shim's. It is told when what they wait for is known to all; where the connection ends
without that, it does not make them wait any longer. So the daemon keeps a connection that it needs
no more until nothing is owed.
"""

from __future__ import annotations

from tiffin.runtime.connection import Connection, ShimGone
from tiffin.runtime.messages import Message


class Owed:
    """By one shim."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._exits = 0
        self._removals = 0
        self._withholds = False
        self.replays = 0  # clients that it holds until we have given them the log

    def __bool__(self) -> bool:
        return bool(self._exits or self._removals or self._withholds or self.replays)

    def recognise(self, hello: Message) -> None:
        waits = hello.get("waits") or {}
        self._exits, self._removals = waits.get("exit", 0), waits.get("removal", 0)
        self._withholds = bool(hello.get("withholds"))

    def count(self, number: int, *, of_removal: bool) -> None:
        if of_removal:
            self._removals += number
        else:
            self._exits += number

    async def tell(self, *, removed: bool) -> None:
        """Those who wait for the exit, with `removed` those who wait for the removal too."""
        if not (self._exits or (removed and self._removals)):
            return
        self._exits, self._removals = 0, 0 if removed else self._removals
        await self._send({"op": "tell", "removed": removed})

    async def serving(self) -> None:
        self._withholds = False
        await self._send({"op": "serving"})

    async def _send(self, message: Message) -> None:
        try:
            await self._connection.send(message)
        except ShimGone:
            return  # and with it whom it owed
