"""The daemon, seen from outside: HTTP/1.1 over its socket, and nothing of HTTP that it never says.

A client keeps one idle connection; a request that waits (attach, wait, events) takes its own.
The API version is the newest that this client was written for; a daemon that is older says so
with a 400, and the request is sent once more in its version.
"""

from __future__ import annotations

import _socket

from tiffin.cli.dialing import dial
from tiffin.cli.failures import CommandFailed, DaemonAnswered, DaemonDown
from tiffin.cli.jsontext import decode, encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any

    from tiffin.cli.hosts import TlsFiles

    Query = Any  # None, or a dict: strings, or lists of them where a name comes repeatedly

API_VERSION = "1.50"
PIECE = 65536

_TOO_NEW = "Maximum supported API version is "
_PLAIN = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


def quote(text: str, safe: str = "") -> str:
    """Percent-encoded for a path or a query."""
    data = text.encode("utf-8", "surrogateescape")
    allowed = _PLAIN.union(safe.encode())
    return "".join(chr(byte) if byte in allowed else f"%{byte:02X}" for byte in data)


def _cleaned(path: str) -> str:
    """As Docker's client does it. Nearly all are clean, and what would do it takes time to load."""
    if "//" not in path and "/." not in path and not path.endswith("/"):
        return path
    from os.path import normpath

    return normpath(path)


def target(path: str, query: Query) -> str:
    if not query:
        return path
    pairs = (
        f"{name}={quote(value)}"
        for name, found in query.items()
        for value in (found if isinstance(found, list) else (found,))
    )
    return f"{path}?{'&'.join(pairs)}"


class Connection:
    """One socket to the daemon: a request goes out, an answer comes in, one at a time."""

    def __init__(self, host: str, tls: TlsFiles | None = None):
        self.socket = dial(host, tls)
        self.received = b""
        self.used = False

    def send(self, data: bytes) -> None:
        self.socket.sendall(data, _socket.MSG_NOSIGNAL)

    def more(self) -> bool:
        """Takes what came next into `received`. False at the end of the stream."""
        piece = self.socket.recv(PIECE)
        self.received += piece
        return bool(piece)

    def take(self, size: int) -> bytes:
        """Up to `size` bytes, at least one; nothing at the end of the stream."""
        if not self.received:
            self.more()
        piece, self.received = self.received[:size], self.received[size:]
        return piece

    def until(self, mark: bytes) -> bytes:
        """What comes before `mark`, which is passed over."""
        while (end := self.received.find(mark)) < 0:
            if not self.more():
                raise CommandFailed(getattr(self.socket, "failure", "") or "unexpected EOF")
        found, self.received = self.received[:end], self.received[end + len(mark) :]
        return found

    def line(self) -> bytes:
        return self.until(b"\r\n")

    def close(self) -> None:
        self.socket.close()


class Response:
    """An answer whose head was read. Its body is read by exactly one of the methods here."""

    def __init__(self, connection: Connection, method: str, done: Callable[[Connection], object]):
        self.connection = connection
        self._done = done
        status, *fields = connection.until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        self.status = _status_of(status)
        self.headers: dict[str, str] = {}
        for field in fields:
            name, _, value = field.partition(":")
            self.headers[name.lower()] = value.strip()
        self._bodiless = method == "HEAD" or self.status in (204, 304) or self.status < 200

    def pieces(self) -> Iterator[bytes]:
        """The body as it comes."""
        if self._bodiless:
            self._done(self.connection)
        elif self.headers.get("transfer-encoding", "").lower() == "chunked":
            yield from self._chunks()
        elif "content-length" in self.headers:
            yield from self._exactly(int(self.headers["content-length"]))
            self._finish()
        else:
            while piece := self.connection.take(PIECE):
                yield piece
            self.connection.close()

    def _chunks(self) -> Iterator[bytes]:
        while size := int(self.connection.line().partition(b";")[0], 16):
            yield from self._exactly(size)
            self.connection.line()
        while self.connection.line():
            pass
        self._finish()

    def _exactly(self, size: int) -> Iterator[bytes]:
        while size:
            piece = self.connection.take(size)
            if not piece:
                raise CommandFailed("unexpected EOF")
            size -= len(piece)
            yield piece

    def _finish(self) -> None:
        if self.headers.get("connection", "").lower() == "close":
            self.connection.close()
        else:
            self._done(self.connection)

    def read(self) -> bytes:
        return b"".join(self.pieces())

    def document(self) -> Any:
        return decode(self.read())

    def documents(self) -> Iterator[Any]:
        """The JSON documents of a stream that puts one on a line."""
        rest = b""
        for piece in self.pieces():
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                if line.strip():
                    yield decode(line)
        if rest.strip():
            yield decode(rest)


