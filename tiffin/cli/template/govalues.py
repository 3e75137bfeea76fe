"""Values as Go's reflect sees them: a type of Go's, and below it what JSON gave or was computed.

Nothing is decoded before it is asked for: a struct is the document, its fields are looked up. A
value that Go would not have at all (reflect's zero Value) is None.
"""

from __future__ import annotations

from tiffin.cli.template.gotypes import (
    ANY_LIST,
    ANY_MAP,
    BOOL,
    FLOAT,
    INT,
    NILLABLE,
    NUMBER,
    RAW_LIST,
    RAW_MAP,
    STRING,
    STRINGS,
    Type,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from tiffin.cli.template.gotypes import Field

_WORDS = {
    str: "string",
    bool: "bool",
    int: "number",
    float: "number",
    list: "array",
    dict: "object",
}
_EXPECTED: dict[str, type | tuple[type, ...]] = {
    "bool": bool,
    "int": int,
    "uint": int,
    "float": (int, float),
    "string": str,
    "slice": list,
    "array": list,
    "map": dict,
}


class Fields:
    """A row of a table: its fields are computed when a template asks for them."""

    # Go's name for its kind, which its messages show.
    kind = "formatter.SubContext"

    def field(self, name: str) -> Any:
        """KeyError when there is no such field."""
        raise NotImplementedError

    def label(self, _: str) -> str | None:
        """The label of that name; None: a row of this kind has no labels."""
        return None

    def names(self) -> list[str]:
        raise NotImplementedError

    def as_document(self) -> dict[str, Any]:
        return {name: self.field(name) for name in sorted(self.names())}


class Value:
    __slots__ = ("data", "type")

    def __init__(self, kind: Type, data: Any):
        self.type = kind
        self.data = data

    @property
    def kind(self) -> str:
        return self.type.kind

    def is_nil(self) -> bool:
        return self.data is None and self.type.kind in NILLABLE

    def elements(self) -> list[Value]:
        """Of a slice or an array."""
        return [part(self.type.elem, each) for each in self.listed()]

    def listed(self) -> list[Any]:
        if isinstance(self.data, str):  # bytes, which JSON has in base 64
            from binascii import a2b_base64

            self.data = list(a2b_base64(self.data))
        return self.data or []

    def items(self) -> list[tuple[Value, Value]]:
        """Of a map, in the order of its keys."""
        kind = self.type
        data = self.data or {}
        return [(Value(kind.key, key), part(kind.elem, data[key])) for key in sorted(data)]


def part(kind: Type, data: Any) -> Value:
    """A part of a document, which must be what its type says. ValueError where it is not."""
    if isinstance(data, Value):
        return data
    expected = _EXPECTED.get(kind.kind)
    if data is None or expected is None or isinstance(data, expected):
        if isinstance(data, bool) and kind.kind in ("int", "uint", "float"):
            raise _mistaken(kind, data)
        if data is None:
            data = _zero(kind)
        return Value(kind, data)
    if kind.kind == "float" or (kind.name == "[]uint8" and isinstance(data, str)):
        return Value(kind, data)
    if kind.name == "strslice.StrSlice" and isinstance(data, str):
        return Value(kind, [data])
    raise _mistaken(kind, data)


def _mistaken(kind: Type, data: object) -> ValueError:
    found = _WORDS.get(type(data), "value")
    return ValueError(f"json: cannot unmarshal {found} into Go value of type {kind.name}")


def _zero(kind: Type) -> Any:
    if kind.kind == "array":
        return [None] * int(kind.name[1:].partition("]")[0])
    return {"bool": False, "int": 0, "uint": 0, "float": 0.0, "string": ""}.get(kind.kind)


def zero_of(kind: Type) -> Value:
    return Value(kind, _zero(kind))


def of(data: Any, raw: bool = False) -> Value | None:  # noqa: PLR0911 - a case for each type
    """A value without a type: as Go has it in an interface. `raw`: numbers are json.Number."""
    if data is None:
        return None
    if isinstance(data, Value):
        return data
    if isinstance(data, str):
        return Value(STRING, data)
    if isinstance(data, bool):
        return Value(BOOL, data)
    if isinstance(data, (int, float)):
        return Value(NUMBER, str(data)) if raw else Value(FLOAT, float(data))
    if isinstance(data, list):
        return Value(RAW_LIST if raw else ANY_LIST, data)
    if isinstance(data, Fields):
        return Value(type_of_row(data.kind), data)
    return Value(RAW_MAP if raw else ANY_MAP, data)


_rows: dict[str, Type] = {}


def type_of_row(kind: str) -> Type:
    if kind not in _rows:
        _rows[kind] = Type(f"*{kind}", "pointer", Type(kind, "struct"))
    return _rows[kind]


def text(data: str) -> Value:
    return Value(STRING, data)


def number(data: int) -> Value:
    return Value(INT, data)


def boolean(data: bool) -> Value:
    return Value(BOOL, data)


def texts(data: list[str]) -> Value:
    return Value(STRINGS, data)


def concrete(value: Value | None) -> Value | None:
    """What is in an interface; any other value as it is."""
    if value is None or value.type.kind != "interface":
        return value
    return of(value.data, value.type.of_json)


def indirect(value: Value | None) -> tuple[Value | None, bool]:
    """What pointers and interfaces lead to, and whether one of them is nil."""
    while value is not None and value.type.kind in ("pointer", "interface"):
        if value.data is None:
            return value, True
        value = pointed(value) if value.type.kind == "pointer" else concrete(value)
    return value, False


def pointed(value: Value) -> Value:
    return part(value.type.elem, value.data)


def truth(value: Value | None) -> bool:
    value = concrete(value)
    if value is None:
        return False
    if value.type.kind in ("slice", "array"):
        return bool(value.listed())
    if value.type.kind == "struct":
        return True
    return value.data is not None if value.type.kind in NILLABLE - {"map"} else bool(value.data)


def pick(owner: dict[str, Any] | None, key: str) -> Any:
    """The value under `key`, or, as encoding/json reads it, under one that differs in case."""
    if owner is None or key == "-":
        return None
    if key in owner:
        return owner[key]
    folded = key.lower()
    return next((owner[each] for each in owner if each.lower() == folded), None)


def find_field(kind: Type, name: str) -> tuple[Field, ...]:
    """The way to a field of the struct, through what is embedded in it; empty: there is none."""
    found = kind.found.get(name)
    if found is None:
        paths = (path for path in kind.paths() if path[-1].name == name)
        found = kind.found[name] = next(paths, ())
    return found


def follow(value: Value, path: tuple[Field, ...]) -> Value:
    for field in path:
        value = get_field(value, field)
    return value


def get_field(value: Value, field: Field) -> Value:
    """A field of a struct; what is embedded has its fields among those of the whole."""
    while value.type.kind == "pointer":
        value = pointed(value)
    if field.embedded:
        return Value(field.type, value.data)
    return part(field.type, pick(value.data, field.key))


def fields_of(value: Value) -> Iterator[tuple[Field, Value]]:
    for field in value.type.fields:
        yield field, get_field(value, field)
