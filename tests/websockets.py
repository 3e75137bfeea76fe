"""A client of a websocket, as far as tests need one: its handshake, then bytes."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from tests.live import LiveDaemon
from tests.patience import patient


@contextmanager
def websocket(
    daemon: LiveDaemon, name: str, query: str
) -> Iterator[tuple[socket.socket, BinaryIO]]:
    """A connection that has become one, and a file to read from it."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(patient(60))
        connection.connect(daemon.socket)
        request = (
            f"GET /containers/{name}/attach/ws?{query} HTTP/1.1\r\n"
            "Host: d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        connection.sendall(request.encode())
        stream = connection.makefile("rb")
        head = b"".join(iter(stream.readline, b"\r\n"))
        assert head.startswith(b"HTTP/1.1 101 ")
        assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in head
        yield connection, stream
