"""TLS at the door: a client's connection is decrypted into a socket pair, and served as any other.

Whoever takes a connection over (attach, exec: the shim) gets the inner socket and needs to know no
TLS. Half-closes pass both ways: a client that has sent all of its input still hears the output.
asyncio's own TLS answers a client's close_notify by closing, so the records are ours to handle.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Awaitable, Callable

log = logging.getLogger(__name__)

HANDSHAKE_SECONDS = 30.0
MAX_STRANGERS = 256  # who has not proved yet who he is; the next one finds the door shut
PIECE = 65536


def server_context(certificate: str, key: str, ca: str) -> ssl.SSLContext:
    """Only for clients whose certificate `ca` signed. Raises OSError, ssl.SSLError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.load_cert_chain(certificate, key)
    context.load_verify_locations(ca)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


class Channel:
    """The plain text of a TLS connection. One task reads, one writes."""

    def __init__(
        self, context: ssl.SSLContext, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)

    async def handshake(self) -> None:
        """Raises ssl.SSLError for a stranger, ConnectionError for who hangs up."""
        while True:
            try:
                self._tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                await self._flush()
                await self._more()
            except ssl.SSLError:
                await self._flush()  # the alert that says why
                raise
        await self._flush()

    async def read(self) -> bytes:
        """What came; nothing once the client has said that it sends no more."""
        while True:
            try:
                data = self._tls.read(PIECE)
            except ssl.SSLWantReadError:
                await self._flush()
                await self._more()
            except ssl.SSLZeroReturnError:
                return b""
            else:
                await self._flush()
                return data

    async def write(self, data: bytes) -> None:
        self._tls.write(data)
        await self._flush()

    async def close(self) -> None:
        with contextlib.suppress(ssl.SSLError):
            self._tls.unwrap()  # says that no more comes; whether the client says so too is its own
        await self._flush()

    async def _flush(self) -> None:
        if self._outgoing.pending:
            self._writer.write(self._outgoing.read())
            await self._writer.drain()

    async def _more(self) -> None:
        data = await self._reader.read(PIECE)
        if not data:
            raise ConnectionResetError("the client went without a word")
        self._incoming.write(data)


class TlsDoor:
    """`serve` is given the inner socket of each client that proved who it is."""

    def __init__(
        self, context: ssl.SSLContext, serve: Callable[[socket.socket], Awaitable[None]]
    ) -> None:
        self._context = context
        self._serve = serve
        self._strangers = 0

    async def admit(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """The whole of one connection."""
        channel = Channel(self._context, reader, writer)
        try:
            await self._welcome(channel)
            await self._bridge(channel)
        except ssl.SSLError as error:
            log.info("refused client=%s: %s", writer.get_extra_info("peername"), error)
        except (ConnectionError, TimeoutError):
            pass
        finally:
            writer.close()

    async def _welcome(self, channel: Channel) -> None:
        if self._strangers >= MAX_STRANGERS:
            raise ConnectionAbortedError("too many handshakes at once")
        self._strangers += 1
        try:
            async with asyncio.timeout(HANDSHAKE_SECONDS):
                await channel.handshake()
        finally:
            self._strangers -= 1

    async def _bridge(self, channel: Channel) -> None:
        ours, theirs = socket.socketpair()
        try:
            await self._serve(theirs)
            reader, writer = await asyncio.open_connection(sock=ours)
        except BaseException:
            ours.close()
            theirs.close()
            raise
        inward = asyncio.create_task(_inward(channel, writer))
        try:
            await _outward(channel, reader)
        finally:
            inward.cancel()
            await asyncio.gather(inward, return_exceptions=True)
            writer.close()


async def _inward(channel: Channel, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await channel.read():
            writer.write(data)
            await writer.drain()
        writer.write_eof()
    except (OSError, ssl.SSLError):
        writer.close()  # gone altogether: who answers is to know


async def _outward(channel: Channel, reader: asyncio.StreamReader) -> None:
    while data := await reader.read(PIECE):
        await channel.write(data)
    await channel.close()
