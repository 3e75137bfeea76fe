"""Requests and events over one socket to a shim or to the zygote, as the daemon has them."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from tiffin.runtime import messages
from tiffin.runtime.messages import Message

_T = TypeVar("_T")

REQUEST_DEADLINE_SECONDS = 10.0
PROBE_AFTER_SECONDS = 5.0


class ShimFailed(Exception):
    """A shim said no. `report` is runtime.init's: message, operation, errno, exit_code."""

    def __init__(self, report: dict[str, Any]) -> None:
        super().__init__(report.get("message", ""))
        self.report = report


class ShimGone(Exception):
    """The connection to a shim has ended before it answered."""


class Connection:
    """Requests and events over one socket to a shim or the zygote."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self.socket = connection
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.on_event: Callable[[Message], None] = lambda _message: None
        self._waiting: dict[int, asyncio.Future[Message]] = {}
        self._last_id = 0
        self._sending = asyncio.Lock()
        asyncio.get_running_loop().add_reader(connection.fileno(), self._on_readable)

    def _on_readable(self) -> None:
        while not self.ended.done():
            try:
                message, descriptors = messages.receive(self.socket)
            except BlockingIOError:
                return
            except (messages.ConnectionEnded, OSError, ValueError):
                self.close()
                return
            messages.close_all(descriptors)
            self._take(message)

    def _take(self, message: Message) -> None:
        if "id" not in message:
            self.on_event(message)
            return
        waiting = self._waiting.pop(message["id"], None)
        if waiting is not None and not waiting.done():
            waiting.set_result(message)

    def next_id(self) -> tuple[int, asyncio.Future[Message]]:
        self._last_id += 1
        answer: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._waiting[self._last_id] = answer
        return self._last_id, answer

    async def request(
        self,
        op: str,
        fields: Message | None = None,
        descriptors: Sequence[int] = (),
        *,
        deadline: float | None = None,
    ) -> Message:
        """The answer. Raises ShimFailed, ShimGone, TimeoutError."""
        if self.ended.done():
            raise ShimGone
        number, answer = self.next_id()
        try:
            async with asyncio.timeout(deadline or REQUEST_DEADLINE_SECONDS):
                await self.send({"id": number, "op": op, **(fields or {})}, descriptors)
                return checked(await answer)
        finally:
            self._waiting.pop(number, None)

    async def request_of_living(
        self,
        op: str,
        fields: Message,
        descriptors: Sequence[int] = (),
        *,
        deadline: float,
    ) -> Message:
        """As `request`; but TimeoutError as soon as a shim does not even say how it is.

        It does not do later what has been given up: `until` says by when it is to have begun.
        """
        if self.ended.done():
            raise ShimGone
        patience = PROBE_AFTER_SECONDS + REQUEST_DEADLINE_SECONDS
        number, answer = self.next_id()
        asked = {"id": number, **fields, "op": op, "until": time.monotonic() + patience}
        try:
            is_sent = self._send_at_once(asked, descriptors)  # as a rule: before any timer is set
            async with asyncio.timeout(deadline):
                if not is_sent:
                    async with asyncio.timeout(patience):
                        await self.send(asked, descriptors)
                if not (await asyncio.wait((answer,), timeout=PROBE_AFTER_SECONDS))[0]:
                    await self.request("state")  # in turn: an answer means that it has read ours
                return checked(await answer)
        finally:
            self._waiting.pop(number, None)

    async def send(self, message: Message, descriptors: Sequence[int] = ()) -> None:
        """Raises ShimGone."""
        async with self._sending:
            while not self._try_to_send(message, descriptors):
                await self._writable()

    def _send_at_once(self, message: Message, descriptors: Sequence[int] = ()) -> bool:
        """False: others are about to send, or it takes no more at present. Raises ShimGone."""
        return not self._sending.locked() and self._try_to_send(message, descriptors)

    def _try_to_send(self, message: Message, descriptors: Sequence[int]) -> bool:
        try:
            messages.send(self.socket, message, list(descriptors))
        except BlockingIOError:
            return False
        except (messages.ConnectionEnded, OSError) as error:
            raise ShimGone from error
        return True

    def mention(self, message: Message) -> None:
        """Send it if that can be done at once; it does not matter much."""
        if not self.ended.done():
            with contextlib.suppress(ShimGone):
                self._send_at_once(message)

    async def _writable(self) -> None:
        loop = asyncio.get_running_loop()
        ready = loop.create_future()
        fd = self.socket.fileno()
        loop.add_writer(fd, lambda: settle(ready, None))
        try:
            await ready
        finally:
            loop.remove_writer(fd)

    def close(self) -> None:
        if self.ended.done():
            return
        asyncio.get_running_loop().remove_reader(self.socket.fileno())
        self.socket.close()
        self.ended.set_result(None)
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(ShimGone())
                answer.exception()  # whoever waited may have gone: that is no news


def checked(answer: Message) -> Message:
    if "failed" in answer:
        raise ShimFailed(answer["failed"])
    return answer


def settle(future: asyncio.Future[_T], value: _T) -> None:
    """Set a result, unless there is one already."""
    if not future.done():
        future.set_result(value)
