"""The order in which people look for things."""

from __future__ import annotations


def natural(text: str) -> list[tuple[int, int | str]]:
    """A key that sorts `9` before `10`."""
    found: list[tuple[int, int | str]] = []
    position = 0
    while position < len(text):
        end = position + 1
        digits = text[position].isdigit()
        while end < len(text) and text[end].isdigit() == digits:
            end += 1
        found.append((0, int(text[position:end])) if digits else (1, text[position:end]))
        position = end
    return found
