"""Values of a template, as Go has them: how they print, and when they count as true.

Values are what JSON gives: None, bool, int, float, str, list, dict; and rows, which are `Fields`.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
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
    names = {
        bool: "bool",
        int: "int",
        float: "float64",
        str: "string",
        list: "[]interface {}",
        dict: "map[string]interface {}",
    }
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
