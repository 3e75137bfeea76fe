"""Go's text/template as a tree: text, actions, control; each node knows where it stands.

Nodes are tuples, their kind first. An operand: (".", at), ("field", inner, names, at),
("variable", name, at), ("word", name, at), ("string" | "number", value, at, source), a pipeline in
parentheses. A pipeline: ("pipe", variables, assigns, commands, at), a command (operands, at).
"""

from __future__ import annotations

from tiffin.cli.template.lexer import Lexer, show_token
from tiffin.cli.template.literals import parse_number, unquote
from tiffin.cli.wording import go_quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container
    from typing import Any, NoReturn

    from tiffin.cli.template.lexer import Token

    Node = tuple[Any, ...]

_SPACES = " \t\r\n"
_BEGINS_OPERAND = frozenset("bool char . field name number nil raw string variable (".split())


class TemplateError(ValueError):
    """The template cannot be parsed, or does not fit its data: in Go's words, with the place."""

    # What had been written by then.
    partial = ""


def line_of(source: str, position: int) -> int:
    return source.count("\n", 0, position) + 1


def parse_source(
    source: str, functions: Container[str], name: str = ""
) -> tuple[list[Node], dict[str, list[Node]]]:
    """The nodes of the whole, and those of what it defines. TemplateError, also for a function that
    is not among those known.
    """
    parser = _Parser(source, functions, name)
    return parser.whole(), parser.defined


