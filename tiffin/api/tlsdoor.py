"""TLS at the door, in a process of its own: clients outlive the daemon here too.

    tlsdoor.py CONTROL CERTIFICATE KEY CA

CONTROL is a socket pair's number. Over it the daemon (doorkeeper) gives us each client with the end
of a socket pair to serve it by; we decrypt the one into the other once the client has proved who it
is. The daemon hears "ready" or "wrong: why", and of each client that was refused. When it has gone
we go on with the clients whom somebody still answers (a shim), and end with the last of them.

Half-closes pass both ways: a client that has sent all of its input still hears the output.
asyncio's own TLS answers a client's close_notify by closing, so the records are ours to handle.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import sys

HANDSHAKE_SECONDS = 30.0
LINGER_SECONDS = 10.0
MAX_STRANGERS = 256  # who has not proved yet who he is; the next one finds the door shut
PIECE = 65536
NAME = b"tiffin-tlsdoor"  # what ps and top show, up to 15 bytes


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


class Door:
    """Everybody whom the daemon gave us. `serve` returns when it and the last of them have gone."""

    def __init__(self, context: ssl.SSLContext, control: socket.socket) -> None:
        self._context = context
        self._control = control
        self._clients: set[asyncio.Task[None]] = set()
        self._strangers: set[asyncio.Task[None]] = set()
        self._alone = asyncio.Event()

    async def serve(self) -> None:
        self._control.setblocking(False)
        asyncio.get_running_loop().add_reader(self._control, self._hear)
        await self._alone.wait()
        while self._clients:
            await asyncio.wait(self._clients)

    def _hear(self) -> None:
        descriptors: list[int] = []
        try:
            said, descriptors, _, _ = socket.recv_fds(self._control, 1, 2)
        except BlockingIOError:
            return
        except OSError:
            said = b""
        given = [socket.socket(fileno=number) for number in descriptors]
        if not said:
            self._daemon_has_gone()
        elif len(given) == 2 and len(self._strangers) < MAX_STRANGERS:
            task = asyncio.get_running_loop().create_task(self._admit(*given))
            for group in (self._clients, self._strangers):
                group.add(task)
                task.add_done_callback(group.discard)
        else:  # the kernel gives fewer where we may have no more open
            for each in given:
                each.close()

    def _daemon_has_gone(self) -> None:
        asyncio.get_running_loop().remove_reader(self._control)
        forget_streams()
        self._control.close()
        for task in self._strangers:
            task.cancel()  # nobody is there for them
        self._alone.set()

    async def _admit(self, client: socket.socket, inner: socket.socket) -> None:
        """The whole of one connection."""
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
            self._tell(f"refused client={writer.get_extra_info('peername')}: {error}")

    def _tell(self, words: str) -> None:
        with contextlib.suppress(OSError):  # a daemon that has gone, or does not listen
            self._control.send(words.encode())


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


def forget_streams() -> None:
    """The daemon's streams are no longer ours to keep open."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nowhere, number)
    os.close(nowhere)


def main(number: str, *files: str) -> None:
    with open("/proc/self/comm", "wb", buffering=0) as comm:
        comm.write(NAME)
    with socket.socket(fileno=int(number)) as control:
        try:
            context = server_context(*files)
        except OSError as error:
            control.send(f"wrong: {error.strerror or error}".encode())
            return
        os.chdir("/")
        control.send(b"ready")

        async def serve() -> None:
            await Door(context, control).serve()

        asyncio.run(serve())


if __name__ == "__main__":
    main(*sys.argv[1:])
