"""Requests as bytes, at every boundary at which a network may cut them."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import hypothesis
import pytest
from hypothesis import strategies as st

from tiffin.api.framing import (
    MAX_CHUNK_LINE,
    MAX_HEAD_BYTES,
    MalformedRequest,
    RequestReader,
    chunk,
    head_of_answer,
)
from tiffin.errors import NotFound

POST = b"POST /x?y=1 HTTP/1.1\r\nHost: docker\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
Seen = tuple[str, str, bytes]


def reader(data: bytes) -> RequestReader:
    made = RequestReader()
    made.feed(data)
    return made


def read_all(pieces: list[bytes]) -> tuple[list[Seen], bytes]:
    """Every whole request (method, target, body) and what is left, read as pieces arrive."""
    requests: list[Seen] = []
    incoming = RequestReader()
    head, body = None, b""
    for piece in pieces:
        incoming.feed(piece)
        while True:
            if head is None:
                head, body = incoming.head(), b""
                if head is None:
                    break
            part = incoming.body()
            if part == b"":
                break
            if part is None:
                requests.append((head.method, head.target, body))
                head = None
            else:
                body += part
    return requests, incoming.rest()


def drain(incoming: RequestReader) -> None:
    while incoming.body():
        pass


def cuts(data: bytes) -> st.SearchStrategy[list[bytes]]:
    places = st.lists(st.integers(0, len(data)), max_size=12).map(sorted)
    return places.map(lambda at: [data[a:b] for a, b in pairwise([0, *at, len(data)])])


CONVERSATION = (
    CHUNKED
    + b"5\r\nhello\r\n3;a=b\r\n\r\n!\r\n00\r\nTrailer: x\r\n\r\n"
    + b"GET /a HTTP/1.1\r\nHost: docker\r\n\r\n"
    + POST
    + b"Content-Length: 4\r\n\r\n\r\n\r\n"
    + POST
    + b"Connection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 2\r\n\r\n{}"
    + b"rest of the stream"
)
SAID = [
    ("POST", "/x?y=1", b"hello\r\n!"),
    ("GET", "/a", b""),
    ("POST", "/x?y=1", b"\r\n\r\n"),
    ("POST", "/x?y=1", b"{}"),
]


@hypothesis.given(cuts(CONVERSATION.removesuffix(b"rest of the stream")))
def test_where_the_bytes_are_cut_makes_no_difference(pieces: list[bytes]) -> None:
    assert read_all(pieces) == (SAID, b"")


def test_each_byte_alone_is_enough() -> None:
    conversation = CONVERSATION.removesuffix(b"rest of the stream")
    assert read_all([bytes([byte]) for byte in conversation]) == (SAID, b"")


def test_what_follows_an_upgrade_is_for_who_takes_the_connection() -> None:
    incoming = reader(CONVERSATION)
    for _ in SAID:
        head = incoming.head()
        assert head is not None
        drain(incoming)
    assert head.upgrade
    assert incoming.rest() == b"rest of the stream"
    assert not incoming


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400),  # no Host
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\nHost: a\n\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\0b\r\n\r\n", 400),
        (b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n", 400),
        (POST + b"Content-Length: +5\r\n\r\n", 400),
        (POST + b"Content-Length: 5, 5\r\n\r\n", 400),
        (POST + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\n", 400),
        (POST + b"Content-Length: " + b"9" * 30 + b"\r\n\r\n", 400),
        (POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n", 400),
        (POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (POST + b"Transfer-Encoding: xchunked\r\n\r\n", 400),
        (POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n", 501),
        (POST + b"Transfer-Encoding: identity\r\n\r\n", 400),
        (POST + b"X: " + b"x" * MAX_HEAD_BYTES, 431),
        (POST + b"X: " + b"x" * MAX_HEAD_BYTES + b"\r\n\r\n", 431),
        (b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"\x16\x03\x01", 400),
        (b"get / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ],
)
def test_a_head_that_two_could_read_in_two_ways_is_refused(head: bytes, status: int) -> None:
    with pytest.raises(MalformedRequest) as refused:
        reader(head).head()
    assert refused.value.status == status


def test_a_method_that_nobody_knows_has_no_page() -> None:
    with pytest.raises(NotFound, match="page not found"):
        reader(b"BREW / HTTP/1.1\r\nHost: a\r\n\r\n").head()


@pytest.mark.parametrize(
    "body",
    [
        b"\r\n",
        b" 5\r\nhello\r\n",
        b"0x5\r\nhello\r\n",
        b"-5\r\nhello\r\n",
        b"5_0\r\nhello\r\n",
        b"5\nhello\r\n",
        b"f" * 16 + b"\r\n",
        b"5\r\nhello!\r\n",
        b"5\r\nhello0\r\n\r\n",
        b"5;" + b"x" * MAX_CHUNK_LINE,
        b"5;a\n0\r\nhello\r\n",
        b"0\r\n" + b"x" * (MAX_HEAD_BYTES + 1),
        b"0\r\nno field\r\n\r\n",
        b"0\r\n folded: x\r\n\r\n",
        b"0\r\n" + b"X: y\r\n" * MAX_HEAD_BYTES,
    ],
)
def test_chunks_that_are_none_are_refused(body: bytes) -> None:
    incoming = reader(CHUNKED + body)
    assert incoming.head() is not None
    with pytest.raises(MalformedRequest):
        drain(incoming)
    incoming.feed(b"more")  # which nobody will read
    assert incoming.rest().endswith(b"more")


@pytest.mark.parametrize(
    ("extra", "keeps"),
    [
        (b"HTTP/1.1\r\nHost: a\r\n", True),
        (b"HTTP/1.1\r\nHost: a\r\nConnection: Close\r\n", False),
        (b"HTTP/1.0\r\n", False),
    ],
)
def test_who_may_ask_again_on_the_same_connection(extra: bytes, keeps: bool) -> None:
    head = reader(b"GET / " + extra + b"\r\n").head()
    assert head is not None
    assert head.keep_alive is keeps


def test_of_two_headers_of_one_name_the_first_counts() -> None:
    head = reader(POST + b"X-Y: 1\r\nx-y: 2\r\nExpect: 100-Continue\r\n\r\n").head()
    assert head is not None
    assert head.headers["x-y"] == "1"
    assert head.expects_continue


def test_an_answer_is_one_line_for_each_header() -> None:
    assert head_of_answer(204, [("A", "b")]) == b"HTTP/1.1 204 No Content\r\nA: b\r\n\r\n"
    assert b"".join(chunk(b"x" * 26)) == b"1a\r\n" + b"x" * 26 + b"\r\n"
    for break_ in ("\r", "\n", "\r\nB: c"):
        with pytest.raises(ValueError, match="line break"):
            head_of_answer(200, [("A", "b" + break_)])


@pytest.mark.parametrize("ask", [RequestReader.head, RequestReader.body])
def test_nothing_is_nothing(ask: Callable[[RequestReader], object]) -> None:
    assert ask(RequestReader()) is None