class _Parser:
    def __init__(self, source: str, functions: Container[str], name: str):
        self.name = name
        self.functions = functions
        self.lexer = Lexer(source).tokens()
        self.read: list[Token] = []
        self.next_one = 0
        self.loops = 0
        self.action_line = 0
        self.defined: dict[str, list[Node]] = {}
        self.variables = ["$"]  # those that can be seen from where we are

    # -- tokens -----------------------------------------------------------------------------------

    def peek(self) -> Token:
        if self.next_one == len(self.read):
            self.read.append(next(self.lexer))
        return self.read[self.next_one]

    def next(self) -> Token:
        token = self.peek()
        self.next_one += 1
        return token

    def next_solid(self) -> Token:
        """The next one that is no space."""
        while self.peek()[0] == "space":
            self.next_one += 1
        return self.next()

    def peek_solid(self) -> Token:
        token = self.next_solid()
        self.next_one -= 1
        return token

    def wrong(self, problem: str) -> TemplateError:
        line = self.read[-1][3] if self.read else 1
        return TemplateError(f"template: {self.name}:{line}: {problem}")

    def unexpected(self, token: Token, context: str) -> NoReturn:
        if token[0] == "error":
            extra = ""
            if self.action_line and self.action_line != token[3]:
                extra = f" in action started at {self.name}:{self.action_line}"
                if token[1].endswith(" action"):
                    extra = extra.removeprefix(" in action")
            raise self.wrong(token[1] + extra)
        raise self.wrong(f"unexpected {show_token(token)} in {context}")

    def expect(self, kind: str, context: str) -> Token:
        token = self.next_solid()
        if token[0] != kind:
            self.unexpected(token, context)
        return token

    # -- what stands between actions --------------------------------------------------------------

    def whole(self) -> list[Node]:
        nodes: list[Node] = []
        while self.peek()[0] != "EOF":
            if self.peek()[0] == "{{":
                opening = self.next_one
                self.next_one += 1
                if self.next_solid()[0] == "define":
                    self.definition()
                    continue
                self.next_one = opening
            node = self.text_or_action()
            if node[0] in ("end", "else"):
                raise self.wrong(f"unexpected {{{{{node[0]}}}}}")
            nodes.append(node)
        return nodes

    def block(self) -> tuple[list[Node], str]:
        """Nodes up to `end` or `else`, and which of the two it was."""
        nodes: list[Node] = []
        while self.peek_solid()[0] != "EOF":
            node = self.text_or_action()
            if node[0] in ("end", "else"):
                return nodes, node[0]
            nodes.append(node)
        raise self.wrong("unexpected EOF")

    def text_or_action(self) -> Node:
        token = self.next_solid()
        if token[0] == "text":
            return "text", token[1]
        if token[0] != "{{":
            self.unexpected(token, "input")
        self.action_line = token[3]
        node = self.action()
        self.action_line = 0
        return node

    def action(self) -> Node:  # noqa: PLR0911 - a case for each kind
        token = self.next_solid()
        kind = token[0]
        if kind in ("if", "range", "with"):
            return self.control(kind)
        if kind in ("break", "continue"):
            if self.peek_solid()[0] != "}}":
                self.unexpected(self.next_solid(), f"{{{{{kind}}}}}")
            self.next_solid()
            if not self.loops:
                raise self.wrong(f"{{{{{kind}}}}} outside {{{{range}}}}")
            return (kind,)
        if kind == "else":
            if self.peek_solid()[0] not in ("if", "with"):
                self.expect("}}", "else")
            return (kind,)
        if kind == "end":
            self.expect("}}", "end")
            return (kind,)
        if kind == "template":
            return self.template()
        if kind == "block":
            return self.block_and_template()
        self.next_one -= 1
        return "print", self.pipeline("command", "}}")

    def control(self, kind: str) -> Node:
        depth = len(self.variables)
        pipe = self.pipeline(kind, "}}")
        self.loops += kind == "range"
        body, closing = self.block()
        self.loops -= kind == "range"
        otherwise: list[Node] = []
        if closing == "else":
            if kind in ("if", "with") and self.peek()[0] == kind:
                self.next()
                otherwise = [self.control(kind)]
            else:
                otherwise, closing = self.block()
                if closing != "end":
                    raise self.wrong(f"expected end; found {{{{{closing}}}}}")
        del self.variables[depth:]
        return kind, pipe, body, otherwise

    # -- templates of their own -------------------------------------------------------------------

    def definition(self) -> None:
        token = self.next_solid()
        if token[0] not in ("string", "raw"):
            self.unexpected(token, "define clause")
        name = self.text_of(token)
        self.expect("}}", "define clause")
        self.define(name, "define clause")

    def define(self, name: str, context: str) -> None:
        outer = self.variables, self.loops
        self.variables, self.loops = ["$"], 0
        body, closing = self.block()
        if closing != "end":
            raise self.wrong(f"unexpected {{{{{closing}}}}} in {context}")
        self.variables, self.loops = outer
        if not _is_empty(self.defined.get(name, [])):
            if not _is_empty(body):
                raise self.wrong(f"template: multiple definition of template {go_quote(name)}")
            return
        self.defined[name] = body

    def template(self) -> Node:
        token = self.next_solid()
        name = self.name_of(token, "template clause")
        pipe = None
        if self.peek_solid()[0] == "}}":
            self.next_solid()
        else:
            pipe = self.pipeline("template clause", "}}")
        return "template", name, pipe, token[2]

    def block_and_template(self) -> Node:
        token = self.next_solid()
        name = self.name_of(token, "block clause")
        pipe = self.pipeline("block clause", "}}")
        self.define(name, "block clause")
        return "template", name, pipe, token[2]

    def name_of(self, token: Token, context: str) -> str:
        if token[0] not in ("string", "raw"):
            self.unexpected(token, context)
        return self.text_of(token)

    def text_of(self, token: Token) -> str:
        if token[0] == "raw":
            return token[1][1:-1]
        try:
            return unquote(token[1])
        except ValueError as error:
            raise self.wrong(str(error)) from error

    # -- pipelines --------------------------------------------------------------------------------

    def pipeline(self, context: str, end: str) -> Node:
        place = self.peek_solid()[2]
        names, assigns = self.declaration(context)
        commands: list[Any] = []
        while True:
            token = self.next_solid()
            if token[0] == end:
                break
            if token[0] not in _BEGINS_OPERAND:
                self.unexpected(token, context)
            self.next_one -= 1
            commands.append(self.command())
        if not commands:
            raise self.wrong(f"missing value for {context}")
        for stage, (operands, _) in enumerate(commands[1:], 2):
            first = operands[0]
            if first[0] in (".", "string", "number") or _is_constant(first):
                raise self.wrong(f"non executable command in pipeline stage {stage}")
        return "pipe", names, assigns, commands, place

    def declaration(self, context: str) -> tuple[list[str], bool]:
        """`$x :=`, `$k, $v :=` or `$x =` at the front; none otherwise."""
        names: list[str] = []
        while self.peek_solid()[0] == "variable":
            start = self.next_one
            name = self.next()[1]
            sign = self.peek_solid()
            if sign[0] in ("=", ":="):
                self.next_solid()
                names.append(name)
                self.variables.append(name)
                return names, sign[0] == "="
            if sign[:2] != ("sign", ","):
                self.next_one = start
                break
            self.next_solid()
            names.append(name)
            self.variables.append(name)
            if context != "range" or len(names) > 1:
                raise self.wrong(f"too many declarations in {context}")
            if self.peek_solid()[0] not in ("variable", "}}", ")"):
                raise self.wrong("range can only initialize variables")
        return names, False

    def command(self) -> tuple[list[Node], int]:
        place = self.peek_solid()[2]
        operands: list[Node] = []
        while True:
            self.peek_solid()
            operand = self.operand()
            if operand is not None:
                operands.append(operand)
            token = self.next()
            if token[0] == "space":
                continue
            if token[0] in ("}}", ")"):
                self.next_one -= 1
            elif token[0] != "|":
                self.unexpected(token, "operand")
            break
        if not operands:
            raise self.wrong("empty command")
        return operands, place

    def operand(self) -> Node | None:
        node = self.term()
        if node is None or self.peek()[0] != "field":
            return node
        # `.A.B`: Go names the second link as the place of the whole.
        place = self.peek()[2]
        names: tuple[str, ...] = ()
        while self.peek()[0] == "field":
            names = (*names, self.next()[1][1:])
        if node[0] in (".", "string", "number") or _is_constant(node):
            raise self.wrong(f"unexpected . after term {go_quote(show_node(node))}")
        if node[0] == "field":
            return "field", node[1], (*node[2], *names), place
        return "field", node, names, place

    def term(self) -> Node | None:  # noqa: PLR0911 - a case for each kind
        token = self.next_solid()
        kind, text, place, _ = token
        if kind == "name":
            if text not in self.functions:
                raise self.wrong(f"function {go_quote(text)} not defined")
            return "word", text, place
        if kind == ".":
            return ".", place
        if kind in ("nil", "bool"):
            return "word", text, place
        if kind == "variable":
            if text not in self.variables:
                raise self.wrong(f"undefined variable {go_quote(text)}")
            return "variable", text, place
        if kind == "field":
            return "field", (".", place), (text[1:],), place
        if kind in ("number", "char"):
            try:
                return "number", parse_number(text), place, text
            except ValueError as error:
                raise self.wrong(str(error)) from error
        if kind == "(":
            return self.pipeline("parenthesized pipeline", ")")
        if kind in ("string", "raw"):
            return "string", self.text_of(token), place, text
        self.next_one -= 1
        return None


def _is_constant(node: Node) -> bool:
    return bool(node[0] == "word" and node[1] in ("true", "false", "nil"))


def _is_empty(nodes: list[Node]) -> bool:
    """Nothing but space: what another definition may replace."""
    return all(node[0] == "text" and not node[1].strip(_SPACES) for node in nodes)


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


def show_template(name: str, pipe: Node | None) -> str:
    return f"{{{{template {go_quote(name)}{f' {show_pipe(pipe)}' if pipe else ''}}}}}"
