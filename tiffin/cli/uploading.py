"""Bodies of a length that nobody knows, sent piece by piece."""

from __future__ import annotations

import _socket
import select

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tiffin.cli.client import Client, Connection, Query, Response


def upload(
    client: Client,
    method: str,
    path: str,
    query: Query,
    pieces: Iterable[bytes],
    headers: Mapping[str, str],
) -> Response:
    """Sends `pieces` as a body. It goes out once, so the version is asked first.

    The daemon may answer and hang up before it has read everything: its answer counts.
    """
    client.negotiate()
    connection = client.ask(method, path, query, {**headers, "Transfer-Encoding": "chunked"})
    for piece in pieces:
        if piece and not _push(connection, b"%x\r\n" % len(piece), piece, b"\r\n"):
            break
    else:
        _push(connection, b"0\r\n\r\n")
    return client.answer(connection, method)


def _push(connection: Connection, *parts: bytes) -> bool:
    """Sends all of `parts`, and takes in meanwhile what the daemon says already.

    False when the daemon wants no more of it.
    """
    views = [memoryview(part) for part in parts]
    flags = _socket.MSG_NOSIGNAL | _socket.MSG_DONTWAIT
    try:
        while views:
            try:
                sent = connection.socket.sendmsg(views, (), flags)
            except BlockingIOError:
                if _wait(connection) and not connection.more():
                    return False
                continue
            while views and sent >= len(views[0]):
                sent -= len(views.pop(0))
            if sent:
                views[0] = views[0][sent:]
    except (BrokenPipeError, ConnectionResetError):
        return False
    return True


def _wait(connection: Connection) -> bool:
    """Until there is room to send, or something to read: then it is True."""
    poll = select.poll()
    poll.register(connection.socket.fileno(), select.POLLIN | select.POLLOUT)
    return any(events & ~select.POLLOUT for _, events in poll.poll())
