"""Files at addresses: what an address is, and what an answer that is none is called."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, cast

import pytest

from tiffin.errors import Forbidden, InvalidArgument, NotFound, RegistryMisbehaved, TiffinError
from tiffin.registry import download
from tiffin.registry.messages import Headers, Request, Response

if TYPE_CHECKING:
    from tiffin.registry.transport import Transport


class Answer:
    def __init__(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.head = Response(status, Headers(headers))
        self._body = body

    async def chunks(self) -> AsyncIterator[bytes]:
        yield self._body


class Web:
    """Answers by URL; remembers what it was asked."""

    def __init__(self, answers: dict[str, Answer]) -> None:
        self._answers = answers
        self.asked: list[Request] = []

    @asynccontextmanager
    async def open(self, request: Request) -> AsyncIterator[Answer]:
        self.asked.append(request)
        yield self._answers[request.url]


def fetched(web: Web, url: str) -> bytes:
    async def fetch() -> bytes:
        async with download.opened(cast("Transport", web), url) as reply:
            return b"".join([chunk async for chunk in reply.chunks()])

    return asyncio.run(fetch())


def test_redirects_are_followed_wherever_they_lead() -> None:
    web = Web(
        {
            "http://one/a": Answer(302, location="/b"),
            "http://one/b": Answer(307, location="https://two/c"),
            "https://two/c": Answer(200, b"file"),
        }
    )
    assert fetched(web, "http://one/a") == b"file"


def test_redirects_end_at_last() -> None:
    web = Web({"http://one/": Answer(301, location="/")})
    with pytest.raises(RegistryMisbehaved, match="stopped after 10 redirects"):
        fetched(web, "http://one/")


@pytest.mark.parametrize(
    ("status", "kind", "phrase"),
    [
        (404, NotFound, "404 Not Found"),
        (403, Forbidden, "403 Forbidden"),
        (500, RegistryMisbehaved, "500 Internal Server Error"),
        (599, RegistryMisbehaved, "599"),
        (302, RegistryMisbehaved, "302 Found"),  # to nowhere
    ],
)
def test_an_answer_without_a_file_is_told_with_its_words(
    status: int, kind: type[TiffinError], phrase: str
) -> None:
    web = Web({"http://one/a": Answer(status, b" why\n" + b"x" * 5000)})
    with pytest.raises(kind) as refused:
        fetched(web, "http://one/a")
    assert refused.value.message.startswith(
        f"failed to GET http://one/a with status {status}{phrase[3:]}: why"
    )
    assert len(refused.value.message) < 1100


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("ftp://host/x", 'Get "ftp://host/x": unsupported protocol scheme "ftp"'),
        ("file:///etc/passwd", 'Get "file:///etc/passwd": unsupported protocol scheme "file"'),
        ("http:///etc/passwd", 'Get "http:///etc/passwd": http: no Host in request URL'),
        ("http://host:port/x", 'parse "http://host:port/x"'),
        ("http://[::1/x", 'parse "http://[::1/x"'),
    ],
)
def test_what_is_no_address_is_asked_of_nobody(url: str, words: str) -> None:
    web = Web({})
    with pytest.raises(InvalidArgument) as refused:
        fetched(web, url)
    assert refused.value.message.startswith(words)
    assert not web.asked


def test_a_password_goes_to_its_host_and_nowhere_else() -> None:
    url = "http://me:s%40cret@one/a b#part"
    web = Web(
        {
            "http://one/a%20b": Answer(302, location="http://two/"),
            "http://two/": Answer(404),
        }
    )
    with pytest.raises(NotFound) as refused:
        fetched(web, url)
    first, second = web.asked
    assert first.headers == {"Authorization": "Basic bWU6c0BjcmV0"}
    assert second.headers == {}
    assert "s%40cret" not in refused.value.message
    assert download.shown(url) == "http://me:xxxxx@one/a b#part"


def test_an_address_without_a_scheme_is_one_of_http() -> None:
    assert download.absolute("host/file.tar") == "http://host/file.tar"
    assert download.absolute("https://host/x") == "https://host/x"
