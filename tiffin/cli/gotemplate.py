"""Go's text/template, as much of it as `--format` needs.

Actions: pipelines, variables, if/else, range/else, with/else, break, continue, define, template,
block, comments, trimming.
Functions: Go's own (and, or, not, eq, ne, lt, le, gt, ge, len, index, slice, print, printf,
println, html, js, urlquery) and Docker's (json, split, join, title, lower, upper, pad, truncate).
What is wrong is said as Go says it, with the place: `template: :1:2: executing "" at <.X>: ...`.
"""

from __future__ import annotations

from tiffin.cli.failures import CommandFailed
from tiffin.cli.jsontext import show
from tiffin.cli.output import say
from tiffin.cli.templatecalls import check_call
from tiffin.cli.templatefunctions import FUNCTIONS, HEADER_FUNCTIONS
from tiffin.cli.templateparse import (
    TemplateError,
    line_of,
    parse_source,
    place_of,
    show_command,
    show_node,
    show_pipe,
)
from tiffin.cli.templatevalues import MISSING, Fields, go_type, pairs_of, to_text, truth
from tiffin.cli.wording import go_quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from tiffin.cli.templateparse import Node

__all__ = ["HEADER_FUNCTIONS", "Fields", "Template", "TemplateError", "parse", "print_one"]

# Maps with names that users choose: a key that is missing there is no mistake of the template.
FREE_MAPS = frozenset(
    "Labels Annotations Sysctls Ports Networks Options DriverOpts PortBindings ExposedPorts "
    "Volumes Tmpfs LogConfig Config Containers Details Attributes AuxAddress Services Status "
    "StorageOpt".split()
)

# Lists that the API leaves null.
LISTS = frozenset(
    "Binds CapAdd CapDrop Cmd Devices Dns DnsOptions DnsSearch Entrypoint Env ExecIDs ExtraHosts "
    "GroupAdd Links Manifests Mounts OnBuild Peers RepoDigests RepoTags SecurityOpt Shell Ulimits "
    "VolumesFrom".split()
)


# Go's names for fields of what it reads into structs of its own.
_KINDS = {
    "Client": "system.clientVersion",
    "Plugins": "system.PluginsInfo",
    "Server": "*types.Version",
    "Swarm": "swarm.Info",
}

# Go allows 100,000, which no stack of ours holds.
_MOST_NESTED = 100


class _Break(Exception):
    pass


class _Continue(Exception):
    pass


class Template:
    """A parsed template. `strict`: a field that a document does not have is an error.

    `kind` is Go's name of what it is run over, for messages; "" where Go itself sees a map.
    """

    def __init__(self, source: str, *, strict: bool = False, name: str = "", kind: str = ""):
        self.source = source
        self.name = name
        self.strict = strict
        self.kind = kind
        self.functions: dict[str, Callable[..., Any]] = FUNCTIONS
        self.nodes, self.defined = parse_source(source, FUNCTIONS, name)

    def render(self, data: Any) -> str:
        return "".join(self.run(data).out)

    def run(self, data: Any) -> _Run:
        """As `render`; where it fails, what came before is in `TemplateError.partial`."""
        run = _Run(self, data)
        try:
            run.nodes(self.nodes, data)
        except TemplateError as error:
            error.partial = "".join(run.out)  # type: ignore[attr-defined]
            raise
        return run


