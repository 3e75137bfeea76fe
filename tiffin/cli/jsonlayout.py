"""JSON over several lines, as `docker inspect` prints it."""

from __future__ import annotations

from tiffin.cli.jsontext import show

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def indent(document: Any, prefix: str = "") -> str:
    """The document over several lines, four spaces a level, as `docker inspect` prints it."""
    if not isinstance(document, (dict, list)) or not document:
        return show(document)
    inner = prefix + "    "
    if isinstance(document, dict):
        parts = [f"{inner}{show(key)}: {indent(value, inner)}" for key, value in document.items()]
        opening, closing = "{}"
    else:
        parts = [inner + indent(value, inner) for value in document]
        opening, closing = "[]"
    return f"{opening}\n" + ",\n".join(parts) + f"\n{prefix}{closing}"


def indent_text(text: bytes, depth: int = 0) -> str:
    """JSON text over several lines, its numbers and escapes as they were written.

    `depth`: how deep it stands already.
    """
    out: list[str] = []
    source = text.decode("utf-8", "replace")
    position, size = 0, len(source)
    while position < size:
        char = source[position]
        if char == '"':
            end = _end_of_string(source, position)
            out.append(source[position:end])
            position = end
            continue
        if char in "{[":
            depth += 1
            after = source[position + 1 : position + 64].lstrip()[:1]
            if after and after in "}]":
                position = source.index(after, position + 1)
                depth -= 1
                out.append(char + after)
            else:
                out.append(char + "\n" + "    " * depth)
        elif char in "}]":
            depth -= 1
            out.append("\n" + "    " * depth + char)
        elif char == ",":
            out.append(",\n" + "    " * depth)
        elif char == ":":
            out.append(": ")
        elif char not in " \t\r\n":
            out.append(char)
        position += 1
    return "".join(out)


def _end_of_string(source: str, start: int) -> int:
    end = source.index('"', start + 1)
    while _is_escaped(source, end):
        end = source.index('"', end + 1)
    return end + 1


def _is_escaped(source: str, place: int) -> bool:
    """An odd number of backslashes stands before it."""
    before = place - 1
    while source[before] == "\\":
        before -= 1
    return (place - before) % 2 == 0
