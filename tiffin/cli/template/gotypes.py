"""Types as Go has them, by the names that Go's messages give them: `[]string`, `*container.State`.

What is behind a name is told by the tables of `apitypes`, which are read no further than asked for.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_INTEGERS = frozenset(("int", "int8", "int16", "int32", "int64"))
_UNSIGNED = frozenset(("uint", "uint8", "uint16", "uint32", "uint64", "uintptr"))
_PLAIN = {
    "bool": "bool",
    "string": "string",
    "float32": "float",
    "float64": "float",
    **dict.fromkeys(_INTEGERS, "int"),
    **dict.fromkeys(_UNSIGNED, "uint"),
}
# Kinds whose values may be nil.
NILLABLE = frozenset(("slice", "map", "pointer", "interface", "func"))


class Field:
    """Of a struct: `key` is its name in JSON ("-": none), `omitted` whether it may be left out."""

    __slots__ = ("embedded", "key", "name", "omitted", "type")

    def __init__(self, name: str, key: str, kind: Type, omitted: bool, embedded: bool):
        self.name = name
        self.key = key
        self.type = kind
        self.omitted = omitted
        self.embedded = embedded

    @property
    def exported(self) -> bool:
        return self.name[:1].isupper()


class Type:
    """`kind` is what it is made of; `elem` and `key` of what its parts are."""

    __slots__ = ("_fields", "_wanted", "elem", "found", "key", "kind", "name", "of_json")

    def __init__(
        self,
        name: str,
        kind: str,
        elem: Type | None = None,
        key: Type | None = None,
        body: str = "",
    ):
        self.name = name
        self.kind = kind
        self.elem: Type = elem if elem is not None else self
        self.key: Type = key if key is not None else self
        self._wanted = body
        self._fields: list[Field] | None = None
        self.of_json = False  # numbers in it are json.Number
        self.found: dict[str, tuple[Field, ...]] = {}  # ways to fields, once they were looked for

    @property
    def fields(self) -> list[Field]:
        """Of a struct, in their order."""
        if self._fields is None:
            self._fields = [_field(text) for text in self._wanted.split(", ") if text]
        return self._fields

    def paths(self) -> Iterator[tuple[Field, ...]]:
        """Ways to the fields of the struct, those of what it embeds too, the shortest first."""
        level: list[tuple[Field, ...]] = [(field,) for field in self.fields]
        while level:
            yield from level
            level = [
                (*path, field)
                for path in level
                if path[-1].embedded
                for field in struct_of(path[-1].type).fields
            ]


def _field(text: str) -> Field:
    omitted = text.endswith("?")
    text = text.rstrip("?")
    if text.startswith("+"):
        name = text.rpartition(".")[2].lstrip("+*")
        return Field(name, "", type_of(text[1:]), omitted, embedded=True)
    name, _, kind = text.partition(" ")
    name, _, key = name.partition(":")
    return Field(name, key or name, type_of(kind), omitted, embedded=False)


def struct_of(kind: Type) -> Type:
    return kind.elem if kind.kind == "pointer" else kind


_known: dict[str, Type] = {}


def type_of(name: str) -> Type:
    """The type that is called so. KeyError where no table has it."""
    found = _known.get(name)
    if found is None:
        found = _known[name] = _made(name)
    return found


def _made(name: str) -> Type:  # noqa: PLR0911 - a case for each kind
    if name in _PLAIN:
        return Type(name, _PLAIN[name])
    if name[0] == "*":
        return Type(name, "pointer", type_of(name[1:]))
    if name[:2] == "[]":
        return Type(name, "slice", type_of(name[2:]))
    if name[0] == "[":
        return Type(name, "array", type_of(name.partition("]")[2]))
    if name.startswith("map["):
        key, _, elem = name[4:].partition("]")
        return Type(name, "map", type_of(elem), type_of(key))
    if name == "interface {}":
        return Type(name, "interface")
    if name.startswith("struct {"):
        return Type(name, "struct", body=name[8:-1].strip().replace("; ", ", "))
    return _named(name)


def _named(name: str) -> Type:
    from tiffin.cli.template.apitypes import NAMED, STRUCTS

    if name in NAMED:
        under = type_of(NAMED[name])
        elem = under.elem if under.kind in ("slice", "array", "map", "pointer") else None
        return Type(name, under.kind, elem, under.key if under.kind == "map" else None)
    return Type(name, "struct", body=STRUCTS[name])


STRING, INT, BOOL, FLOAT = (type_of(name) for name in ("string", "int", "bool", "float64"))
STRINGS = type_of("[]string")
ANY = type_of("interface {}")
# What encoding/json makes of a document without a type, its numbers kept as they are written.
RAW = Type("interface {}", "interface")
RAW.of_json = True
RAW_LIST = Type("[]interface {}", "slice", RAW)
RAW_MAP = Type("map[string]interface {}", "map", RAW, STRING)
NUMBER = Type("json.Number", "string")
ANY_LIST, ANY_MAP = type_of("[]interface {}"), type_of("map[string]interface {}")


def alike(one: Type, other: Type) -> bool:
    """The same but for their names, one of which is no name at all."""
    if one.kind != other.kind or (_has_name(one) and _has_name(other)):
        return False
    if one.kind not in ("slice", "array", "map", "pointer"):
        return False
    return one.elem.name == other.elem.name and (
        one.kind != "map" or one.key.name == other.key.name
    )


def _has_name(kind: Type) -> bool:
    return kind.name[0] not in "*[" and not kind.name.startswith(
        ("map[", "interface {", "struct {")
    )
