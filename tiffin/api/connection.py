"""HTTP/1.1 with one client: framing, limits, back-pressure, and giving the connection away.

h11 is the protocol, asyncio the transport. One task serves one connection; requests that a client
pipelines wait in a bounded buffer. The bytes of a request are taken only as fast as its handler
reads them. A client that goes away cancels the request only where the route says so (pulls, builds,
logs, events): nobody leaves half a container behind by pressing Ctrl-C.

A hijacked connection (attach, exec, wait) is a duplicate of the socket, plus the bytes that had
been read already; our own copy is closed without shutdown(2), so the new owner is alone with the
client.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol

import h11

from tiffin.api.messages import (
    Answer,
    HijackedConnection,
    Query,
    Request,
    Response,
    Stream,
    error_response,
)
from tiffin.errors import InvalidArgument, TiffinError

log = logging.getLogger(__name__)

MAX_HEADER_BYTES = 64 * 1024
BUFFERED_BYTES = 256 * 1024  # unread input beyond this stops the reading
DISCARDED_BYTES = (
    256 * 1024
)  # an unread body up to this is skipped, so that the connection lives on
HEADER_SECONDS = 30.0
IDLE_SECONDS = 600.0
LINGER_SECONDS = 0.5


Event = h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]


class ClientGone(Exception):
    """The client closed its connection while we read or wrote. Nobody's failure."""


class Application(Protocol):
    """What serves requests (api.router.Router)."""

    def identity(self, request: Request) -> list[tuple[str, str]]:
        """Headers of every answer."""
        ...

    def outlives_client(self, request: Request) -> bool:
        """False for work that ends with its client."""
        ...

    async def answer(self, request: Request) -> Answer:
        """Never raises but for cancellation."""
        ...


