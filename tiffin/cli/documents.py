"""Documents of the API, printed as they come: an array of them, or a line of each by a template."""

from __future__ import annotations

from tiffin.cli.failures import CommandFailed
from tiffin.cli.jsonlayout import indent_text
from tiffin.cli.jsontext import decode
from tiffin.cli.jsontext import show as compact
from tiffin.cli.output import STDOUT, write

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from tiffin.cli.gotemplate import Template

_GATHERED = 65536


def show_documents(found: Iterable[bytes | CommandFailed], form: str) -> None:
    """The documents that were `found`; what failed is said at the end, all at once."""
    printed = _Lines(form) if form not in ("", "json") else _Array(readable=form == "")
    errors = []
    try:
        for each in found:
            try:
                if isinstance(each, CommandFailed):
                    raise each
                printed.put(each)
            except CommandFailed as error:
                errors.append(error.message)
    except CommandFailed as error:  # there is no daemon, or no longer
        errors.append(error.message)
    printed.end()
    if errors:
        raise CommandFailed("\n".join(errors))


class _Printed:
    """Text on its way out, some of it gathered for one write."""

    def __init__(self) -> None:
        self.empty = True
        self.parts: list[str] = []
        self.size = 0

    def add(self, text: str) -> None:
        self.empty = False
        self.parts.append(text)
        self.size += len(text)
        if self.size >= _GATHERED:
            self.flush()

    def flush(self) -> None:
        write(STDOUT, "".join(self.parts).encode("utf-8", "surrogateescape"))
        self.parts, self.size = [], 0

    def put(self, document: bytes) -> None:
        raise NotImplementedError

    def end(self) -> None:
        raise NotImplementedError


class _Array(_Printed):
    def __init__(self, *, readable: bool):
        super().__init__()
        self.readable = readable

    def put(self, document: bytes) -> None:
        between = "[" if self.empty else ","
        if self.readable:
            self.add(f"{between}\n    {indent_text(document, 1)}")
        else:
            self.add(between + compact(decode(document)))

    def end(self) -> None:
        if self.empty:
            self.add("[]\n")
        else:
            self.add("\n]\n" if self.readable else "]\n")
        self.flush()


class _Lines(_Printed):
    def __init__(self, form: str):
        super().__init__()
        from tiffin.cli.gotemplate import parse

        self.template: Template = parse(form, strict=True)

    def put(self, document: bytes) -> None:
        try:
            self.add(self.template.render(decode(document)) + "\n")
        except ValueError as error:
            raise CommandFailed(f"template parsing error: {error}") from error

    def end(self) -> None:
        if self.empty:
            self.add("\n")
        self.flush()