class _Run:
    def __init__(self, template: Template, data: Any):
        self.template = template
        self.variables: list[tuple[str, Any]] = [("$", data)]
        self.out: list[str] = []
        self.depth = 0
        self.executing = template.name

    def wrong(self, place: int, context: str, problem: str) -> TemplateError:
        source, name = self.template.source, self.template.name
        column = len(source[:place].rpartition("\n")[2].encode())
        return TemplateError(
            f"template: {name}:{line_of(source, place)}:{column}: "
            f"executing {go_quote(self.executing)} at <{context}>: {problem}"
        )

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
            elif kind == "template":
                self.nested(node, dot)
            else:
                self.choose(node, dot)

    def nested(self, node: Node, dot: Any) -> None:
        """Another template, which sees none of our variables."""
        _, name, pipe, place, shown = node
        body = self.template.defined.get(name)
        if body is None:
            problem = f"template {go_quote(name)} not defined"
            raise self.wrong(place, shown, problem)
        if self.depth >= _MOST_NESTED:
            raise self.wrong(place, shown, "exceeded maximum template depth (100000)")
        value = None if pipe is None else self.pipe(pipe, dot)
        outer = self.variables, self.executing
        self.variables, self.executing = [("$", value)], name
        self.depth += 1
        self.nodes(body, value)
        self.depth -= 1
        self.variables, self.executing = outer

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
        try:
            pairs = pairs_of(value)
        except ValueError as error:
            place = place_of(pipe[3][0][0][0])
            raise self.wrong(place, show_pipe(pipe), str(error)) from error
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
        _, names, assigns, commands, place = pipe
        value = self.commands(commands, dot)
        for name in names:
            if assigns:
                self.assign(name, value, place)
            else:
                self.variables.append((name, value))
        return value

    def assign(self, name: str, value: Any, place: int) -> None:
        for index in range(len(self.variables) - 1, -1, -1):
            if self.variables[index][0] == name:
                self.variables[index] = (name, value)
                return
        raise self.undefined(name, place)

    def undefined(self, name: str, place: int) -> TemplateError:
        line = line_of(self.template.source, place)
        return TemplateError(
            f"template: {self.template.name}:{line}: undefined variable {go_quote(name)}"
        )

    def commands(self, commands: list[Any], dot: Any) -> Any:
        value: Any = None
        for number, command in enumerate(commands):
            value = self.command(command, dot, [value] if number else [])
        return value

    def command(self, command: Any, dot: Any, last: list[Any]) -> Any:
        operands, _ = command
        first = operands[0]
        if first[0] == "word" and first[1] not in ("true", "false", "nil"):
            return self.call(command, dot, last)
        if first[0] == "field" and (len(operands) > 1 or last):
            return self.method(first, [self.value(each, dot) for each in operands[1:]] + last, dot)
        if len(operands) > 1 or last:
            problem = f"can't give argument to non-function {show_node(first)}"
            raise self.wrong(place_of(first), show_node(first), problem)
        return self.value(first, dot)

    def method(self, node: Node, arguments: list[Any], dot: Any) -> Any:
        """`.Label "name"` of a row, the only method that takes an argument."""
        owner = self.value(node[1], dot)
        labels = owner.field("labels") if isinstance(owner, Fields) else None
        if node[2] != ("Label",) or not isinstance(labels, dict):
            problem = f"{node[2][-1]} is not a method but has arguments"
        elif len(arguments) != 1:
            problem = f"wrong number of args for Label: want 1 got {len(arguments)}"
        else:
            return labels.get(arguments[0], "")
        raise self.wrong(place_of(node), show_node(node), problem)

    def call(self, command: Any, dot: Any, last: list[Any]) -> Any:
        operands, place = command
        name = operands[0][1]
        if name in ("and", "or"):
            return self.shortcut(name, operands[1:], dot, last)
        arguments = [self.value(each, dot) for each in operands[1:]] + last
        if self.template.functions is FUNCTIONS:
            untyped = self.template.strict and not self.template.kind
            wrong = check_call(operands[0], operands[1:], arguments, untyped=untyped)
            if wrong:
                raise self.wrong(*wrong)
        try:
            return self.template.functions[name](*arguments)
        except TemplateError:
            raise
        except (TypeError, ValueError, IndexError, KeyError, AttributeError) as error:
            problem = f"error calling {name}: {error}"
            raise self.wrong(place, show_command(command), problem) from error

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
            raise self.undefined(node[1], node[2])
        if kind == "pipe":
            return self.pipe(node, dot)
        if kind == "word":
            if node[1] in ("true", "false", "nil"):
                return {"true": True, "false": False, "nil": None}[node[1]]
            return self.call(([node], node[2]), dot, [])
        return node[1]

    def field(self, node: Node, dot: Any) -> Any:
        _, inner, names, _ = node
        value = self.value(inner, dot)
        above = "" if inner[0] == "." else "?"
        for name in names:
            typed = isinstance(value, Fields)  # Go knows the types of a row's fields
            value = self.member(node, value, name, above)
            above = "" if typed else name
        return value

    def member(self, node: Node, owner: Any, name: str, above: str) -> Any:
        """A field of `owner`, which is the field `above` of something ("": the whole)."""
        place = node[3]
        if isinstance(owner, Fields):
            try:
                return owner.field(name)
            except KeyError as error:
                problem = f"can't evaluate field {name} in type *{owner.kind}"
                if name == "Label" and "Labels" in owner.names():
                    problem = "wrong number of args for Label: want 1 got 0"
                raise self.wrong(place, show_node(node), problem) from error
        if isinstance(owner, dict):
            found = lookup(owner, name)
            return self.otherwise(node, owner, name, above) if found is MISSING else found
        if owner is None or owner is MISSING:
            if owner is MISSING and (above not in ("", "?") or not self.template.strict):
                return MISSING
            problem = f"nil data; no entry for key {go_quote(name)}"
            raise self.wrong(place, show_node(node), problem)
        shown = "interface {}" if above and not self.template.kind else go_type(owner)
        raise self.wrong(place, show_node(node), f"can't evaluate field {name} in type {shown}")

    def otherwise(self, node: Node, owner: dict[str, Any], name: str, above: str) -> Any:
        """The value of a field that `owner` lacks: a mistake, unless it may be left out."""
        if not self.template.strict:
            return MISSING
        from tiffin.cli.templatefields import UNKNOWN, is_config, left_out

        found = left_out(owner, name, above)
        if found is not UNKNOWN and (found is not None or name == node[2][-1]):
            return found
        if above in FREE_MAPS and not (above == "Config" and is_config(owner)):
            return MISSING
        problem = f"map has no entry for key {go_quote(name)}"
        if self.template.kind and (kind := _KINDS.get(above) if above else self.template.kind):
            problem = f"can't evaluate field {name} in type {kind}"
        raise self.wrong(node[3], show_node(node), problem)


