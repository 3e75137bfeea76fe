"""Shell-style words in a Dockerfile: quotes, escapes, variables, as BuildKit's lexer reads them.

`expand` gives one string, `expand_words` splits at blanks that no quote protects (also those that a
variable brought in). `$name`, `${name}` and the modifiers `:-` `-` `:+` `+` `:?` `?` `#` `##` `%`
`%%` `/` `//` are known; anything else in braces is an error: silently empty would be worse.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from tiffin.errors import InvalidArgument

_MAX_DEPTH = 100  # of ${a:-${b:-...}}
_MAX_LENGTH = 1 << 20  # of a result: ENV a=$a$a doubles with each line
_SPECIAL_PARAMETERS = "@*#?-$!0"


@dataclass(frozen=True)
class Dialect:
    """What is left in the result, apart from substitution."""

    escape: str = "\\"
    keep_quotes: bool = False
    keep_escapes: bool = False
    keep_unset: bool = False  # $x stays "$x" when x is not set
    quotes_are_text: bool = False  # heredoc bodies: only variables and escapes count


def expand(text: str, variables: Mapping[str, str], dialect: Dialect = Dialect()) -> str:
    return _Lexer(text, variables, dialect).run()[0]


def expand_words(
    text: str, variables: Mapping[str, str], dialect: Dialect = Dialect()
) -> list[str]:
    return _Lexer(text, variables, dialect).run()[1]


class _Words:
    def __init__(self) -> None:
        self.words: list[str] = []
        self._word: list[str] = []
        self._inside = False

    def split(self, text: str) -> None:
        for character in text:
            if not character.isspace():
                self.keep(character)
            elif self._inside and any(self._word):
                self._end()

    def keep(self, text: str) -> None:
        self._word.append(text)
        self._inside = True

    def _end(self) -> None:
        self.words.append("".join(self._word))
        self._word.clear()
        self._inside = False

    def finish(self) -> list[str]:
        if any(self._word):
            self._end()
        return self.words


class _Lexer:
    def __init__(self, text: str, variables: Mapping[str, str], dialect: Dialect):
        self._text = text
        self._at = 0
        self._variables = variables
        self._dialect = dialect
        self._keep_escapes = dialect.keep_escapes
        self._depth = 0
        self._length = 0

    def run(self) -> tuple[str, list[str]]:
        try:
            return self._until("")
        except InvalidArgument as error:
            raise InvalidArgument(f'failed to process "{self._text}": {error.message}') from error

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _next(self) -> str:
        character = self._text[self._at : self._at + 1]
        self._at += 1
        return character

    def _until(self, stop: str, *, keep_escapes: bool | None = None) -> tuple[str, list[str]]:
        """Read to the end, or to `stop`, which must come."""
        outer, self._keep_escapes = (
            self._keep_escapes,
            self._keep_escapes if keep_escapes is None else keep_escapes,
        )
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise InvalidArgument("substitutions are nested too deeply")
        result: list[str] = []
        words = _Words()
        try:
            while character := self._peek():
                if character == stop:
                    self._at += 1
                    return self._limited("".join(result)), words.finish()
                self._piece(character, result, words)
        finally:
            self._keep_escapes = outer
            self._depth -= 1
        if stop:
            raise InvalidArgument(f"unexpected end of statement while looking for matching {stop}")
        return self._limited("".join(result)), words.finish()

    def _limited(self, text: str) -> str:
        self._length += len(text)
        if self._length > _MAX_LENGTH:
            raise InvalidArgument(f"the result is longer than {_MAX_LENGTH} characters")
        return text

    def _piece(self, character: str, result: list[str], words: _Words) -> None:
        special = self._special(character)
        if special:
            text = self._limited(special())
            result.append(text)
            if character == "$":
                words.split(text)
            else:
                words.keep(text)
            return
        self._at += 1
        if character != self._dialect.escape:
            result.append(character)
            words.split(character)
            return
        if self._keep_escapes:
            result.append(character)
            words.keep(character)
        escaped = self._next()
        result.append(escaped)
        if escaped:
            words.keep(escaped)

    def _special(self, character: str) -> Callable[[], str] | None:
        if character == "$":
            return self._dollar
        if character == "<":
            return self._possible_heredoc
        if self._dialect.quotes_are_text:
            return None
        if character == "'":
            return self._single_quoted
        return self._double_quoted if character == '"' else None

    def _single_quoted(self) -> str:
        end = self._text.find("'", self._at + 1)
        if end < 0:
            raise InvalidArgument(
                "unexpected end of statement while looking for matching single-quote"
            )
        quoted = self._text[self._at : end + 1]
        self._at = end + 1
        return quoted if self._dialect.keep_quotes else quoted[1:-1]

    def _double_quoted(self) -> str:
        self._at += 1
        result = ['"'] if self._dialect.keep_quotes else []
        while character := self._peek():
            if character == '"':
                self._at += 1
                result.extend('"' if self._dialect.keep_quotes else "")
                return "".join(result)
            if character == "$":
                result.append(self._limited(self._dollar()))
            else:
                result.append(self._inside_double_quotes())
        raise InvalidArgument("unexpected end of statement while looking for matching double-quote")

    def _inside_double_quotes(self) -> str:
        character = self._next()
        if character != self._dialect.escape:
            return character
        kept = character if self._keep_escapes else ""
        follower = self._peek()
        if not follower:
            return kept
        if follower in ('"', "$", self._dialect.escape):
            self._at += 1
            return kept + follower
        return kept + character

    def _possible_heredoc(self) -> str:
        """`<<  EOF` stays one word: the blanks between are kept."""
        self._at += 1
        if self._peek() != "<":
            return "<"
        self._at += 1
        blanks = self._at
        while self._peek() and self._peek() in "\t\r ":
            self._at += 1
        return "<<" + self._text[blanks : self._at]

    def _dollar(self) -> str:
        self._at += 1
        if self._peek() == "{":
            self._at += 1
            return self._braces()
        name = self._name()
        if not name:
            return "$"
        if name not in self._variables and self._dialect.keep_unset:
            return "$" + name
        return self._variables.get(name, "")

    def _name(self) -> str:
        start = self._at
        first = self._peek()
        if first.isdecimal():
            while self._peek().isdecimal():
                self._at += 1
        elif first and first in _SPECIAL_PARAMETERS:
            self._at += 1
        else:
            while self._peek() == "_" or self._peek().isalpha() or self._peek().isdecimal():
                self._at += 1
        return self._text[start : self._at]

    def _braces(self) -> str:
        if not self._peek():
            raise InvalidArgument("syntax error: missing '}'")
        if self._peek() in "{}:":
            raise InvalidArgument("syntax error: bad substitution")
        name = self._name()
        modifier = self._next()
        if not modifier:
            raise InvalidArgument("syntax error: missing '}'")
        if modifier == "}":
            if name not in self._variables and self._dialect.keep_unset:
                return "${" + name + "}"
            return self._variables.get(name, "")
        if modifier == "/":
            return self._replace(name)
        empty_is_unset = modifier == ":"
        if empty_is_unset:
            modifier = self._next()
        if not modifier or modifier not in ("+-?" if empty_is_unset else "+-?#%"):
            written = (":" if empty_is_unset else "") + modifier
            raise InvalidArgument(f"unsupported modifier ({written}) in substitution")
        word = self._operand("}", keep_escapes=modifier in "#%")
        if self._dialect.keep_unset and name not in self._variables:
            return "${" + name + ":" * empty_is_unset + modifier + word + "}"
        return self._modified(name, modifier, word, empty_is_unset=empty_is_unset)

    def _operand(self, stop: str, *, keep_escapes: bool) -> str:
        try:
            return self._until(stop, keep_escapes=keep_escapes)[0]
        except InvalidArgument as error:
            if self._peek():
                raise
            where = "" if stop == "}" else " in ${}"
            raise InvalidArgument(f"syntax error: missing '{stop}'{where}") from error

    def _modified(self, name: str, modifier: str, word: str, *, empty_is_unset: bool) -> str:
        value = self._variables.get(name)
        present = value is not None and not (empty_is_unset and value == "")
        if modifier == "-":
            return value if present and value is not None else word
        if modifier == "+":
            return word if present else ""
        if modifier == "?":
            if present and value is not None:
                return value
            state = "unset" if value is None else "empty"
            raise InvalidArgument(f"{name}: {word or f'is not allowed to be {state}'}")
        longest = word.startswith(modifier)
        pattern = _shell_pattern(word[1:] if longest else word)
        if modifier == "#":
            end = _match_length(pattern, value or "", longest=longest)
            return (value or "")[end or 0 :]
        backwards = (value or "")[::-1]
        end = _match_length(pattern[::-1], backwards, longest=longest)
        return backwards[end or 0 :][::-1]

    def _replace(self, name: str) -> str:
        everywhere = self._peek() == "/"
        if everywhere:
            self._at += 1
        pattern = self._operand("/", keep_escapes=True)
        replacement = self._operand("}", keep_escapes=True)
        if self._dialect.keep_unset and name not in self._variables:
            return "${" + f"{name}/{pattern}/{replacement}" + "}"
        value = self._variables.get(name, "")
        matching = partial(_match_length, _shell_pattern(pattern), longest=True)
        return _substitute(value, matching, replacement, everywhere=everywhere)


_ANY = "*"  # as an element of a pattern list; a literal is a 1-tuple
_ONE = "?"
_Element = str | tuple[str]


def _shell_pattern(text: str) -> list[_Element]:
    """`*` and `?` as wildcards; a backslash takes `*`, `?` and itself literally."""
    elements: list[_Element] = []
    position = 0
    while position < len(text):
        character = text[position]
        position += 1
        if character == "\\":
            follower = text[position : position + 1]
            if follower in ("}", "/") and follower:
                continue
            if not follower or follower not in "*?\\":
                raise InvalidArgument(f"invalid pattern ({text}): invalid escape '\\{follower}'")
            elements.append((follower,))
            position += 1
        elif character in (_ANY, _ONE):
            elements.append(character)
        else:
            elements.append((character,))
    return elements


def _match_length(pattern: list[_Element], value: str, *, longest: bool) -> int | None:
    """How much of the start of `value` the pattern takes. All places at once: never exponential."""
    places = _with_skips(pattern, {0})
    best = 0 if len(pattern) in places else None
    for length, character in enumerate(value, 1):
        if best is not None and not longest:
            return best
        reached = set()
        for place in places:
            element = pattern[place] if place < len(pattern) else None
            if element == _ANY:
                reached.add(place)
            elif element in (_ONE, (character,)):
                reached.add(place + 1)
        places = _with_skips(pattern, reached)
        if not places:
            break
        if len(pattern) in places:
            best = length
    return best


def _with_skips(pattern: list[_Element], places: set[int]) -> set[int]:
    for place in sorted(places):
        after = place
        while after < len(pattern) and pattern[after] == _ANY:
            after += 1
            places.add(after)
    return places


def _substitute(
    value: str, matching: Callable[[str], int | None], replacement: str, *, everywhere: bool
) -> str:
    if len(value) > 4096:  # each start is tried: keep the product small
        raise InvalidArgument("the value is too long for a pattern substitution")
    result = []
    position = 0
    while position <= len(value):
        length = matching(value[position:])
        if length is None or (length == 0 and position == len(value) and position > 0):
            result.append(value[position : position + 1])
            position += 1
            continue
        result.append(replacement)
        if not everywhere:
            return "".join(result) + value[position + length :]
        if length == 0:
            result.append(value[position : position + 1])
        position += length or 1
    return "".join(result)
