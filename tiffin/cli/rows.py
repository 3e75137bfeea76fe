"""Rows of a table as a template sees them: the fields of a record, or the titles above them."""

from __future__ import annotations

from tiffin.cli.template.govalues import Fields

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
        return self.fields[name][1](self.record, self.short)

    def label(self, name: str) -> str | None:
        return (
            str((self.record.get("Labels") or {}).get(name, ""))
            if "Labels" in self.fields
            else None
        )

    def names(self) -> list[str]:
        return [name for name in self.fields if name not in OURS]


class Blank(Fields):
    """A row about nothing: what a template must be able to run over before there is a row."""

    def __init__(self, fields: dict[str, Field], kind: str):
        self.fields = fields
        self.kind = kind

    def field(self, name: str) -> Any:
        return self.fields[name] and ""

    def label(self, _: str) -> str | None:
        return "" if "Labels" in self.fields else None

    def names(self) -> list[str]:
        return list(self.fields)


class Titles(Fields):
    def __init__(self, fields: dict[str, Field]):
        self.fields = fields

    def field(self, name: str) -> Any:
        if name not in self.fields:
            return "<no value>"
        return self.fields[name][0]

    def label(self, name: str) -> str | None:
        """`com.example.two-words` stands under `two words`."""
        return name.rpartition(".")[2].replace("-", " ").replace("_", " ")

    def names(self) -> list[str]:
        return list(self.fields)
