"""A command line's flags, as Go's cli package reads them: `--name value`, `--name=value`, `-n v`.

argparse costs more than a container's start. PURE.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Values = dict[str, Any]
else:
    Values = dict


class UsageError(ValueError):
    """The message is for the user."""


class Flag:
    """`kind` is "switch", "text", "number" or "list"; the first name is the value's key."""

    __slots__ = ("about", "kind", "names")

    def __init__(self, names: str, kind: str, about: str) -> None:
        self.names = names.split()
        self.kind = kind
        self.about = about

    @property
    def key(self) -> str:
        return self.names[0].lstrip("-")


class Command:
    """`operands` are (fewest, most) of what is no flag; most -1 is any number.

    With `stops` the first operand ends the flags: what follows belongs to somebody else.
    """

    __slots__ = ("about", "flags", "name", "operands", "stops", "usage")

    def __init__(
        self,
        name: str,
        usage: str,
        about: str,
        flags: list[Flag],
        operands: tuple[int, int],
        *,
        stops: bool = False,
    ) -> None:
        self.name = name
        self.usage = usage
        self.about = about
        self.flags = flags
        self.operands = operands
        self.stops = stops


def parse(command: Command, words: list[str]) -> tuple[Values, list[str]]:
    """The flags that were given, by key, and the operands. Raises UsageError."""
    known = {name: flag for flag in command.flags for name in flag.names}
    values: Values = {}
    operands: list[str] = []
    position = 0
    while position < len(words):
        word = words[position]
        position += 1
        if word == "--":
            operands += words[position:]
            break
        if not word.startswith("-") or word == "-":
            operands.append(word)
            if command.stops:
                operands += words[position:]
                break
            continue
        name, equals, value = word.partition("=")
        flag = known.get(name) or known.get(f"-{name}")  # Go takes one dash for two
        if flag is None:
            raise UsageError(f"flag provided but not defined: {name}")
        if flag.kind != "switch" and not equals:
            if position == len(words):
                raise UsageError(f"flag needs an argument: {name}")
            value = words[position]
            position += 1
        _keep(values, flag, value, given=bool(equals))
    _check_count(command, operands)
    return values, operands


def _keep(values: Values, flag: Flag, value: str, *, given: bool) -> None:
    if flag.kind == "switch":
        values[flag.key] = not given or _truth(flag, value)
    elif flag.kind == "list":
        values.setdefault(flag.key, []).append(value)
    elif flag.kind == "number":
        digits = value.removeprefix("-")
        if not (digits.isascii() and digits.isdigit()):
            raise UsageError(f'invalid value "{value}" for flag {flag.names[0]}: not a number')
        values[flag.key] = int(value)
    else:
        values[flag.key] = value


def _truth(flag: Flag, value: str) -> bool:
    if value in ("1", "t", "T", "true", "True", "TRUE"):
        return True
    if value in ("0", "f", "F", "false", "False", "FALSE"):
        return False
    raise UsageError(f'invalid boolean value "{value}" for {flag.names[0]}')


def _check_count(command: Command, operands: list[str]) -> None:
    fewest, most = command.operands
    if len(operands) < fewest or (most >= 0 and len(operands) > most):
        wanted = f"exactly {fewest}" if fewest == most else f"at least {fewest}"
        if fewest != most and len(operands) >= fewest:
            wanted = f"at most {most}"
        raise UsageError(f'"{command.name}" requires {wanted} argument(s): {command.usage}')