class Connection(asyncio.Protocol):
    """One client. The transport's callbacks only note what came; `_run` does the talking."""

    def __init__(
        self, application: Application, forget: Callable[[Connection], None] = lambda _: None
    ) -> None:
        self._application = application
        self._forget = forget
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEADER_BYTES)
        self._transport: asyncio.Transport | None = None
        self._task: asyncio.Task[None] | None = None
        self._incoming = bytearray()
        self._input_ended = False
        self._arrived = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self._reading = True
        self._idle = True
        self._finishing = False
        self._gone = False
        self._given_away = False
        self._dies_with_client = False

    # What the transport tells us.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        if self._finishing:
            transport.abort()
            return
        self._task = asyncio.get_running_loop().create_task(self._run())

    def data_received(self, data: bytes) -> None:
        self._incoming += data
        if len(self._incoming) >= BUFFERED_BYTES and self._reading:
            self._reading = False
            self._channel.pause_reading()
        self._arrived.set()

    def eof_received(self) -> bool:
        self._input_ended = True
        self._arrived.set()
        self._client_left()
        return True  # the answer may still be written to a half-closed connection

    def connection_lost(self, error: Exception | None) -> None:
        del error  # a client may go as it likes
        self._gone = self._input_ended = True
        self._arrived.set()
        self._writable.set()
        self._client_left()
        self._forget(self)

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def _client_left(self) -> None:
        if self._dies_with_client and self._task is not None:
            self._task.cancel()

    # What the server tells us.

    def refuse(self) -> None:
        self._finishing = True

    def finish(self) -> asyncio.Task[None] | None:
        """End after the request under way; the task to wait for."""
        self._finishing = True
        if self._idle and self._transport is not None:
            self._transport.abort()
        elif self._dies_with_client and self._task is not None:
            self._task.cancel()
        return self._task

    # The conversation.

    @property
    def _channel(self) -> asyncio.Transport:
        assert self._transport is not None
        return self._transport

    async def _run(self) -> None:
        try:
            while await self._serve_one():
                pass
            await self._hang_up()
        except (ClientGone, ConnectionError):
            pass
        except asyncio.CancelledError:
            if not (self._gone or self._input_ended or self._finishing):
                raise
        finally:
            if not self._given_away:
                self._channel.abort()
            self._forget(self)

    async def _serve_one(self) -> bool:
        """True if the connection can take another request."""
        try:
            request = await self._read_request()
        except h11.RemoteProtocolError as error:
            await self._refuse_bytes(error)
            return False
        except TiffinError as error:
            await self._send_response(error_response(error.status, error.message), [], head=False)
            return False
        if request is None:
            return False
        self._idle = False
        await self._serve_request(request)
        if self._given_away:
            return False
        return await self._ready_for_next()

    async def _serve_request(self, request: Request) -> None:
        self._dies_with_client = not self._application.outlives_client(request)
        if self._dies_with_client and self._gone:
            raise ClientGone
        identity = self._application.identity(request)
        head = request.method == "HEAD"
        try:
            answer = await self._application.answer(request)
            if isinstance(answer, Stream):
                await self._send_stream(answer, identity, head=head)
            elif isinstance(answer, Response):
                await self._send_response(answer, identity, head=head)
        finally:
            self._dies_with_client = False

    async def _read_request(self) -> Request | None:
        """The next request, or None when the client is done. Slow headers raise ClientGone."""
        self._idle = True
        if not self._incoming and not self._http.trailing_data[0]:
            await self._wait_for_input(IDLE_SECONDS)
        try:
            async with asyncio.timeout(HEADER_SECONDS):
                event = await self._next_event()
        except TimeoutError as error:
            raise ClientGone from error
        if not isinstance(event, h11.Request):
            return None
        return self._request(event)

    def _request(self, event: h11.Request) -> Request:
        headers: dict[str, str] = {}
        for name, value in event.headers:
            headers[name.decode("ascii")] = value.decode("latin-1")
        if "transfer-encoding" in headers and "content-length" in headers:
            raise InvalidArgument("both Transfer-Encoding and Content-Length are given")
        target = event.target.decode("ascii")
        if target.startswith("http://"):  # absolute form, as through a proxy
            target = "/" + target[7:].partition("/")[2]
        path, _, query = target.partition("?")
        return Request(
            method=event.method.decode("ascii"),
            path=path,
            query=Query(query),
            headers=headers,
            body=RequestBody(self._next_event, self._continue),
            hijack=lambda content_type, head=(): self._hijack(
                "upgrade" in headers, content_type, head
            ),
            chunks=event.http_version != b"1.0",
        )

    async def _next_event(self) -> Event:
        while True:
            event = self._http.next_event()
            if not isinstance(event, type) or event is h11.PAUSED:
                return event
            if not self._incoming and not self._input_ended:
                await self._wait_for_input(None)
            self._feed()

    def _feed(self) -> None:
        if self._incoming:
            data = bytes(self._incoming)
            self._incoming.clear()
            self._http.receive_data(data)
        elif self._input_ended:
            self._http.receive_data(b"")
        if not self._reading and not self._gone:
            self._reading = True
            self._channel.resume_reading()

    async def _wait_for_input(self, seconds: float | None) -> None:
        self._arrived.clear()
        if self._incoming or self._input_ended:
            return
        try:
            async with asyncio.timeout(seconds):
                await self._arrived.wait()
        except TimeoutError as error:
            raise ClientGone from error

    async def _continue(self) -> None:
        """Answer `Expect: 100-continue` when the body is first wanted."""
        if self._http.they_are_waiting_for_100_continue:
            await self._write(
                self._http.send(h11.InformationalResponse(status_code=100, headers=[])) or b""
            )

    # Answers.

    async def _send_response(
        self, response: Response, identity: list[tuple[str, str]], *, head: bool
    ) -> None:
        headers = self._headers(identity, response.headers, response.content_type)
        if response.status not in (204, 304):
            headers.append(("Content-Length", str(len(response.body))))
        data = self._http.send(self._start(response.status, headers)) or b""
        if response.body and not head and response.status not in (204, 304):
            data += self._http.send(h11.Data(data=response.body)) or b""
        data += self._http.send(h11.EndOfMessage()) or b""
        await self._write(data)

    async def _send_stream(
        self, stream: Stream, identity: list[tuple[str, str]], *, head: bool
    ) -> None:
        headers = self._headers(identity, stream.headers, stream.content_type)
        sent = stream.chunks
        try:
            await self._write(self._http.send(self._start(stream.status, headers)) or b"")
            if not head:
                await self._send_chunks(stream)
            await self._write(self._http.send(h11.EndOfMessage()) or b"")
        finally:
            close = getattr(sent, "aclose", None)
            if close is not None:
                await close()

    async def _send_chunks(self, stream: Stream) -> None:
        try:
            async for chunk in stream.chunks:
                await self._write_chunk(chunk)
        except (ClientGone, ConnectionError, asyncio.CancelledError):
            raise
        except Exception as error:
            log.log(
                logging.INFO if isinstance(error, TiffinError) else logging.ERROR,
                "answer ended early: %s",
                error,
                exc_info=not isinstance(error, TiffinError),
            )
            if stream.failure is None:
                raise ClientGone from error
            await self._write_chunk(stream.failure(error))

    async def _write_chunk(self, chunk: bytes) -> None:
        if chunk:
            parts = self._http.send_with_data_passthrough(h11.Data(data=chunk)) or []
            await self._write(b"".join(parts) if len(chunk) < 65536 else parts)

    def _start(self, status: int, headers: list[tuple[str, str]]) -> h11.Response:
        if self._finishing or self._http.they_are_waiting_for_100_continue:
            headers.append(("Connection", "close"))
        return h11.Response(status_code=status, headers=headers, reason=_reason(status))

    def _headers(
        self, identity: list[tuple[str, str]], extra: object, content_type: str
    ) -> list[tuple[str, str]]:
        headers = list(identity)
        if content_type:
            headers.append(("Content-Type", content_type))
        headers += extra.items() if isinstance(extra, dict) else []
        return headers

    async def _write(self, data: bytes | list[bytes]) -> None:
        if self._gone:
            raise ClientGone
        if isinstance(data, bytes):
            self._channel.write(data)
        else:
            self._channel.writelines(data)
        await self._writable.wait()

    async def _refuse_bytes(self, error: h11.RemoteProtocolError) -> None:
        if self._http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            response = error_response(error.error_status_hint or 400, f"malformed request: {error}")
            await self._send_response(response, [("Connection", "close")], head=False)

    # Between requests, and the end.

    async def _ready_for_next(self) -> bool:
        if self._finishing or not await self._skip_body():
            return False
        if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
            return False
        self._http.start_next_cycle()
        return not self._finishing

    async def _skip_body(self) -> bool:
        """Read what the handler left of the body, if that is little. False: close instead."""
        skipped = 0
        try:
            while self._http.their_state is h11.SEND_BODY:
                if self._http.they_are_waiting_for_100_continue:
                    return False
                async with asyncio.timeout(LINGER_SECONDS):
                    event = await self._next_event()
                skipped += len(event.data) if isinstance(event, h11.Data) else 0
                if skipped > DISCARDED_BYTES:
                    return False
        except (TimeoutError, h11.RemoteProtocolError):
            return False
        return True

    async def _hang_up(self) -> None:
        """Close so that the client can read all of the answer: unread input would reset it."""
        if self._gone or self._given_away:
            return
        with contextlib.suppress(OSError, TimeoutError, NotImplementedError):
            self._channel.write_eof()
            async with asyncio.timeout(LINGER_SECONDS):
                while not self._input_ended:
                    self._incoming.clear()
                    if not self._reading:
                        self._reading = True
                        self._channel.resume_reading()
                    self._arrived.clear()
                    await self._arrived.wait()

    # Hijacking.

    async def _hijack(
        self, upgrade: bool, content_type: str, head: tuple[str, ...]
    ) -> HijackedConnection:
        """Answer `head`, 101 or a bare 200, and part with the connection. Raises ClientGone."""
        await self._skip_body()
        lines = [f"Content-Type: {content_type}"]
        if head:
            lines = list(head)
        elif upgrade:
            lines = ["HTTP/1.1 101 UPGRADED", *lines, "Connection: Upgrade", "Upgrade: tcp"]
        else:
            lines = ["HTTP/1.1 200 OK", *lines]
        await self._write(("\r\n".join(lines) + "\r\n\r\n").encode("ascii"))
        await self._flush()
        self._channel.pause_reading()
        self._given_away = True
        self._dies_with_client = False  # letting go of the socket is no client that leaves
        descriptor = os.dup(self._channel.get_extra_info("socket").fileno())
        early = bytes(self._http.trailing_data[0]) + bytes(self._incoming)
        self._channel.abort()
        return HijackedConnection(descriptor, early)

    async def _flush(self) -> None:
        """Wait until the kernel has every byte that was written."""
        self._channel.set_write_buffer_limits(high=0)
        if self._channel.get_write_buffer_size():
            self._writable.clear()
            await self._writable.wait()
        if self._gone:
            raise ClientGone


class RequestBody:
    """One request's body as chunks; the client is slowed down to the pace of the reader."""

    def __init__(
        self,
        next_event: Callable[[], Awaitable[Event]],
        ready: Callable[[], Awaitable[None]],
    ) -> None:
        self._next_event = next_event
        self._ready = ready
        self._ended = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        await self._ready()
        while not self._ended:
            try:
                event = await self._next_event()
            except h11.RemoteProtocolError as error:
                self._ended = True
                raise InvalidArgument(f"unexpected end of the request's body: {error}") from error
            if isinstance(event, h11.Data):
                yield bytes(event.data)
            else:
                self._ended = True

    async def read(self, limit: int) -> bytes:
        parts = bytearray()
        async for chunk in self:
            parts += chunk
            if len(parts) > limit:
                raise InvalidArgument(f"request body is larger than {limit} bytes")
        return bytes(parts)


_REASONS = {
    200: "OK",
    201: "Created",
    204: "No Content",
    301: "Moved Permanently",
    304: "Not Modified",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    409: "Conflict",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    501: "Not Implemented",
    503: "Service Unavailable",
}


def _reason(status: int) -> str:
    return _REASONS.get(status, "Unknown")
