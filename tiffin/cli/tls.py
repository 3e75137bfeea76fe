"""TLS to a daemon: two threads carry bytes between its connection and a socket pair.

The rest of the CLI polls, half-closes and reads a plain socket. Both directions end on their own:
the end of our input is a close_notify, after which the daemon's output still comes.
"""

from __future__ import annotations

import _thread
import socket
import ssl

from tiffin.cli.failures import CommandFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket

    from tiffin.cli.hosts import TlsFiles

PIECE = 65536


def client_context(files: TlsFiles) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    try:
        if not files.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        elif files.ca:
            context.load_verify_locations(files.ca)
        else:
            context.load_default_certs()
        if files.certificate or files.key:
            context.load_cert_chain(files.certificate, files.key or None)
    except (OSError, ValueError) as error:
        words = error.strerror if isinstance(error, OSError) else str(error)
        names = ", ".join(filter(None, (files.ca, files.certificate, files.key)))
        raise CommandFailed(
            f"unable to resolve docker endpoint: could not load TLS files ({names}): {words}"
        ) from error
    return context


def wrap(raw: _socket.socket, name: str, files: TlsFiles) -> _socket.socket:
    """Shakes hands, and returns the plain end. CommandFailed when the daemon is not who it is."""
    channel = _Channel(socket.socket(fileno=raw.detach()), name, client_context(files))
    try:
        channel.handshake()
    except ssl.SSLCertVerificationError as error:
        raise CommandFailed(
            f"error during connect: tls: failed to verify certificate: {error.verify_message}"
        ) from error
    except OSError as error:
        words = getattr(error, "reason", "") or error.strerror or "EOF"
        raise CommandFailed(f"error during connect: tls: {words}") from error
    pair, theirs = socket.socketpair()
    ours = PlainEnd(fileno=pair.detach())
    _thread.start_new_thread(channel.inward, (theirs, ours))
    _thread.start_new_thread(channel.outward, (theirs,))
    return ours


class PlainEnd(socket.socket):
    """What the rest of the CLI holds. `failure`: why the stream ended too early."""

    failure = ""


class _Channel:
    def __init__(self, raw: socket.socket, name: str, context: ssl.SSLContext):
        self.raw = raw
        self.incoming = ssl.MemoryBIO()
        self.outgoing = ssl.MemoryBIO()
        server = name if context.check_hostname else None
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname=server)
        self.state = _thread.allocate_lock()  # guards the records
        self.sending = _thread.allocate_lock()  # keeps them in order on the line

    def handshake(self) -> None:
        while True:
            try:
                self.tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                self.flush()
                self.more()
        self.flush()

    def more(self) -> None:
        data = self.raw.recv(PIECE)
        if not data:
            raise ConnectionResetError("EOF")
        with self.state:
            self.incoming.write(data)

    def flush(self) -> None:
        with self.sending:
            with self.state:
                data = self.outgoing.read()
            if data:
                self.raw.sendall(data)

    def read(self) -> bytes:
        """What came; nothing at the end of it."""
        while True:
            try:
                with self.state:
                    return self.tls.read(PIECE)
            except ssl.SSLWantReadError:
                if self.outgoing.pending:
                    self.flush()
                self.more()
            except ssl.SSLZeroReturnError:
                return b""

    def inward(self, plain: socket.socket, end: PlainEnd) -> None:
        """The daemon's bytes to us."""
        try:
            while data := self.read():
                plain.sendall(data)
        except ssl.SSLError as error:
            # Our certificate is refused after the handshake.
            end.failure = f"remote error: tls: {(error.reason or '').lower().replace('_', ' ')}"
        except OSError:
            pass
        try:
            plain.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def outward(self, plain: socket.socket) -> None:
        """Our bytes to the daemon."""
        try:
            while data := plain.recv(PIECE):
                with self.state:
                    self.tls.write(data)
                self.flush()
            try:
                with self.state:
                    self.tls.unwrap()
            except ssl.SSLError:
                pass  # ours is said; the daemon's own close_notify comes when it has ended
            self.flush()
        except OSError:
            pass
