"""A file at an address, as `import` takes one.

Redirects are followed, as Go's client follows them; an address that has no file answers in Docker's
words. A name and a password in the address go to its host alone.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, quote, unquote, urljoin, urlsplit

from tiffin.errors import (
    Forbidden,
    InvalidArgument,
    NotFound,
    RegistryMisbehaved,
    TiffinError,
    Unauthorized,
)
from tiffin.registry.messages import Request, printable

if TYPE_CHECKING:
    from tiffin.registry.transport import Reply, Transport

MAX_REDIRECTS = 10
_REDIRECTS = frozenset((301, 302, 303, 307, 308))
_REFUSALS: dict[int, type[TiffinError]] = {
    400: InvalidArgument,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
}
_SHOWN_BYTES = 1000
_KEPT = "%/:?#[]@!$&'()*+,;=~"  # of an address that is written as it travels


def absolute(address: str) -> str:
    """ "host/file" is one of http's."""
    return address if "://" in address else f"http://{address}"


def shown(url: str) -> str:
    """For messages and histories: without the password."""
    parts = _split(url)
    if parts.password is None:
        return url
    host = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=f"{parts.username}:xxxxx@{host}").geturl()


@asynccontextmanager
async def opened(transport: Transport, url: str) -> AsyncIterator[Reply]:
    """The answer that has the file. Raises InvalidArgument for what is no address."""
    asked = url
    for _ in range(1 + MAX_REDIRECTS):
        async with transport.open(_request(asked)) as reply:
            location = reply.head.headers.get("location", "")
            if reply.head.status in _REDIRECTS and location:
                asked = urljoin(asked, location)
                continue
            if not reply.head.succeeded:
                raise await _refusal(reply, url)
            yield reply
            return
    raise RegistryMisbehaved(f'Get "{shown(asked)}": stopped after {MAX_REDIRECTS} redirects')


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise InvalidArgument(f'parse "{printable(url)}": {error}') from error
    return parts


def _request(url: str) -> Request:
    parts = _split(url)
    if parts.scheme not in ("http", "https"):
        words = f'unsupported protocol scheme "{parts.scheme}"'
        raise InvalidArgument(f'Get "{printable(shown(url))}": {words}')
    if not parts.hostname:
        raise InvalidArgument(f'Get "{printable(shown(url))}": http: no Host in request URL')
    headers = {}
    if parts.username is not None:
        word = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers["Authorization"] = f"Basic {base64.b64encode(word.encode()).decode()}"
    host = parts.netloc.rpartition("@")[2]
    bare = parts._replace(netloc=host, fragment="").geturl()
    return Request("GET", quote(bare, safe=_KEPT), headers)


async def _refusal(reply: Reply, url: str) -> TiffinError:
    from http import HTTPStatus  # noqa: PLC0415 - a daemon that imports nothing does without

    body = b""
    async for chunk in reply.chunks():
        body += chunk
        if len(body) >= _SHOWN_BYTES:
            break
    status = reply.head.status
    phrase = HTTPStatus(status).phrase if status in list(HTTPStatus) else ""
    words = f"failed to GET {shown(url)} with status {status} {phrase}".rstrip()
    text = printable(body[:_SHOWN_BYTES].decode(errors="replace")).strip()
    return _REFUSALS.get(status, RegistryMisbehaved)(f"{words}: {text}")
