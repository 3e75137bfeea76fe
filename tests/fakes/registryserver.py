"""A registry that does as it is told: for each path a function that answers, or breaks off."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Asked:
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes = b""


@dataclass(frozen=True)
class Told:
    """`cut` ends the connection after so many bytes of the body; `length` is what is announced."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: int | None = None
    length: int | None = None


Answer = Callable[[Asked], Told]


@dataclass
class Running:
    address: str
    asked: list[Asked]


@asynccontextmanager
async def serving(answer: Answer) -> AsyncIterator[Running]:
    """On a free port of 127.0.0.1, while the block lasts."""
    asked: list[Asked] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (request := await _read(reader)) is not None:
                asked.append(request)
                if not await _write(writer, request, answer(request)):
                    break
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        host, port = server.sockets[0].getsockname()[:2]
        yield Running(f"{host}:{port}", asked)


async def _read(reader: asyncio.StreamReader) -> Asked | None:
    first = await reader.read(1)
    if first in (b"", b"\x16"):  # the end, or a TLS greeting
        return None
    line = (first + await reader.readline()).decode("latin-1").split()
    headers = {}
    while (header := (await reader.readline()).decode().strip()) != "":
        name, _, value = header.partition(":")
        headers[name.lower()] = value.strip()
    body = await _body(reader, headers)
    return Asked(line[0], line[1], headers, body)


async def _body(reader: asyncio.StreamReader, headers: Mapping[str, str]) -> bytes:
    if "transfer-encoding" not in headers:
        return await reader.readexactly(int(headers.get("content-length", "0")))
    body = b""
    while size := int((await reader.readline()).strip(), 16):
        body += await reader.readexactly(size)
        await reader.readline()
    await reader.readline()
    return body


async def _write(writer: asyncio.StreamWriter, asked: Asked, told: Told) -> bool:
    length = len(told.body) if told.length is None else told.length
    lines = [f"HTTP/1.1 {told.status} Words", f"Content-Length: {length}"]
    lines += [f"{name}: {value}" for name, value in told.headers.items()]
    writer.write("\r\n".join([*lines, "", ""]).encode())
    if asked.method != "HEAD":
        writer.write(told.body if told.cut is None else told.body[: told.cut])
    await writer.drain()
    return told.cut is None
