"""HTTP on unix sockets: binding, accepting, and an orderly end.

Only unix sockets, mode 0660 and group docker: whoever may connect owns the machine, so there is no
TCP, and with it no browser that could be talked into connecting.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import grp
import os
import socket
import stat
from typing import NoReturn

from tiffin.api.connection import Application, Connection

MAX_CONNECTIONS = 4096


class Listener:
    """Serves an application on one or several unix sockets until closed."""

    def __init__(self, application: Application) -> None:
        self._application = application
        self._listeners: list[asyncio.AbstractServer] = []
        self._paths: list[str] = []
        self._connections: set[Connection] = set()
        self._closing = False

    async def listen_unix(self, path: str) -> None:
        """Serve on a new socket at `path`, root:docker 0660, in the place of a dead daemon's."""
        await self.serve(bind_unix(path))
        self._paths.append(path)

    async def serve(self, listener: socket.socket) -> None:
        """Serve on a listening socket that someone else bound."""
        loop = asyncio.get_running_loop()
        self._listeners.append(
            await loop.create_unix_server(self._connection, sock=listener, backlog=512)
        )

    async def close(self, grace_seconds: float = 5.0) -> None:
        """Stop accepting; idle connections end now, requests under way get `grace_seconds`."""
        self._closing = True
        for listener in self._listeners:
            listener.close()
        for path in self._paths:
            with contextlib.suppress(OSError):
                os.unlink(path)
        tasks = [connection.finish() for connection in list(self._connections)]
        pending = {task for task in tasks if task is not None and not task.done()}
        if pending:
            _, late = await asyncio.wait(pending, timeout=grace_seconds)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def _connection(self) -> Connection:
        connection = Connection(self._application, self._connections.discard)
        if len(self._connections) >= MAX_CONNECTIONS or self._closing:
            connection.refuse()
        else:
            self._connections.add(connection)
        return connection


def bind_unix(path: str) -> socket.socket:
    """A listening socket at `path`, mode 0660, group docker if there is one.

    A socket that nobody listens on any more is replaced. Raises OSError (EADDRINUSE) for a live one
    and for anything that is no socket.
    """
    _remove_dead_socket(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    previous = os.umask(0o177)  # nobody connects before the mode is right
    try:
        listener.bind(path)
    except OSError:
        listener.close()
        raise
    finally:
        os.umask(previous)
    with contextlib.suppress(KeyError, PermissionError):
        os.chown(path, -1, grp.getgrnam("docker").gr_gid)
    os.chmod(path, 0o660)
    listener.listen(512)
    return listener


def _remove_dead_socket(path: str) -> None:
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        _in_use(path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except (ConnectionRefusedError, FileNotFoundError):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            return
    _in_use(path)


def _in_use(path: str) -> NoReturn:
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE), path)
