"""Which paths patterns select: the rules of `.dockerignore`, `COPY --exclude` and `COPY a*`.

Two dialects, both Docker's. `PathMatcher` follows moby/patternmatcher: `**` crosses directories,
`!` takes a match back, the last pattern that decides wins, a directory's match is its children's.
`Glob` follows Go's filepath.Match: `*` and `?` stop at a slash. Patterns come from outside, so
matching is linear in the path: one with many stars runs as an automaton, not by backtracking.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Sequence
from enum import Enum

from tiffin.errors import InvalidArgument

_BACKTRACKING_STARS = 2  # with more than two, `re` could take the cube of the path's length


_WILD = frozenset("*?[]\\")


class _Wild(Enum):
    NAME = "[^/]*"  # *
    CHARACTER = "[^/]"  # ?
    DIRECTORIES = "(?:.*/)?"  # ** before something
    REST = ".*"  # ** at the end


class _Class:
    """[a-z] or [^a-z]."""

    def __init__(self, negated: bool, ranges: tuple[tuple[str, str], ...]):
        self.negated = negated
        self.ranges = ranges

    def __contains__(self, character: str) -> bool:
        return any(low <= character <= high for low, high in self.ranges) != self.negated

    def regex(self) -> str:
        # A range that runs backwards, [b-a], holds nothing.
        ranges = [(low, high) for low, high in self.ranges if low <= high]
        if not ranges:
            return "." if self.negated else "(?!)"
        inside = "".join(f"{re.escape(low)}-{re.escape(high)}" for low, high in ranges)
        return f"[{'^' if self.negated else ''}{inside}]"


_Token = str | _Wild | _Class


class Glob:
    """One pattern in the dialect of Go's filepath.Match. InvalidArgument if it is malformed."""

    def __init__(self, pattern: str):
        self.pattern = pattern
        self._matches = _compile(_tokens(pattern, deep=False))

    def matches(self, path: str) -> bool:
        return self._matches(path)


def has_wildcards(text: str) -> bool:
    """Whether a COPY source is a pattern; a backslash takes the next character as it is."""
    position = 0
    while position < len(text):
        if text[position] == "\\":
            position += 1
        elif text[position] in "*?[":
            return True
        position += 1
    return False


class PathMatcher:
    """An ordered list of patterns. Paths are relative, clean, with slashes."""

    def __init__(self, patterns: Iterable[str]):
        self._patterns = tuple(_Pattern(text) for text in map(str.strip, patterns) if text)
        self.has_exceptions = any(pattern.exception for pattern in self._patterns)

    def __bool__(self) -> bool:
        return bool(self._patterns)

    def matches(self, path: str) -> bool:
        """Whether the path or a directory above it is selected, exceptions considered."""
        return self.matches_below((), path)[0]

    def matches_below(self, above: Sequence[bool], path: str) -> tuple[bool, tuple[bool, ...]]:
        """Like `matches` for a walk: `above` is what this returned for the directory above,

        () where there is none; the second value is to be passed on for what is below `path`.
        """
        matched = False
        verdicts = []
        for position, pattern in enumerate(self._patterns):
            verdict = bool(above) and above[position]
            if not verdict and pattern.exception == matched:
                verdict = pattern.matches(path) or (
                    not above and any(map(pattern.matches, _parents(path)))
                )
            verdicts.append(verdict)
            if verdict:
                matched = not pattern.exception
        return matched, tuple(verdicts)


class _Pattern:
    def __init__(self, text: str):
        text = _clean(text)
        self.exception = text.startswith("!")
        if self.exception:
            text = text[1:]
            if not text:
                raise InvalidArgument('illegal exclusion pattern: "!"')
        self.text = text
        _tokens(text, deep=False)  # the syntax that Docker accepts is filepath.Match's
        self.matches = _compile(_tokens(text, deep=True))


def parse_ignore_file(data: bytes) -> list[str]:
    """The patterns of a `.dockerignore`: comments and blank lines dropped, paths made relative."""
    text = data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")
    patterns = []
    for line in text.split("\n"):
        if line.startswith("#") or not line.strip():
            continue
        pattern = line.strip()
        inverted = pattern.startswith("!")
        if inverted:
            pattern = pattern[1:].strip()
        if pattern:
            pattern = _clean(pattern)
            pattern = pattern[1:] if len(pattern) > 1 and pattern.startswith("/") else pattern
        patterns.append("!" + pattern if inverted else pattern)
    return patterns


def _clean(path: str) -> str:
    """Go's filepath.Clean; POSIX lets exactly two leading slashes stand, Go does not."""
    path = posixpath.normpath(path)
    return path[1:] if path.startswith("//") else path


def _parents(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]


