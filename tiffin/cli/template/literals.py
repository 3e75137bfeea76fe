"""Constants of templates: Go's numbers, characters and strings. ValueError in Go's words."""

from __future__ import annotations

from tiffin.cli.wording import go_quote

_SIMPLE = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\"}
_LONG = {"x": 2, "u": 4, "U": 8}
_FLOATING = ".eEpP"


def parse_number(text: str) -> int | float:
    if text[0] == "'":
        return _character(text)
    whole = _whole(text)
    if whole is not None:
        return whole
    number = _fraction(text)
    if number is None:
        raise ValueError(f"illegal number syntax: {go_quote(text)}")
    if not any(char in text for char in _FLOATING):
        raise ValueError(f"integer overflow: {go_quote(text)}")
    return number


def _whole(text: str) -> int | None:
    """An integer of at most 64 bits; a leading zero makes it octal."""
    digits = text.lstrip("+-")
    if len(digits) > 1 and digits[0] == "0" and digits[1].isdecimal():
        text = text.replace(digits, f"0o{digits[1:]}")
    try:
        number = int(text, 0)
    except ValueError:
        return None
    return number if -(2**63) <= number < 2**64 else None


def _fraction(text: str) -> float | None:
    try:
        if "0x" in text.lower():
            return float.fromhex(text.replace("_", "")) if "p" in text.lower() else None
        return float(text)
    except (ValueError, OverflowError):
        return None


def _character(text: str) -> int:
    char, rest = _unquoted_char(text[1:], "'")
    if rest != "'":
        raise ValueError(f"malformed character constant: {text}")
    return ord(char) if len(char) == 1 else 0xFFFD


def unquote(text: str) -> str:
    """What stands between double quotes, with its escapes."""
    rest, out = text[1:-1], ""
    while rest:
        char, rest = _unquoted_char(rest, '"')
        out += char
    # \xNN are bytes, which may make up characters.
    return out.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")


def _unquoted_char(text: str, quote: str) -> tuple[str, str]:
    if not text or text[0] == quote:
        raise ValueError("invalid syntax")
    if text[0] != "\\":
        return text[0], text[1:]
    letter, rest = text[1:2], text[2:]
    if letter in _SIMPLE:
        return _SIMPLE[letter], rest
    if letter == quote:
        return letter, rest
    if letter in _LONG:
        size = _LONG[letter]
        return _by_number(rest[:size], 16, size, is_byte=letter == "x"), rest[size:]
    if letter and letter in "01234567":
        return _by_number(text[1:4], 8, 3, is_byte=True), text[4:]
    raise ValueError("invalid syntax")


def _by_number(digits: str, base: int, size: int, *, is_byte: bool) -> str:
    if len(digits) != size or not digits.isalnum():
        raise ValueError("invalid syntax")
    try:
        number = int(digits, base)
    except ValueError:
        raise ValueError("invalid syntax") from None
    if is_byte:
        if number > 0xFF:
            raise ValueError("invalid syntax")
        return bytes([number]).decode("utf-8", "surrogateescape")
    if number > 0x10FFFF or 0xD800 <= number < 0xE000:
        raise ValueError("invalid syntax")
    return chr(number)
