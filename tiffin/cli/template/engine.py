"""Go's text/template: a template run over a value of `govalues`.

Actions: pipelines, variables, if/else, range/else, with/else, break, continue, define, template,
block, comments, trimming. What is wrong is said as Go says it, with the place:
`template: :1:2: executing "" at <.X>: ...`.
"""

from __future__ import annotations

from tiffin.cli.failures import CommandFailed
from tiffin.cli.jsontext import show
from tiffin.cli.output import say
from tiffin.cli.template.functions import FUNCTIONS, HEADER_FUNCTIONS, Function, printable
from tiffin.cli.template.gojson import to_document
from tiffin.cli.template.gomethods import method_of
from tiffin.cli.template.goprint import sprint, to_text
from tiffin.cli.template.gotypes import ANY, STRING, STRINGS, Type, alike, type_of
from tiffin.cli.template.govalues import (
    Fields,
    Value,
    boolean,
    concrete,
    find_field,
    follow,
    indirect,
    number,
    of,
    part,
    pointed,
    text,
    truth,
    zero_of,
)
from tiffin.cli.template.parser import (
    TemplateError,
    line_of,
    parse_source,
    place_of,
    show_command,
    show_node,
    show_pipe,
    show_template,
)
from tiffin.cli.wording import go_quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any

    from tiffin.cli.template.parser import Node

__all__ = ["HEADER_FUNCTIONS", "Fields", "Template", "TemplateError", "parse", "print_one"]

# Go allows 100,000, which no stack of ours holds.
_MOST_NESTED = 100
_TOO_DEEP = "max expression depth exceeded"


class _Break(Exception):
    pass


class _Continue(Exception):
    pass


class _Absent:
    """The value before the first command of a pipeline."""


_ABSENT = _Absent()
_CONSTANTS = ("true", "false", "nil")


class Template:
    """A parsed template. `strict`: a key that a map does not have is an error."""

    def __init__(self, source: str, *, strict: bool = False, name: str = ""):
        self.source = source
        self.name = name
        self.strict = strict
        self.functions: dict[str, Function] = FUNCTIONS
        try:
            self.nodes, self.defined = parse_source(source, FUNCTIONS, name)
        except RecursionError:
            raise TemplateError(f"template: {name}:1: {_TOO_DEEP}") from None

    def render(self, data: Any) -> str:
        """`data`: a Value, or what has no type of its own. TemplateError has what came before."""
        run = _Run(self, of(data))
        try:
            run.walk(self.nodes, of(data))
        except TemplateError as error:
            error.partial = "".join(run.out)
            raise
        except RecursionError:
            raise TemplateError(f"template: {self.name}:1: {_TOO_DEEP}") from None
        return "".join(run.out)


