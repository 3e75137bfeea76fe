"""TLS at the door (api.door): clients who come by it outlive the daemon too.

We decrypt a client into the socket pair that we were given once it has proved who it is. The daemon
hears of each that was refused.

Half-closes pass both ways: a client that has sent all of its input still hears the output.
asyncio's own TLS answers a client's close_notify by closing, so the records are ours to handle.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl

from tiffin.api import door
from tiffin.api.door import PIECE, Door

HANDSHAKE_SECONDS = 30.0
LINGER_SECONDS = 10.0
MAX_STRANGERS = 256  # who has not proved yet who he is; the next one finds the door shut


def server_context(certificate: str, key: str, ca: str) -> ssl.SSLContext:
    """Only for clients whose certificate `ca` signed. Raises OSError, ssl.SSLError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.load_cert_chain(certificate, key)
    context.load_verify_locations(ca)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


CLEAR_TEXT = b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n"


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
            except ssl.SSLError as error:
                if error.reason == "HTTP_REQUEST":
                    self._writer.write(CLEAR_TEXT)  # who speaks in clear text reads no alert
                    self._outgoing.read()
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


class TlsDoor(Door):
    """Lets in who has a certificate."""

    def __init__(self, context: ssl.SSLContext, control: socket.socket) -> None:
        super().__init__(control)
        self._context = context
        self._strangers: set[asyncio.Task[None]] = set()

    def is_open(self) -> bool:
        return len(self._strangers) < MAX_STRANGERS

    def admitted(self, task: asyncio.Task[None]) -> None:
        super().admitted(task)
        self._strangers.add(task)
        task.add_done_callback(self._strangers.discard)

    def daemon_has_gone(self) -> None:
        super().daemon_has_gone()
        for task in self._strangers:
            task.cancel()  # nobody is there for them

    async def admit(self, client: socket.socket, inner: socket.socket, early: bytes) -> None:
        assert not early
        with inner:
            inner.setblocking(False)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            reader, writer = await asyncio.open_connection(sock=client)
            channel = Channel(self._context, reader, writer)
            try:
                await self._converse(channel, writer, inner)
                await farewell(reader, writer)
            except OSError:
                pass  # a client may go as it likes
            finally:
                writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    async def _converse(
        self, channel: Channel, writer: asyncio.StreamWriter, inner: socket.socket
    ) -> None:
        try:
            async with asyncio.timeout(HANDSHAKE_SECONDS):
                await channel.handshake()
            task = asyncio.current_task()
            assert task is not None
            self._strangers.discard(task)
            await bridge(channel, inner)
        except ssl.SSLError as error:
            self.tell(f"refused client={writer.get_extra_info('peername')}: {error}")


async def bridge(channel: Channel, inner: socket.socket) -> None:
    """Until whoever answers has said everything, or the client has gone."""
    inward = asyncio.create_task(_inward(channel, inner))
    try:
        await _outward(channel, inner)
    finally:
        inward.cancel()
        await asyncio.gather(inward, return_exceptions=True)


async def _inward(channel: Channel, inner: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    try:
        while data := await channel.read():
            await loop.sock_sendall(inner, data)
    except (OSError, ssl.SSLError):
        how = socket.SHUT_RDWR  # gone altogether: who answers is to know
    else:
        how = socket.SHUT_WR
    with contextlib.suppress(OSError):
        inner.shutdown(how)


async def _outward(channel: Channel, inner: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    with contextlib.suppress(ConnectionResetError):  # who answered left input unread
        while data := await loop.sock_recv(inner, PIECE):
            await channel.write(data)
    await channel.close()


async def farewell(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Until the client has all that was written, and has hung up or had the time to.

    What it still sends is read meanwhile: TCP that is closed over unread input takes back what
    the client has not read yet.
    """
    discarding = asyncio.create_task(_discard(reader))
    try:
        writer.transport.set_write_buffer_limits(0)
        await writer.drain()
        writer.write_eof()
        await asyncio.wait([discarding], timeout=LINGER_SECONDS)
    finally:
        discarding.cancel()
        await asyncio.gather(discarding, return_exceptions=True)


async def _discard(reader: asyncio.StreamReader) -> None:
    with contextlib.suppress(OSError):
        while await reader.read(PIECE):
            pass


def main(number: str, *files: str) -> None:
    """CONTROL CERTIFICATE KEY CA, the first being a socket pair's number."""
    door.take_name(b"tiffin-tlsdoor")
    with socket.socket(fileno=int(number)) as control:
        try:
            context = server_context(*files)
        except OSError as error:
            control.send(f"wrong: {error.strerror or error}".encode())
            return
        door.serve(TlsDoor(context, control))
