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
    """The document in one line of ASCII."""
    return "".join(_compact(document, 0)).encode("ascii")


def show(document: Any) -> str:
    """The document in one line for people: what is not ASCII stays readable."""
    return "".join(_readable(document, 0))


def indent(document: Any, prefix: str = "") -> str:
    """The document over several lines, four spaces a level, as `docker inspect` prints it."""
    if not isinstance(document, (dict, list)) or not document:
        return show(document)
    inner = prefix + "    "
    if isinstance(document, dict):
        parts = [f"{inner}{show(key)}: {indent(value, inner)}" for key, value in document.items()]
        opening, closing = "{}"
    else:
        parts = [inner + indent(value, inner) for value in document]
        opening, closing = "[]"
    return f"{opening}\n" + ",\n".join(parts) + f"\n{prefix}{closing}"


def indent_text(text: bytes) -> str:
    """JSON text over several lines, its numbers and escapes as they were written."""
    out: list[str] = []
    depth, source = 0, text.decode("utf-8", "replace")
    position, size = 0, len(source)
    while position < size:
        char = source[position]
        if char == '"':
            end = _end_of_string(source, position)
            out.append(source[position:end])
            position = end
            continue
        if char in "{[":
            depth += 1
            after = source[position + 1 : position + 64].lstrip()[:1]
            if after and after in "}]":
                position = source.index(after, position + 1)
                depth -= 1
                out.append(char + after)
            else:
                out.append(char + "\n" + "    " * depth)
        elif char in "}]":
            depth -= 1
            out.append("\n" + "    " * depth + char)
        elif char == ",":
            out.append(",\n" + "    " * depth)
        elif char == ":":
            out.append(": ")
        elif char not in " \t\r\n":
            out.append(char)
        position += 1
    return "".join(out)


def _end_of_string(source: str, start: int) -> int:
    end = source.index('"', start + 1)
    while _is_escaped(source, end):
        end = source.index('"', end + 1)
    return end + 1


def _is_escaped(source: str, place: int) -> bool:
    """An odd number of backslashes stands before it."""
    before = place - 1
    while source[before] == "\\":
        before -= 1
    return (place - before) % 2 == 0
