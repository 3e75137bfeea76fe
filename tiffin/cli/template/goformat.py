"""Go's fmt.Sprintf: directives, their flags, widths and numbers, and what it says of wrong ones."""

from __future__ import annotations

from tiffin.cli.template.goprint import Style, show, to_text, type_name
from tiffin.cli.template.govalues import Value, concrete

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_FLAGS = "+-# 0"
_DIGITS = "0123456789"
_WIDEST = 1_000_000


def printf(form: str, values: Sequence[Value | None]) -> str:
    return _Printing(form, values).all()


class _Printing:
    def __init__(self, form: str, values: Sequence[Value | None]):
        self.form = form
        self.values = values
        self.at = 0
        self.next = 0  # the argument whose turn it is
        self.reordered = False
        self.index_is_good = True

    def all(self) -> str:
        out = ""
        while self.at < len(self.form):
            text, percent, _ = self.form[self.at :].partition("%")
            self.at += len(text) + len(percent)
            out += text + (self.directive() if percent else "")
        rest = self.values[self.next :]
        if rest and not self.reordered:
            shown = ", ".join(
                "<nil>" if concrete(each) is None else f"{type_name(each)}={to_text(each)}"
                for each in rest
            )
            out += f"%!(EXTRA {shown})"
        return out

    def directive(self) -> str:
        """What comes after a percent sign: flags, width, precision, an argument's number, verb."""
        self.index_is_good = True
        said = ""
        flags = self.run_of(_FLAGS)
        self.choose()
        width, wrong = self.size()
        if wrong:
            said += "%!(BADWIDTH)"
        if width is not None and width < 0:
            flags, width = flags + "-", -width
        precision: int | None = None
        if self.form.startswith(".", self.at):
            self.at += 1
            self.choose()
            precision, wrong = self.size()
            if wrong or (precision is not None and precision < 0):
                precision = None
                said += "%!(BADPREC)" if wrong else ""
            elif precision is None:
                precision = 0
        self.choose()
        if self.at >= len(self.form):
            return said + "%!(NOVERB)"
        verb = self.form[self.at]
        self.at += 1
        if verb == "%":
            return said + "%"
        if not self.index_is_good:
            return said + f"%!{verb}(BADINDEX)"
        if self.next >= len(self.values):
            return said + f"%!{verb}(MISSING)"
        value = self.values[self.next]
        self.next += 1
        if "-" in flags:
            flags = flags.replace("0", "")
        return said + show(value, verb, Style(flags, width, precision))

    def run_of(self, letters: str) -> str:
        start = self.at
        while self.at < len(self.form) and self.form[self.at] in letters:
            self.at += 1
        return self.form[start : self.at]

    def size(self) -> tuple[int | None, bool]:
        """A number, or `*` for the next argument; and whether that was none."""
        if not self.form.startswith("*", self.at):
            digits = self.run_of(_DIGITS)
            if len(digits) > len(str(_WIDEST)) or int(digits or 0) > _WIDEST:
                self.at = len(self.form)  # Go reads no further
                return None, False
            return (int(digits) if digits else None), False
        self.at += 1
        value = concrete(self.values[self.next]) if self.next < len(self.values) else None
        self.next += 1
        if value is None or value.kind not in ("int", "uint") or abs(value.data) > _WIDEST:
            return None, True
        return int(value.data), False

    def choose(self) -> None:
        """`[2]`: from here on the arguments are taken from the second."""
        if not self.form.startswith("[", self.at):
            return
        self.reordered = True
        number, closing, _ = self.form[self.at + 1 :].partition("]")
        if not closing:
            self.at += 1
            self.index_is_good = False
            return
        self.at += len(number) + 2
        if number.isdecimal() and 1 <= int(number) <= len(self.values):
            self.next = int(number) - 1
        else:
            self.index_is_good = False