def _tokens(pattern: str, *, deep: bool) -> list[_Token]:
    tokens: list[_Token] = []
    position = 0
    while position < len(pattern):
        character = pattern[position]
        position += 1
        if deep and character == "*" and pattern.startswith("*", position):
            position += 1
            whole_names = pattern.startswith("/", position)
            position += whole_names
            # `**name` first and without further wildcards is a plain suffix in moby: "myname" too.
            suffix = position == 2 and not whole_names and not _WILD.intersection(pattern[2:])
            tokens.append(_Wild.REST if suffix or position == len(pattern) else _Wild.DIRECTORIES)
        elif character == "*":
            if not (tokens and tokens[-1] is _Wild.NAME):
                tokens.append(_Wild.NAME)
        elif character == "?":
            tokens.append(_Wild.CHARACTER)
        elif character == "[":
            token, position = _character_class(pattern, position)
            tokens.append(token)
        elif character == "\\":
            if position == len(pattern):
                raise _malformed(pattern)
            tokens.append(pattern[position])
            position += 1
        else:
            tokens.append(character)
    return tokens


def _character_class(pattern: str, position: int) -> tuple[_Class, int]:
    negated = pattern.startswith("^", position)
    position += negated
    ranges: list[tuple[str, str]] = []
    while True:
        if pattern.startswith("]", position) and ranges:
            return _Class(negated, tuple(ranges)), position + 1
        low, position = _class_character(pattern, position)
        high = low
        if pattern.startswith("-", position):
            high, position = _class_character(pattern, position + 1)
        ranges.append((low, high))


def _class_character(pattern: str, position: int) -> tuple[str, int]:
    if position < len(pattern) and pattern[position] == "\\":
        position += 1
        if position < len(pattern):
            return pattern[position], position + 1
    elif position < len(pattern) and pattern[position] not in "-]":
        return pattern[position], position + 1
    raise _malformed(pattern)


def _malformed(pattern: str) -> InvalidArgument:
    return InvalidArgument(f"syntax error in pattern: {pattern!r}")


class _Automaton:
    """The tokens as a deterministic automaton; a state is made when a path first reaches it."""

    _LIMIT = 4096  # states kept; beyond it they are computed again each time

    def __init__(self, tokens: list[_Token]):
        self._tokens = tokens
        self._next: dict[tuple[frozenset[int], str], frozenset[int]] = {}
        self._start = self._closure({0})

    def __call__(self, path: str) -> bool:
        state = self._start
        for character in path:
            known = self._next.get((state, character))
            state = self._step(state, character) if known is None else known
            if not state:
                return False
        return len(self._tokens) in state

    def _step(self, state: frozenset[int], character: str) -> frozenset[int]:
        reached: set[int] = set()
        for place in state:
            # Places are doubled by sign: -n-1 is "inside the directories of token n".
            if place < 0:
                reached.add(place)
                if character == "/":
                    reached.add(-place)
            elif place < len(self._tokens):
                reached |= self._after(place, character)
        result = self._closure(reached)
        if len(self._next) < self._LIMIT:
            self._next[state, character] = result
        return result

    def _after(self, place: int, character: str) -> set[int]:
        token = self._tokens[place]
        if token is _Wild.REST:
            return {place}
        if token is _Wild.DIRECTORIES:
            return {-place - 1, place + 1} if character == "/" else {-place - 1}
        if token is _Wild.NAME:
            return {place} if character != "/" else set()
        if token is _Wild.CHARACTER:
            return {place + 1} if character != "/" else set()
        taken = character in token if isinstance(token, _Class) else character == token
        return {place + 1} if taken else set()

    def _closure(self, places: set[int]) -> frozenset[int]:
        waiting = list(places)
        while waiting:
            place = waiting.pop()
            skippable = 0 <= place < len(self._tokens) and self._tokens[place] in (
                _Wild.NAME,
                _Wild.REST,
                _Wild.DIRECTORIES,
            )
            if skippable and place + 1 not in places:
                places.add(place + 1)
                waiting.append(place + 1)
        return frozenset(places)


class _Literal:
    def __init__(self, text: str):
        self._text = text

    def __call__(self, path: str) -> bool:
        return path == self._text


class _Regex:
    def __init__(self, tokens: list[_Token]):
        self._regex = re.compile("".join(map(_regex_of, tokens)), re.DOTALL)

    def __call__(self, path: str) -> bool:
        return self._regex.fullmatch(path) is not None


def _regex_of(token: _Token) -> str:
    if isinstance(token, _Wild):
        return token.value
    return token.regex() if isinstance(token, _Class) else re.escape(token)


def _compile(tokens: list[_Token]) -> _Literal | _Regex | _Automaton:
    wild = [token for token in tokens if not isinstance(token, str)]
    if not wild:
        return _Literal("".join(token for token in tokens if isinstance(token, str)))
    stars = sum(token in (_Wild.NAME, _Wild.DIRECTORIES, _Wild.REST) for token in wild)
    return _Regex(tokens) if stars <= _BACKTRACKING_STARS else _Automaton(tokens)
