"""HTTP on sockets: binding, accepting, and an orderly end.

Whoever may connect owns the machine. So a unix socket has mode 0660 and the group docker; TCP asks
for a client certificate (doorkeeper), clear text is the loopback's alone (the caller sees to it)
and guarded against browsers that were talked into connecting (guard).
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import grp
import os
import socket
import stat
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn

from tiffin.api.connection import Application, Connection
from tiffin.api.guard import Guard
from tiffin.engine.unkillable import has_ended
from tiffin.errors import InvalidArgument

if TYPE_CHECKING:
    from tiffin.api.doorkeeper import Doorkeeper

USUAL_GROUP = "docker"
MAX_CONNECTIONS = 4096
GRACE_SECONDS = 5.0  # for requests under way when we close
_PEER = struct.Struct("=iII")


class Listener:
    """Serves an application on any number of sockets until closed."""

    def __init__(self, application: Application) -> None:
        self._application = application
        self._listeners: list[asyncio.AbstractServer] = []
        self._paths: list[str] = []
        self._connections: set[Connection] = set()
        self._admissions: set[asyncio.Task[object]] = set()
        self._closing = False

    async def listen_unix(self, path: str, group: str = USUAL_GROUP) -> None:
        """Serve on a new socket at `path`, mode 0660, in the place of a dead daemon's."""
        await self.serve(bind_unix(path, group))
        self._paths.append(path)

    async def listen_tcp(
        self, address: str, port: int, keeper: Doorkeeper | None
    ) -> list[tuple[str, int]]:
        """Serve on each address that `address` stands for; where that is, ports chosen."""
        bound = await asyncio.to_thread(bind_tcp, address, port)
        for listener in bound:
            await self.serve(listener, keeper)
        return [listener.getsockname()[:2] for listener in bound]

    async def serve(self, listener: socket.socket, keeper: Doorkeeper | None = None) -> None:
        """Serve on a bound socket. TCP without a `keeper` is clear text, guarded."""
        loop = asyncio.get_running_loop()
        server: asyncio.AbstractServer
        if listener.family == socket.AF_UNIX:
            server = await loop.create_unix_server(self._connection, sock=listener, backlog=512)
        elif keeper is None:
            guard = Guard(self._application, any_name=False)
            server = await loop.create_server(
                lambda: self._connection(guard), sock=listener, backlog=512
            )
        else:
            server = await self._serve_tls(listener, keeper)
        self._listeners.append(server)

    async def _serve_tls(
        self, listener: socket.socket, keeper: Doorkeeper
    ) -> asyncio.AbstractServer:
        guard = Guard(self._application, any_name=True)
        loop = asyncio.get_running_loop()

        def arrive(client: int) -> None:
            inner = keeper.admit(client)
            if inner is not None:
                task: asyncio.Task[object] = loop.create_task(
                    loop.connect_accepted_socket(lambda: self._connection(guard), inner)
                )
                self._admissions.add(task)
                task.add_done_callback(self._admissions.discard)

        return await loop.create_server(lambda: Arrival(arrive), sock=listener, backlog=512)

    async def close(self, grace_seconds: float = GRACE_SECONDS) -> None:
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

    def _connection(self, application: Application | None = None) -> Connection:
        connection = Connection(application or self._application, self._connections.discard)
        if len(self._connections) >= MAX_CONNECTIONS or self._closing:
            connection.refuse()
        else:
            self._connections.add(connection)
        return connection


class Arrival(asyncio.Protocol):
    """A client who is somebody else's to serve: `give` is told its descriptor, to duplicate."""

    def __init__(self, give: Callable[[int], None]) -> None:
        self._give = give

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._give(transport.get_extra_info("socket").fileno())
        transport.abort()  # closes our descriptor alone, and before a byte was read


def bind_tcp(address: str, port: int) -> list[socket.socket]:
    """Listening sockets on every address of `address` ("" is all). Raises OSError."""
    flags = socket.AI_PASSIVE
    bound: list[socket.socket] = []
    try:
        for family, kind, number, _, place in socket.getaddrinfo(
            address or None, port, type=socket.SOCK_STREAM, flags=flags
        ):
            listener = socket.socket(family, kind | socket.SOCK_CLOEXEC, number)
            bound.append(listener)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.bind(place)
            listener.listen(512)
    except OSError as error:
        for listener in bound:
            listener.close()
        shown = f"[{address}]" if ":" in address else address
        raise OSError(error.errno, error.strerror, f"tcp://{shown}:{port}") from error
    return bound


def bind_unix(path: str, group: str = USUAL_GROUP) -> socket.socket:
    """A listening socket at `path`, mode 0660, of `group`: a name or a number.

    A socket that nobody listens on any more is replaced. Raises OSError (EADDRINUSE) for a live one
    and for anything that is no socket, InvalidArgument for a group that is not there.
    """
    owner = _group_id(group)
    _remove_dead_socket(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    previous = os.umask(0o177)  # nobody connects before the mode is right
    try:
        listener.bind(path)
    except OSError as error:
        listener.close()
        raise OSError(error.errno or errno.EINVAL, error.strerror or str(error), path) from error
    finally:
        os.umask(previous)
    with contextlib.suppress(PermissionError):
        os.chown(path, -1, owner)
    os.chmod(path, 0o660)
    listener.listen(512)
    return listener


def _group_id(name: str) -> int:
    """-1, for the daemon's own, where the usual one is not there: nobody has asked for it."""
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        if name.isdecimal():
            return int(name)
        if name == USUAL_GROUP:
            return -1
        raise InvalidArgument(f"group {name} not found") from None


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
            listens = False
        else:
            # A thread that hangs in the kernel holds the socket of an engine that was killed.
            peer = probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
            pid, _, _ = _PEER.unpack(peer)
            listens = not pid or not has_ended(pid)  # 0 is one of another pid namespace
    if listens:
        _in_use(path)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def _in_use(path: str) -> NoReturn:
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE), path)
