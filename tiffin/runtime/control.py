"""A shim's connections to daemons: usually one, none while the daemon is down."""

from __future__ import annotations

from _socket import socket

from tiffin.runtime import messages
from tiffin.runtime.loop import READ, WRITE
from tiffin.runtime.messages import Message

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tiffin.runtime.shim import Shim

_MAX_BACKLOG = 256  # messages to a control connection that does not read


class Control:
    """One connection to a daemon."""

    def __init__(self, shim: Shim, connection: socket) -> None:
        self._shim = shim
        self._connection = connection
        self._backlog: list[Message] = []
        self._waits = False  # for room to send it
        connection.setblocking(False)
        shim.loop.add(connection.fileno(), READ, self._on_event)

    def send(self, message: Message) -> None:
        self._backlog.append(message)
        self._flush()

    def _flush(self) -> None:
        try:
            while self._backlog:
                messages.send(self._connection, self._backlog[0])
                self._backlog.pop(0)
        except BlockingIOError:
            if len(self._backlog) > _MAX_BACKLOG:
                self.close()
                return
        except (messages.ConnectionEnded, OSError):
            self.close()
            return
        if self._waits != bool(self._backlog):
            self._waits = not self._waits
            events = READ | (WRITE if self._waits else 0)
            self._shim.loop.change(self._connection.fileno(), events)

    def _on_event(self, events: int) -> None:
        if events & WRITE:
            self._flush()
        if not events & ~WRITE:
            return
        try:
            message, descriptors = messages.receive(self._connection)
        except BlockingIOError:
            return
        except ValueError as error:
            self.send({"failed": {"message": str(error)}})
            return
        except (messages.ConnectionEnded, OSError):
            self.close()
            return
        self._shim.handle(self, message, descriptors)

    def close(self) -> None:
        if self._connection.fileno() >= 0:
            self._shim.loop.remove(self._connection.fileno())
            self._connection.close()
            self._shim.forget(self)
