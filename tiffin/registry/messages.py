"""Requests, responses, and conversations: generators that yield the one and are sent the other."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

_T = TypeVar("_T")


class Headers(dict[str, str]):
    """Names in lower case; a repeated one is joined by commas (WWW-Authenticate may be)."""

    @classmethod
    def of(cls, pairs: list[tuple[bytes, bytes]]) -> Headers:
        headers = cls()
        for name, value in pairs:
            key, text = name.decode("latin-1").lower(), value.decode("latin-1")
            headers[key] = f"{headers[key]}, {text}" if key in headers else text
        return headers


@dataclass(frozen=True)
class Request:
    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True)
class Response:
    status: int
    headers: Headers
    body: bytes = b""

    @property
    def succeeded(self) -> bool:
        return 200 <= self.status < 300


Conversation = Generator[Request, Response, _T]


def drive(conversation: Conversation[_T], answer: Callable[[Request], Response]) -> _T:
    """Hold a conversation with a function: for tests, and a description of what a client does."""
    try:
        request = next(conversation)
        while True:
            request = conversation.send(answer(request))
    except StopIteration as end:
        result: _T = end.value
        return result


def printable(text: str) -> str:
    """What of a registry's text may stand in a message or a log."""
    return "".join(c if c.isprintable() else " " for c in text[:1000])
