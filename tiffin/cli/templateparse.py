"""Go's text/template as a tree: text, actions, control; each node knows where it stands.

Nodes are tuples, their kind first. An operand: (".", at), ("field", inner, names, at),
("variable", name, at), ("word", name, at), ("string" | "number", value, at, source), a pipeline in
parentheses. A pipeline: ("pipe", variables, assigns, commands, at), a command (operands, at).
"""

from __future__ import annotations

from tiffin.cli.wording import go_quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container, Iterator
    from typing import Any

    Node = tuple[Any, ...]
    Token = tuple[str, Any, int, str]

_SPACES = " \t\r\n"
_NUMBERS = "0123456789"
_UNTERMINATED = {
    '"': "unterminated quoted string",
    "`": "unterminated raw quoted string",
    "'": "unterminated character constant",
}
WORDS = frozenset(("true", "false", "nil", "and", "or"))
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", '"': '"', "'": "'", "a": "\a", "b": "\b"}


class TemplateError(ValueError):
    """The template cannot be parsed, or does not fit its data: in Go's words, with the place."""


def line_of(source: str, position: int) -> int:
    return source.count("\n", 0, position) + 1


def parse_source(
    source: str, functions: Container[str], name: str = ""
) -> tuple[list[Node], dict[str, list[Node]]]:
    """The nodes of the whole, and those of what it defines. TemplateError, also for a function that
    is not among those known.
    """
    parser = _Parser(source, functions, name)
    return parser.block()[0], parser.defined


class _Scanner:
    """Text to tokens."""

    def __init__(self, source: str, name: str):
        self.source = source
        self.name = name

    def wrong(self, position: int, problem: str) -> TemplateError:
        return TemplateError(f"template: {self.name}:{line_of(self.source, position)}: {problem}")

    def split(self) -> Iterator[tuple[str, str, int]]:
        """("text" | "action", content, position), trim markers applied, comments dropped."""
        source, position, trim = self.source, 0, False
        while position < len(source):
            start = source.find("{{", position)
            text = source[position:] if start < 0 else source[position:start]
            if trim:
                text = text.lstrip(_SPACES)
            if start < 0:
                if text:
                    yield "text", text, position
                return
            inner = start + 2
            if source.startswith("-", inner) and source[inner + 1 : inner + 2] in _SPACES:
                text, inner = text.rstrip(_SPACES), inner + 1
            comment = source.startswith("/*", inner + (inner > start + 2))
            end = self.end_of_comment(inner) if comment else self.end_of_action(inner)
            stop = end
            trim = stop - inner > 1 and source[stop - 1] == "-" and source[stop - 2] in _SPACES
            if trim:
                stop -= 1
            if text:
                yield "text", text, position
            while inner < stop and source[inner] in _SPACES:
                inner += 1
            body = source[inner:stop].rstrip(_SPACES)
            if not comment:
                yield "action", body, inner
            position = end + 2

    def end_of_action(self, start: int) -> int:
        source, position, quote = self.source, start, ""
        while position < len(source):
            char = source[position]
            if quote:
                if char == "\\" and quote != "`":
                    position += 1
                elif char == quote:
                    quote = ""
            elif char in "\"'`":
                quote = char
            elif source.startswith("}}", position):
                return position
            elif char == "}":
                raise self.wrong(position, "bad character U+007D '}'")
            position += 1
        raise self.wrong(start, _UNTERMINATED.get(quote, "unclosed action"))

    def end_of_comment(self, start: int) -> int:
        """Where the action that is the comment at `start` ends."""
        end = self.source.find("*/", start)
        if end < 0:
            raise self.wrong(start, "unclosed comment")
        closing = end + 2
        if self.source.startswith("-", closing + 1) and self.source[closing] in _SPACES:
            closing += 2
        if not self.source.startswith("}}", closing):
            raise self.wrong(end, "comment ends before closing delimiter")
        return closing

    def tokens(self, body: str, base: int) -> list[Token]:
        """(kind, value, position, source): field, variable, word, string, number, a sign."""
        found: list[Token] = []
        position = 0
        while position < len(body):
            kind, value, end = self.token(body, position, base)
            found.append((kind, value, base + position, body[position:end]))
            position = end
        return found

    def token(  # noqa: PLR0911 - a case for each kind
        self, body: str, position: int, base: int
    ) -> tuple[str, Any, int]:
        char = body[position]
        if char in _SPACES:
            return "space", " ", position + 1
        if char in "\"'`":
            value, end = self.string(body, position, base)
            return ("number", ord(value), end) if char == "'" else ("string", value, end)
        if char in "()|,":
            return char, char, position + 1
        if body.startswith(":=", position):
            return ":=", ":=", position + 2
        if char == "=":
            return "=", "=", position + 1
        end = position + 1
        if char in _NUMBERS or char in "+-":
            while end < len(body) and (body[end].isalnum() or body[end] in "._"):
                end += 1
            return "number", self.number(body[position:end], base + position), end
        while end < len(body) and (body[end].isalnum() or body[end] == "_"):
            end += 1
        return *self.named(body[position:end], base + position), end

    def named(self, text: str, position: int) -> tuple[str, Any]:
        if text[0] == ".":
            return ("field", text[1:]) if len(text) > 1 else (".", ".")
        if text[0] == "$":
            return "variable", text
        if text[0].isalpha() or text[0] == "_":
            return "word", text
        raise self.wrong(position, f"unexpected {text!r} in command")

    def number(self, text: str, position: int) -> int | float:
        for kind in (lambda: int(text, 0), lambda: float(text)):
            try:
                return kind()
            except ValueError:
                pass
        # Go stops at the first letter that no number has.
        end = len(text) - len(text.lstrip("+-0123456789.")) + 1
        raise self.wrong(position, f"bad number syntax: {go_quote(text[:end])}")

    def string(self, body: str, position: int, base: int) -> tuple[str, int]:
        quote, end, found = body[position], position + 1, ""
        while end < len(body) and body[end] != quote:
            if body[end] == "\\" and quote != "`":
                end += 1
                found += _ESCAPES.get(body[end], "\\" + body[end])
            else:
                found += body[end]
            end += 1
        if end >= len(body):
            raise self.wrong(base + position, "unterminated quoted string")
        if quote == "'" and len(found) != 1:
            problem = f"malformed character constant: {body[position : end + 1]}"
            raise self.wrong(base + position, problem)
        return found, end + 1


