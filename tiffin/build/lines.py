"""A Dockerfile's physical lines to logical ones: escapes, comments, directives, heredocs. PURE.

Lines are joined at the escape character, comments and blank lines inside a joined line drop out,
heredoc bodies follow their line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from tiffin.build.expand import Dialect, expand_words
from tiffin.build.instructions import Heredoc
from tiffin.build.words import json_words, split_keyword
from tiffin.errors import InvalidArgument

MAX_LINE_BYTES = 65535  # Docker reads lines with a scanner of this size
_DIRECTIVE = re.compile(r"#\s*([a-zA-Z][a-zA-Z0-9]*)\s*=\s*(.+?)\s*$")
_DIRECTIVES = ("syntax", "escape", "check")
_HEREDOC = re.compile(r"(\d*)<<(-?)\s*([^<]*)")
_RAW = Dialect(keep_quotes=True, keep_escapes=True, keep_unset=True)


class LineError(Exception):
    """What is wrong, in BuildKit's words, and the number of the line."""

    def __init__(self, message: str, line: int):
        super().__init__(message)
        self.line = line


@dataclass(frozen=True)
class Line:
    """A logical line, the number of its first physical one, and what followed as heredocs."""

    number: int
    text: str
    heredocs: tuple[Heredoc, ...] = ()


class Reader:
    """A Dockerfile's text, read once from its start. Raises LineError."""

    def __init__(self, data: bytes):
        self.escape = "\\"
        self._lines = data.removeprefix(b"\xef\xbb\xbf").split(b"\n")
        if self._lines and not self._lines[-1]:
            self._lines.pop()
        self._at = 0
        self._directives_possible = True
        self._directives_seen: set[str] = set()

    @property
    def last_line(self) -> int:
        return max(self._at, 1)

    def logical_lines(self) -> Iterator[Line]:
        while self._at < len(self._lines):
            text = self._next().lstrip()
            number = self._at
            self._directive(text)
            text, complete = self._continued("" if text.startswith("#") else text)
            if complete and not text:
                continue
            yield self._logical_line(number, text, complete=complete)

    def _logical_line(self, number: int, text: str, *, complete: bool) -> Line:
        pieces = [text]
        while not complete and self._at < len(self._lines):
            following = self._next()
            self._directives_possible = False
            if not following.strip() or following.lstrip().startswith("#"):
                continue
            piece, complete = self._continued(following)
            pieces.append(piece)
        joined = "".join(pieces)
        return Line(number, joined, tuple(self._heredocs(joined, number)))

    def _next(self) -> str:
        raw = self._lines[self._at]
        self._at += 1
        if len(raw) >= MAX_LINE_BYTES:
            raise LineError(
                f"dockerfile line greater than max allowed size of {MAX_LINE_BYTES}", self._at
            )
        if b"\0" in raw:
            raise LineError("a NUL byte is not text", self._at)
        return raw.decode("utf-8", "replace").rstrip("\r")

    def _directive(self, text: str) -> None:
        if not self._directives_possible:
            return
        match = _DIRECTIVE.match(text)
        key = match[1].lower() if match else ""
        if not match or key not in _DIRECTIVES:
            self._directives_possible = False
            return
        if key in self._directives_seen:
            raise LineError(f"only one {key} parser directive can be used", self._at)
        self._directives_seen.add(key)
        if key == "escape":
            if match[2] not in ("\\", "`"):
                raise LineError(
                    f"invalid escape token '{match[2]}' does not match ` or \\", self._at
                )
            self.escape = match[2]

    def _continued(self, text: str) -> tuple[str, bool]:
        """The line without its continuation character, and whether it ended there."""
        stripped = text.rstrip(" \t")
        if not stripped.endswith(self.escape) or stripped.endswith(self.escape * 2):
            return text, True
        return stripped[:-1], False

    def _heredocs(self, text: str, number: int) -> Iterator[Heredoc]:
        if "<<" not in text or not _takes_heredocs(text, self.escape):
            return
        for word in _heredoc_words(text):
            heredoc = heredoc_of(word)
            if heredoc:
                yield replace(heredoc, content=self._body(heredoc, number))

    def _body(self, heredoc: Heredoc, number: int) -> str:
        lines: list[str] = []
        while self._at < len(self._lines):
            raw = self._lines[self._at]
            line = self._next()
            if (line.lstrip("\t") if heredoc.chomp else line) == heredoc.name:
                return "".join(lines)
            lines.append(raw.decode("utf-8", "replace") + "\n")
        raise LineError("unterminated heredoc", number)


def _takes_heredocs(text: str, escape: str) -> bool:
    keyword, _, rest = split_keyword(text, escape)
    if keyword.upper() == "ONBUILD":
        keyword, _, rest = split_keyword(rest, escape)
    return keyword.upper() in ("ADD", "COPY", "RUN") and json_words(rest) is None


def _heredoc_words(text: str) -> list[str]:
    try:
        return expand_words(text, {}, _RAW)
    except InvalidArgument:  # an unbalanced quote is the shell's business
        return []


def heredoc_of(word: str) -> Heredoc | None:
    """What a word such as <<-EOF begins, without its content; None where it begins none."""
    match = _HEREDOC.fullmatch(word)
    if not match or not match[3]:
        return None
    try:
        plain = expand_words(match[3], {}, Dialect(keep_unset=True))
        quoted = expand_words(match[3], {}, Dialect(keep_unset=True, keep_quotes=True))
    except InvalidArgument:
        return None
    if len(plain) != 1 or len(quoted) != 1:
        return None
    expands = sum(map(plain[0].count, "'\"")) == sum(map(quoted[0].count, "'\""))
    return Heredoc(plain[0], "", expands, match[2] == "-")
