"""Go's text/template, as much of it as `--format` needs.

Actions: pipelines, variables, if/else, range/else, with/else, break, continue, comments, trimming.
Functions: Go's own (and, or, not, eq, ne, lt, le, gt, ge, len, index, slice, print, printf,
println, html, urlquery) and Docker's (json, split, join, title, lower, upper, pad, truncate).
Values are what JSON gives: None, bool, int, float, str, list, dict; and rows, which are `Fields`.
"""

from __future__ import annotations

from tiffin.cli.failures import CommandFailed
from tiffin.cli.jsontext import show
from tiffin.cli.output import go_quote, say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    Node = tuple[Any, ...]

# Maps with names that users choose: a key that is missing there is no mistake of the template.
FREE_MAPS = frozenset(
    (
        "Labels",
        "Annotations",
        "Sysctls",
        "Ports",
        "Networks",
        "Options",
        "DriverOpts",
        "PortBindings",
        "ExposedPorts",
        "Volumes",
        "Tmpfs",
        "LogConfig",
        "Config",
        "Containers",
        "Details",
    )
)

# Lists that the API leaves null.
LISTS = frozenset(
    "Binds CapAdd CapDrop Cmd Devices Dns DnsOptions DnsSearch Entrypoint Env ExecIDs ExtraHosts "
    "GroupAdd Links OnBuild RepoDigests RepoTags SecurityOpt Ulimits VolumesFrom".split()
)

_SPACES = " \t\r\n"
_NUMBERS = "0123456789"
WORDS = frozenset(("true", "false", "nil", "and", "or"))
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", '"': '"', "'": "'", "a": "\a", "b": "\b"}


class TemplateError(ValueError):
    """The template cannot be parsed, or does not fit its data."""


class Missing:
    """What a map says of a key that it does not have."""


MISSING = Missing()


class Fields:
    """A row of a table: its fields are computed when a template asks for them."""

    def field(self, name: str) -> Any:
        """TemplateError when there is no such field."""
        raise NotImplementedError

    def names(self) -> list[str]:
        raise NotImplementedError

    def as_document(self) -> dict[str, Any]:
        return {name: self.field(name) for name in sorted(self.names())}


# -- text to tokens --------------------------------------------------------------------------------


def _split(source: str) -> Iterator[tuple[str, str, int]]:
    """("text" | "action", content, position), trim markers applied, comments dropped."""
    position, trim = 0, False
    while position < len(source):
        start = source.find("{{", position)
        text = source[position:] if start < 0 else source[position:start]
        if trim:
            text = text.lstrip(_SPACES)
        if start < 0:
            if text:
                yield "text", text, position
            return
        end = _end_of_action(source, start + 2)
        body = source[start + 2 : end]
        if body.startswith("-") and body[1:2] in _SPACES and len(body) > 1:
            text, body = text.rstrip(_SPACES), body[1:]
        trim = len(body) > 1 and body.endswith("-") and body[-2] in _SPACES
        if trim:
            body = body[:-1]
        if text:
            yield "text", text, position
        body = body.strip(_SPACES)
        if not (body.startswith("/*") and body.endswith("*/")):
            yield "action", body, start + 2
        position = end + 2


def _end_of_action(source: str, start: int) -> int:
    position, quote = start, ""
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
        position += 1
    raise TemplateError(f"template: :{source.count(chr(10), 0, start) + 1}: unclosed action")


def _tokens(body: str) -> list[tuple[str, Any]]:
    """(kind, value): field, variable, word, string, number, or a sign by itself."""
    found: list[tuple[str, Any]] = []
    position = 0
    while position < len(body):
        char = body[position]
        if char in _SPACES:
            end = position + 1
            found.append(("space", " "))
        elif char in "\"'`":
            value, end = _string(body, position)
            found.append(("number", ord(value)) if char == "'" else ("string", value))
        elif char in "()|,":
            end = position + 1
            found.append((char, char))
        elif body.startswith(":=", position):
            end = position + 2
            found.append((":=", ":="))
        elif char == "=":
            end = position + 1
            found.append(("=", "="))
        elif char in _NUMBERS or (char in "+-" and body[position + 1 : position + 2].isdigit()):
            end = position + 1
            while end < len(body) and (body[end].isalnum() or body[end] in "._"):
                end += 1
            found.append(("number", _number(body[position:end])))
        else:
            end = position + 1
            while end < len(body) and (body[end].isalnum() or body[end] == "_"):
                end += 1
            found.append(_name(body[position:end], char))
        position = end
    return found


