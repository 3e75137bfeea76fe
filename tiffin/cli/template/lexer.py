"""Go's text/template as tokens: text, and what stands in actions, each with its place and line."""

from __future__ import annotations

from tiffin.cli.wording import go_quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    Token = tuple[str, str, int, int]  # kind, text, place, line

_SPACES = " \t\r\n"
KEYWORDS = frozenset(". block break continue define else end if range template nil with".split())
_DIGITS = "0123456789_"
_HEXADECIMAL = _DIGITS + "abcdefABCDEF"


def show_token(token: Token) -> str:
    kind, text, _, _ = token
    if kind == "error":
        return text
    if kind == "EOF":
        return "EOF"
    if kind in KEYWORDS:
        return f"<{text}>"
    return f"{go_quote(text[:10])}..." if len(text) > 10 else go_quote(text)


class _Mistake(Exception):
    """The rest cannot be read."""


class Lexer:
    """Kinds are `text`, `{{`, `}}`, `space`, `field`, `variable`, `name`, `bool`, `number`, `char`,
    `string`, `raw`, the signs `= := | ( )`, each keyword, `sign` for any other, `EOF`, `error`.
    """

    def __init__(self, source: str):
        self.source = source
        self.start = self.at = 0
        self.line = 1
        self.depth = 0

    def tokens(self) -> Iterator[Token]:
        try:
            yield from self.whole()
            yield "EOF", "", self.at, self.line
        except _Mistake as mistake:
            yield "error", str(mistake), self.start, self.line

    def emit(self, kind: str) -> Token:
        text = self.source[self.start : self.at]
        token = (kind, text, self.start, self.line)
        self.line += text.count("\n")
        self.start = self.at
        return token

    def skip(self) -> None:
        self.line += self.source.count("\n", self.start, self.at)
        self.start = self.at

    def whole(self) -> Iterator[Token]:
        source = self.source
        while True:
            opening = source.find("{{", self.at)
            end = len(source) if opening < 0 else opening
            trims = opening >= 0 and source.startswith("-", end + 2) and self.is_space(end + 3)
            self.at = end
            if trims:
                self.at = self.start + len(source[self.start : end].rstrip(_SPACES))
            if self.at > self.start:
                yield self.emit("text")
            self.at = end
            self.skip()
            if opening < 0:
                return
            after = end + 2 + 2 * trims
            if source.startswith("/*", after):
                self.comment(after)
                continue
            self.at = end + 2
            yield self.emit("{{")
            self.at = after
            self.skip()
            self.depth = 0
            yield from self.inside()

    def is_space(self, place: int) -> bool:
        return self.source[place : place + 1] in tuple(_SPACES)

    def comment(self, place: int) -> None:
        self.at = place
        self.skip()
        end = self.source.find("*/", place)
        if end < 0:
            raise _Mistake("unclosed comment")
        self.at = end + 2
        if not self.closing():
            raise _Mistake("comment ends before closing delimiter")
        self.close()
        self.skip()

    def closing(self) -> bool:
        return self.source.startswith("}}", self.at) or self.trims()

    def trims(self) -> bool:
        return self.is_space(self.at) and self.source.startswith("-}}", self.at + 1)

    def close(self) -> str:
        """Past what closes an action, and past the space after it that is trimmed."""
        trims = self.trims()
        self.at += 2 * trims
        self.start = self.at
        self.at += 2
        shown = self.source[self.start : self.at]
        if trims:
            rest = self.source[self.at :]
            self.at += len(rest) - len(rest.lstrip(_SPACES))
        return shown

    def inside(self) -> Iterator[Token]:
        while True:
            if self.closing():
                if self.depth:
                    raise _Mistake("unclosed left paren")
                line = self.line
                shown = self.close()
                yield "}}", shown, self.start, line
                self.skip()
                return
            yield self.item()

    def peek(self) -> str:
        return self.source[self.at : self.at + 1]

    def item(self) -> Token:
        char = self.peek()
        if not char:
            raise _Mistake("unclosed action")
        if char in _SPACES:
            while self.is_space(self.at) and not self.trims():
                self.at += 1
            return self.emit("space")
        following = self.source[self.at + 1 : self.at + 2]
        if char in "+-" or char.isdecimal() or (char == "." and following.isdecimal()):
            return self.number()
        if _is_letter(char):
            return self.word()
        self.at += 1
        return self.sign(char)

    def sign(self, char: str) -> Token:  # noqa: PLR0911 - a case for each kind
        if char in "=|":
            return self.emit(char)
        if char == ":":
            if self.peek() != "=":
                raise _Mistake("expected :=")
            self.at += 1
            return self.emit(":=")
        if char in "\"'":
            return self.quoted(char)
        if char == "`":
            return self.raw()
        if char in "$.":
            return self.named("variable" if char == "$" else "field")
        if char in "()":
            return self.paren(char)
        if char < "\x80" and char.isprintable():
            return self.emit("sign")
        raise _Mistake(f"unrecognized character in action: {_shown(char)}")

    def raw(self) -> Token:
        end = self.source.find("`", self.at)
        if end < 0:
            raise _Mistake("unterminated raw quoted string")
        self.at = end + 1
        return self.emit("raw")

    def paren(self, char: str) -> Token:
        self.depth += 1 if char == "(" else -1
        if self.depth < 0:
            raise _Mistake("unexpected right paren")
        return self.emit(char)

    def quoted(self, quote: str) -> Token:
        words = {'"': "quoted string", "'": "character constant"}
        while True:
            char = self.peek()
            self.at += 1
            if char == "\\":
                char = self.peek()
                self.at += 1
                if char not in ("", "\n"):
                    continue
            if char in ("", "\n"):
                raise _Mistake(f"unterminated {words[quote]}")
            if char == quote:
                return self.emit("string" if quote == '"' else "char")

    def named(self, kind: str) -> Token:
        if self.ends_a_word():
            return self.emit("variable" if kind == "variable" else ".")
        self.letters()
        return self.emit(kind)

    def word(self) -> Token:
        self.letters()
        text = self.source[self.start : self.at]
        if text in KEYWORDS:
            return self.emit(text)
        return self.emit("bool" if text in ("true", "false") else "name")

    def letters(self) -> None:
        while _is_letter(self.peek()):
            self.at += 1
        if not self.ends_a_word():
            raise _Mistake(f"bad character {_shown(self.peek())}")

    def ends_a_word(self) -> bool:
        char = self.peek()
        return char in _SPACES or char in ".,|:()" or self.source.startswith("}}", self.at)

    def number(self) -> Token:
        right = self.scan()
        if right and self.peek() in ("+", "-"):
            self.scan()  # the other half of a complex number, which nothing here is
            right = False
        if not right:
            raise _Mistake(f"bad number syntax: {go_quote(self.source[self.start : self.at])}")
        return self.emit("number")

    def scan(self) -> bool:
        self.accept("+-")
        digits = _DIGITS
        if self.accept("0"):
            if self.accept("xX"):
                digits = _HEXADECIMAL
            elif self.accept("oO"):
                digits = "01234567_"
            elif self.accept("bB"):
                digits = "01_"
        self.run(digits)
        if self.accept("."):
            self.run(digits)
        if self.accept({_DIGITS: "eE", _HEXADECIMAL: "pP"}.get(digits, "")):
            self.accept("+-")
            self.run(_DIGITS)
        self.accept("i")
        if _is_letter(self.peek()):
            self.at += 1
            return False
        return True

    def accept(self, chars: str) -> bool:
        if self.peek() and self.peek() in chars:
            self.at += 1
            return True
        return False

    def run(self, chars: str) -> None:
        while self.accept(chars):
            pass


def _is_letter(char: str) -> bool:
    return bool(char) and (char == "_" or char.isalnum())


def _shown(char: str) -> str:
    """%#U."""
    if not char:
        return "U+FFFFFFFFFFFFFFFF"
    return f"U+{ord(char):04X}" + (f" '{char}'" if char.isprintable() else "")