class _Run:
    def __init__(self, template: Template, data: Value | None):
        self.template = template
        self.variables: list[tuple[str, Value | None]] = [("$", data)]
        self.out: list[str] = []
        self.depth = 0
        self.executing = template.name
        self.place, self.context = 0, ""  # of the node that is at work, for messages

    # -- messages ---------------------------------------------------------------------------------

    def at(self, node: Node) -> None:
        self.place = place_of(node)
        self.node = node

    def wrong(self, problem: str, context: str = "") -> TemplateError:
        source, name = self.template.source, self.template.name
        column = len(source[: self.place].rpartition("\n")[2].encode())
        context = context or _written(self.node)
        return TemplateError(
            f"template: {name}:{line_of(source, self.place)}:{column}: "
            f"executing {go_quote(self.executing)} at <{context}>: {problem}"
        )

    # -- control ----------------------------------------------------------------------------------

    def walk(self, nodes: list[Node], dot: Value | None) -> None:
        for node in nodes:
            kind = node[0]
            if kind == "text":
                self.out.append(node[1])
            elif kind == "print":
                value = self.pipe(node[1], dot)
                if not node[1][1]:
                    self.out.append(sprint([printable(value)]))
            elif kind == "range":
                self.range(node, dot)
            elif kind == "break":
                raise _Break
            elif kind == "continue":
                raise _Continue
            elif kind == "template":
                self.nested(node, dot)
            else:
                self.choose(node, dot)

    def nested(self, node: Node, dot: Value | None) -> None:
        """Another template, which sees none of our variables."""
        _, name, pipe, place = node
        self.place = place
        shown = show_template(name, pipe)
        body = self.template.defined.get(name)
        if body is None:
            raise self.wrong(f"template {go_quote(name)} not defined", shown)
        if self.depth >= _MOST_NESTED:
            raise self.wrong("exceeded maximum template depth (100000)", shown)
        value = None if pipe is None else self.pipe(pipe, dot)
        outer = self.variables, self.executing
        self.variables, self.executing = [("$", value)], name
        self.depth += 1
        self.walk(body, value)
        self.depth -= 1
        self.variables, self.executing = outer

    def choose(self, node: Node, dot: Value | None) -> None:
        depth = len(self.variables)
        value = self.pipe(node[1], dot)
        if truth(value):
            self.walk(node[2], value if node[0] == "with" else dot)
        else:
            self.walk(node[3], dot)
        del self.variables[depth:]

    def range(self, node: Node, dot: Value | None) -> None:
        depth = len(self.variables)
        _, pipe, body, otherwise = node
        value, _ = indirect(self.pipe(pipe, dot))
        names = pipe[1]
        if len(names) > 1 and value is not None and value.kind in ("int", "uint"):
            shown = to_text(value)
            raise self.wrong(f"can't use {shown} to iterate over more than one variable")
        empty = True
        inside = len(self.variables)
        try:
            for key, item in self.pairs(value):
                empty = False
                if names:
                    self.variables[inside - 1] = (names[-1], item)
                if len(names) > 1:
                    self.variables[inside - 2] = (names[0], key)
                try:
                    self.walk(body, item)
                except _Continue:
                    pass
                del self.variables[inside:]
        except _Break:
            pass
        if empty:
            self.walk(otherwise, dot)
        del self.variables[depth:]

    def pairs(self, value: Value | None) -> Iterable[tuple[Value, Value]]:
        if value is None:
            return ()
        if value.kind == "map":
            return value.items()
        if value.kind in ("slice", "array"):
            return ((number(place), each) for place, each in enumerate(value.elements()))
        if value.kind in ("int", "uint"):
            kind = value.type
            return ((Value(kind, place), Value(kind, place)) for place in range(value.data))
        raise self.wrong(f"range can't iterate over {to_text(value)}")

    # -- pipelines --------------------------------------------------------------------------------

    def pipe(self, pipe: Node, dot: Value | None) -> Value | None:
        _, names, assigns, commands, _ = pipe
        self.at(pipe)
        last: Value | _Absent | None = _ABSENT
        for command in commands:
            last = concrete(self.command(command, dot, last))
        value = None if isinstance(last, _Absent) else last
        for name in names:
            if assigns:
                self.assign(name, value)
            else:
                self.variables.append((name, value))
        return value

    def assign(self, name: str, value: Value | None) -> None:
        for index in range(len(self.variables) - 1, -1, -1):
            if self.variables[index][0] == name:
                self.variables[index] = (name, value)
                return
        raise self.wrong(f"undefined variable: {name}")

    def variable(self, name: str) -> Value | None:
        for each, value in reversed(self.variables):
            if each == name:
                return value
        raise self.wrong(f"undefined variable: {name}")

    def command(
        self, command: Any, dot: Value | None, last: Value | _Absent | None
    ) -> Value | None:
        operands, _ = command
        first = operands[0]
        if first[0] == "field":
            return self.field(first, dot, operands[1:], last)
        if first[0] == "word" and first[1] not in _CONSTANTS:
            return self.function(first, dot, operands[1:], last, command)
        if first[0] != "pipe":
            self.at(first)
        if len(operands) > 1 or not isinstance(last, _Absent):
            raise self.wrong(f"can't give argument to non-function {_written(first)}")
        if first[0] == "word" and first[1] == "nil":
            raise self.wrong("nil is not a command")
        return self.operand(first, dot)

    def operand(self, node: Node, dot: Value | None) -> Value | None:  # noqa: PLR0911
        kind = node[0]
        if kind == "field":
            return self.field(node, dot, (), _ABSENT)
        if kind == "pipe":
            return self.pipe(node, dot)
        self.at(node)
        if kind == ".":
            return dot
        if kind == "variable":
            return self.variable(node[1])
        if kind == "word":
            if node[1] in _CONSTANTS:
                return {"true": boolean(True), "false": boolean(False), "nil": None}[node[1]]
            return self.function(node, dot, (), _ABSENT, ([node], node[2]))
        if kind == "number" and isinstance(node[1], int) and not -(2**63) <= node[1] < 2**63:
            raise self.wrong(f"{node[3]} overflows int")
        return of(node[1]) if isinstance(node[1], (str, float)) else number(node[1])

    # -- fields and methods -----------------------------------------------------------------------

    def field(
        self,
        node: Node,
        dot: Value | None,
        operands: Sequence[Node],
        last: Value | _Absent | None,
    ) -> Value | None:
        _, inner, names, _ = node
        self.at(node)
        if inner[0] == ".":
            value = dot
        elif inner[0] == "variable":
            value = self.variable(inner[1])
        else:
            value = self.operand(inner, dot)
        for name in names[:-1]:
            value = self.member(node, dot, name, value, (), _ABSENT)
        return self.member(node, dot, names[-1], value, operands, last)

    def member(
        self,
        node: Node,
        dot: Value | None,
        name: str,
        owner: Value | None,
        operands: Sequence[Node],
        last: Value | _Absent | None,
    ) -> Value | None:
        if owner is None:
            if self.template.strict:
                raise self.wrong(f"nil data; no entry for key {go_quote(name)}")
            return None
        shown = owner.type.name
        receiver, is_nil = (owner, False) if isinstance(owner.data, Fields) else indirect(owner)
        assert receiver is not None
        if is_nil and receiver.kind == "interface":
            raise self.wrong(f"nil pointer evaluating {shown}.{name}")
        method = method_of(receiver, name)
        if method is not None:
            takes, call = method
            function = Function(lambda *rest: call(receiver, *rest), takes)
            return self.call(function, name, node, dot, operands, last)
        has_arguments = bool(operands) or not isinstance(last, _Absent)
        if receiver.kind == "map" and receiver.type.key.name == "string":
            if has_arguments:
                raise self.wrong(f"{name} is not a method but has arguments")
            return self.entry(receiver, name)
        target = receiver.type.elem if receiver.kind == "pointer" else receiver.type
        path = find_field(target, name) if target.kind == "struct" else ()
        if is_nil and (path or target.kind != "struct"):
            raise self.wrong(f"nil pointer evaluating {shown}.{name}")
        if not path:
            raise self.wrong(f"can't evaluate field {name} in type {shown}")
        if not path[-1].exported:
            raise self.wrong(f"{name} is an unexported field of struct type {shown}")
        if has_arguments:
            raise self.wrong(f"{name} has arguments but cannot be invoked as function")
        return follow(receiver, path)

    def entry(self, owner: Value, name: str) -> Value | None:
        data = owner.data or {}
        if name in data:
            return part(owner.type.elem, data[name])
        if self.template.strict:
            raise self.wrong(f"map has no entry for key {go_quote(name)}")
        return None

    # -- calls ------------------------------------------------------------------------------------

    def function(
        self,
        node: Node,
        dot: Value | None,
        operands: Sequence[Node],
        last: Value | _Absent | None,
        command: Any,
    ) -> Value | None:
        self.at(node)
        return self.call(self.template.functions[node[1]], node[1], command, dot, operands, last)

    def call(
        self,
        function: Function,
        name: str,
        whole: Any,
        dot: Value | None,
        operands: Sequence[Node],
        last: Value | _Absent | None,
    ) -> Value | None:
        takes, more = function.takes, function.more
        count = len(operands) + (not isinstance(last, _Absent))
        if count < len(takes) or (count > len(takes) and more is None):
            want = f"{len(takes)}" if more is None else f"at least {len(takes)}"
            got = count if more is None else len(operands)
            raise self.wrong(f"wrong number of args for {name}: want {want} got {got}")
        if name in ("and", "or") and function is FUNCTIONS[name]:
            return self.shortcut(name, dot, operands, last)
        kinds = [*takes, *[more or ""] * (count - len(takes))]
        given = [
            self.argument(node, kind, dot) for node, kind in zip(operands, kinds, strict=False)
        ]
        if not isinstance(last, _Absent):
            given.append(self.fitting(last, kinds[-1]))
        if name == "call":
            given.insert(0, text(_written(operands[0]) if operands else _reflected(given[0])))
        try:
            return function.call(*given)
        except TemplateError:
            raise
        except ValueError as error:
            if isinstance(whole, tuple) and isinstance(whole[0], list):
                self.place = whole[1]
                raise self.wrong(f"error calling {name}: {error}", show_command(whole)) from error
            self.at(whole)
            raise self.wrong(f"error calling {name}: {error}") from error

    def shortcut(
        self,
        name: str,
        dot: Value | None,
        operands: Sequence[Node],
        last: Value | _Absent | None,
    ) -> Value | None:
        value: Value | None = None
        for operand in operands:
            value = self.argument(operand, "", dot)
            if truth(value) == (name == "or"):
                return value
        return value if isinstance(last, _Absent) else last

    def argument(self, node: Node, kind: str, dot: Value | None) -> Value | None:
        """The value of an operand, which must be of the type `kind`."""
        if node[0] != "pipe":
            self.at(node)
        if node[0] == "word" and node[1] == "nil":
            if kind in _MAY_BE_NIL:
                return zero_of(type_of(kind)) if kind and kind != ANY.name else None
            raise self.wrong(f"cannot assign nil to {kind}")
        constant = node[0] in ("string", "number") or (node[0] == "word" and node[1] in _CONSTANTS)
        if constant and kind in _WORDS_FOR:
            expected, wanted = _WORDS_FOR[kind]
            if node[0] == wanted == "number" and node[1] == int(node[1]):
                self.at(node)
                return number(int(node[1]))
            if node[0] != wanted or wanted == "number":
                raise self.wrong(f"expected {expected}; found {show_node(node)}")
        elif constant and kind not in _MAY_TAKE_ALL:
            raise self.wrong(f"can't handle {show_node(node)} for arg of type {kind}")
        value = self.operand(node, dot)
        return value if constant else self.fitting(value, kind)

    def fitting(self, value: Value | None, kind: str) -> Value | None:
        """The value, or what it points to, as a value of the type `kind`."""
        if kind in _MAY_TAKE_ALL:
            return value
        if value is None:
            if kind in _MAY_BE_NIL:
                return zero_of(type_of(kind))
            raise self.wrong(f"invalid value; expected {kind}")
        if _is_assignable(value.type, kind):
            return value
        if value.kind == "interface" and value.data is not None:
            inner = concrete(value)
            assert inner is not None
            value = inner
            if _is_assignable(value.type, kind):
                return value
        if value.kind == "pointer" and _is_assignable(value.type.elem, kind):
            if value.data is None:
                raise self.wrong(f"dereference of nil pointer of type {kind}")
            return pointed(value)
        if f"*{value.type.name}" == kind:
            return Value(type_of(kind), value.data)
        raise self.wrong(f"wrong type for value; expected {kind}; got {value.type.name}")


