"""GET /containers/{id}/attach/ws: a container's streams as binary messages (RFC 6455).

The shim speaks to a socket of ours, and we carry bytes between that and the client's frames: such a
client does not outlive the daemon.
"""

from __future__ import annotations

import asyncio
import hashlib
import socket
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import TYPE_CHECKING

from tiffin.api.container_streams import join
from tiffin.api.messages import RAW_STREAM, Answer, Hijacked, Request
from tiffin.api.router import Route
from tiffin.api.terminal import parse_detach_keys
from tiffin.core.workload import Attachment
from tiffin.engine.clients import EarlyClient
from tiffin.errors import InvalidArgument

if TYPE_CHECKING:
    from tiffin.engine.engine import Engine

_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG = 0, 1, 2, 8, 9, 10
_MAX_FRAME_BYTES = 1 << 20
_READ_BYTES = 1 << 16


class WebsocketRoutes:
    def __init__(self, engine: Engine) -> None:
        self._containers = engine.containers
        self._bridges: set[asyncio.Task[None]] = set()

    def routes(self) -> list[Route]:
        return [Route("GET", "/containers/{id}/attach/ws", self.attach)]

    async def attach(self, request: Request) -> Answer:
        query = request.query
        container = self._containers.check_attachable(request.parameters["id"])
        key = request.header("sec-websocket-key")
        if "websocket" not in request.header("upgrade").lower() or not key:
            raise InvalidArgument("not a websocket handshake")
        attachment = Attachment(
            stdin=query.boolean("stdin"),
            stdout=query.boolean("stdout"),
            stderr=query.boolean("stderr"),
            framed=False,
            detach_keys=parse_detach_keys(query.get("detachKeys")),
        )
        client = await request.hijack(RAW_STREAM, _handshake(request, key))
        ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        with theirs:
            bridge = asyncio.create_task(_bridge(client.descriptor, client.early, ours))
            self._bridges.add(bridge)
            bridge.add_done_callback(self._bridges.discard)
            joining = EarlyClient(theirs.fileno(), attachment, b"")
            await join(self._containers, container, joining, query)
        return Hijacked()


def _handshake(request: Request, key: str) -> tuple[str, ...]:
    accepted = b64encode(hashlib.sha1(f"{key}{_GUID}".encode(), usedforsecurity=False).digest())
    lines = (
        "HTTP/1.1 101 Switching Protocols",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Accept: {accepted.decode()}",
    )
    wanted = request.header("sec-websocket-protocol").split(",")[0].strip()
    return (*lines, f"Sec-WebSocket-Protocol: {wanted}") if wanted.isalnum() else lines


async def _bridge(descriptor: int, early: bytes, ours: socket.socket) -> None:
    """Until one of both sides has ended. Closes both."""
    client_socket = socket.socket(fileno=descriptor)
    client_socket.setblocking(False)
    from_client, to_client = await asyncio.open_connection(sock=client_socket)
    from_shim, to_shim = await asyncio.open_connection(sock=ours)

    async def inward() -> None:
        async for opcode, data in frames(from_client, early):
            if opcode in (_TEXT, _BINARY, _CONTINUATION):
                to_shim.write(data)
                await to_shim.drain()
            elif opcode == _PING:
                to_client.write(frame(_PONG, data))
            elif opcode == _CLOSE:
                return
        to_shim.write_eof()

    async def outward() -> None:
        while data := await from_shim.read(_READ_BYTES):
            to_client.write(frame(_BINARY, data))
            await to_client.drain()

    tasks = {asyncio.create_task(inward()), asyncio.create_task(outward())}
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        with suppress(OSError):
            to_client.write(frame(_CLOSE, (1000).to_bytes(2, "big")))
            await to_client.drain()
        to_client.close()
        to_shim.close()


def frame(opcode: int, data: bytes) -> bytes:
    """One message in one frame, as a server sends it."""
    size = len(data)
    if size < 126:
        head = bytes((0x80 | opcode, size))
    elif size < 1 << 16:
        head = bytes((0x80 | opcode, 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((0x80 | opcode, 127)) + size.to_bytes(8, "big")
    return head + data


async def frames(
    stream: asyncio.StreamReader, early: bytes = b""
) -> AsyncIterator[tuple[int, bytes]]:
    """(opcode, payload) of a client's frames until it leaves or breaks the protocol."""
    reader = _Reader(stream, early)
    with suppress(asyncio.IncompleteReadError, OSError):
        while True:
            first, second = await reader.exactly(2)
            size = second & 0x7F
            if size >= 126:
                size = int.from_bytes(await reader.exactly(2 if size == 126 else 8), "big")
            if not second & 0x80 or size > _MAX_FRAME_BYTES:
                return  # a client masks what it sends
            mask = await reader.exactly(4)
            yield first & 0x0F, unmasked(await reader.exactly(size), mask)


def unmasked(data: bytes, mask: bytes) -> bytes:
    size = len(data)
    key = int.from_bytes((mask * (size // 4 + 1))[:size], "big")
    return (int.from_bytes(data, "big") ^ key).to_bytes(size, "big")


class _Reader:
    """A stream after what was read of it already."""

    def __init__(self, stream: asyncio.StreamReader, early: bytes) -> None:
        self._stream = stream
        self._early = early

    async def exactly(self, count: int) -> bytes:
        data, self._early = self._early[:count], self._early[count:]
        if len(data) < count:
            data += await self._stream.readexactly(count - len(data))
        return data
