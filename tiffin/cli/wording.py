"""Sizes, ages, ids and strings in the words that Docker has for them."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_SIZES = ("B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB")
_BINARY_SIZES = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB")


def _scaled(size: float, base: float, units: Sequence[str], precision: int) -> str:
    step = 0
    while size >= base and step < len(units) - 1:
        size /= base
        step += 1
    return f"{go_float(size, precision)}{units[step]}"


def go_float(value: float, precision: int) -> str:
    """Go's %.*g: Python's, but without zeros after the point and with its own exponent rule."""
    return f"{value:.{precision}g}"


def human_size(size: float, precision: int = 4) -> str:
    return _scaled(float(size), 1000.0, _SIZES, precision)


def binary_size(size: float) -> str:
    return _scaled(float(size), 1024.0, _BINARY_SIZES, 4)


def age(seconds: float) -> str:
    """A span of time as Docker words it: `About a minute`, `3 hours`."""
    whole = int(seconds)
    minutes, hours = int(seconds / 60), int(seconds / 3600 + 0.5)
    steps = (
        (whole < 1, "Less than a second"),
        (whole == 1, "1 second"),
        (whole < 60, f"{whole} seconds"),
        (minutes == 1, "About a minute"),
        (minutes < 60, f"{minutes} minutes"),
        (hours == 1, "About an hour"),
        (hours < 48, f"{hours} hours"),
        (hours < 24 * 7 * 2, f"{hours // 24} days"),
        (hours < 24 * 30 * 2, f"{hours // 24 // 7} weeks"),
        (hours < 24 * 365 * 2, f"{hours // 24 // 30} months"),
    )
    for applies, words in steps:
        if applies:
            return words
    return f"{int(seconds / 3600) // 24 // 365} years"


def short_id(identity: str) -> str:
    """An id as tables show it: without its algorithm, twelve characters."""
    return identity.rpartition(":")[2][:12]


def ellipsis(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def go_quote(text: str) -> str:
    """strconv.Quote: printable characters stay, the rest is escaped."""
    escapes = {
        '"': '\\"',
        "\\": "\\\\",
        "\n": "\\n",
        "\t": "\\t",
        "\r": "\\r",
        "\a": "\\a",
        "\b": "\\b",
        "\f": "\\f",
        "\v": "\\v",
    }
    return '"' + "".join(escapes.get(char) or _quoted(char) for char in text) + '"'


def _quoted(char: str) -> str:
    if char.isprintable():
        return char
    number = ord(char)
    if number < 0x80:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
