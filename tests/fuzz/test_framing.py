"""What our reader takes for a request, another strict one takes for the same request.

Two readers that differ are what request smuggling is made of. h11 is the other one.
"""

from __future__ import annotations

import h11
import hypothesis
from hypothesis import strategies as st

from tiffin.api.framing import MalformedRequest, RequestReader
from tiffin.errors import NotFound

STARTS = [b"GET / HTTP/1.1", b"POST /x?y=%20 HTTP/1.1", b"HEAD /a HTTP/1.0", b"PUT * HTTP/1.1"]
HEADERS = [
    b"Host: a", b"host:b", b"Content-Length: 3", b"Content-Length: 03", b"Content-Length:0",
    b"Content-Length: 3, 3", b"Content-Length: 3 3", b"Content-Length: +3", b"Content-Length: 3\t",
    b"Transfer-Encoding: chunked", b"Transfer-Encoding:  Chunked ",
    b"Transfer-Encoding: \x0bchunked",
    b"Transfer-Encoding: chunked, chunked", b"Transfer-Encoding: identity", b"Transfer_Encoding: x",
    b"Transfer-Encoding : chunked", b" Transfer-Encoding: chunked", b"Connection: close, x",
    b"Connection: Upgrade\r\nUpgrade: tcp", b"Expect: 100-continue", b"X: \x01", b"X: \x80", b"X:",
    b"X: a\rb", b"X: a\nb", b": x", b"X", b"",
]  # fmt: skip
BODIES = [
    b"abc", b"3\r\nabc\r\n0\r\n\r\n", b"3;x=\"\r\nabc\r\n0\r\nT: r\r\n\r\n",
    b"03 \r\nabc\r\n0\r\n\r\n",
    b"3\nabc\n0\n\n", b"0x3\r\nabc\r\n0\r\n\r\n", b"3\r\nabcd\r\n0\r\n\r\n", b"0\r\n\r\n", b"",
    b"-1\r\n\r\n", b"3\r\nabc\r\n0\r\nX\r\n\r\n", b"3\r\nabc0\r\n\r\n",
]  # fmt: skip
ENDS = st.sampled_from([b"\r\n"] * 60 + [b"\n", b"\r", b"\r\n "])


@st.composite
def conversations(draw: st.DrawFn) -> bytes:
    data = b""
    for _ in range(draw(st.integers(1, 3))):
        lines = [
            draw(st.sampled_from(STARTS)),
            *draw(st.lists(st.sampled_from(HEADERS), max_size=5)),
        ]
        if draw(st.booleans()):
            lines.insert(1, b"Host: docker")
        data += b"".join(line + draw(ENDS) for line in lines) + b"\r\n"
        data += draw(st.sampled_from(BODIES))
    return data


Seen = tuple[bytes, bytes, bytes]  # method, target, body


def ours(data: bytes) -> list[Seen]:
    """Every whole request up to the first that is refused, upgraded, or the last one."""
    seen: list[Seen] = []
    incoming = RequestReader()
    incoming.feed(data)
    try:
        while (head := incoming.head()) is not None:
            body = b""
            while part := incoming.body():
                body += part
            if part is not None:
                break  # its end never came
            seen.append((head.method.encode(), head.target.encode(), body))
            if not head.keep_alive or head.upgrade:
                break
    except (MalformedRequest, NotFound):
        pass
    return seen


def theirs(data: bytes) -> list[Seen]:
    seen: list[Seen] = []
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(data)
    request, body = None, b""
    try:
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Request):
                request, body = event, b""
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage) and request is not None:
                seen.append((request.method, request.target, body))
                connection.send(h11.Response(status_code=204, headers=[]))
                connection.send(h11.EndOfMessage())
                connection.start_next_cycle()
            else:
                break
    except (h11.RemoteProtocolError, h11.LocalProtocolError):
        pass
    return seen


@hypothesis.settings(max_examples=1500, deadline=None)
@hypothesis.given(conversations())
def test_what_we_take_for_a_request_another_reader_takes_for_the_same(data: bytes) -> None:
    mine, other = ours(data), theirs(data)
    assert mine == other[: len(mine)]