def _name(text: str, char: str) -> tuple[str, Any]:
    if char == ".":
        return ("field", text[1:]) if len(text) > 1 else (".", ".")
    if char == "$":
        return "variable", text
    if char.isalpha() or char == "_":
        return "word", text
    raise TemplateError(f"template: :1: unexpected {text!r} in command")


def _number(text: str) -> int | float:
    try:
        return int(text, 0)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        raise TemplateError(f"template: :1: bad number syntax: {go_quote(text)}") from None


def _string(body: str, position: int) -> tuple[str, int]:
    quote, end, found = body[position], position + 1, ""
    while end < len(body) and body[end] != quote:
        if body[end] == "\\" and quote != "`":
            end += 1
            found += _ESCAPES.get(body[end], "\\" + body[end])
        else:
            found += body[end]
        end += 1
    if end >= len(body):
        raise TemplateError("template: :1: unterminated quoted string")
    return found, end + 1


# -- tokens to a tree ------------------------------------------------------------------------------


class _Parser:
    """Nodes: (kind, ...). A pipeline is ("pipe", variables, assigns, commands)."""

    def __init__(self, source: str):
        self.items = list(_split(source))
        self.at = 0

    def block(self, *, inside: str = "") -> tuple[list[Node], str]:
        """Nodes up to `end` or `else`, and that word with what follows it."""
        nodes: list[Node] = []
        while self.at < len(self.items):
            kind, body, _ = self.items[self.at]
            self.at += 1
            if kind == "text":
                nodes.append(("text", body))
                continue
            word, _, rest = body.partition(" ")
            if word in ("end", "else"):
                if not inside:
                    raise TemplateError(f"template: :1: unexpected {{{{{word}}}}}")
                return nodes, body
            if word in ("if", "range", "with"):
                nodes.append(self.control(word, rest))
            elif word in ("break", "continue") and not rest:
                nodes.append((word,))
            elif word in ("define", "template", "block"):
                raise TemplateError(f"template: :1: {word} is not supported here")
            else:
                nodes.append(("print", self.pipeline(body), body))
        if inside:
            raise TemplateError("template: :1: unexpected EOF")
        return nodes, ""

    def control(self, word: str, condition: str) -> Node:
        if not condition.strip():
            raise TemplateError(f"template: :1: missing value for {word}")
        pipe = self.pipeline(condition)
        body, closing = self.block(inside=word)
        otherwise: list[Node] = []
        if closing.startswith("else"):
            again = closing[4:].strip()
            if again:
                chained, _, rest = again.partition(" ")
                otherwise = [self.control(chained, rest)]
            else:
                otherwise, _ = self.block(inside=word)
        return word, pipe, body, otherwise

    def pipeline(self, text: str) -> Node:
        return _PipelineParser(_tokens(text)).whole()


