"""Rows of a table as a template sees them: the fields of a record, or the titles above them."""

from __future__ import annotations

from tiffin.cli.templatevalues import Fields

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Record = dict[str, Any]
    # A field's title in a table, and how it is read off a record (the bool: shortened).
    Field = tuple[str, "Callable[[Record, bool], Any]"]

# Fields that Docker does not have: for templates that name them, not for `json .`.
OURS = ("Verdict",)


class Row(Fields):
    def __init__(self, record: Record, fields: dict[str, Field], *, short: bool, kind: str):
        self.kind = kind
        self.record = record
        self.fields = fields
        self.short = short

    def field(self, name: str) -> Any:
        if name == "labels":
            return self.record.get("Labels") or {}
        return self.fields[name][1](self.record, self.short)

    def names(self) -> list[str]:
        return [name for name in self.fields if name not in OURS]


class Blank(Fields):
    """A row about nothing: what a template must be able to run over before there is a row."""

    def __init__(self, fields: dict[str, Field], kind: str):
        self.fields = fields
        self.kind = kind

    def field(self, name: str) -> Any:
        if name == "labels":
            return {}
        return self.fields[name] and ""

    def names(self) -> list[str]:
        return list(self.fields)


class _TitleOfLabel(dict[str, str]):
    """`.Label "com.example.two-words"` stands under `two words`."""

    def get(self, name: str, default: Any = "") -> Any:
        return name.rpartition(".")[2].replace("-", " ").replace("_", " ") or default


class Titles(Fields):
    def __init__(self, fields: dict[str, Field]):
        self.fields = fields

    def field(self, name: str) -> Any:
        if name == "labels":
            return _TitleOfLabel()
        if name not in self.fields:
            return "<no value>"
        return self.fields[name][0]

    def names(self) -> list[str]:
        return list(self.fields)
