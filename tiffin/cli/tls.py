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
    if not files.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if files.ca:
        try:
            context.load_verify_locations(files.ca)
        except (OSError, ValueError) as error:
            raise _unusable("ca.pem seems invalid") from error
    elif files.verify:
        context.load_default_certs()
    if files.certificate and files.key:  # one without the other is of no use, and passed over
        _check_pair(files)
        try:
            context.load_cert_chain(files.certificate, files.key)
        except (OSError, ValueError) as error:
            raise _unusable(f"tls: {_words(error)}") from error
    return context


def _check_pair(files: TlsFiles) -> None:
    """CommandFailed, in Go's words, for files that hold something else than their names say."""
    certificate, key = _read(files.certificate), _read(files.key)
    if b"-----BEGIN " not in key:
        raise CommandFailed("Failed to initialize: no valid private key found")
    if b"ENCRYPTED" in key:
        raise CommandFailed(
            "Failed to initialize: private key is encrypted - support for encrypted private keys "
            "has been removed, see https://docs.docker.com/go/deprecated/"
        )
    if b"-----BEGIN " not in certificate:
        raise _unusable("tls: failed to find any PEM data in certificate input")
    if b"BEGIN CERTIFICATE" not in certificate:
        found = ", but did find a private key; PEM inputs may have been switched"
        found = found if b"PRIVATE KEY" in certificate else ""
        raise _unusable(f"tls: failed to find certificate PEM data in certificate input{found}")
    kinds = [part.partition(b"-----")[0] for part in key.split(b"-----BEGIN ")[1:]]
    if any(kind.endswith(b"PRIVATE KEY") for kind in kinds):
        return
    if b"CERTIFICATE" in kinds:
        raise _unusable("tls: found a certificate rather than a key in the PEM for the private key")
    shown = b" ".join(kinds).decode("ascii", "replace")
    raise _unusable(
        'tls: failed to find PEM block with type ending in "PRIVATE KEY" in key input after '
        f"skipping PEM blocks of the following types: [{shown}]"
    )


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _words(error: OSError | ValueError) -> str:
    if getattr(error, "reason", None) == "KEY_VALUES_MISMATCH":
        return "private key does not match public key"
    if isinstance(error, ssl.SSLError):
        return "failed to parse certificate or private key"
    return (error.strerror or str(error)).lower() if isinstance(error, OSError) else str(error)


def _unusable(problem: str) -> CommandFailed:
    return CommandFailed(f"Failed to initialize: failed to retrieve context tls info: {problem}")


def wrap(raw: _socket.socket, name: str, context: ssl.SSLContext) -> _socket.socket:
    """Shakes hands, and returns the plain end. CommandFailed when the daemon is not who it is."""
    channel = _Channel(socket.socket(fileno=raw.detach()), name, context)
    try:
        channel.handshake()
    except ssl.SSLCertVerificationError as error:
        raise CommandFailed(
            f"error during connect: tls: failed to verify certificate: {_mistrust(error, name)}"
        ) from error
    except OSError as error:
        words = getattr(error, "reason", "") or error.strerror or "EOF"
        raise CommandFailed(f"error during connect: tls: {words}") from error
    pair, theirs = socket.socketpair()
    ours = PlainEnd(fileno=pair.detach())
    _thread.start_new_thread(channel.inward, (theirs, ours))
    _thread.start_new_thread(channel.outward, (theirs,))
    return ours


# OpenSSL's numbers of what is wrong with a certificate -> Go's words.
_MISTRUSTS = {
    9: "x509: certificate has expired or is not yet valid",
    10: "x509: certificate has expired or is not yet valid",
    18: "x509: certificate signed by unknown authority",
    19: "x509: certificate signed by unknown authority",
    20: "x509: certificate signed by unknown authority",
    21: "x509: certificate signed by unknown authority",
}
_OTHER_NAME = (62, 64)


def _mistrust(error: ssl.SSLCertVerificationError, name: str) -> str:
    if error.verify_code in _OTHER_NAME:
        return f"x509: certificate is not valid for {name}"
    return _MISTRUSTS.get(error.verify_code, error.verify_message)


_ALERTS = {
    "unknown ca": "unknown certificate authority",
    "certificate expired": "expired certificate",
}


def _alert(error: ssl.SSLError) -> str:
    """What the daemon has against our certificate."""
    _, _, said = (error.reason or "").lower().replace("_", " ").partition("alert ")
    if not said:
        return f"tls: {error.reason or error}"
    words = f"remote error: tls: {_ALERTS.get(said, said)}"
    if said != "bad certificate":
        return words
    return (
        "the server probably has client authentication (--tlsverify) enabled; "
        f"check your TLS client certification settings: {words}"
    )


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
            end.failure = _alert(error)
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