def _empty(pipe: Node) -> str:
    """What Go prints for null: `[]` and `map[]` where the API has lists and maps."""
    first = pipe[3][0][0][0]
    if first[0] != "field" or len(pipe[3]) > 1:
        return "<nil>"
    name = first[2][-1]
    return "[]" if name in LISTS else "map[]" if name in FREE_MAPS else "<nil>"


def lookup(owner: dict[str, Any], name: str) -> Any:
    """The value under `name`; Go's names for JSON's (`.ID` for `Id`) find theirs too."""
    if name in owner:
        return owner[name]
    folded = name.lower()
    alike = [key for key in owner if key.lower() == folded]
    return owner[alike[0]] if len(alike) == 1 else MISSING


def parse(
    source: str,
    *,
    strict: bool = False,
    code: int = 64,
    name: str = "",
    kind: str = "",
    blame: str = "template parsing error",
) -> Template:
    """The template in `source`. CommandFailed with `code` as Docker's CLI says it."""
    try:
        return Template(source, strict=strict, name=name, kind=kind)
    except TemplateError as error:
        raise CommandFailed(f"{blame}: {error}", code) from error


def print_one(source: str, document: Any, name: str = "", kind: str = "") -> None:
    """Prints one document by the template (`json` for all of it), as far as it goes."""
    if source == "json":
        say(show(document))
        return
    template = parse(source, strict=True, name=name, kind=kind)
    try:
        say(template.render(document))
    except TemplateError as error:
        say(getattr(error, "partial", ""))
        raise CommandFailed(str(error)) from error
