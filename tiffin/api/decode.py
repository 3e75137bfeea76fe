"""JSON bodies into types, as leniently as Go's decoder and no more.

Keys match whatever their case, null means "not given" (an element of a map or list becomes its zero
value), unknown keys are ignored; a wrong type is 400 and says where.
"""

from __future__ import annotations

from collections.abc import Hashable
from functools import lru_cache
from typing import Any, TypeVar, cast

import msgspec
from msgspec import inspect

from tiffin.api import gowords
from tiffin.api.bodies import SMALL_BYTES, whole
from tiffin.api.messages import MAX_JSON_BYTES, Request
from tiffin.errors import InvalidArgument

_T = TypeVar("_T")
_MOST_GROWTH = 40  # of a body to its objects: {"a":1} is eight bytes of a list, and a dict

# Docker's strslice: a plain string is a list of one.
_STRING_OR_LIST = frozenset(
    {
        "ContainerConfig.Cmd",
        "ContainerConfig.Entrypoint",
        "ContainerConfig.Shell",
        "HostConfig.CapAdd",
        "HostConfig.CapDrop",
    }
)
_NO_INTEGER = 0.5  # in the place of a number that Go's type does not hold


async def read_json(request: Request, kind: str) -> dict[str, Any]:
    """The body as a JSON object; {} for none. Raises InvalidArgument.

    `kind`: the type that Go reads it into, which its words tell of.
    """
    async with whole(request, MAX_JSON_BYTES) as data:
        if data or request.header("content-type"):
            check_content_type(request)
        return parse_object(data, kind) if data else {}


def check_content_type(request: Request) -> None:
    """A JSON body must say that it is one: no browser form reaches us."""
    kind = request.header("content-type").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise InvalidArgument(
            f"unsupported Content-Type header ({request.header('content-type')}): "
            "must be 'application/json'"
            if kind
            else "malformed Content-Type header (): mime: no media type"
        )


def parse_object(data: bytes, kind: str) -> dict[str, Any]:
    if len(data) > SMALL_BYTES:
        # The decoder ends the process where memory fails it: MemoryError comes before, or not.
        bytearray(_MOST_GROWTH * len(data))
    try:
        value = msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise InvalidArgument(gowords.malformed(str(error), data)) from error
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InvalidArgument(gowords.no_document(value, kind))
    return value


def find_key(document: dict[str, Any], name: str) -> Any:
    """The value under `name` in any case, or None."""
    if name in document:
        return document[name]
    folded = name.lower()
    return next((value for key, value in document.items() if key.lower() == folded), None)


def decode(document: dict[str, Any], kind: type[_T], *, prefix: str = "", root: str = "") -> _T:
    """A document of a Go client as one of our types. Raises InvalidArgument.

    `prefix`: where it lies in the body; `root`: what Go calls it, where that is not our name.
    """
    described = _description(cast(Hashable, kind))
    normal = _normalise(document, described)
    try:
        return msgspec.convert(normal, kind)
    except (msgspec.ValidationError, RecursionError) as error:
        words = gowords.explain(
            str(error), described, document, root=root, prefix=prefix, lists=_STRING_OR_LIST
        )
        raise InvalidArgument(f"invalid JSON: {words}") from error


@lru_cache(maxsize=64)
def _description(kind: Hashable) -> inspect.Type:
    return inspect.type_info(kind)


@lru_cache(maxsize=64)
def known_fields(kind: type) -> dict[str, tuple[str, inspect.Type]]:
    """Field names in lower case -> the name on the wire and the type."""
    described = inspect.type_info(kind)
    assert isinstance(described, inspect.StructType)
    return {
        field.encode_name.lower(): (field.encode_name, field.type) for field in described.fields
    }


def _normalise(value: Any, kind: inspect.Type, field: str = "") -> Any:
    kind = gowords.given(kind)
    if isinstance(kind, inspect.StructType) and isinstance(value, dict):
        return _normalise_struct(value, kind)
    if isinstance(kind, inspect.DictType) and isinstance(value, dict):
        return {key: _element(item, kind.value_type, field) for key, item in value.items()}
    if isinstance(kind, inspect.VarTupleType | inspect.ListType) and isinstance(value, list):
        return [_element(item, kind.item_type, field) for item in value]
    if isinstance(kind, inspect.TupleType) and isinstance(value, list):
        return _of_length([_element(i, kind.item_types[0], field) for i in value], kind)
    if isinstance(value, int) and not isinstance(value, bool) and not gowords.fits(value, field):
        return _NO_INTEGER
    return value


def _of_length(values: list[Any], kind: inspect.TupleType) -> list[Any]:
    """Go fills an array that is too short with zeroes and drops what is too much."""
    wanted = len(kind.item_types)
    return [*values, *[0] * wanted][:wanted]


def _normalise_struct(value: dict[str, Any], kind: inspect.StructType) -> dict[str, Any]:
    fields = known_fields(kind.cls)
    result: dict[str, Any] = {}
    for key, item in value.items():
        known = fields.get(key.lower())
        if known is None or item is None:
            continue
        name, field_type = known
        if isinstance(item, str) and f"{kind.cls.__name__}.{name}" in _STRING_OR_LIST:
            item = [item]  # noqa: PLW2901 - the spelling is widened, the value is the same
        result[name] = _normalise(item, field_type, name)
    return result


def _element(value: Any, kind: inspect.Type, field: str) -> Any:
    return _zero(gowords.given(kind)) if value is None else _normalise(value, kind, field)


def _zero(kind: inspect.Type) -> Any:
    if isinstance(kind, inspect.StructType | inspect.DictType):
        return {}
    if isinstance(kind, inspect.VarTupleType | inspect.ListType):
        return []
    if isinstance(kind, inspect.IntType):
        return 0
    return "" if isinstance(kind, inspect.StrType) else None
