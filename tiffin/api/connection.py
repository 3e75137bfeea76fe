"""HTTP/1.1 with one client: framing, limits, back-pressure, and giving the connection away.

framing knows the protocol, asyncio is the transport. One task serves one connection; requests that
a client pipelines wait in a bounded buffer. The bytes of a request are taken only as fast as its
handler reads them. A client that goes away cancels the request only where the route says so (pulls,
builds, logs, events): nobody leaves half a container behind by pressing Ctrl-C.

A hijacked connection (attach, exec, wait) is a duplicate of the socket, plus the bytes that had
been read already; our own copy is closed without shutdown(2), so the new owner is alone with the
client.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import select
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Protocol

from tiffin.api.framing import (
    CONTINUE,
    LAST_CHUNK,
    Head,
    MalformedRequest,
    RequestReader,
    chunk,
    head_of_answer,
)
from tiffin.api.messages import (
    Answer,
    HijackedConnection,
    Query,
    Request,
    Response,
    Stream,
    error_response,
)
from tiffin.api.patience import Patience
from tiffin.errors import InvalidArgument, TiffinError

log = logging.getLogger(__name__)

BUFFERED_BYTES = 256 * 1024  # unread input beyond this stops the reading
DISCARDED_BYTES = (
    256 * 1024
)  # an unread body up to this is skipped, so that the connection lives on
HEADER_SECONDS = 30.0
IDLE_SECONDS = 600.0
LINGER_SECONDS = 0.5


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

    def outlives_input(self, request: Request) -> bool:
        """True for an answer that who has no more to say still waits for."""
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
        self._incoming = RequestReader()
        self._request: Head | None = None  # the one that is being answered
        self._wants_continue = False  # and its client waits to be told to send the body
        self._transport: asyncio.Transport | None = None
        self._task: asyncio.Task[None] | None = None
        self._patience = Patience()
        self._input_ended = False
        self._writable = asyncio.Event()
        self._writable.set()
        self._reading = True
        self._idle = True
        self._finishing = False
        self._gone = False
        self._given_away = False
        self._serving: Request | None = None

    # What the transport tells us.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        if self._finishing:
            transport.abort()
            return
        self._task = asyncio.get_running_loop().create_task(self._run())

    def data_received(self, data: bytes) -> None:
        self._incoming.feed(data)
        if len(self._incoming) >= BUFFERED_BYTES and self._reading:
            self._reading = False
            self._channel.pause_reading()
        self._patience.reward()

    def eof_received(self) -> bool:
        self._input_ended = True
        self._patience.reward()
        if not self._is_heard_out():
            self._client_left()
        return True  # the answer may still be written to a half-closed connection

    def connection_lost(self, error: Exception | None) -> None:
        del error  # a client may go as it likes
        self._gone = self._input_ended = True
        self._patience.reward()
        self._writable.set()
        self._client_left()
        self._forget(self)

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def _client_left(self) -> None:
        if self._task is not None and self._dies_with_client():
            self._task.cancel()

    def _is_heard_out(self) -> bool:
        """Whether who has ended its input waits for an answer that has an end.

        A unix socket tells them from those who have closed; with TCP, the next write will.
        """
        if self._serving is None or not self._application.outlives_input(self._serving):
            return False
        hangups = select.poll()
        hangups.register(self._channel.get_extra_info("socket"), 0)
        return not hangups.poll(0)

    def _dies_with_client(self) -> bool:
        """Asked only when it matters: it takes a search for the route."""
        return self._serving is not None and not self._application.outlives_client(self._serving)

    # What the server tells us.

    def refuse(self) -> None:
        self._finishing = True

    def finish(self) -> asyncio.Task[None] | None:
        """End after the request under way; the task to wait for."""
        self._finishing = True
        if self._idle and self._transport is not None:
            self._transport.abort()
        elif self._task is not None and self._dies_with_client():
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
            self._patience.end()
            if not self._given_away:
                self._channel.abort()
            self._forget(self)

    async def _serve_one(self) -> bool:
        """True if the connection can take another request."""
        self._idle = True
        try:
            head = await self._read_head()
            if head is None:
                return False
            request = self._request_of(head)
        except MalformedRequest as error:
            words = f"malformed request: {error}"
            await self._send_response(error_response(error.status, words), [], head=False)
            return False
        except TiffinError as error:
            await self._send_response(error_response(error.status, error.message), [], head=False)
            return False
        self._idle = False
        await self._serve_request(request)
        if self._given_away:
            return False
        return await self._ready_for_next(head)

    async def _serve_request(self, request: Request) -> None:
        self._serving = request
        if self._gone and self._dies_with_client():
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
            self._serving = None

    async def _read_head(self) -> Head | None:
        """The next request, or None when the client is done. A slow one raises ClientGone.

        Raises MalformedRequest.
        """
        self._request = None
        if not self._incoming:
            await self._wait_for_input(IDLE_SECONDS)
        started = self._patience.now()
        while (head := self._incoming.head()) is None:
            if self._input_ended:
                if self._incoming:
                    raise MalformedRequest("it ends before its headers do")
                return None
            await self._wait_for_input(started + HEADER_SECONDS - self._patience.now())
        self._request = head
        self._wants_continue = head.expects_continue and head.length != 0
        return head

    def _request_of(self, head: Head) -> Request:
        target = head.target
        if target.startswith("http://"):  # absolute form, as through a proxy
            target = "/" + target[7:].partition("/")[2]
        path, _, query = target.partition("?")
        return Request(
            method=head.method,
            path=path,
            query=Query(query),
            headers=head.headers,
            body=RequestBody(self._more_body, self._continue),
            hijack=partial(self._hijack, head.upgrade),
            chunks=head.http11,
        )

    async def _more_body(self) -> bytes | None:
        """What came of the body, at least a byte; None at its end. Raises MalformedRequest."""
        while (data := self._incoming.body()) == b"":
            if self._input_ended:
                raise MalformedRequest("it ends before its body does")
            await self._wait_for_input(None)
        self._read_on()
        return data

    def _read_on(self) -> None:
        if not self._reading and not self._gone:
            self._reading = True
            self._channel.resume_reading()

    async def _wait_for_input(self, seconds: float | None) -> None:
        """Until something comes, also the end. Raises ClientGone after `seconds`."""
        self._read_on()
        if not self._input_ended and not await self._patience.wait(seconds):
            raise ClientGone

    async def _continue(self) -> None:
        """Answer `Expect: 100-continue` when the body is first wanted."""
        if self._wants_continue:
            self._wants_continue = False
            if not self._incoming:
                await self._write(CONTINUE)

    # Answers.

    async def _send_response(
        self, response: Response, identity: list[tuple[str, str]], *, head: bool
    ) -> None:
        headers = self._headers(identity, response.headers, response.content_type)
        if response.status in (204, 304):
            await self._write(self._start(response.status, headers))
            return
        headers.append(("Content-Length", str(len(response.body))))
        start = self._start(response.status, headers)
        await self._write(start if head else start + response.body)

    async def _send_stream(
        self, stream: Stream, identity: list[tuple[str, str]], *, head: bool
    ) -> None:
        headers = self._headers(identity, stream.headers, stream.content_type)
        chunked = self._request is not None and self._request.http11
        if chunked:
            headers.append(("Transfer-Encoding", "chunked"))
        try:
            await self._write(self._start(stream.status, headers))
            if not head:
                await self._send_chunks(stream, chunked)
                if chunked:
                    await self._write(LAST_CHUNK)
        finally:
            close = getattr(stream.chunks, "aclose", None)
            if close is not None:
                await close()

    async def _send_chunks(self, stream: Stream, chunked: bool) -> None:
        try:
            async for data in stream.chunks:
                await self._write_chunk(data, chunked)
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
            await self._write_chunk(stream.failure(error), chunked)

    async def _write_chunk(self, data: bytes, chunked: bool) -> None:
        if not chunked:
            await self._write(data)
        elif data:  # an empty chunk would be the last one
            parts = chunk(data)
            await self._write(b"".join(parts) if len(data) < 65536 else parts)

    def _start(self, status: int, headers: list[tuple[str, str]]) -> bytes:
        request = self._request
        if self._finishing or self._wants_continue or request is None or not request.keep_alive:
            headers.append(("Connection", "close"))
        return head_of_answer(status, headers)

    def _headers(
        self, identity: list[tuple[str, str]], extra: Mapping[str, str], content_type: str
    ) -> list[tuple[str, str]]:
        headers = list(identity)
        if content_type:
            headers.append(("Content-Type", content_type))
        headers += extra.items()
        return headers

    async def _write(self, data: bytes | Sequence[bytes]) -> None:
        if self._gone:
            raise ClientGone
        if isinstance(data, bytes):
            self._channel.write(data)
        else:
            self._channel.writelines(data)
        await self._writable.wait()

    # Between requests, and the end.

    async def _ready_for_next(self, head: Head) -> bool:
        if self._finishing or not head.keep_alive or not await self._skip_body():
            return False
        return not self._finishing

    async def _skip_body(self) -> bool:
        """Read what the handler left of the body, if that is little. False: close instead."""
        if self._incoming.body_ended:
            return True
        skipped, until = 0, self._patience.now() + LINGER_SECONDS
        try:
            while (data := self._incoming.body()) is not None:
                skipped += len(data)
                if skipped > DISCARDED_BYTES or self._wants_continue:
                    return False
                if not data:
                    if self._input_ended:
                        return False
                    await self._wait_for_input(until - self._patience.now())
        except (ClientGone, MalformedRequest):
            return False
        return True

    async def _hang_up(self) -> None:
        """Close so that the client can read all of the answer: unread input would reset it."""
        if self._gone or self._given_away:
            return
        until = self._patience.now() + LINGER_SECONDS
        with contextlib.suppress(OSError, ClientGone, NotImplementedError):
            self._channel.write_eof()
            while not self._input_ended:
                self._incoming.rest()
                await self._wait_for_input(until - self._patience.now())

    # Hijacking.

    async def _hijack(
        self, upgrade: bool, content_type: str, head: tuple[str, ...] = ()
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
        self._serving = None  # letting go of the socket is no client that leaves
        descriptor = os.dup(self._channel.get_extra_info("socket").fileno())
        early = self._incoming.rest()
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
        more: Callable[[], Awaitable[bytes | None]],
        ready: Callable[[], Awaitable[None]],
    ) -> None:
        self._more = more
        self._ready = ready
        self._ended = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        await self._ready()
        while not self._ended:
            try:
                data = await self._more()
            except MalformedRequest as error:
                self._ended = True
                raise InvalidArgument(f"unexpected end of the request's body: {error}") from error
            if data is None:
                self._ended = True
            else:
                yield data

    async def read(self, limit: int) -> bytes:
        parts = bytearray()
        async for data in self:
            parts += data
            if len(parts) > limit:
                raise InvalidArgument(f"request body is larger than {limit} bytes")
        return bytes(parts)
