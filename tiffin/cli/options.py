"""A command as a table of its options, and the parsing of a command line by such a table.

The rules are those of pflag, which Docker's CLI uses: `--name=value` and `--name value`, one-letter
flags that may stand together (`-dp 3000:3000`), booleans that take a value only after `=`, `--`
that ends the options; and where a command line goes on to name somebody else's command (run, exec),
the first word that is no option ends them too.
"""

from __future__ import annotations

from tiffin.cli.failures import WrongUsage
from tiffin.cli.output import say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from tiffin.cli.client import Client

    # name, one letter or "", kind, help. The kind is the word that the help shows for the value:
    # "bool" takes none, "string", "int" and "duration" keep the last, all others collect a list.
    # A kind "=other" makes the option a hidden name of `other`, its help what to use in its place;
    # help "" hides an option.
    Option = tuple[str, str, str, str]


_ONE = frozenset(("bool", "string", "int", "uint16", "duration", "bytes", "decimal"))
_HELP: Option = ("help", "", "bool", "")
_TRUE = frozenset(("1", "t", "T", "TRUE", "true", "True"))
_FALSE = frozenset(("0", "f", "F", "FALSE", "false", "False"))


class Arguments:
    """What a command line said: options by name, and the words that are left."""

    def __init__(self) -> None:
        self.words: list[str] = []
        self.values: dict[str, Any] = {}

    def given(self, name: str) -> bool:
        return name in self.values

    def flag(self, name: str, default: bool = False) -> bool:
        return bool(self.values.get(name, default))

    def text(self, name: str, default: str = "") -> str:
        return str(self.values.get(name, default))

    def number(self, name: str, default: int = 0) -> int:
        return int(self.values.get(name, default))

    def many(self, name: str) -> list[Any]:
        """A list option's values in their order."""
        return list(self.values.get(name, ()))

    def pairs(
        self, option: str, files: str, find: Callable[[str], str | None] | None
    ) -> list[str] | None:
        """The lines of the `files`, then what `option` gave; `find` knows values for names."""
        if not self.given(files):
            return self.many(option) or None
        from tiffin.cli.pairfiles import read_pairs

        return read_pairs(self.many(files), self.many(option), find)


class Command:
    """One verb: what it takes, and the function that does it."""

    def __init__(
        self,
        function: Callable[[Client, Arguments], int | None],
        usage: str,
        summary: str,
        options: Sequence[Option] = (),
        *,
        least: int = 0,
        most: int | None = None,
        checks: Mapping[str, Callable[[str], object]] | None = None,
        interspersed: bool = True,
        details: str = "",
    ):
        self.function = function
        self.usage = usage
        self.summary = summary
        self.options = options
        self.least = least
        self.most = most
        self.checks = checks or {}
        self.interspersed = interspersed
        self.details = details


def late(place: str) -> Callable[[str], object]:
    """The check `module:function` of tiffin.cli, loaded when a value is there to be checked."""

    def check(text: str) -> object:
        module, _, name = place.partition(":")
        return getattr(__import__(f"tiffin.cli.{module}", fromlist=(name,)), name)(text)

    return check


def parse(name: str, command: Command, words: list[str]) -> Arguments | None:
    """The arguments in `words`; None when help was asked for. WrongUsage in pflag's words."""
    return _Parsing(name, command).parse(words)


