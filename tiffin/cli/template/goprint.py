"""Go's fmt over values of templates: what each verb makes of each kind of value."""

from __future__ import annotations

from tiffin.cli.template.gomethods import method_of
from tiffin.cli.template.gotypes import Type
from tiffin.cli.template.govalues import Fields, Value, concrete, fields_of, of, pointed
from tiffin.cli.wording import go_quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_ADDRESSED = 0xC000000000  # about where Go's heap is


class Style:
    """What stands between the percent sign and the verb."""

    def __init__(self, flags: str = "", width: int | None = None, precision: int | None = None):
        self.flags = flags
        self.width = width
        self.precision = precision

    def without(self, flags: str) -> Style:
        left = "".join(flag for flag in self.flags if flag not in flags)
        return Style(left, self.width, self.precision)

    def pad(self, text: str) -> str:
        if self.width is None or len(text) >= self.width:
            return text
        if "-" in self.flags:
            return text.ljust(self.width)
        if "0" in self.flags:
            sign = text[:1] if text[:1] in ("+", "-", " ") else ""
            return sign + text[len(sign) :].rjust(self.width - len(sign), "0")
        return text.rjust(self.width)

    def pad_text(self, text: str) -> str:
        if self.width is None or len(text) >= self.width:
            return text
        return text.ljust(self.width) if "-" in self.flags else text.rjust(self.width)

    def cut(self, text: str) -> str:
        return text if self.precision is None else text[: self.precision]


_PLAIN = Style()


def to_text(value: Value | None) -> str:
    """%v."""
    return show(value, "v", _PLAIN)


def sprint(values: Sequence[Value | None]) -> str:
    """fmt.Sprint: a space between two neighbours neither of which is a string."""
    out = ""
    for place, value in enumerate(values):
        if place and not _is_text(value) and not _is_text(values[place - 1]):
            out += " "
        out += to_text(value)
    return out


def sprintln(values: Sequence[Value | None]) -> str:
    return " ".join(map(to_text, values)) + "\n"


def _is_text(value: Value | None) -> bool:
    value = concrete(value)
    return value is not None and value.kind == "string"


def type_name(value: Value | None) -> str:
    value = concrete(value)
    return "<nil>" if value is None else value.type.name


# -- one value ------------------------------------------------------------------------------------


def show(value: Value | None, verb: str, style: Style, depth: int = 0) -> str:
    value = concrete(value)
    if value is None:
        if verb in "Tv" or depth:
            return style.pad_text("<nil>") if depth == 0 else "<nil>"
        return f"%!{verb}(<nil>)"
    if verb == "T":
        return show_text(value.type.name, "s", style)
    if verb == "p":
        return _pointer(value, verb, style)
    if verb in "vsxXq" and not (verb == "v" and "#" in style.flags):
        method = method_of(value, "String", to_print=True)
        if method is not None and not method[0]:
            written = method[1](value)
            return show_text(str(written.data if written else ""), verb, style, value)
    return _by_kind(value, verb, style, depth)


def _by_kind(value: Value, verb: str, style: Style, depth: int) -> str:  # noqa: PLR0911
    kind = value.kind
    if isinstance(value.data, Fields) and depth == 0:
        return show(of(value.data.as_document()), verb, style, 1)
    if kind == "bool":
        if verb not in "tv":
            return _bad(verb, value)
        return style.pad_text("true" if value.data else "false")
    if kind in ("int", "uint"):
        return _integer(value, verb, style)
    if kind == "float":
        return _float(value, verb, style)
    if kind == "string":
        return show_text(value.data, verb, style, value)
    if kind == "map":
        return _map(value, verb, style, depth)
    if kind == "struct":
        return _struct(value, verb, style, depth)
    if kind in ("slice", "array"):
        return _list(value, verb, style, depth)
    if depth == 0 and value.data is not None and value.type.elem.kind in _COMPOUND:
        return "&" + show(pointed(value), verb, style, depth + 1)
    return _pointer(value, verb, style)


_LARGE = 6  # powers of ten
_COMPOUND = ("array", "slice", "struct", "map")


def _bad(verb: str, value: Value) -> str:
    return f"%!{verb}({value.type.name}={to_text(value)})"


