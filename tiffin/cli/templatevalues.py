"""Values of a template, as Go has them: how they print, when they count as true, what can be done.

Values are what JSON gives: None, bool, int, float, str, list, dict; and rows, which are `Fields`.
Functions raise ValueError with Go's words; whoever calls them says where.
"""
# ruff: noqa: TRY004 - a wrong type is a wrong template, and never our bug

from __future__ import annotations

from tiffin.cli.jsontext import show
from tiffin.cli.wording import go_quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

# Small structs of the API, which Go prints as what is in them.
_STRUCTS = (("HostIp", "HostPort"), ("Name", "MaximumRetryCount"), ("Type", "Config"))


class Missing:
    """What a map says of a key that it does not have."""


MISSING = Missing()


class Fields:
    """A row of a table: its fields are computed when a template asks for them."""

    # Go's name for its kind, which its messages show.
    kind = "formatter.SubContext"

    def field(self, name: str) -> Any:
        """KeyError when there is no such field."""
        raise NotImplementedError

    def names(self) -> list[str]:
        raise NotImplementedError

    def as_document(self) -> dict[str, Any]:
        return {name: self.field(name) for name in sorted(self.names())}


def truth(value: Any) -> bool:
    return value is not MISSING and (isinstance(value, Fields) or bool(value))


def to_text(value: Any) -> str:  # noqa: PLR0911 - a case for each type
    """Go's %v."""
    if value is MISSING:
        return "<no value>"
    if isinstance(value, str):
        return value
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e21 else repr(value)
    if isinstance(value, list):
        return "[" + " ".join(to_text(each) for each in value) + "]"
    if isinstance(value, dict):
        return _map_text(value)
    if isinstance(value, Fields):
        return to_text(value.as_document())
    return str(value)


def _map_text(value: dict[str, Any]) -> str:
    for names in _STRUCTS:
        if len(value) == len(names) and all(name in value for name in names):
            return "{" + " ".join(to_text(value[name]) for name in names) + "}"
    return "map[" + " ".join(f"{key}:{to_text(value[key])}" for key in sorted(value)) + "]"


def go_type(value: Any) -> str:
    names = {bool: "bool", int: "int", float: "float64", str: "string"}
    return names.get(type(value), "interface {}")


def pairs_of(value: Any) -> list[tuple[Any, Any]]:
    """What a range goes over. ValueError for what it cannot."""
    if value is None or value is MISSING:
        return []
    if isinstance(value, dict):
        return sorted(value.items())
    if isinstance(value, list):
        return list(enumerate(value))
    if isinstance(value, int) and not isinstance(value, bool):
        return [(number, number) for number in range(value)]
    raise ValueError(f"range can't iterate over {to_text(value)}")


# -- functions ------------------------------------------------------------------------------------


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
            value = value[key]
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
    if isinstance(one, (list, dict)) or isinstance(other, (list, dict)):
        raise ValueError("non-comparable type")
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


def _printf(form: str, *values: Any) -> str:
    rest = list(values)
    out, position = "", 0
    while position < len(form):
        char = form[position]
        position += 1
        if char != "%":
            out += char
            continue
        start = position
        while position < len(form) and form[position] in "+-# 0123456789.":
            position += 1
        flags, verb = form[start:position], form[position : position + 1]
        position += 1
        if verb == "%":
            out += "%"
        elif not verb:
            out += "%!(NOVERB)"
        elif not rest:
            out += f"%!{verb}(MISSING)"
        else:
            out += _verb(flags, verb, rest.pop(0))
    if rest:
        out += "%!(EXTRA " + ", ".join(f"{go_type(each)}={to_text(each)}" for each in rest) + ")"
    return out


def _verb(flags: str, verb: str, value: Any) -> str:  # noqa: PLR0911 - a case for each verb
    number = isinstance(value, int) and not isinstance(value, bool)
    if verb in "dxXo" and number:
        return str(f"%{flags}{verb}" % value)
    if verb == "b" and number:
        return f"%{flags}s" % f"{value:b}"
    if verb == "c" and number:
        return f"%{flags}s" % chr(value)
    if verb in "feEgG" and isinstance(value, float):
        return f"%{flags}{verb}" % value
    if verb == "q":
        return f"%{flags}s" % go_quote(to_text(value))
    if verb == "T":
        return f"%{flags}s" % go_type(value)
    if verb == "v" or (verb == "s" and not isinstance(value, (int, float))):
        return f"%{flags.replace('+', '').replace('#', '')}s" % to_text(value)
    if verb == "t" and isinstance(value, bool):
        return f"%{flags}s" % to_text(value)
    if verb in "xX" and isinstance(value, str):
        shown = value.encode().hex()
        return shown.upper() if verb == "X" else shown
    return f"%!{verb}({go_type(value)}={to_text(value)})"


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
    "printf": _printf,
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