class _PipelineParser:
    def __init__(self, tokens: list[tuple[str, Any]]):
        self.tokens = tokens
        self.at = 0

    def peek(self) -> str:
        return self.tokens[self.at][0] if self.at < len(self.tokens) else ""

    def next(self) -> tuple[str, Any]:
        token = self.tokens[self.at]
        self.at += 1
        return token

    def skip(self) -> None:
        while self.peek() == "space":
            self.at += 1

    def whole(self) -> Node:
        found = self.pipe()
        if self.peek():
            raise TemplateError(f"template: :1: unexpected {go_quote(str(self.next()[1]))}")
        return found

    def pipe(self) -> Node:
        variables, assigns = self.declaration()
        commands = [self.command()]
        while self.peek() == "|":
            self.next()
            commands.append(self.command())
        return "pipe", variables, assigns, commands

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

    def command(self) -> list[Node]:
        operands: list[Node] = []
        while True:
            self.skip()
            if self.peek() in ("", "|", ")"):
                break
            operands.append(self.operand())
        if not operands:
            raise TemplateError("template: :1: missing value for command")
        return operands

    def operand(self) -> Node:
        kind, value = self.next()
        node: Node
        if kind == "(":
            node = self.pipe()
            self.skip()
            if self.peek() != ")":
                raise TemplateError("template: :1: unclosed left paren")
            self.next()
        elif kind == "field":
            node = ("field", (".",), value)
        elif kind == "word" and value not in FUNCTIONS and value not in WORDS:
            raise TemplateError(f"template: :1: function {go_quote(value)} not defined")
        elif kind in (".", "variable", "word", "string", "number"):
            node = (kind, value) if kind != "." else (".",)
        else:
            raise TemplateError(f"template: :1: unexpected {go_quote(str(value))} in operand")
        while self.peek() == "field":
            node = ("field", node, self.next()[1])
        return node


# -- running the tree ------------------------------------------------------------------------------


class _Break(Exception):
    pass


class _Continue(Exception):
    pass


class Template:
    """A parsed template. `strict`: a field that a document does not have is an error."""

    def __init__(self, source: str, *, strict: bool = False):
        self.nodes, _ = _Parser(source).block()
        self.strict = strict
        self.functions: dict[str, Callable[..., Any]] = FUNCTIONS

    def render(self, data: Any) -> str:
        return _Run(self, data).all()