class _Parser:
    """Actions to a tree."""

    def __init__(self, source: str, functions: Container[str], name: str):
        self.scanner = _Scanner(source, name)
        self.functions = functions
        self.items = list(self.scanner.split())
        self.at = 0
        self.loops = 0
        self.defined: dict[str, list[Node]] = {}
        self.variables = ["$"]  # those that can be seen from where we are

    def block(self, *, inside: str = "") -> tuple[list[Node], str, int]:
        """Nodes up to `end` or `else`, and that action with its place."""
        nodes: list[Node] = []
        while self.at < len(self.items):
            kind, body, place = self.items[self.at]
            self.at += 1
            if kind == "text":
                nodes.append(("text", body))
                continue
            word, _, rest = body.partition(" ")
            if word in ("end", "else"):
                if not inside:
                    raise self.scanner.wrong(place, f"unexpected {{{{{word}}}}}")
                return nodes, body, place
            nodes.append(self.action(word, body, rest, place))
        if inside:
            raise self.scanner.wrong(len(self.scanner.source), "unexpected EOF")
        return nodes, "", 0

    def action(self, word: str, body: str, rest: str, place: int) -> Node:
        if word in ("if", "range", "with"):
            return self.control(word, rest, place + len(word) + 1)
        if word in ("break", "continue") and not rest:
            if not self.loops:
                raise self.scanner.wrong(place, f"{{{{{word}}}}} outside {{{{range}}}}")
            return (word,)
        if word in ("define", "template", "block"):
            return self.named(word, body, rest, place)
        return "print", self.pipeline(body, place), body

    def named(self, word: str, body: str, rest: str, place: int) -> Node:
        """`define "x"` and its body; `template "x" .` which runs it; `block` is both."""
        found = self.scanner.tokens(rest, place + len(word) + 1)
        tokens = [each for each in found if each[0] != "space"]
        if not tokens or tokens[0][0] != "string":
            problem = go_quote(tokens[0][3] if tokens else "}}")
            raise self.scanner.wrong(place, f"unexpected {problem} in {word} clause")
        _, name, at, shown = tokens[0]
        after = at + len(shown) - (place + len(word) + 1)
        pipe = self.pipeline(rest[after:], at + len(shown)) if rest[after:].strip() else None
        if word == "define" and pipe is not None:
            raise self.scanner.wrong(place, f"unexpected {go_quote(rest[after:])} in define clause")
        if word == "block" and pipe is None:
            raise self.scanner.wrong(place, "missing value for block clause")
        if word != "template":
            self.define(name, word)
        if word == "define":
            return "text", ""
        return "template", name, pipe, at, f"{{{{{body}}}}}"

    def define(self, name: str, word: str) -> None:
        outer, self.variables = self.variables, ["$"]
        body, _, place = self.block(inside=word)
        self.variables = outer
        if not _is_empty(body):
            if not _is_empty(self.defined.get(name, [])):
                problem = f"template: multiple definition of template {go_quote(name)}"
                raise self.scanner.wrong(place, problem)
            self.defined[name] = body
        self.defined.setdefault(name, body)

    def control(self, word: str, condition: str, place: int) -> Node:
        depth = len(self.variables)
        found = self.branches(word, condition, place)
        del self.variables[depth:]
        return found

    def branches(self, word: str, condition: str, place: int) -> Node:
        if not condition.strip():
            raise self.scanner.wrong(place - 1, f"missing value for {word}")
        pipe = self.pipeline(condition, place)
        self.loops += word == "range"
        body, closing, at = self.block(inside=word)
        self.loops -= word == "range"
        otherwise: list[Node] = []
        if closing.startswith("else"):
            again = closing[4:].lstrip()
            if again:
                chained, _, rest = again.partition(" ")
                offset = len(closing) - len(again) + len(chained) + 1
                otherwise = [self.control(chained, rest, at + offset)]
            else:
                otherwise, _, _ = self.block(inside=word)
        return word, pipe, body, otherwise

    def pipeline(self, text: str, place: int) -> Node:
        parser = _PipelineParser(self.scanner, self.functions, text, place, self.variables)
        return parser.whole()


