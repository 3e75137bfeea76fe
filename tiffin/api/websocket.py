"""GET /containers/{id}/attach/ws: a container's streams as binary messages (RFC 6455).

The handshake is here; the frames are for a process of their own (wsdoor), so that such a client
outlives the daemon too.
"""

from __future__ import annotations

import hashlib
import os
from base64 import b64encode
from typing import TYPE_CHECKING

from tiffin.api.container_streams import join
from tiffin.api.doorkeeper import MAX_EARLY_BYTES, Doorkeeper
from tiffin.api.messages import RAW_STREAM, Answer, Hijacked, Request
from tiffin.api.router import Route
from tiffin.api.terminal import parse_detach_keys
from tiffin.core.workload import Attachment
from tiffin.engine.clients import EarlyClient
from tiffin.errors import InvalidArgument

if TYPE_CHECKING:
    from tiffin.engine.engine import Engine

_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class WebsocketRoutes:
    def __init__(self, engine: Engine) -> None:
        self._streams = engine.containers.streams
        self._keeper = Doorkeeper("websocket door", "wsdoor")

    def routes(self) -> list[Route]:
        return [Route("GET", "/containers/{id*}/attach/ws", self.attach)]

    async def attach(self, request: Request) -> Answer:
        query = request.query
        container = self._streams.attachable(request.parameters["id"])
        key = request.header("sec-websocket-key")
        if "websocket" not in request.header("upgrade").lower() or not key:
            raise InvalidArgument("not a websocket handshake")
        attachment = Attachment(
            stdin=query.boolean("stdin"),
            stdout=query.boolean("stdout"),
            stderr=query.boolean("stderr"),
            framed=False,
            detach_keys=parse_detach_keys(query.get("detachKeys")),
        )
        client = await request.hijack(RAW_STREAM, _handshake(request, key))
        try:
            early = client.early
            inner = None
            if len(early) <= MAX_EARLY_BYTES:  # who has read our answer first has sent nothing
                inner = self._keeper.admit(client.descriptor, early)
        finally:
            os.close(client.descriptor)
        if inner is not None:
            with inner:
                inner.setblocking(False)
                joining = EarlyClient(inner.fileno(), attachment, b"")
                await join(self._streams, container, joining, query)
        return Hijacked()

    async def close(self) -> None:
        """The clients that there are go on."""
        await self._keeper.close()


def _handshake(request: Request, key: str) -> tuple[str, ...]:
    accepted = b64encode(hashlib.sha1(f"{key}{_GUID}".encode(), usedforsecurity=False).digest())
    lines = (
        "HTTP/1.1 101 Switching Protocols",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Accept: {accepted.decode()}",
    )
    wanted = request.header("sec-websocket-protocol").split(",")[0].strip()
    return (*lines, f"Sec-WebSocket-Protocol: {wanted}") if wanted.isalnum() else lines
