"""HTTP/1.1 to registries: connections, TLS, proxies, time limits, failures in Docker's words.

TLS is verified with the system's authorities, except towards registries that were named insecure.
No redirect is followed here: whoever asks decides what may travel on.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import httpcore

from tiffin.core.image import MAX_DOCUMENT_BYTES
from tiffin.core.proxies import of_environment
from tiffin.errors import RegistryMisbehaved, Unavailable
from tiffin.registry.messages import Headers, Request, Response
from tiffin.registry.trust import ClearText, is_loopback, origin

USER_AGENT = "tiffin/0.1 (linux)"
_TIMEOUTS = {"connect": 15.0, "read": 60.0, "write": 60.0, "pool": 600.0}
_MAX_CONNECTIONS = 16


class ConnectionFailedError(Unavailable):
    """The registry could not be reached, or broke off. Docker answers 500."""

    status = 500


class Reply:
    """An answer whose body is still on the line."""

    def __init__(self, request: Request, response: httpcore.Response) -> None:
        self._request = request
        self._response = response
        self.url = request.url
        self.head = Response(response.status, Headers.of(response.headers))

    async def chunks(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._response.aiter_stream():
                yield chunk
        except (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError) as error:
            raise _failure(self._request, error) from error

    async def document(self) -> Response:
        body = bytearray()
        async for chunk in self.chunks():
            body += chunk
            if len(body) > MAX_DOCUMENT_BYTES:
                raise RegistryMisbehaved(
                    f"{_verb(self._request)}: answer is larger than {MAX_DOCUMENT_BYTES} bytes"
                )
        return Response(self.head.status, self.head.headers, bytes(body))


class Transport:
    def __init__(self, clear: ClearText, environment: Mapping[str, str]) -> None:
        self._clear = clear
        self._proxies = Proxies(environment)
        self._pools: dict[tuple[str, bool], httpcore.AsyncConnectionPool] = {}

    @asynccontextmanager
    async def open(
        self, request: Request, content: AsyncIterator[bytes] | None = None
    ) -> AsyncIterator[Reply]:
        """Send. The reply's body can be read while the context lasts. ConnectionFailedError."""
        pool = self._pool(request.url)
        headers = {"User-Agent": USER_AGENT, "Accept": "*/*"} | dict(request.headers)
        body = request.body if request.body or request.method == "POST" else None
        try:
            async with pool.stream(
                request.method,
                request.url,
                headers=list(headers.items()),
                content=body if content is None else content,
                extensions={"timeout": dict(_TIMEOUTS)},
            ) as response:
                yield Reply(request, response)
        except (
            httpcore.NetworkError,
            httpcore.TimeoutException,
            httpcore.ProtocolError,
            httpcore.ProxyError,
            httpcore.UnsupportedProtocol,
            ssl.SSLError,
        ) as error:
            raise await _explained(request, error) from error

    async def aclose(self) -> None:
        pools, self._pools = self._pools, {}
        for pool in pools.values():
            await pool.aclose()

    def _pool(self, url: str) -> httpcore.AsyncConnectionPool:
        scheme, host, port = origin(url)
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        verified = scheme == "http" or not self._clear.allows(address)
        key = (self._proxies.of(scheme, host, port), verified)
        if key not in self._pools:
            self._pools[key] = _new_pool(*key)
        return self._pools[key]


def _new_pool(proxy: str, verified: bool) -> httpcore.AsyncConnectionPool:
    context = ssl.create_default_context()
    if not verified:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return httpcore.AsyncConnectionPool(
        ssl_context=context,
        proxy=_proxy(proxy) if proxy else None,
        max_connections=_MAX_CONNECTIONS,
        keepalive_expiry=5.0,
    )


def _proxy(url: str) -> httpcore.Proxy:
    parts = urlsplit(url)
    auth = (parts.username or "", parts.password or "") if parts.username else None
    return httpcore.Proxy(
        parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl(), auth=auth
    )


class Proxies:
    """HTTP_PROXY, HTTPS_PROXY and NO_PROXY, as Go reads them: never for this machine itself."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._urls = {
            scheme: of_environment(environment, f"{scheme.upper()}_PROXY")
            for scheme in ("http", "https")
        }
        excluded = of_environment(environment, "NO_PROXY")
        self._excluded = [item.strip().lower() for item in excluded.split(",") if item.strip()]

    def of(self, scheme: str, host: str, port: int) -> str:
        """The proxy's URL, "" for a direct connection."""
        proxy = self._urls.get(scheme, "")
        if not proxy or is_loopback(host) or self._is_excluded(host.lower(), port):
            return ""
        return proxy if "://" in proxy else f"http://{proxy}"

    def _is_excluded(self, host: str, port: int) -> bool:
        for item in self._excluded:
            name, _, only_port = item.partition(":")
            if item == "*" or (only_port and only_port != str(port)):
                if item == "*":
                    return True
                continue
            bare = name.removeprefix("*").removeprefix(".")
            if (host == bare and not name.startswith((".", "*"))) or host.endswith("." + bare):
                return True
        return False


def _verb(request: Request) -> str:
    return f'{request.method.capitalize()} "{request.url}"'


def _failure(request: Request, error: Exception) -> ConnectionFailedError:
    return ConnectionFailedError(f"{_verb(request)}: {_reason(error)}")


async def _explained(request: Request, error: Exception) -> ConnectionFailedError:
    """Names the address that did not answer, as Go does."""
    causes = list(_causes(error))
    _, host, port = origin(request.url)
    for cause in causes:
        if isinstance(cause, socket.gaierror):
            return ConnectionFailedError(f"{_verb(request)}: dial tcp: lookup {host}: no such host")
    if isinstance(error, httpcore.ConnectError):
        for cause in causes:
            if isinstance(cause, OSError) and cause.errno and not isinstance(cause, ssl.SSLError):
                address = await _address(host, port)
                words = os.strerror(abs(cause.errno)).lower()
                return ConnectionFailedError(
                    f"{_verb(request)}: dial tcp {address}: connect: {words}"
                )
    return _failure(request, error)


async def _address(host: str, port: int) -> str:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError:
        return f"{host}:{port}"
    first = next((entry[4] for entry in found if entry[0] == socket.AF_INET), found[0][4])
    return f"[{first[0]}]:{port}" if ":" in str(first[0]) else f"{first[0]}:{port}"


def _reason(error: Exception) -> str:
    known = (_known_reason(cause) for cause in _causes(error))
    return next((words for words in known if words), str(error) or type(error).__name__)


_NOT_TLS = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE")


def _known_reason(cause: BaseException) -> str:
    match cause:
        case ssl.SSLCertVerificationError():
            why = cause.verify_message or "certificate is not valid"
            return f"tls: failed to verify certificate: x509: {why}"
        case ssl.SSLError() if cause.reason in _NOT_TLS:
            return "http: server gave HTTP response to HTTPS client"
        case httpcore.TimeoutException():
            return "net/http: request canceled (i/o timeout)"
        case OSError() if cause.errno == errno.ECONNRESET:
            return "read: connection reset by peer"
        case httpcore.RemoteProtocolError():
            return "EOF" if "without sending" in str(cause) else "unexpected EOF"
    return ""


def _causes(error: BaseException | None) -> list[BaseException]:
    """The error, what it came from, and the members of groups, outermost first."""
    found: list[BaseException] = []
    waiting = [error]
    while waiting and len(found) < 50:
        current = waiting.pop(0)
        if current is None or current in found:
            continue
        found.append(current)
        if isinstance(current, BaseExceptionGroup):
            waiting += current.exceptions
        waiting += [current.__cause__, current.__context__]
    return found