class Client:
    """Requests to the daemon at `host`; `version` is the API version they are made in.

    `when_down` may start the daemon: it is called once, where nobody listens there. `meanwhile` is
    called once, while the daemon works on the next request.
    """

    def __init__(
        self,
        host: str,
        *,
        tls: TlsFiles | None = None,
        context: str = "default",
        when_down: Callable[[str], None] | None = None,
    ):
        self.host = host
        self.tls = tls
        self.context = context
        self.headers: Mapping[str, str] = {}  # of every request
        self.version = API_VERSION
        self.may_downgrade = True  # to the version of an older daemon
        self.debug = False
        self.when_down = when_down
        self.meanwhile: Callable[[], object] | None = None
        self._idle: Connection | None = None

    def request(
        self,
        method: str,
        path: str,
        query: Query = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """Sends `body` as JSON (bytes as they are) and returns the answer, its head read.

        DaemonAnswered when the daemon refuses.
        """
        try:
            return self.checked(self._exchange(method, path, query, body, headers))
        except DaemonAnswered as error:
            if not self._is_too_new(error, method):
                raise
            return self.checked(self._exchange(method, path, query, body, headers))

    def get(self, path: str, query: Query = None) -> Any:
        return self.request("GET", path, query).document()

    def post(self, path: str, query: Query = None, body: Any = None) -> Any:
        """The document of the answer, None when it has none."""
        answer = self.request("POST", path, query, body).read()
        return decode(answer) if answer.strip() else None

    def hijack(self, path: str, query: Query = None, body: Any = None) -> Connection:
        """A connection that is a plain stream from here on, both ways."""
        headers = {"Connection": "Upgrade", "Upgrade": "tcp"}
        if body is None:
            headers["Content-Type"] = "text/plain"
        answer = self.request("POST", path, query, body, headers)
        if answer.status not in (101, 200):
            raise CommandFailed(f"unable to upgrade to tcp, received {answer.status}")
        return answer.connection

    def negotiate(self) -> str:
        """The API version that both sides speak, asked from the daemon."""
        if not self.may_downgrade:
            return self.version
        answer = self._exchange("HEAD", "/_ping", None, None, None, versioned=False)
        answer.read()
        theirs = answer.headers.get("api-version", self.version)
        if _number(theirs) < _number(self.version):
            self.version = theirs
        return self.version

    def again(self) -> Client:
        """A client of the same daemon, for requests that come in the middle of another."""
        other = Client(self.host, tls=self.tls, context=self.context)
        other.version, other.headers = self.version, self.headers
        other.may_downgrade = self.may_downgrade
        return other

    def ask(
        self,
        method: str,
        path: str,
        query: Query = None,
        headers: Mapping[str, str] | None = None,
    ) -> Connection:
        """Sends a request on a connection of its own, and leaves the answer there to be read."""
        connection = self.open()
        fields = headers or {"Content-Length": "0"}
        connection.send(self.message(method, path, query, fields))
        return connection

    def answer(self, connection: Connection, method: str) -> Response:
        """Reads the answer to what was asked on `connection`."""
        return self.checked(self._answer(connection, method))

    def _exchange(
        self,
        method: str,
        path: str,
        query: Query,
        body: Any,
        headers: Mapping[str, str] | None,
        *,
        versioned: bool = True,
    ) -> Response:
        data = body if isinstance(body, bytes) else b"" if body is None else encode(body)
        fields = {"Content-Length": str(len(data)), **(headers or {})}
        if body is not None and not isinstance(body, bytes):
            fields["Content-Type"] = "application/json"
        elif body is None and method in ("GET", "HEAD"):
            del fields["Content-Length"]
        message = self.message(method, path, query, fields, versioned=versioned) + data
        connection, self._idle = self._idle or self.open(), None
        try:
            connection.send(message)
            if self.meanwhile is not None:
                act, self.meanwhile = self.meanwhile, None
                act()
            return self._answer(connection, method)
        except (OSError, CommandFailed) as error:
            if not connection.used or connection.received:
                words = error.message if isinstance(error, CommandFailed) else error.strerror
                words = getattr(connection.socket, "failure", "") or words
                raise CommandFailed(f"error during connect: {method} {path}: {words}") from error
            # The daemon closed a connection that idled: that says nothing about this request.
            connection = self.open()
            connection.send(message)
            return self._answer(connection, method)

    def _answer(self, connection: Connection, method: str) -> Response:
        answer = Response(connection, method, self._keep)
        if answer.status in (100, 102):
            return self._answer(connection, method)
        return answer

    def message(
        self,
        method: str,
        path: str,
        query: Query,
        headers: Mapping[str, str],
        *,
        versioned: bool = True,
    ) -> bytes:
        """A request as it goes out, up to its body."""
        whole_path = _cleaned(f"/v{self.version}{path}" if versioned else path)
        whole = {**self.headers, **headers}
        fields = "".join(f"{name}: {value}\r\n" for name, value in whole.items())
        return (
            f"{method} {target(whole_path, query)} HTTP/1.1\r\n"
            f"Host: api.moby.localhost\r\nUser-Agent: tiffin-cli\r\n{fields}\r\n"
        ).encode("latin-1")

    def checked(self, answer: Response) -> Response:
        """The answer; DaemonAnswered where it is a refusal."""
        if answer.status < 400:
            return answer
        text = answer.read().decode("utf-8", "replace").strip()
        try:
            words = str(decode(text)["message"]).strip()
        except (ValueError, KeyError, TypeError):
            words = text or f"status {answer.status} without a message"
        raise DaemonAnswered(answer.status, words)

    def _is_too_new(self, error: DaemonAnswered, method: str) -> bool:
        if not self.may_downgrade:
            return False
        if error.status == 400 and method == "HEAD":
            # An answer to HEAD has no body to say why.
            spoken = self.version
            return self.negotiate() != spoken
        _, said, theirs = error.words.partition(_TOO_NEW)
        if error.status != 400 or not said:
            return False
        self.version = theirs.split(",")[0].strip().rstrip(".")
        return True

    def _keep(self, connection: Connection) -> None:
        connection.used = True
        if self._idle is not None and self._idle is not connection:
            self._idle.close()
        self._idle = connection

    def open(self) -> Connection:
        """A connection of its own, on which nothing was said yet."""
        try:
            return Connection(self.host, self.tls)
        except (FileNotFoundError, ConnectionRefusedError) as error:
            if self.when_down is None:
                raise DaemonDown(self.host) from error
        except PermissionError as error:
            raise CommandFailed(
                "permission denied while trying to connect to the Docker daemon socket at "
                f"{self.host}: it needs root, or the group that the socket belongs to"
            ) from error
        except OSError as error:
            raise DaemonDown(self.host) from error
        start, self.when_down = self.when_down, None
        start(self.host)
        return Connection(self.host)


def _status_of(line: str) -> int:
    protocol, _, rest = line.partition(" ")
    if not protocol.startswith("HTTP/") or not rest[:3].isdecimal():
        raise CommandFailed(f'malformed HTTP response "{line[:80]}"')
    return int(rest[:3])


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
