"""What a client says of its terminal: its size, and the keys that detach from a container."""

from __future__ import annotations

from tiffin.api.messages import Query
from tiffin.errors import InvalidArgument

DEFAULT_DETACH_KEYS = b"\x10\x11"  # ctrl-p ctrl-q

_MOST_DIGITS = 10
_CONTROL_KEYS = {"@": 0, "[": 27, "\\": 28, "]": 29, "^": 30, "_": 31}


def parse_size(query: Query) -> tuple[int, int]:
    """(rows, columns) of a resize. Raises InvalidArgument."""
    return _dimension(query, "h", "height"), _dimension(query, "w", "width")


def _dimension(query: Query, name: str, what: str) -> int:
    """Docker's numbers have 32 bits; of those the kernel looks at 16."""
    text = query.get(name)
    digits = text.removeprefix("-")
    why = ""
    if not (digits.isascii() and digits.isdigit()):
        why = "invalid syntax"
    elif text != digits or len(digits.lstrip("0")) > _MOST_DIGITS or int(digits) >= 1 << 32:
        why = "value out of range"
    if why:
        raise InvalidArgument(f'invalid resize {what} "{text}": {why}')
    return int(digits) & 0xFFFF


def parse_detach_keys(text: str) -> bytes:
    """ "ctrl-p,ctrl-q" as the bytes a terminal sends. "" is the default. Raises InvalidArgument."""
    if not text:
        return DEFAULT_DETACH_KEYS
    return bytes(_key(word) for word in text.split(","))


def _key(word: str) -> int:
    if len(word) == 1 and word.isascii():
        return ord(word)
    if word == "DEL":
        return 127
    name = word.removeprefix("ctrl-")
    if name != word and len(name) == 1:
        if "a" <= name <= "z":
            return ord(name) - ord("a") + 1
        if name in _CONTROL_KEYS:
            return _CONTROL_KEYS[name]
    raise InvalidArgument(f"Invalid detach keys ({word}) provided")