class _Run:
    def __init__(self, template: Template, data: Any):
        self.template = template
        self.variables: list[tuple[str, Any]] = [("$", data)]
        self.out: list[str] = []
        self.data = data

    def all(self) -> str:
        self.nodes(self.template.nodes, self.data)
        return "".join(self.out)

    def nodes(self, nodes: list[Node], dot: Any) -> None:
        for node in nodes:
            kind = node[0]
            if kind == "text":
                self.out.append(node[1])
            elif kind == "print":
                value = self.pipe(node[1], dot)
                if not node[1][1]:
                    self.out.append(_empty(node[1]) if value is None else to_text(value))
            elif kind == "range":
                self.range(node, dot)
            elif kind == "break":
                raise _Break
            elif kind == "continue":
                raise _Continue
            else:
                self.choose(node, dot)

    def choose(self, node: Node, dot: Any) -> None:
        depth = len(self.variables)
        value = self.pipe(node[1], dot)
        if truth(value):
            self.nodes(node[2], value if node[0] == "with" else dot)
        else:
            self.nodes(node[3], dot)
        del self.variables[depth:]

    def range(self, node: Node, dot: Any) -> None:
        depth = len(self.variables)
        _, pipe, body, otherwise = node
        value = self.commands(pipe[3], dot)
        pairs = _pairs(value)
        if not pairs:
            self.nodes(otherwise, dot)
        names = pipe[1]
        try:
            for key, item in pairs:
                if len(names) == 2:
                    self.variables.append((names[0], key))
                if names:
                    self.variables.append((names[-1], item))
                try:
                    self.nodes(body, item)
                except _Continue:
                    pass
                del self.variables[depth:]
        except _Break:
            del self.variables[depth:]

    def pipe(self, pipe: Node, dot: Any) -> Any:
        _, names, assigns, commands = pipe
        value = self.commands(commands, dot)
        for name in names:
            if assigns:
                self.assign(name, value)
            else:
                self.variables.append((name, value))
        return value

    def assign(self, name: str, value: Any) -> None:
        for place in range(len(self.variables) - 1, -1, -1):
            if self.variables[place][0] == name:
                self.variables[place] = (name, value)
                return
        raise TemplateError(f"template: :1: undefined variable {go_quote(name)}")

    def commands(self, commands: list[list[Node]], dot: Any) -> Any:
        value: Any = None
        for number, operands in enumerate(commands):
            value = self.command(operands, dot, [value] if number else [])
        return value

    def command(self, operands: list[Node], dot: Any, last: list[Any]) -> Any:
        first = operands[0]
        if first[0] == "word" and first[1] not in ("true", "false", "nil"):
            return self.call(first[1], operands[1:], dot, last)
        if first[0] == "field" and (len(operands) > 1 or last):
            return self.method(first, [self.value(each, dot) for each in operands[1:]] + last, dot)
        if len(operands) > 1 or last:
            raise TemplateError("template: :1: can't give argument to non-function")
        return self.value(first, dot)

    def method(self, node: Node, arguments: list[Any], dot: Any) -> Any:
        """`.Label "name"` of a row, the only method that takes an argument."""
        owner = self.value(node[1], dot)
        labels = owner.field("labels") if isinstance(owner, Fields) else None
        if node[2] != "Label" or not isinstance(labels, dict) or len(arguments) != 1:
            raise TemplateError(f"template: :1: {node[2]} is not a method but has arguments")
        return labels.get(arguments[0], "")

    def call(self, name: str, operands: list[Node], dot: Any, last: list[Any]) -> Any:
        if name in ("and", "or"):
            return self.shortcut(name, operands, dot, last)
        function = self.template.functions.get(name)
        if function is None:
            raise TemplateError(f"template: :1: function {go_quote(name)} not defined")
        arguments = [self.value(each, dot) for each in operands] + last
        try:
            return function(*arguments)
        except TemplateError:
            raise
        except (TypeError, ValueError, IndexError, KeyError, AttributeError) as error:
            raise TemplateError(f"template: :1: error calling {name}: {error}") from error

    def shortcut(self, name: str, operands: list[Node], dot: Any, last: list[Any]) -> Any:
        value: Any = None
        for operand in operands:
            value = self.value(operand, dot)
            if truth(value) != (name == "and"):
                return value
        return last[0] if last else value

    def value(self, node: Node, dot: Any) -> Any:  # noqa: PLR0911 - a case for each kind
        kind = node[0]
        if kind == ".":
            return dot
        if kind == "field":
            return self.field(node, dot)
        if kind == "variable":
            for name, value in reversed(self.variables):
                if name == node[1]:
                    return value
            raise TemplateError(f"template: :1: undefined variable {go_quote(node[1])}")
        if kind == "pipe":
            return self.pipe(node, dot)
        if kind == "word":
            if node[1] in ("true", "false", "nil"):
                return {"true": True, "false": False, "nil": None}[node[1]]
            return self.call(node[1], [], dot, [])
        return node[1]

    def field(self, node: Node, dot: Any) -> Any:
        _, inner, name = node
        owner = self.value(inner, dot)
        if isinstance(owner, Fields):
            return owner.field(name)
        if isinstance(owner, dict):
            found = lookup(owner, name)
            lenient = not self.template.strict or (inner[0] == "field" and inner[2] in FREE_MAPS)
            if found is MISSING and not lenient:
                raise self.wrong(node, f"map has no entry for key {go_quote(name)}")
            return found
        if owner is None or owner is MISSING:
            if not self.template.strict and owner is MISSING:
                return MISSING
            raise self.wrong(node, f"nil data; no entry for key {go_quote(name)}")
        raise self.wrong(node, f"can't evaluate field {name} in type {type(owner).__name__}")

    def wrong(self, node: Node, problem: str) -> TemplateError:
        return TemplateError(f'template: :1:2: executing "" at <{_source(node)}>: {problem}')


def _empty(pipe: Node) -> str:
    """What Go prints for null: `[]` and `map[]` where the API has lists and maps."""
    first = pipe[3][0][0]
    if first[0] != "field" or len(pipe[3]) > 1:
        return "<nil>"
    return "[]" if first[2] in LISTS else "map[]" if first[2] in FREE_MAPS else "<nil>"


