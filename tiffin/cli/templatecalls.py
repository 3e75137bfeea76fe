"""What the functions of templates take: how many arguments, and of which types. Go checks both."""

from __future__ import annotations

from tiffin.cli.templateparse import place_of, show_node
from tiffin.cli.templatevalues import MISSING, go_type

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from tiffin.cli.templateparse import Node

    Wrong = tuple[int, str, str]  # where, at what, and the problem

_ONE, _TWO, _ANY = ("",), ("", ""), ""
# "": of any type. A last "..." stands for any number of more.
_TAKES: dict[str, tuple[str, ...]] = {
    "not": _ONE,
    "eq": (_ANY, "..."),
    "ne": _TWO,
    "lt": _TWO,
    "le": _TWO,
    "gt": _TWO,
    "ge": _TWO,
    "len": _ONE,
    "index": (_ANY, "..."),
    "slice": (_ANY, "..."),
    "printf": ("string", "..."),
    "json": _ONE,
    "split": ("string", "string"),
    "join": ("[]string", "string"),
    "title": ("string",),
    "lower": ("string",),
    "upper": ("string",),
    "pad": ("string", "int", "int"),
    "truncate": ("string", "int"),
}
_TYPES = {"string": str, "int": int, "[]string": list}
_CONSTANTS = {"string": "string", "int": "integer"}
_WORDS = ("true", "false")


def check_call(
    name: Node, operands: Sequence[Node], arguments: Sequence[Any], *, untyped: bool = False
) -> Wrong | None:
    """What Go says against the call of the function `name`; None: nothing.

    `arguments` are the values of `operands`, and one more at the end of a pipeline. `untyped`: Go
    would have them from a map, where numbers are json.Number.
    """
    takes = _TAKES.get(name[1])
    if takes is None:
        return None
    least = len(takes) - (takes[-1] == "...")
    if len(arguments) < least or (len(arguments) > least and takes[-1] != "..."):
        want = f"at least {least}" if takes[-1] == "..." else str(least)
        problem = f"wrong number of args for {name[1]}: want {want} got {len(arguments)}"
        return place_of(name), str(name[1]), problem
    for number, (kind, value) in enumerate(zip(takes, arguments, strict=False)):
        node = operands[number] if number < len(operands) else name
        problem = _mistyped(kind, node, value, untyped=untyped)
        if problem:
            return place_of(node), show_node(node), problem
    return None


def _mistyped(kind: str, node: Node, value: Any, *, untyped: bool) -> str:
    if kind not in _TYPES or (isinstance(value, _TYPES[kind]) and not isinstance(value, bool)):
        return ""
    constant = node[0] in ("string", "number") or (node[0] == "word" and node[1] in _WORDS)
    if node[0] == "word" and node[1] == "nil":
        return f"cannot assign nil to {kind}"
    if value is None or value is MISSING:
        return f"invalid value; expected {kind}"
    if constant and kind in _CONSTANTS:
        return f"expected {_CONSTANTS[kind]}; found {show_node(node)}"
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    shown = "json.Number" if untyped and number and not _is_computed(node) else go_type(value)
    return f"wrong type for value; expected {kind}; got {shown}"


def _is_computed(node: Node) -> bool:
    """The result of `len`, which is a number of Go's own."""
    return bool(node[0] == "pipe" and node[3][-1][0][0][:2] == ("word", "len"))
