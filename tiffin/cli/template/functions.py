"""What can be done with values in a template: Go's functions and Docker's.

They raise ValueError with Go's words; whoever calls them says where.
"""

from __future__ import annotations

from tiffin.cli.jsontext import show
from tiffin.cli.template.goformat import printf
from tiffin.cli.template.gojson import to_document
from tiffin.cli.template.gomethods import method_of
from tiffin.cli.template.goprint import sprint, sprintln, to_text
from tiffin.cli.template.gotypes import INT
from tiffin.cli.template.govalues import (
    Fields,
    Value,
    boolean,
    concrete,
    indirect,
    number,
    part,
    text,
    texts,
    truth,
    zero_of,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any


class Function:
    """`takes`: Go's names of the types of its arguments; `more`: of those that may follow.

    "": of any type, and then it may be nothing at all.
    """

    __slots__ = ("call", "more", "takes")

    def __init__(
        self, call: Callable[..., Value | None], takes: Sequence[str], more: str | None = None
    ):
        self.call = call
        self.takes = tuple(takes)
        self.more = more


# -- Go's -----------------------------------------------------------------------------------------


def _index(item: Value | None, *keys: Value | None) -> Value | None:
    item = concrete(item)
    if item is None:
        raise ValueError("index of untyped nil")
    for key in map(concrete, keys):
        item, is_nil = indirect(item)
        if item is None or is_nil:
            raise ValueError("index of nil pointer")
        if item.kind == "map":
            item = _of_map(item, key)
        elif item.kind in ("slice", "array", "string"):
            item = _of_list(item, key)
        else:
            raise ValueError(f"can't index item of type {item.type.name}")
    return item


def _of_map(item: Value, key: Value | None) -> Value:
    wanted = item.type.key
    if key is None:
        raise ValueError(f"value is nil; should be of type {wanted.name}")
    if key.type.name != wanted.name:
        raise ValueError(f"value has type {key.type.name}; should be {wanted.name}")
    found = (item.data or {}).get(key.data, _NOWHERE)
    return zero_of(item.type.elem) if found is _NOWHERE else part(item.type.elem, found)


_NOWHERE = object()


def _of_list(item: Value, key: Value | None) -> Value:
    size = _size(item)
    place = _place(key, size)
    if place == size:  # Go lets it through its own check, and reflect says this
        kind = {"slice": "slice", "array": "array", "string": "string"}[item.kind]
        raise ValueError(f"reflect: {kind} index out of range")
    if item.kind == "string":
        from tiffin.cli.template.gotypes import type_of

        return Value(type_of("uint8"), _bytes(item)[place])
    return part(item.type.elem, item.listed()[place])


def _bytes(item: Value) -> bytes:
    return str(item.data).encode("utf-8", "surrogateescape")


def _size(item: Value) -> int:
    if item.kind == "string":
        return len(_bytes(item))
    return len(item.data or ()) if item.kind == "map" else len(item.listed())


def _place(key: Value | None, most: int) -> int:
    if key is None:
        raise ValueError("cannot index slice/array with nil")
    if key.kind not in ("int", "uint"):
        raise ValueError(f"cannot index slice/array with type {key.type.name}")
    if not 0 <= key.data <= most:
        raise ValueError(f"index out of range: {key.data}")
    return int(key.data)


def _slice(item: Value | None, *keys: Value | None) -> Value:
    item = concrete(item)
    if item is None:
        raise ValueError("slice of untyped nil")
    if len(keys) > 3:
        raise ValueError(f"too many slice indexes: {len(keys)}")
    if item.kind == "string" and len(keys) == 3:
        raise ValueError("cannot 3-index slice a string")
    if item.kind not in ("string", "slice", "array"):
        raise ValueError(f"can't slice item of type {item.type.name}")
    places = [0, _size(item), _size(item)]
    for number_of, key in enumerate(keys):
        places[number_of] = _place(key, _size(item))
    for one, other in ((0, 1), (1, 2)):
        if places[one] > places[other] and (one == 0 or len(keys) == 3):
            raise ValueError(f"invalid slice index: {places[one]} > {places[other]}")
    if item.kind == "string":
        part_of = _bytes(item)[places[0] : places[1]]
        return Value(item.type, part_of.decode("utf-8", "surrogateescape"))
    return Value(item.type, item.listed()[places[0] : places[1]])


def _len(item: Value | None) -> Value:
    item, is_nil = indirect(item)
    if item is None:
        raise ValueError("reflect: call of reflect.Value.Type on zero Value")
    if is_nil:
        raise ValueError("len of nil pointer")
    if item.kind not in ("string", "slice", "array", "map"):
        raise ValueError(f"len of type {item.type.name}")
    return number(_size(item))


def _call(shown: Value, item: Value | None, *_: Value | None) -> Value:
    """Nothing that a template sees is a function. `shown`: how the template writes it."""
    item = concrete(item)
    if item is None:
        raise ValueError("call of nil")
    raise ValueError(f"non-function {shown.data} of type {item.type.name}")


# -- comparing ------------------------------------------------------------------------------------

_BASIC = ("bool", "int", "uint", "float", "string")
_INCOMPATIBLE = "incompatible types for comparison"


def _basic(value: Value | None) -> str:
    return value.kind if value is not None and value.kind in _BASIC else ""


def _eq(first: Value | None, *others: Value | None) -> Value:
    first = concrete(first)
    if not others:
        raise ValueError("missing argument for comparison")
    return boolean(any(_same(first, concrete(other)) for other in others))


def _same(one: Value | None, other: Value | None) -> bool:
    kinds = _basic(one), _basic(other)
    if kinds[0] == kinds[1] != "" or set(kinds) == {"int", "uint"}:
        return one is not None and other is not None and bool(one.data == other.data)
    if kinds[0] != kinds[1]:
        if one is not None and other is not None:
            raise ValueError(_INCOMPATIBLE)
        return False
    if one is None or other is None:
        return _is_nil(one) and _is_nil(other)
    if one.kind != other.kind:
        shown = f"{_reflected(one)}: {one.type.name}, {other.type.name}: {to_text(other)}"
        raise ValueError(f"non-comparable types {shown}")
    if _is_nil(one) or _is_nil(other):
        return _is_nil(one) and _is_nil(other)
    if other.kind in ("slice", "map") or not _is_comparable(other):
        raise ValueError(f"non-comparable type {_reflected(other)}: {other.type.name}")
    if one.kind == "pointer":
        return one.data is other.data
    return one.type.name == other.type.name and one.data == other.data


def _reflected(value: Value) -> str:
    """A reflect.Value by %s."""
    return printf("%s", [value])


def _is_comparable(value: Value) -> bool:
    kind = value.type
    if kind.kind == "array":
        return kind.elem.kind not in ("slice", "map")
    if kind.kind == "struct":
        return all(field.type.kind not in ("slice", "map") for field in kind.fields)
    return True


def _is_nil(value: Value | None) -> bool:
    return value is None or value.is_nil()


def _less(one: Value | None, other: Value | None) -> bool:
    one, other = concrete(one), concrete(other)
    kinds = _basic(one), _basic(other)
    if one is None or other is None or "" in kinds:
        raise ValueError("invalid type for comparison")
    if kinds[0] != kinds[1] and set(kinds) != {"int", "uint"}:
        raise ValueError(_INCOMPATIBLE)
    if "bool" in kinds:
        raise ValueError("invalid type for comparison")
    return bool(one.data < other.data)


def _at_most(one: Value | None, other: Value | None) -> bool:
    return _less(one, other) or bool(_eq(one, other).data)


# -- escaping -------------------------------------------------------------------------------------


def _written(values: Sequence[Value | None]) -> str:
    return sprint([printable(value) for value in values])


def printable(value: Value | None) -> Value:
    """What fmt is given of a value: what pointers lead to, and words for what is not there."""
    if value is None:
        return text("<no value>")
    if value.kind != "pointer" or isinstance(value.data, Fields):
        return value
    target, is_nil = indirect(value)
    assert target is not None
    return value if not is_nil and method_of(value, "String", to_print=True) else target


def _html(*values: Value | None) -> Value:
    marks = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&#34;", "'": "&#39;", "\0": "\ufffd"}
    return text("".join(marks.get(char, char) for char in _written(values)))


_SCRIPT_MARKS = {
    "\\": "\\\\", "'": "\\'", '"': '\\"', "<": "\\u003C", ">": "\\u003E", "&": "\\u0026",
    "=": "\\u003D",
}  # fmt: skip


def _js(*values: Value | None) -> Value:
    out = ""
    for char in _written(values):
        if char in _SCRIPT_MARKS:
            out += _SCRIPT_MARKS[char]
        else:
            out += char if char.isprintable() else f"\\u{ord(char):04X}"
    return text(out)


def _urlquery(*values: Value | None) -> Value:
    from tiffin.cli.client import quote

    return text(quote(_written(values), " ").replace(" ", "+"))


# -- Docker's -------------------------------------------------------------------------------------


def _json(value: Value | None) -> Value:
    shown = show(to_document(value))
    if _is_row(value):
        # Go escapes for HTML what it makes of a row, and only that.
        shown = shown.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    return text(shown)


def _is_row(value: Value | None) -> bool:
    if value is None:
        return False
    if value.kind == "slice":
        return bool(value.data) and isinstance(value.elements()[0].data, Fields)
    if value.type.name == "*formatter.diskUsageContext":
        return True
    return isinstance(value.data, Fields)


def _split(whole: Value, separator: Value) -> Value:
    if separator.data:
        return texts(whole.data.split(separator.data))
    return texts(list(whole.data))


def _title(value: Value) -> Value:
    out, previous = "", " "
    for char in value.data:
        out += char.upper() if not (previous.isalnum() or previous == "_") else char
        previous = char
    return text(out)


def _pad(value: Value, before: Value, after: Value) -> Value:
    for count in (before.data, after.data):
        if value.data and count < 0:
            raise ValueError("strings: negative Repeat count")
    return text(" " * before.data + value.data + " " * after.data if value.data else "")


def _truncate(value: Value, length: Value) -> Value:
    whole = _bytes(value)
    if length.data < 0:
        raise ValueError(f"runtime error: slice bounds out of range [:{length.data}]")
    return text(whole[: length.data].decode("utf-8", "surrogateescape"))


_ONE, _TWO = ("",), ("", "")
_TEXT = "string"
_ANYTHING = "interface {}"
FUNCTIONS: dict[str, Function] = {
    "and": Function(lambda *values: values[-1], _ONE, ""),
    "or": Function(lambda *values: values[-1], _ONE, ""),
    "not": Function(lambda value: boolean(not truth(value)), _ONE),
    "eq": Function(_eq, _ONE, ""),
    "ne": Function(lambda one, other: boolean(not _eq(one, other).data), _TWO),
    "lt": Function(lambda one, other: boolean(_less(one, other)), _TWO),
    "le": Function(lambda one, other: boolean(_at_most(one, other)), _TWO),
    "gt": Function(lambda one, other: boolean(not _at_most(one, other)), _TWO),
    "ge": Function(lambda one, other: boolean(not _less(one, other)), _TWO),
    "len": Function(_len, _ONE),
    "index": Function(_index, _ONE, ""),
    "slice": Function(_slice, _ONE, ""),
    "call": Function(_call, _ONE, ""),
    "print": Function(lambda *values: text(sprint(values)), (), _ANYTHING),
    "println": Function(lambda *values: text(sprintln(values)), (), _ANYTHING),
    "printf": Function(lambda form, *values: text(printf(form.data, values)), (_TEXT,), _ANYTHING),
    "html": Function(_html, (), _ANYTHING),
    "js": Function(_js, (), _ANYTHING),
    "urlquery": Function(_urlquery, (), _ANYTHING),
    "json": Function(_json, (_ANYTHING,)),
    "split": Function(_split, (_TEXT, _TEXT)),
    "join": Function(
        lambda parts, separator: text(separator.data.join(parts.data or ())), ("[]string", _TEXT)
    ),
    "title": Function(_title, (_TEXT,)),
    "lower": Function(lambda value: text(value.data.lower()), (_TEXT,)),
    "upper": Function(lambda value: text(value.data.upper()), (_TEXT,)),
    "pad": Function(_pad, (_TEXT, INT.name, INT.name)),
    "truncate": Function(_truncate, (_TEXT, INT.name)),
}


def _same_title(title: Value, *_: Any) -> Value:
    return title


# A table's header line is the template run over the titles, which the functions leave as they are.
HEADER_FUNCTIONS: dict[str, Function] = FUNCTIONS | {
    "json": Function(_same_title, (_TEXT,)),
    "split": Function(_same_title, (_TEXT, _TEXT)),
    "join": Function(_same_title, (_TEXT, _TEXT)),
    "title": Function(_same_title, (_TEXT,)),
    "lower": Function(_same_title, (_TEXT,)),
    "upper": Function(_same_title, (_TEXT,)),
    "truncate": Function(_same_title, (_TEXT, INT.name)),
}
