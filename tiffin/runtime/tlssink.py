"""A log's connection by TLS, loaded by the shims that need it alone.

It looks like a socket that does not block. Until the handshake is done nothing is sent; what it
waits for then may be to read, which `events` tells.
"""

from __future__ import annotations

import encodings.idna  # noqa: F401 - how a host's name is told: it would not be found later
import errno
import os
import ssl
from _socket import SO_ERROR, SOL_SOCKET

from tiffin.runtime.loop import READ, WRITE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from typing import Any


def client_context(ca: str, cert: str, key: str, *, verify: bool) -> ssl.SSLContext:
    """Raises OSError, ssl.SSLError."""
    context = ssl.create_default_context()
    if ca:
        context.load_verify_locations(ca)
    if cert or key:
        context.load_cert_chain(cert, key or None)
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


class TLSConnection:
    """Of a socket that is connected, or about to be. It belongs to this object."""

    def __init__(self, connection: socket, context: ssl.SSLContext, name: str) -> None:
        self._socket = connection
        self._tls: ssl.SSLSocket | None = None
        self._context = context
        self._name = name
        self.events = WRITE

    def fileno(self) -> int:
        return self._socket.fileno()

    def send(self, data: bytes) -> int:
        """Raises BlockingIOError where it must wait, and OSError (SSLError is one)."""
        self.events = WRITE
        try:
            return self._secured().send(data)
        except ssl.SSLWantReadError as error:
            self.events = READ
            raise BlockingIOError from error
        except ssl.SSLWantWriteError as error:
            raise BlockingIOError from error

    def _secured(self) -> ssl.SSLSocket:
        if self._tls is None:
            _check_connected(self._socket)
            plain: Any = self._socket  # the class beneath socket.socket has all that is asked of it
            self._tls = self._context.wrap_socket(
                plain, do_handshake_on_connect=False, server_hostname=self._name
            )
            self._socket = self._tls
        return self._tls

    def settimeout(self, seconds: float) -> None:
        self._socket.settimeout(seconds)

    def shutdown(self, how: int) -> None:
        self._socket.shutdown(how)

    def close(self) -> None:
        self._socket.close()


def _check_connected(connection: socket) -> None:
    """Raises BlockingIOError while it is under way. What is not connected would not be secured."""
    number = connection.getsockopt(SOL_SOCKET, SO_ERROR)
    if number:
        raise OSError(number, os.strerror(number))
    try:
        connection.getpeername()
    except OSError as error:
        if error.errno == errno.ENOTCONN:
            raise BlockingIOError from error
        raise