def _source(node: Node) -> str:
    if node[0] != "field":
        return str(node[1]) if node[0] == "variable" else ""
    return f"{_source(node[1])}.{node[2]}"


def lookup(owner: dict[str, Any], name: str) -> Any:
    """The value under `name`; Go's names for JSON's (`.ID` for `Id`) find theirs too."""
    if name in owner:
        return owner[name]
    folded = name.lower()
    alike = [key for key in owner if key.lower() == folded]
    return owner[alike[0]] if len(alike) == 1 else MISSING


def _pairs(value: Any) -> list[tuple[Any, Any]]:
    if value is None or value is MISSING:
        return []
    if isinstance(value, dict):
        return sorted(value.items())
    if isinstance(value, list):
        return list(enumerate(value))
    if isinstance(value, int) and not isinstance(value, bool):
        return [(number, number) for number in range(value)]
    raise TemplateError(f"template: :1: range can't iterate over {to_text(value)}")


def truth(value: Any) -> bool:
    return value is not MISSING and (isinstance(value, Fields) or bool(value))


def to_text(value: Any) -> str:  # noqa: PLR0911 - a case for each type
    """Go's %v."""
    if value is MISSING:
        return "<no value>"
    if isinstance(value, str):
        return value
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e21 else repr(value)
    if isinstance(value, list):
        return "[" + " ".join(to_text(each) for each in value) + "]"
    if isinstance(value, dict):
        return "map[" + " ".join(f"{key}:{to_text(value[key])}" for key in sorted(value)) + "]"
    if isinstance(value, Fields):
        return to_text(value.as_document())
    return str(value)


# -- functions -------------------------------------------------------------------------------------


def _json(value: Any) -> str:
    text = show(_plain(value))
    if isinstance(value, Fields):
        # Go escapes for HTML what it makes of a row, and only that.
        text = text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    return text


def _plain(value: Any) -> Any:
    if isinstance(value, Fields):
        return value.as_document()
    return None if value is MISSING else value


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        if isinstance(value, dict):
            value = value.get(key, _zero_of(value))
        elif isinstance(value, (list, str)):
            if not isinstance(key, int) or not 0 <= key < len(value):
                raise TemplateError(f"template: :1: error calling index: index out of range: {key}")
            value = value[key]
        else:
            raise TemplateError("template: :1: error calling index: index of untyped nil")
    return value


def _zero_of(values: dict[str, Any]) -> Any:
    """What a map gives for a missing key: "" where it is a map of strings."""
    return "" if all(isinstance(each, str) for each in values.values()) else MISSING


def _slice(value: Any, *places: int) -> Any:
    return value[slice(*places)] if len(places) > 1 else value[places[0] :] if places else value


def _eq(first: Any, *others: Any) -> bool:
    if not others:
        raise TemplateError("template: :1: error calling eq: missing argument for comparison")
    return any(_same(first, other) for other in others)


def _same(one: Any, other: Any) -> bool:
    nothing = (None, MISSING)
    if one in nothing or other in nothing:
        return one in nothing and other in nothing
    if isinstance(one, (list, dict)) or isinstance(other, (list, dict)):
        raise TemplateError("template: :1: error calling eq: non-comparable type")
    if isinstance(one, str) != isinstance(other, str):
        raise TemplateError("template: :1: error calling eq: incompatible types for comparison")
    return bool(one == other)


def _join(values: Any, separator: str) -> str:
    return separator.join(to_text(each) for each in values or [])


def _print(*values: Any) -> str:
    """fmt.Sprint: a space between two neighbours neither of which is a string."""
    out = ""
    for number, value in enumerate(values):
        if number and not isinstance(value, str) and not isinstance(values[number - 1], str):
            out += " "
        out += to_text(value)
    return out