def _reflected(value: Value | None) -> str:
    """A reflect.Value as a string."""
    if value is None:
        return "<invalid Value>"
    return value.data if value.kind == "string" else f"<{value.type.name} Value>"


def _written(node: Node) -> str:
    """A pipeline without its parentheses."""
    return show_pipe(node) if node[0] == "pipe" else show_node(node)


_MAY_TAKE_ALL = ("", ANY.name)
_MAY_BE_NIL = ("", ANY.name, STRINGS.name)
# Of constants: what Go calls it, and the node that it takes.
_WORDS_FOR = {"string": ("string", "string"), "int": ("integer", "number")}


def _is_assignable(kind: Type, wanted: str) -> bool:
    return kind.name == wanted or (wanted != STRING.name and alike(kind, type_of(wanted)))


def parse(
    source: str,
    *,
    strict: bool = False,
    code: int = 64,
    name: str = "",
    blame: str = "template parsing error",
) -> Template:
    """The template in `source`. CommandFailed with `code` as Docker's CLI says it."""
    try:
        return Template(source, strict=strict, name=name)
    except TemplateError as error:
        raise CommandFailed(f"{blame}: {error}", code) from error


def print_one(
    source: str,
    document: Any,
    name: str = "",
    kind: str = "",
    arrange: Callable[[str], str] = str,
) -> None:
    """Prints one document, of Go's type `kind` ("": a map), by the template, as far as it goes.

    `json` stands for all of it. `arrange` lays out what comes of it.
    """
    value = Value(type_of(kind), document) if kind else of(document, raw=True)
    if source == "json":
        say(show(to_document(value)))
        return
    template = parse(source, strict=not kind, name=name)
    try:
        say(arrange(template.render(value)))
    except TemplateError as error:
        say(arrange(error.partial))
        raise CommandFailed(str(error)) from error