def _is_empty(nodes: list[Node]) -> bool:
    """Nothing but space: what another definition may replace."""
    return all(node[0] == "text" and not node[1].strip(_SPACES) for node in nodes)


class _PipelineParser:
    def __init__(
        self,
        scanner: _Scanner,
        functions: Container[str],
        text: str,
        place: int,
        variables: list[str],
    ):
        self.scanner = scanner
        self.functions = functions
        self.variables = variables
        self.tokens = scanner.tokens(text, place)
        self.end = place + len(text)
        self.at = 0

    def peek(self) -> str:
        return self.tokens[self.at][0] if self.at < len(self.tokens) else ""

    def place(self) -> int:
        return self.tokens[self.at][2] if self.at < len(self.tokens) else self.end

    def next(self) -> Token:
        token = self.tokens[self.at]
        self.at += 1
        return token

    def skip(self) -> None:
        while self.peek() == "space":
            self.at += 1

    def whole(self) -> Node:
        found = self.pipe()
        if self.peek():
            token = self.next()
            shown = "right paren" if token[0] == ")" else f"{go_quote(str(token[1]))} in operand"
            raise self.scanner.wrong(token[2], f"unexpected {shown}")
        return found

    def pipe(self) -> Node:
        self.skip()
        place = self.place()
        variables, assigns = self.declaration()
        self.variables += variables
        if not variables and self.peek() == "|":
            raise self.scanner.wrong(place, 'unexpected "|" in command')
        commands = [self.command()]
        while self.peek() == "|":
            self.next()
            self.skip()
            if self.peek() not in ("", ")"):  # Go lets a bar at the end be
                commands.append(self.command())
        return "pipe", variables, assigns, commands, place

    def declaration(self) -> tuple[list[str], bool]:
        """`$x :=`, `$k, $v :=` or `$x =` at the front; none otherwise."""
        start = self.at
        names: list[str] = []
        while True:
            self.skip()
            if self.peek() != "variable":
                break
            names.append(self.next()[1])
            self.skip()
            if self.peek() == ",":
                self.next()
                continue
            if self.peek() in (":=", "="):
                return names, self.next()[0] == "="
            break
        self.at = start
        return [], False

    def command(self) -> tuple[list[Node], int]:
        self.skip()
        place = self.place()
        operands: list[Node] = []
        while True:
            self.skip()
            if self.peek() in ("", "|", ")"):
                break
            operands.append(self.operand())
        if not operands:
            raise self.scanner.wrong(place, "missing value for command")
        return operands, place

    def operand(self) -> Node:
        kind, value, at, source = self.next()
        node: Node
        if kind == "(":
            node = self.pipe()
            self.skip()
            if self.peek() != ")":
                raise self.scanner.wrong(at, "unclosed left paren")
            self.next()
        elif kind == "field":
            node = ("field", (".", at), (value,), at)
        elif kind == "word" and value not in self.functions and value not in WORDS:
            raise self.scanner.wrong(at, f"function {go_quote(value)} not defined")
        elif kind in ("string", "number"):
            node = (kind, value, at, source)
        elif kind == "variable" and value not in self.variables:
            raise self.scanner.wrong(at, f"undefined variable {go_quote(value)}")
        elif kind in ("variable", "word"):
            node = (kind, value, at)
        elif kind == ".":
            node = (".", at)
        else:
            raise self.scanner.wrong(at, f"unexpected {go_quote(str(value))} in operand")
        return self.chain(node)

    def chain(self, node: Node) -> Node:
        """`.A.B`: Go names the second link as the place of the whole."""
        if self.peek() != "field":
            return node
        place = self.place()
        names: tuple[str, ...] = ()
        if node[0] == "field":
            _, node, names, _ = node
        while self.peek() == "field":
            names = (*names, self.next()[1])
        return "field", node, names, place


# -- the tree as text, for messages ---------------------------------------------------------------


def place_of(node: Node) -> int:
    return int(node[1] if node[0] == "." else node[-1] if node[0] in ("field", "pipe") else node[2])


def show_node(node: Node) -> str:
    kind = node[0]
    if kind == "field":
        inner = "" if node[1][0] == "." else show_node(node[1])
        return f"{inner}.{'.'.join(node[2])}"
    if kind == ".":
        return "."
    if kind in ("string", "number"):
        return str(node[3])
    if kind == "pipe":
        return f"({show_pipe(node)})"
    return str(node[1])


def show_pipe(pipe: Node) -> str:
    _, names, assigns, commands, _ = pipe
    front = f"{', '.join(names)} {'=' if assigns else ':='} " if names else ""
    return front + " | ".join(show_command(command) for command in commands)


def show_command(command: tuple[list[Node], int]) -> str:
    return " ".join(show_node(operand) for operand in command[0])
