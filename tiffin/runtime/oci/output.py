"""What a command says: JSON and tables on stdout, errors on stderr and in the log."""

from __future__ import annotations

import os
from _json import encode_basestring_ascii as quoted

from tiffin.runtime.oci import state

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PROGRAM = "tiffin-runtime"


def write(text: str) -> None:
    view = memoryview(text.encode("utf-8", "surrogateescape"))
    while view:
        view = view[os.write(1, view) :]


def pretty(value: Any, indent: str = "") -> str:
    """JSON with two spaces, as runc prints it."""
    deeper = indent + "  "
    if isinstance(value, dict):
        items = [f"{deeper}{quoted(key)}: {pretty(item, deeper)}" for key, item in value.items()]
        return "{\n" + ",\n".join(items) + f"\n{indent}}}" if items else "{}"
    if isinstance(value, list):
        items = [f"{deeper}{pretty(item, deeper)}" for item in value]
        return "[\n" + ",\n".join(items) + f"\n{indent}]" if items else "[]"
    if isinstance(value, str):
        return quoted(value)
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)


def table(rows: list[list[str]]) -> str:
    """Columns as wide as they need, three spaces between."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        lines.append("   ".join(cells).rstrip() + "\n")
    return "".join(lines)


class Reporter:
    """Where errors and warnings go: stderr for people, --log for whoever called us."""

    def __init__(self, path: str = "", form: str = "text") -> None:
        self._path = path
        self._form = form

    def fail(self, words: str) -> None:
        os.write(2, f"{PROGRAM}: {words}\n".encode("utf-8", "surrogateescape"))
        self._append("error", words)

    def warn(self, words: str) -> None:
        if not self._path:
            os.write(2, f"{PROGRAM}: warning: {words}\n".encode("utf-8", "surrogateescape"))
        self._append("warning", words)

    def _append(self, level: str, words: str) -> None:
        if not self._path:
            return
        now = state.now()
        if self._form == "json":
            line = f'{{"level":"{level}","msg":{quoted(words)},"time":"{now}"}}\n'
        else:
            line = f'time="{now}" level={level} msg={quoted(words)}\n'
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        try:
            fd = os.open(self._path, flags, 0o644)
        except OSError as error:
            os.write(2, f"{PROGRAM}: --log {self._path}: {error.strerror}\n".encode())
            return
        try:
            os.write(fd, line.encode())
        finally:
            os.close(fd)