class _Parsing:
    def __init__(self, name: str, command: Command):
        self.name = name
        self.command = command
        self.by_name = {option[0]: option for option in command.options}
        self.by_letter = {option[1]: option for option in command.options if option[1]}
        self.found = Arguments()

    def parse(self, words: list[str]) -> Arguments | None:
        rest = words[::-1]
        while rest:
            word = rest.pop()
            if word == "--":
                self.found.words += rest[::-1]
                break
            if not word.startswith("-") or word == "-":
                self.found.words.append(word)
                if not self.command.interspersed:
                    self.found.words += rest[::-1]
                    break
            elif word == "--help" or (word == "-h" and "h" not in self.by_letter):
                return None
            elif word.startswith("--help="):
                self.store(_HELP, word[7:])
                if self.found.values.pop("help"):
                    return None
            elif word.startswith("--"):
                self.long(word, rest)
            else:
                self.letters(word[1:], rest)
        self.count()
        return self.found

    def long(self, word: str, rest: list[str]) -> None:
        name, equals, value = word[2:].partition("=")
        option = self.by_name.get(name)
        if option is None or not name:
            from tiffin.cli.absent import reason

            if why := reason(self.name, f"--{name}"):
                raise self.wrong(f"--{name} is not supported: {why}")
            wrong = not name or name.startswith("-")
            raise self.wrong(f"bad flag syntax: {word}" if wrong else f"unknown flag: --{name}")
        if not equals:
            if option[2] == "bool":
                value = "true"
            elif rest:
                value = rest.pop()
            else:
                raise self.wrong(f"flag needs an argument: --{name}")
        self.store(option, value)

    def letters(self, letters: str, rest: list[str]) -> None:
        while letters:
            here, letter, letters = letters, letters[0], letters[1:]
            option = self.by_letter.get(letter)
            if option is None:
                raise self.wrong(f"unknown shorthand flag: {letter!r} in -{here}")
            if letters.startswith("=") and len(letters) > 1:
                value, letters = letters[1:], ""
            elif option[2] == "bool":
                value = "true"
            elif letters:
                value, letters = letters, ""
            elif rest:
                value = rest.pop()
            else:
                raise self.wrong(f"flag needs an argument: {letter!r} in -{here}")
            self.store(option, value)

    def store(self, option: Option, text: str) -> None:
        shown = f"-{option[1]}, --{option[0]}" if option[1] else f"--{option[0]}"
        if option[2].startswith("="):
            if option[3]:
                say(f"Flag {shown} has been deprecated, {option[3]}")
            option = self.by_name[option[2][1:]]
        name, _, kind, _ = option
        try:
            value = self.convert(name, kind, text)
        except ValueError as error:
            from tiffin.cli.wording import go_quote

            problem = f'invalid argument {go_quote(text)} for "{shown}" flag: {error}'
            raise self.wrong(problem) from error
        if kind in _ONE:
            self.found.values[name] = value
        else:
            self.found.values.setdefault(name, []).append(value)

    def convert(self, name: str, kind: str, text: str) -> Any:
        check = self.command.checks.get(name)
        if check is not None:
            return check(text)
        if kind == "bool":
            return to_bool(text)
        if kind == "int":
            return to_int(text)
        if kind == "uint16":
            return to_uint16(text)
        return text

    def count(self) -> None:
        """Words that are too few or too many, as cobra says it."""
        count, least, most = len(self.found.words), self.command.least, self.command.most
        if count >= least and (most is None or count <= most):
            return
        if most == 0:
            wanted = "accepts no arguments"
        elif most is None:
            wanted = f"requires at least {least} argument{'' if least == 1 else 's'}"
        elif least == most:
            wanted = f"requires {least} argument{'' if least == 1 else 's'}"
        elif least == 0:
            wanted = f"requires at most {most} argument{'' if most == 1 else 's'}"
        else:
            wanted = f"requires at least {least} and at most {most} arguments"
        see = "See" if most is None else "Run"
        raise WrongUsage(
            f"tiffin: 'tiffin {self.name}' {wanted}",
            f"Usage:  tiffin {usage_of(self.name, self.command)}\n\n"
            f"{see} 'tiffin {self.name} --help' for more information",
            code=1,
        )

    def wrong(self, problem: str) -> WrongUsage:
        return WrongUsage(
            problem,
            f"Usage:  tiffin {usage_of(self.name, self.command)}\n\n"
            f"Run 'tiffin {self.name} --help' for more information",
        )


def usage_of(name: str, command: Command) -> str:
    """The usage line under the name that the user typed (`container run`, `run`)."""
    return name + command.usage.replace("\n", f"\n\ttiffin {name}") if command.usage else name


def to_bool(text: str) -> bool:
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise ValueError(f'strconv.ParseBool: parsing "{text}": invalid syntax')


def to_pair(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name, value


def to_int(text: str) -> int:
    return _whole_number(text, "ParseInt", -1 << 63, (1 << 63) - 1)


def to_uint16(text: str) -> int:
    return _whole_number(text, "ParseUint", 0, 65535)


def _whole_number(text: str, function: str, least: int, most: int) -> int:
    """As Go reads it: also 0x1f, 0b11 and, beginning with a naught, 017."""
    sign, digits = (text[0], text[1:]) if text[:1] in ("+", "-") else ("", text)
    if digits[:1] == "0" and digits[1:2] in tuple("0123456789_"):
        digits = f"0o{digits[1:]}"
    try:
        if not digits[:1].isdigit() or not text.isascii() or (sign and not least):
            raise ValueError
        number = int(sign + digits, 0)
    except ValueError:
        raise ValueError(f'strconv.{function}: parsing "{text}": invalid syntax') from None
    if not least <= number <= most:
        raise ValueError(f'strconv.{function}: parsing "{text}": value out of range')
    return number