def show_text(text: str, verb: str, style: Style, value: Value | None = None) -> str:
    if verb == "v" and "#" in style.flags:
        verb, style = "q", style.without("#+")
    if verb in "vs":
        return style.pad_text(style.cut(text))
    if verb == "q":
        return style.pad_text(_quoted(style.cut(text), style))
    if verb in "xX":
        return style.pad_text(_hexadecimal(text.encode("utf-8", "surrogateescape"), verb, style))
    return _bad(
        verb, value if value is not None else of(text) or Value(Type("string", "string"), "")
    )


def _quoted(text: str, style: Style) -> str:
    if "#" in style.flags and "`" not in text and text.isprintable():
        return f"`{text}`"
    quoted = go_quote(text)
    if "+" in style.flags:
        quoted = "".join(char if char < "\x80" else _escaped(char) for char in quoted)
    return quoted


def _escaped(char: str) -> str:
    number = ord(char)
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def _hexadecimal(text: bytes, verb: str, style: Style) -> str:
    text = text if style.precision is None else text[: style.precision]
    front = ("0x" if "#" in style.flags else "") if text else ""
    if " " in style.flags:
        shown = " ".join(front + f"{each:02x}" for each in text)
    else:
        shown = front + text.hex()
    return shown.upper() if verb == "X" else shown


def _integer(value: Value, verb: str, style: Style) -> str:  # noqa: PLR0911 - a case for each
    number: int = value.data
    if verb == "v" and "#" in style.flags and value.kind == "uint":
        return style.pad(f"{number:#x}")
    if verb == "v":  # there a plus sign is for the names of fields
        style = style.without("+")
    if verb in "vd":
        return style.pad(_signed(_with_digits(str(abs(number)), style), number, style))
    if verb in "xXobO":
        shown = _with_digits(format(abs(number), "o" if verb == "O" else verb), style)
        front = (
            {"x": "0x", "X": "0X", "o": "0", "b": "0b"}.get(verb, "") if "#" in style.flags else ""
        )
        front = "0o" if verb == "O" else front
        return style.pad(_signed(front + shown, number, style))
    if verb in "cq":
        char = chr(number) if 0 <= number < 0x110000 and not 0xD800 <= number < 0xE000 else "\ufffd"
        if verb == "c":
            return style.pad_text(char)
        quoted = _quoted(char, style.without("#"))[1:-1].replace('\\"', '"').replace("'", "\\'")
        return style.pad_text(f"'{quoted}'")
    if verb == "U":
        shown = f"U+{number & 0xFFFFFFFFFFFFFFFF:04X}"
        if "#" in style.flags and 0 <= number < 0x110000 and chr(number).isprintable():
            shown += f" '{chr(number)}'"
        return style.pad_text(shown)
    return _bad(verb, value)


def _with_digits(digits: str, style: Style) -> str:
    return digits if style.precision is None else digits.rjust(style.precision, "0")


def _signed(digits: str, number: float, style: Style) -> str:
    if number < 0:
        return "-" + digits
    return ("+" if "+" in style.flags else " " if " " in style.flags else "") + digits


def _float(value: Value, verb: str, style: Style) -> str:
    number = float(value.data)
    if verb not in "veEfFgGxX":
        return _bad(verb, value)
    if verb in "xX":
        shown = _binary(abs(number))
        shown = shown.upper() if verb == "X" else shown
    elif verb in "vgG" and style.precision is None:
        shown = go_float(abs(number))
        shown = shown.upper() if verb == "G" else shown
    else:
        precision = 6 if style.precision is None else style.precision
        shown = f"{abs(number):.{precision}{'g' if verb == 'v' else verb}}"
    return style.pad(_signed(shown, number, style))


def _binary(number: float) -> str:
    """Hexadecimal digits and a power of two."""
    mantissa, _, power = number.hex().partition("p")
    mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
    return f"{mantissa}p{power[0]}{power[1:].zfill(2)}"


