"""Any bytes on a connection are answered in HTTP or not at all, and the server serves on."""

from __future__ import annotations

import asyncio
import os

import hypothesis
from hypothesis import strategies as st

from tests.patience import patient
from tiffin.api.listener import Listener
from tiffin.api.messages import Answer, Request, json_response
from tiffin.api.router import Route, Router

PIECES = [
    b"GET ", b"POST ", b"HEAD ", b"/size", b"/v1.41", b"/v1.999999999999", b"/x/../size", b"%00",
    b"%ff", b"?a=b&&;=", b" HTTP/1.1", b" HTTP/1.0", b" HTTP/9.9", b"\r\n", b"\n", b"\r\n\r\n",
    b"Host: docker\r\n", b"Content-Length: 5\r\n", b"Content-Length: -1\r\n", b"hello",
    b"Transfer-Encoding: chunked\r\n", b"5\r\nhello\r\n", b"0\r\n\r\n", b"ffffffffffffffff\r\n",
    b"Expect: 100-continue\r\n", b"Connection: Upgrade\r\nUpgrade: tcp\r\n",
    b"Connection: close\r\n", b"/v1." + b"9" * 5000,
    b"\0", b"\xff", b": ", b"x" * 70_000,
]  # fmt: skip
GOOD = b"GET /size HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n\r\n"
CONVERSATIONS = st.lists(st.sampled_from(PIECES) | st.binary(max_size=20), max_size=12)


async def size(request: Request) -> Answer:
    return json_response(len(await request.body.read(100_000)))


async def say(path: str, data: bytes) -> bytes:
    reader, writer = await asyncio.open_unix_connection(path)
    try:
        writer.write(data)
        writer.write_eof()
        return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


def test_any_bytes_are_answered_in_http_or_not_at_all(short_tmp: str) -> None:
    path = os.path.join(short_tmp, "api.sock")
    router = Router([Route("GET", "/size", size), Route("POST", "/size", size)])

    async def converse(data: bytes) -> None:
        listener = Listener(router)
        await listener.listen_unix(path)
        try:
            async with asyncio.timeout(patient(60)):
                answer = await say(path, data)
                assert answer.startswith(b"HTTP/1.1 ") or not answer
                assert b"internal error" not in answer
                assert (await say(path, GOOD)).startswith(b"HTTP/1.1 200 OK")
        finally:
            await listener.close(1)

    @hypothesis.settings(max_examples=300, deadline=None)
    @hypothesis.given(CONVERSATIONS)
    def fuzz(pieces: list[bytes]) -> None:
        asyncio.run(converse(b"".join(pieces)))

    fuzz()