def _printf(form: str, *values: Any) -> str:
    rest = list(values)
    out, position = "", 0
    while position < len(form):
        char = form[position]
        position += 1
        if char != "%":
            out += char
            continue
        start = position
        while position < len(form) and form[position] in "+-# 0123456789.":
            position += 1
        flags, verb = form[start:position], form[position : position + 1]
        position += 1
        if verb == "%":
            out += "%"
        elif not rest:
            out += f"%!{verb}(MISSING)"
        else:
            out += _verb(flags, verb, rest.pop(0))
    if rest:
        out += "%!(EXTRA " + ", ".join(f"{_go_type(each)}={to_text(each)}" for each in rest) + ")"
    return out


def _verb(flags: str, verb: str, value: Any) -> str:
    if verb in "dxXob" and isinstance(value, int):
        return f"%{flags}{verb}" % value if verb != "b" else f"{value:b}"
    if verb in "feEgG" and isinstance(value, (int, float)) and not isinstance(value, bool):
        return f"%{flags}{verb}" % value
    if verb == "q":
        return f"%{flags}s" % go_quote(to_text(value))
    if verb in "svt":
        return f"%{flags.replace('+', '').replace('#', '')}s" % to_text(value)
    if verb == "x":
        return to_text(value).encode().hex()
    return f"%!{verb}({_go_type(value)}={to_text(value)})"


def _go_type(value: Any) -> str:
    names = {bool: "bool", int: "int", float: "float64", str: "string"}
    return names.get(type(value), "interface {}")


def _title(text: str) -> str:
    out, previous = "", " "
    for char in text:
        out += char.upper() if not (previous.isalnum() or previous in "_'") else char
        previous = char
    return out


def _pad(text: str, before: int, after: int) -> str:
    return " " * before + text + " " * after if text else text


def _html(*values: Any) -> str:
    marks = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&#34;", "'": "&#39;"}
    return "".join(marks.get(char, char) for char in _print(*values))


def _urlquery(*values: Any) -> str:
    from tiffin.cli.client import quote

    return quote(_print(*values), " ").replace(" ", "+")


def _len(value: Any) -> int:
    return len(value.encode()) if isinstance(value, str) else len(value)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "not": lambda value: not truth(value),
    "eq": _eq,
    "ne": lambda one, other: not _same(one, other),
    "lt": lambda one, other: one < other,
    "le": lambda one, other: one <= other,
    "gt": lambda one, other: one > other,
    "ge": lambda one, other: one >= other,
    "len": _len,
    "index": _index,
    "slice": _slice,
    "print": _print,
    "println": lambda *values: " ".join(map(to_text, values)) + "\n",
    "printf": _printf,
    "html": _html,
    "urlquery": _urlquery,
    "json": _json,
    "split": lambda text, separator: text.split(separator) if separator else list(text),
    "join": _join,
    "title": _title,
    "lower": lambda text: text.lower(),
    "upper": lambda text: text.upper(),
    "pad": _pad,
    "truncate": lambda text, length: text[:length],
}

# A table's header line is the template run over the titles, which the functions leave as they are.
HEADER_FUNCTIONS: dict[str, Callable[..., Any]] = FUNCTIONS | {
    "json": lambda title: title,
    "split": lambda title, _: title,
    "join": lambda title, _: title,
    "title": lambda title: title,
    "lower": lambda title: title,
    "upper": lambda title: title,
    "truncate": lambda title, _: title,
}


def parse(source: str, *, strict: bool = False, code: int = 64, name: str = "") -> Template:
    """The template in `source`. CommandFailed with `code` as Docker's CLI says it."""
    try:
        return Template(source, strict=strict)
    except TemplateError as error:
        words = str(error).replace("template: :", f"template: {name}:", 1)
        raise CommandFailed(f"template parsing error: {words}", code) from error


def print_one(source: str, document: Any, name: str = "") -> None:
    """Prints one document by the template (`json` for all of it)."""
    if source == "json":
        say(show(document))
        return
    template = parse(source, strict=True, name=name)
    try:
        say(template.render(document))
    except TemplateError as error:
        raise CommandFailed(f"template parsing error: {error}") from error