def go_float(number: float) -> str:
    """As short as it can be, with an exponent from 1e6 on where the digits do not reach so far."""
    shown = repr(number)
    if shown in ("nan", "inf", "-inf"):
        return {"nan": "NaN", "inf": "+Inf", "-inf": "-Inf"}[shown]
    mantissa, _, exponent = shown.partition("e")
    whole, _, rest = mantissa.partition(".")
    digits = (whole + rest).lstrip("0").rstrip("0")
    if not digits:
        return "0"
    zeros = len(whole + rest) - len((whole + rest).lstrip("0"))
    power = len(whole) - zeros - 1 + int(exponent or 0)
    if power < -4 or power >= _LARGE:
        rest = f".{digits[1:]}" if digits[1:] else ""
        return f"{digits[0]}{rest}e{'-' if power < 0 else '+'}{abs(power):02}"
    if power < 0:
        return f"0.{'0' * (-power - 1)}{digits}"
    digits = digits.ljust(power + 1, "0")
    return digits[: power + 1] + (f".{digits[power + 1 :]}" if digits[power + 1 :] else "")


def _map(value: Value, verb: str, style: Style, depth: int) -> str:
    sharp = verb == "v" and "#" in style.flags
    if sharp and value.data is None:
        return f"{value.type.name}(nil)"
    pairs = [
        f"{show(key, verb, style, depth + 1)}:{show(each, verb, style, depth + 1)}"
        for key, each in value.items()
    ]
    if sharp:
        return f"{value.type.name}{{{', '.join(pairs)}}}"
    return f"map[{' '.join(pairs)}]"


def _struct(value: Value, verb: str, style: Style, depth: int) -> str:
    sharp = verb == "v" and "#" in style.flags
    named = sharp or (verb == "v" and "+" in style.flags)
    if value.type.name == "time.Time":
        return _moment(value, verb, style)
    parts = []
    for field, inner in fields_of(value):
        shown = _sharp_nil(inner) if sharp else ""
        shown = shown or show(inner, verb, style, depth + 1)
        parts.append(f"{field.name}:{shown}" if named else shown)
    if sharp:
        return f"{value.type.name}{{{', '.join(parts)}}}"
    return f"{{{' '.join(parts)}}}"


def _moment(value: Value, verb: str, style: Style) -> str:
    from tiffin.cli.template.gotimes import Moment

    moment = Moment(value.data)
    if verb == "v":  # only %#v comes here: GoString
        place = moment.format("time.January, 2, ")
        clock = f"{moment.hour}, {moment.minute}, {moment.second}, {moment.nanoseconds}"
        zone = 'time.Location("")' if moment.offset else "time.UTC"
        return f"time.Date({moment.year}, {place}{clock}, {zone})"
    return show_text(str(moment), verb, style, value)


def _sharp_nil(value: Value) -> str:
    if value.kind == "interface" and value.data is None:
        return f"{value.type.name}(nil)"
    return ""


def _list(value: Value, verb: str, style: Style, depth: int) -> str:
    sharp = verb == "v" and "#" in style.flags
    if value.type.elem.name == "uint8" and verb in "sqxX":
        data = bytes(value.listed())
        if verb in "xX":
            return style.pad_text(_hexadecimal(data, verb, style))
        return show_text(data.decode("utf-8", "replace"), verb, style)
    if sharp:
        if value.kind == "slice" and value.data is None:
            return f"{value.type.name}(nil)"
        parts = [
            _sharp_nil(each) or show(each, verb, style, depth + 1) for each in value.elements()
        ]
        return f"{value.type.name}{{{', '.join(parts)}}}"
    return f"[{' '.join(show(each, verb, style, depth + 1) for each in value.elements())}]"


def _pointer(value: Value, verb: str, style: Style) -> str:
    """An address, which means nothing, or what is said of nil."""
    if value.kind not in ("pointer", "map", "slice", "func"):
        return _bad(verb, value)
    address = 0 if value.data is None else _ADDRESSED + id(value.data) % 0x10000000
    if verb == "v" and "#" in style.flags:
        return f"({value.type.name})({hex(address) if address else 'nil'})"
    if verb == "v":
        return style.pad(hex(address)) if address else style.pad_text("<nil>")
    if verb in "pbodxX":
        digits = f"{address:#x}" if verb == "p" else format(address, verb)
        return style.pad(digits)
    shown = hex(address) if address else "<nil>"
    return f"%!{verb}({value.type.name}={shown})"
