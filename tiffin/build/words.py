"""The words of one instruction's line: keyword, flags, and the rest in either form. PURE."""

from __future__ import annotations

import json
import re

BLANKS = re.compile(r"[\t\v\f\r ]+")


def split_keyword(text: str, escape: str) -> tuple[str, tuple[str, ...], str]:
    """The keyword as it is written, its flags ("--name=value"), and the rest."""
    parts = BLANKS.split(text.strip(), maxsplit=1)
    if len(parts) < 2:
        return parts[0], (), ""
    flags, rest = _flags(parts[1], escape)
    return parts[0], flags, rest.strip()


def _flags(text: str, escape: str) -> tuple[tuple[str, ...], str]:
    """The leading words that begin with --, unquoted, and the rest of the line."""
    flags: list[str] = []
    position = 0
    while True:
        while position < len(text) and text[position].isspace():
            position += 1
        if not text.startswith("--", position):
            return tuple(flags), text[position:]
        word, position = _flag_word(text, position, escape)
        if word == "--":
            return tuple(flags), text[position:]
        flags.append(word)


def _flag_word(text: str, position: int, escape: str) -> tuple[str, int]:
    word = []
    quote = ""
    while position < len(text):
        character = text[position]
        if not quote and character.isspace():
            break
        position += 1
        if quote and character == quote:
            quote = ""
        elif not quote and character in "'\"":
            quote = character
        elif character == escape:
            word.append(text[position : position + 1])
            position += 1
        else:
            word.append(character)
    return "".join(word), position


def words_of(text: str, escape: str) -> list[str]:
    """Words with their quotes and escapes kept (expansion strips them later)."""
    words: list[str] = []
    word: list[str] = []
    quote = ""
    position = 0
    while position < len(text):
        character = text[position]
        position += 1
        if not quote and character.isspace():
            if word:
                words.append("".join(word))
                word = []
            continue
        if character == escape and quote != "'":
            if position == len(text):
                break  # an escape at the very end means nothing
            word.append(character)
            character = text[position]
            position += 1
        elif quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        word.append(character)
    if word:
        words.append("".join(word))
    return words


def json_words(text: str) -> tuple[str, ...] | None:
    """The JSON form, or None if it is not one. Raises ValueError for an array of other things."""
    if not text.lstrip().startswith("["):
        return None
    try:
        decoded = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(decoded, list):
        return None
    if not all(isinstance(word, str) for word in decoded):
        raise ValueError("when using JSON array syntax, arrays must be comprised of strings only")
    return tuple(decoded)
