"""Go's fmt.Sprintf over values of templates: its verbs, flags, and what it says of wrong ones."""

from __future__ import annotations

from tiffin.cli.templatevalues import go_type, to_text
from tiffin.cli.wording import go_quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_FLAGS = "+-# 0"
_DIGITS = "0123456789"


def printf(form: str, *values: Any) -> str:
    return _Printing(form, values).all()


class _Printing:
    def __init__(self, form: str, values: tuple[Any, ...]):
        self.form = form
        self.values = values
        self.at = 0
        self.next = 0  # the argument whose turn it is
        self.reordered = False

    def all(self) -> str:
        out = ""
        while self.at < len(self.form):
            text, percent, _ = self.form[self.at :].partition("%")
            self.at += len(text) + len(percent)
            out += text + (self.directive() if percent else "")
        rest = self.values[self.next :]
        if rest and not self.reordered:
            shown = ", ".join(f"{go_type(each)}={to_text(each)}" for each in rest)
            out += f"%!(EXTRA {shown})"
        return out

    def directive(self) -> str:
        """What comes after a percent sign: flags, width, precision, an argument's number, verb."""
        flags = self.run_of(_FLAGS)
        self.choose()
        width = self.size()
        precision = ""
        if self.form.startswith(".", self.at):
            self.at += 1
            self.choose()
            precision = "." + self.size()
        self.choose()
        verb = self.form[self.at : self.at + 1]
        self.at += 1
        if verb == "%":
            return "%"
        if not verb:
            return "%!(NOVERB)"
        if not 0 <= self.next < len(self.values):
            return f"%!{verb}({'BADINDEX' if self.reordered else 'MISSING'})"
        value = self.values[self.next]
        self.next += 1
        return show_verb(flags + width + precision, verb, value)

    def run_of(self, letters: str) -> str:
        start = self.at
        while self.at < len(self.form) and self.form[self.at] in letters:
            self.at += 1
        return self.form[start : self.at]

    def size(self) -> str:
        """A number, or `*` for the next argument."""
        if not self.form.startswith("*", self.at):
            return self.run_of(_DIGITS)
        self.at += 1
        value = self.values[self.next] if self.next < len(self.values) else None
        self.next += 1
        return str(value) if isinstance(value, int) else ""

    def choose(self) -> None:
        """`[2]`: from here on the arguments are taken from the second."""
        number, closing, _ = self.form[self.at + 1 :].partition("]")
        if self.form.startswith("[", self.at) and closing and number.isdecimal():
            self.at += len(number) + 2
            self.next = int(number) - 1
            self.reordered = True


def show_verb(flags: str, verb: str, value: Any) -> str:  # noqa: PLR0911 - a case for each verb
    if isinstance(value, list) and verb not in "vT":
        return "[" + " ".join(show_verb(flags, verb, each) for each in value) + "]"
    number = isinstance(value, int) and not isinstance(value, bool)
    if verb in "dxXo" and number:
        return str(f"%{flags}{verb}" % value)
    if verb == "b" and number:
        return f"%{flags}s" % f"{value:b}"
    if verb == "c" and number:
        return f"%{flags}s" % chr(value)
    if verb == "U" and number:
        return f"%{flags}s" % f"U+{value:04X}"
    if verb in "feEgG" and isinstance(value, float):
        return f"%{flags}{verb}" % value
    if verb == "q" or (verb == "v" and "#" in flags and isinstance(value, str)):
        return f"%{flags.replace('#', '')}s" % go_quote(to_text(value))
    if verb == "T":
        return f"%{flags}s" % go_type(value)
    if verb == "v" or (verb == "s" and not isinstance(value, (int, float))):
        return f"%{flags.replace('+', '').replace('#', '')}s" % to_text(value)
    if verb == "t" and isinstance(value, bool):
        return f"%{flags}s" % to_text(value)
    if verb in "xX" and isinstance(value, str):
        shown = value.encode().hex()
        return shown.upper() if verb == "X" else shown
    return f"%!{verb}({go_type(value)}={to_text(value)})"
