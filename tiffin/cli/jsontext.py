"""JSON by the interpreter's own C scanner and encoder, without the `json` package.

`import json` compiles regular expressions and costs eight milliseconds, a third of a command;
its two C parts in `_json` cost a tenth of one.
"""

from __future__ import annotations

import _json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class _Scanning:
    """The settings that the C scanner reads from its context."""

    strict = False
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = float
    memo: dict[str, str] = {}  # noqa: RUF012 - never touched by the C scanner


_scan = _json.make_scanner(_Scanning())  # type: ignore[arg-type]


def decode(text: bytes | str) -> Any:
    """The document in `text`. ValueError when there is none."""
    if not isinstance(text, str):
        text = text.decode("utf-8", "replace")
    text = text.strip(" \t\r\n")
    try:
        document, end = _scan(text, 0)
    except (StopIteration, SystemError) as error:
        # SystemError: the scanner looks for json's own exception, and `json` was never imported.
        raise ValueError(f"not JSON: {text[:80]!r}") from error
    if end != len(text):
        raise ValueError(f"not JSON after character {end}: {text[end : end + 80]!r}")
    return document


def _refuse(value: object) -> object:
    raise TypeError(f"{type(value).__name__} has no JSON form")


_compact = _json.make_encoder(
    None,
    _refuse,
    _json.encode_basestring_ascii,
    None,
    ":",
    ",",
    False,
    False,
    False,
)
_readable = _json.make_encoder(
    None,
    _refuse,
    _json.encode_basestring,
    None,
    ":",
    ",",
    False,
    False,
    False,
)


def encode(document: Any) -> bytes:
    """The document in one line of ASCII; what is no UTF-8 becomes U+FFFD, as Go has it."""
    text = "".join(_compact(document, 0))
    if "\\udc" in text:  # half of a character, or a byte that the command line could not decode
        return show(document).encode("utf-8", "surrogateescape").decode("utf-8", "replace").encode()
    return text.encode("ascii")


def show(document: Any) -> str:
    """The document in one line for people: what is not ASCII stays readable."""
    return "".join(_readable(document, 0))
