"""What can be done with values in a template: Go's functions and Docker's.

They raise ValueError with Go's words; whoever calls them says where.
"""
# ruff: noqa: TRY004 - a wrong type is a wrong template, and never our bug

from __future__ import annotations

from tiffin.cli.jsontext import show
from tiffin.cli.templateprintf import printf
from tiffin.cli.templatevalues import MISSING, Fields, go_type, to_text, truth

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


def _json(value: Any) -> str:
    plain = value.as_document() if isinstance(value, Fields) else value
    text = show(None if plain is MISSING else plain)
    if isinstance(value, Fields):
        # Go escapes for HTML what it makes of a row, and only that.
        text = text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    return text


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        if isinstance(value, dict):
            if not isinstance(key, str):
                raise ValueError(f"value has type {go_type(key)}; should be string")
            value = value.get(key, _zero_of(value))
        elif isinstance(value, (list, str)):
            if not isinstance(key, int) or isinstance(key, bool):
                raise ValueError(f"cannot index slice/array with type {go_type(key)}")
            if not 0 <= key < len(value):
                raise ValueError(f"index out of range: {key}")
            value = value[key] if isinstance(value, list) else value.encode()[key]
        else:
            raise ValueError("index of untyped nil")
    return value


def _zero_of(values: dict[str, Any]) -> Any:
    """What a map gives for a missing key: "" where it is a map of strings."""
    return "" if all(isinstance(each, str) for each in values.values()) else MISSING


def _slice(value: Any, *places: int) -> Any:
    if not isinstance(value, (str, list)):
        raise ValueError(f"can't slice item of type {go_type(value)}")
    for place in places:
        if not 0 <= place <= len(value):
            raise ValueError(f"index out of range: {place}")
    if len(places) > 1 and places[0] > places[1]:
        raise ValueError(f"invalid slice index: {places[0]} > {places[1]}")
    return value[slice(*places)] if len(places) > 1 else value[places[0] :] if places else value


def _eq(first: Any, *others: Any) -> bool:
    if not others:
        raise ValueError("missing argument for comparison")
    return any(_same(first, other) for other in others)


def _same(one: Any, other: Any) -> bool:
    nothing = (None, MISSING)
    if one in nothing or other in nothing:
        return one in nothing and other in nothing
    compound = [isinstance(each, (list, dict)) for each in (one, other)]
    if any(compound):
        words = "non-comparable type" if all(compound) else "incompatible types for comparison"
        raise ValueError(words)
    if isinstance(one, str) != isinstance(other, str):
        raise ValueError("incompatible types for comparison")
    return bool(one == other)


def _order(one: Any, other: Any) -> int:
    """Below zero where `one` comes first, zero where they are equal."""
    if isinstance(one, str) != isinstance(other, str):
        raise ValueError("incompatible types for comparison")
    if isinstance(one, bool) or not isinstance(one, (str, int, float)):
        raise ValueError("invalid type for comparison")
    return int(one > other) - int(one < other)


def _join(values: Any, separator: str) -> str:
    return separator.join(to_text(each) for each in values or [])


def _print(*values: Any) -> str:
    """fmt.Sprint: a space between two neighbours neither of which is a string."""
    out = ""
    for number, value in enumerate(values):
        if number and not isinstance(value, str) and not isinstance(values[number - 1], str):
            out += " "
        out += to_text(value)
    return out


def _title(text: str) -> str:
    out, previous = "", " "
    for char in text:
        out += char.upper() if not (previous.isalnum() or previous in "_'") else char
        previous = char
    return out


def _pad(text: str, before: int, after: int) -> str:
    return " " * before + text + " " * after if text else text


def _truncate(text: str, length: int) -> str:
    if length < 0:
        raise ValueError(f"runtime error: slice bounds out of range [:{length}]")
    return text[:length]


def _html(*values: Any) -> str:
    marks = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&#34;", "'": "&#39;", "\0": "\ufffd"}
    return "".join(marks.get(char, char) for char in _print(*values))


_SCRIPT_MARKS = {
    "\\": "\\\\", "'": "\\'", '"': '\\"', "<": "\\u003C", ">": "\\u003E", "&": "\\u0026",
    "=": "\\u003D",
}  # fmt: skip


def _js(*values: Any) -> str:
    out = ""
    for char in _print(*values):
        if char in _SCRIPT_MARKS:
            out += _SCRIPT_MARKS[char]
        else:
            out += char if char.isprintable() else f"\\u{ord(char):04X}"
    return out


def _urlquery(*values: Any) -> str:
    from tiffin.cli.client import quote

    return quote(_print(*values), " ").replace(" ", "+")


def _len(value: Any) -> int:
    if not isinstance(value, (str, list, dict)):
        raise ValueError(f"len of type {go_type(value)}")
    return len(value.encode()) if isinstance(value, str) else len(value)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "not": lambda value: not truth(value),
    "eq": _eq,
    "ne": lambda one, other: not _same(one, other),
    "lt": lambda one, other: _order(one, other) < 0,
    "le": lambda one, other: _order(one, other) <= 0,
    "gt": lambda one, other: _order(one, other) > 0,
    "ge": lambda one, other: _order(one, other) >= 0,
    "len": _len,
    "index": _index,
    "slice": _slice,
    "print": _print,
    "println": lambda *values: " ".join(map(to_text, values)) + "\n",
    "printf": printf,
    "html": _html,
    "js": _js,
    "urlquery": _urlquery,
    "json": _json,
    "split": lambda text, separator: text.split(separator) if separator else list(text),
    "join": _join,
    "title": _title,
    "lower": lambda text: text.lower(),
    "upper": lambda text: text.upper(),
    "pad": _pad,
    "truncate": _truncate,
}

# A table's header line is the template run over the titles, which the functions leave as they are.
HEADER_FUNCTIONS: dict[str, Callable[..., Any]] = FUNCTIONS | {
    "json": lambda title: title,
    "split": lambda title, _: title,
    "join": lambda title, _: title,
    "title": lambda title: title,
    "lower": lambda title: title,
    "upper": lambda title: title,
    "truncate": lambda title, _: title,
}
