"""encoding/json over values of templates: a struct's fields in their order, with JSON's names."""

from __future__ import annotations

from tiffin.cli.template.govalues import Fields, Value, concrete, get_field, pointed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def to_document(value: Value | None) -> Any:  # noqa: PLR0911 - a case for each kind
    """What JSON has of the value: plain dictionaries, lists and so on."""
    value = concrete(value)
    if value is None or value.is_nil():
        return None
    if isinstance(value.data, Fields):
        return {key: to_document(_of(each)) for key, each in value.data.as_document().items()}
    kind = value.kind
    if kind == "pointer":
        return to_document(pointed(value))
    if kind == "map":
        return {str(key.data): to_document(each) for key, each in value.items()}
    if kind == "struct":
        return _struct(value)
    if value.type.name == "[]uint8":
        from binascii import b2a_base64

        return b2a_base64(bytes(value.listed()), newline=False).decode()
    if kind in ("slice", "array"):
        return [to_document(each) for each in value.elements()]
    if value.type.name == "json.Number":
        return _number(value.data)
    if kind == "float" and float(value.data).is_integer() and abs(value.data) < 1e21:
        return int(value.data)
    return value.data


def _of(data: Any) -> Value | None:
    from tiffin.cli.template.govalues import of

    return of(data)


def _number(text: str) -> int | float:
    try:
        return int(text)
    except ValueError:
        return float(text)


def _struct(value: Value) -> Any:
    if value.type.name == "time.Time":
        from tiffin.cli.template.gotimes import Moment

        return Moment(value.data).rfc3339()
    if value.type.name == "registry.ServiceConfig":
        return dict(sorted(_fields(value).items()))
    return _fields(value)


def _fields(value: Value) -> dict[str, Any]:
    found: dict[str, Any] = {}
    outer = {field.key for field in value.type.fields if not field.embedded}
    for field in value.type.fields:
        inner = get_field(value, field)
        if field.embedded:
            while inner.kind == "pointer":
                inner = pointed(inner)
            found |= {key: each for key, each in _fields(inner).items() if key not in outer}
        elif field.key != "-" and not (field.omitted and _is_empty(inner)):
            found[field.key] = to_document(inner)
    return found


def _is_empty(value: Value) -> bool:
    if value.kind in ("slice", "array"):
        return not value.listed()
    if value.kind == "struct":
        return False
    return value.data is None if value.kind in ("pointer", "interface") else not value.data
