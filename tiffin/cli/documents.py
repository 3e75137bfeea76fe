"""Documents of the API, printed as they come: an array of them, or a line of each by a template.

A template sees a document as Go's client does, which reads it into a struct of its own; where the
template does not fit that, as the plain map that it is.
"""

from __future__ import annotations

from tiffin.cli.failures import CommandFailed
from tiffin.cli.jsonlayout import indent_text
from tiffin.cli.jsontext import decode
from tiffin.cli.jsontext import show as compact
from tiffin.cli.output import STDOUT, write

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from tiffin.cli.template.engine import Template

_GATHERED = 65536


class Document:
    """`text` is its JSON, `kind` what Go's client reads it into ("": no struct of its own).

    `has_raw`: Go's client keeps what the daemon wrote, too.
    """

    __slots__ = ("has_raw", "kind", "text")

    def __init__(self, text: bytes, kind: str, *, has_raw: bool = True):
        self.text = text
        self.kind = kind
        self.has_raw = has_raw


def show_documents(found: Iterable[Document | CommandFailed], form: str) -> None:
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

    def put(self, document: Document) -> None:
        raise NotImplementedError

    def end(self) -> None:
        raise NotImplementedError


class _Array(_Printed):
    def __init__(self, *, readable: bool):
        super().__init__()
        self.readable = readable

    def put(self, document: Document) -> None:
        between = "[" if self.empty else ","
        if self.readable:
            self.add(f"{between}\n    {indent_text(document.text, 1)}")
        else:
            self.add(between + compact(decode(document.text)))

    def end(self) -> None:
        if self.empty:
            self.add("[]\n")
        else:
            self.add("\n]\n" if self.readable else "]\n")
        self.flush()


class _Lines(_Printed):
    def __init__(self, form: str):
        super().__init__()
        from tiffin.cli.template.engine import parse

        self.template: Template = parse(form)

    def put(self, document: Document) -> None:
        try:
            self.add(self.render(document) + "\n")
        except ValueError as error:
            raise CommandFailed(f"template parsing error: {error}") from error

    def render(self, document: Document) -> str:
        from tiffin.cli.template.gotypes import type_of
        from tiffin.cli.template.govalues import Value, of

        content = decode(document.text)
        if document.kind:
            try:
                return self.template.render(Value(type_of(document.kind), content))
            except ValueError:
                if not document.has_raw:
                    raise
        self.template.strict = True  # from here on, also for the documents that follow
        return self.template.render(of(content, raw=True))

    def end(self) -> None:
        if self.empty:
            self.add("\n")
        self.flush()
