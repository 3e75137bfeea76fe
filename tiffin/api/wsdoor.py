"""Websockets at the door (api.door): a container's streams as binary messages (RFC 6455).

The client has had its handshake. Whoever answers it (a shim) speaks to the socket pair that we were
given; we carry bytes between that and the client's frames.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import suppress

from tiffin.api import door
from tiffin.api.door import PIECE, Door

_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG = 0, 1, 2, 8, 9, 10
_NORMAL = (1000).to_bytes(2, "big")
_MAX_FRAME_BYTES = 1 << 20


class WebsocketDoor(Door):
    async def admit(self, client: socket.socket, inner: socket.socket, early: bytes) -> None:
        """Until one of both sides has ended."""
        from_client, to_client = await asyncio.open_connection(sock=client)
        from_shim, to_shim = await asyncio.open_connection(sock=inner)
        tasks = {
            asyncio.create_task(_inward(from_client, early, to_shim, to_client)),
            asyncio.create_task(_outward(from_shim, to_client)),
        }
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            with suppress(OSError):
                to_client.write(frame(_CLOSE, _NORMAL))
                await to_client.drain()
            to_client.close()
            to_shim.close()
            with suppress(OSError):
                await to_client.wait_closed()  # it may be slow to take what is left


async def _inward(
    from_client: asyncio.StreamReader,
    early: bytes,
    to_shim: asyncio.StreamWriter,
    to_client: asyncio.StreamWriter,
) -> None:
    async for opcode, data in frames(from_client, early):
        if opcode in (_TEXT, _BINARY, _CONTINUATION):
            to_shim.write(data)
            await to_shim.drain()
        elif opcode == _PING:
            to_client.write(frame(_PONG, data))
        elif opcode == _CLOSE:
            return
    to_shim.write_eof()


async def _outward(from_shim: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
    while data := await from_shim.read(PIECE):
        to_client.write(frame(_BINARY, data))
        await to_client.drain()


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


def main(number: str) -> None:
    """The number is a socket pair's, to the daemon."""
    door.take_name(b"tiffin-wsdoor")
    with socket.socket(fileno=int(number)) as control:
        door.serve(WebsocketDoor(control))
