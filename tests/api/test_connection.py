"""HTTP as clients really speak it, over real sockets, with a small application behind."""

from __future__ import annotations

import asyncio
import grp
import os
import re
import socket
import stat
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from tiffin.api import connection
from tiffin.api import listener as listening
from tiffin.api.framing import MAX_HEAD_BYTES
from tiffin.api.listener import Listener, bind_unix
from tiffin.api.messages import (
    Answer,
    Hijacked,
    Request,
    Response,
    Stream,
    error_response,
    json_response,
)
from tiffin.api.router import Route, Router
from tiffin.errors import InvalidArgument, NotFound

Client = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Kitchen:
    """An application with one route for each thing that a connection must do."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.left = asyncio.Event()
        self.finished = asyncio.Event()
        self.go_on = asyncio.Event()
        self.taken: tuple[int, bytes] | None = None

    def router(self) -> Router:
        return Router(
            [
                Route("GET", "/hello", self.hello),
                Route("HEAD", "/hello", self.hello),
                Route("GET", "/missing", self.missing),
                Route("GET", "/bug", self.bug),
                Route("POST", "/count", self.count),
                Route("POST", "/ignore", self.hello),
                Route("POST", "/short", self.short),
                Route("GET", "/stream", self.stream),
                Route("GET", "/file", self.stream, dies_with_client=True, has_an_end=True),
                Route("GET", "/broken", self.broken),
                Route("GET", "/told", self.told),
                Route("POST", "/endless", self.endless, dies_with_client=True),
                Route("POST", "/stubborn", self.stubborn),
                Route("POST", "/take", self.take),
                Route("POST", "/take-on", self.take_on, dies_with_client=True),
                Route("GET", "/echo/{name*}/json", self.echo),
            ]
        )

    async def hello(self, request: Request) -> Answer:
        return Response(200, b"hello", "text/plain")

    async def missing(self, request: Request) -> Answer:
        raise NotFound("No such dish: mine")

    async def bug(self, request: Request) -> Answer:
        raise ZeroDivisionError("secret of the house")

    async def count(self, request: Request) -> Answer:
        total = 0
        async for chunk in request.body:
            total += len(chunk)
        return json_response(total)

    async def short(self, request: Request) -> Answer:
        return json_response(len(await request.body.read(10)))

    async def echo(self, request: Request) -> Answer:
        return json_response([request.parameters["name"], str(request.version)])

    async def stream(self, request: Request) -> Answer:
        async def chunks() -> AsyncIterator[bytes]:
            try:
                yield b"one"
                await self.go_on.wait()
                yield b"two"
            finally:
                self.left.set()

        return Stream(chunks(), "text/plain")

    async def broken(self, request: Request) -> Answer:
        return Stream(self._fails(), "text/plain")

    async def told(self, request: Request) -> Answer:
        return Stream(
            self._fails(), "text/plain", failure=lambda error: b"sorry: " + str(error).encode()
        )

    async def _fails(self) -> AsyncIterator[bytes]:
        yield b"one"
        raise NotFound("gone")

    async def endless(self, request: Request) -> Answer:
        self.entered.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.left.set()
        return error_response(500, "unreachable")

    async def stubborn(self, request: Request) -> Answer:
        self.entered.set()
        await self.go_on.wait()
        self.finished.set()
        return Response(204)

    async def take(self, request: Request) -> Answer:
        client = await request.hijack("application/vnd.docker.raw-stream")
        self.taken = (client.descriptor, client.early)
        self.entered.set()
        return Hijacked()

    async def take_on(self, request: Request) -> Answer:
        """As a wait does: there is more to do once the connection is ours."""
        client = await request.hijack("application/json")
        os.close(client.descriptor)
        self.entered.set()
        try:
            await self.go_on.wait()
        finally:
            self.left.set()
        self.finished.set()
        return Hijacked()


def serve(directory: str, scene: Callable[[Kitchen, Listener, str], Awaitable[None]]) -> None:
    async def main() -> None:
        kitchen = Kitchen()
        listener = Listener(kitchen.router())
        path = os.path.join(directory, "api.sock")
        await listener.listen_unix(path)
        try:
            async with asyncio.timeout(20):
                await scene(kitchen, listener, path)
        finally:
            await listener.close(0.1)

    asyncio.run(main())


async def exchange(path: str, data: bytes) -> bytes:
    """Send, then read until the server closes."""
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(data)
    answer = await reader.read()
    writer.close()
    return answer


def request(line: str, *headers: str, body: bytes = b"", close: bool = True) -> bytes:
    lines = [f"{line} HTTP/1.1", "Host: docker", *headers]
    if close:
        lines.append("Connection: close")
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


def test_an_answer_has_dockers_headers_and_its_length(short_tmp: str) -> None:
    async def scene(kitchen: Kitchen, listener: Listener, path: str) -> None:
        answer = await exchange(path, request("GET /hello"))
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"Api-Version: 1.55" in head
        assert b"Content-Length: 5" in head
        assert body == b"hello"

    serve(short_tmp, scene)


def test_head_sends_the_headers_only(short_tmp: str) -> None:
    async def scene(kitchen: Kitchen, listener: Listener, path: str) -> None:
        answer = await exchange(path, request("HEAD /hello"))
        assert b"Content-Length: 5" in answer
        assert answer.endswith(b"\r\n\r\n")

    serve(short_tmp, scene)


def test_a_connection_is_kept_and_pipelined_requests_are_answered_in_order(short_tmp: str) -> None:
    async def scene(kitchen: Kitchen, listener: Listener, path: str) -> None:
        answer = await exchange(
            path,
            request("GET /echo/a/json", close=False)
            + request("GET /v1.30/echo/b%2Fc/json", close=False)
            + request("GET /hello"),
        )
        assert answer.count(b"HTTP/1.1 200 OK") == 3
        assert (
            answer.index(b'["a","1.55"]') < answer.index(b'["b/c","1.30"]') < answer.index(b"hello")
        )

    serve(short_tmp, scene)


def test_http_1_0_is_answered_and_closed(short_tmp: str) -> None:
    async def scene(kitchen: Kitchen, listener: Listener, path: str) -> None:
        answer = await exchange(path, b"GET /hello HTTP/1.0\r\n\r\n")
        assert answer.endswith(b"hello")
        kitchen.go_on.set()
        assert (await exchange(path, b"GET /stream HTTP/1.0\r\n\r\n")).endswith(b"\r\n\r\nonetwo")

    serve(short_tmp, scene)


@pytest.mark.parametrize(
    ("line", "status", "message"),
    [
        ("GET /nowhere", 404, "page not found"),
        ("PUT /hello", 404, "page not found"),
        ("BREW /hello", 404, "page not found"),
        ("GET /missing", 404, "No such dish: mine"),
        (
            "GET /v1.99/hello",
            400,
            "client version 1.99 is too new. Maximum supported API version is 1.55",
        ),
        ("GET /v1.23/hello", 400, "client version 1.23 is too old"),
        ("GET /v1.99/nowhere", 404, "page not found"),
        ("GET /hello%00", 404, "page not found"),
        ("GET /echo/a%0ab/json", 400, "invalid character in the path"),
        ("GET /hello%ff", 400, "invalid"),
    ],
)
def test_a_failure_is_a_status_and_a_message(
    short_tmp: str, line: str, status: int, message: str
) -> None:
    async def scene(kitchen: Kitchen, listener: Listener, path: str) -> None:
        answer = await exchange(path, request(line))
        assert answer.startswith(f"HTTP/1.1 {status} ".encode())
        assert message.encode() in answer
        assert answer.endswith(b'"}\n')

    serve(short_tmp, scene)


def test_a_bug_is_a_500_that_tells_nothing_of_the_inside(short_tmp: str) -> None:
    async def scene(kitchen: Kitchen, listener: Listener, path: str) -> None:
        answer = await exchange(path, request("GET /bug"))
        assert answer.startswith(b"HTTP/1.1 500 ")
        assert b"secret" not in answer
        assert b"Traceback" not in answer

    serve(short_tmp, scene)


def test_a_path_that_is_not_clean_is_redirected(short_tmp: str) -> None:
    async def scene(kitchen: Kitchen, listener: Listener, path: str) -> None:
        for dirty in ("/echo//json", "/echo/../hello", "/x/%2e%2e/hello"):
            assert b" 301 " in await exchange(path, request(f"GET {dirty}"))

    serve(short_tmp, scene)


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",
        b"GET /hello HTTP/1.1\r\n\r\n",  # no Host
        b"GET /hello HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"POST /count HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"POST /count HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        (
            b"POST /count HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        ),
        b"GET /hello HTTP/1.1\r\nHost: a\r\nbad name: x\r\n\r\n",
    ],
)
def test_what_is_not_http_is_refused_and_the_connection_closed(
    short_tmp: str, garbage: bytes
) -> None:
    async def scene(kitchen: Kitchen, listener: Listener, path: str) -> None:
        answer = await exchange(path, garbage)
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert answer.count(b"HTTP/1.1") == 1

    serve(short_tmp, scene)


def test_endless_headers_are_refused(short_tmp: str) -> None:
    async def scene(kitchen: Kitchen, listener: Listener, path: str) -> None:
        long = b"GET /hello HTTP/1.1\r\nHost: a\r\nX: " + b"x" * (2 * MAX_HEAD_BYTES)
        answer = await exchange(path, long)
        assert answer.startswith(b"HTTP/1.1 431 ")

    serve(short_tmp, scene)


def test_a_chunked_body_of_many_megabytes_is_streamed(short_tmp: str) -> None:
    async def scene(kitchen: Kitchen, listener: Listener, path: str) -> None:
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(request("POST /count", "Transfer-Encoding: chunked"))
        for _ in range(300):
            writer.write(b"8000\r\n" + b"x" * 0x8000 + b"\r\n")
            await writer.drain()
        writer.write(b"0\r\n\r\n")
        assert str(300 * 0x8000).encode() in await reader.read()
        writer.close()

    serve(short_tmp, scene)


def test_a_body_is_only_asked_for_when_it_is_wanted(short_tmp: str) -> None:
    async def scene(kitchen: Kitchen, listener: Listener, path: str) -> None:
        expecting = ("Expect: 100-continue", "Content-Length: 3")
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(request("POST /count", *expecting))
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
        writer.write(b"abc")
        assert (await reader.read()).endswith(b"3\n")
        writer.close()
        answer = await exchange(path, request("POST /ignore", *expecting, close=False))
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert b"connection: close" in answer.lower()

    serve(short_tmp, scene)


def test_a_small_body_that_nobody_reads_is_skipped_and_a_large_one_ends_the_connection(
    short_tmp: str,
) -> None:
    async def scene(kitchen: Kitchen, listener: Listener, path: str) -> None:
        small = request("POST /ignore", "Content-Length: 9", body=b"x" * 9, close=False)
        assert (await exchange(path, small + request("GET /hello"))).count(b"200 OK") == 2
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(request("POST /ignore", "Content-Length: 9000000", close=False))
        writer.write(b"x" * 1_000_000)
        assert b"hello" in await reader.read()
        writer.close()

    serve(short_tmp, scene)


def test_a_document_has_a_largest_size(short_tmp: str) -> None:
    async def scene(kitchen: Kitchen, listener: Listener, path: str) -> None:
        fits = await exchange(path, request("POST /short", "Content-Length: 10", body=b"x" * 10))
        assert fits.endswith(b"10\n")
        long = await exchange(path, request("POST /short", "Content-Length: 11", body=b"x" * 11))
        assert long.startswith(b"HTTP/1.1 400 ")
        assert b"larger than 10 bytes" in long

    serve(short_tmp, scene)


@pytest.mark.parametrize("sent", [b"", b"GET /hello HTTP/1.1\r\nHost: a\r\n"])
def test_a_client_that_says_nothing_or_too_slowly_is_hung_up_on(
    short_tmp: str, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr(connection, "HEADER_SECONDS", 0.05)
    monkeypatch.setattr(connection, "IDLE_SECONDS", 0.05)

    async def scene(kitchen: Kitchen, listener: Listener, path: str) -> None:
        assert await exchange(path, sent) == b""

    serve(short_tmp, scene)


def test_more_clients_than_allowed_are_turned_away(
    short_tmp: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "MAX_CONNECTIONS", 1)

    async def scene(kitchen: Kitchen, listener: Listener, path: str) -> None:
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(request("GET /hello", close=False))
        await reader.readuntil(b"hello")
        other, other_writer = await asyncio.open_unix_connection(path)
        assert await other.read() == b""
        other_writer.close()
        writer.close()

    serve(short_tmp, scene)


def test_a_body_that_ends_too_early_is_a_400(short_tmp: str) -> None:
    async def scene(kitchen: Kitchen, listener: Listener, path: str) -> None:
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(request("POST /count", "Content-Length: 10", body=b"abc"))
        writer.write_eof()
        assert (await reader.read()).startswith(b"HTTP/1.1 400 ")
        writer.close()

    serve(short_tmp, scene)


def test_chunks_of_a_stream_arrive_one_by_one(short_tmp: str) -> None:
    async def scene(kitchen: Kitchen, listener: Listener, path: str) -> None:
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(request("GET /stream"))
        await reader.readuntil(b"\r\n\r\n3\r\none\r\n")
        kitchen.go_on.set()
        assert await reader.read() == b"3\r\ntwo\r\n0\r\n\r\n"
        writer.close()

    serve(short_tmp, scene)


def test_a_stream_that_fails_is_cut_or_says_so_as_its_last_chunk(short_tmp: str) -> None:
    async def scene(kitchen: Kitchen, listener: Listener, path: str) -> None:
        cut = await exchange(path, request("GET /broken"))
        assert cut.endswith(b"one\r\n")
        told = await exchange(path, request("GET /told"))
        assert told.endswith(b"sorry: gone\r\n0\r\n\r\n")

    serve(short_tmp, scene)


def test_a_client_that_leaves_cancels_what_dies_with_it(short_tmp: str) -> None:
    async def scene(kitchen: Kitchen, listener: Listener, path: str) -> None:
        _, writer = await asyncio.open_unix_connection(path)
        writer.write(request("POST /endless"))
        await kitchen.entered.wait()
        writer.close()
        await kitchen.left.wait()

    serve(short_tmp, scene)


def test_who_has_ended_its_input_gets_the_whole_of_a_file(short_tmp: str) -> None:
    async def scene(kitchen: Kitchen, listener: Listener, path: str) -> None:
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"GET /file HTTP/1.0\r\n\r\n")
        await reader.readuntil(b"one")
        writer.write_eof()
        other, other_writer = await asyncio.open_unix_connection(path)
        other_writer.write(request("GET /hello"))
        await other.readuntil(b"hello")  # by now it has been heard
        kitchen.go_on.set()
        assert await reader.read() == b"two"
        for one in (writer, other_writer):
            one.close()

    serve(short_tmp, scene)


def test_who_closes_in_the_middle_of_a_file_ends_it(short_tmp: str) -> None:
    async def scene(kitchen: Kitchen, listener: Listener, path: str) -> None:
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(request("GET /file"))
        await reader.readuntil(b"one")
        writer.close()
        await kitchen.left.wait()

    serve(short_tmp, scene)


def test_a_client_that_leaves_does_not_stop_anything_else(short_tmp: str) -> None:
    async def scene(kitchen: Kitchen, listener: Listener, path: str) -> None:
        _, writer = await asyncio.open_unix_connection(path)
        writer.write(request("POST /stubborn"))
        await kitchen.entered.wait()
        writer.close()
        await writer.wait_closed()
        kitchen.go_on.set()
        await kitchen.finished.wait()

    serve(short_tmp, scene)


@pytest.mark.parametrize("upgrade", [True, False])
def test_a_hijacked_connection_is_the_new_owners_alone(short_tmp: str, upgrade: bool) -> None:
    async def scene(kitchen: Kitchen, listener: Listener, path: str) -> None:
        reader, writer = await asyncio.open_unix_connection(path)
        headers = ("Connection: Upgrade", "Upgrade: tcp") if upgrade else ()
        writer.write(request("POST /take", *headers, body=b"early", close=False))
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 UPGRADED" if upgrade else b"HTTP/1.1 200 OK")
        assert b"Content-Type: application/vnd.docker.raw-stream\r\n" in head
        assert b"Transfer-Encoding" not in head
        await kitchen.entered.wait()
        assert kitchen.taken is not None
        descriptor, early = kitchen.taken
        await listener.close(0.1)
        with socket.socket(fileno=descriptor) as ours:
            ours.setblocking(True)
            writer.write(b"later")
            writer.write_eof()
            seen = early
            while data := await asyncio.to_thread(ours.recv, 100):
                seen += data
            assert seen == b"earlylater"
            ours.sendall(b"bye")
        assert await reader.read() == b"bye"
        writer.close()

    serve(short_tmp, scene)


def test_closing_ends_idle_connections_at_once_and_waits_for_busy_ones(short_tmp: str) -> None:
    async def scene(kitchen: Kitchen, listener: Listener, path: str) -> None:
        idle, idle_writer = await asyncio.open_unix_connection(path)
        idle_writer.write(request("GET /hello", close=False))
        await idle.readuntil(b"hello")
        busy, busy_writer = await asyncio.open_unix_connection(path)
        busy_writer.write(request("POST /stubborn", close=False))
        await kitchen.entered.wait()
        closing = asyncio.create_task(listener.close(10))
        assert await idle.read() == b""
        kitchen.go_on.set()
        assert (await busy.read()).startswith(b"HTTP/1.1 204 ")
        await closing
        assert not os.path.exists(path)
        idle_writer.close()
        busy_writer.close()

    serve(short_tmp, scene)


def test_the_socket_is_for_root_and_its_group_and_replaces_only_a_dead_one(short_tmp: str) -> None:
    path = os.path.join(short_tmp, "api.sock")
    with bind_unix(path):
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o660
        with pytest.raises(OSError, match="in use"):
            bind_unix(path)
    bind_unix(path).close()
    os.unlink(path)
    with open(path, "w", encoding="ascii"):
        pass
    with pytest.raises(OSError, match="in use"):
        bind_unix(path)


@pytest.mark.parametrize("name", ["missing/api.sock", "x" * 120])
def test_a_socket_that_cannot_be_is_named(short_tmp: str, name: str) -> None:
    path = os.path.join(short_tmp, name)
    with pytest.raises(OSError, match=re.escape(path)):
        bind_unix(path)


def test_the_socket_is_of_the_group_that_was_asked_for_or_is_not_made(short_tmp: str) -> None:
    path = os.path.join(short_tmp, "api.sock")
    name = grp.getgrgid(1).gr_name
    for group, number in ((name, 1), ("4321", 4321)):
        bind_unix(path, group).close()
        assert os.stat(path).st_gid == number
    with pytest.raises(InvalidArgument, match="group nobodys not found"):
        bind_unix(path, "nobodys")


def test_who_has_taken_the_connection_is_not_cancelled_for_its_end(short_tmp: str) -> None:
    async def scene(kitchen: Kitchen, listener: Listener, path: str) -> None:
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(request("POST /take-on", close=False))
        await reader.read()
        await kitchen.entered.wait()

        kitchen.go_on.set()
        await kitchen.left.wait()

        assert kitchen.finished.is_set()
        writer.close()

    serve(short_tmp, scene)
