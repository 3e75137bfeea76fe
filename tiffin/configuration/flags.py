"""The daemon's command line: dockerd's flags, parsed by the rules of pflag."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tiffin.cli.options import Arguments, Command, parse, to_bool
from tiffin.cli.quantities import parse_size, parse_ulimit
from tiffin.configuration.file import check_settled
from tiffin.configuration.keys import ABSENT, FILE_ONLY, OBEYED, SETTLED, SETTLED_FLAGS, SWITCHES
from tiffin.errors import InvalidArgument

if TYPE_CHECKING:
    from tiffin.cli.options import Option

_OWN: tuple[Option, ...] = (
    ("config-file", "", "string", 'Daemon configuration file (default "/etc/tiffin/daemon.json")'),
    ("feature", "", "feature", "Enable feature in the daemon"),
    ("validate", "", "bool", "Validate daemon configuration and exit"),
    ("version", "v", "bool", "Print version information and quit"),
)


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise ValueError(f"bad attribute format: {text}")
    return name, value


def _feature(text: str) -> dict[str, bool]:
    name, equals, value = text.partition("=")
    if not name:
        raise ValueError(f"invalid option name: {text}")
    return {name: to_bool(value) if equals else True}


def _options() -> tuple[Option, ...]:
    obeyed = [
        (key.flag, key.letter, key.kind, key.help) for key in OBEYED if key.flag not in _SPECIAL
    ]
    special = [
        (key.flag, key.letter, _SPECIAL[key.flag], key.help)
        for key in OBEYED
        if key.flag in _SPECIAL
    ]
    settled = [
        (SETTLED_FLAGS.get(name, name), "s" if name == "storage-driver" else "", kind, "")
        for name, (kind, _, _) in SETTLED.items()
        if name not in FILE_ONLY
    ]
    absent = [
        (name, "b" if name == "bridge" else "", "bool" if name in SWITCHES else "string", "")
        for name in ABSENT
    ]
    return (*obeyed, *special, *settled, *absent, *_OWN)


# The word that the help shows for the value of a map.
_SPECIAL = {"default-ulimit": "ulimit", "log-opt": "map", "add-runtime": "runtime"}


def _never(_client: object, _arguments: Arguments) -> None:
    raise AssertionError("the daemon's command line is only parsed")


COMMAND = Command(
    _never,
    " [OPTIONS]",
    "Serve the Docker Engine API",
    _options(),
    most=0,
    checks={
        "default-shm-size": parse_size,
        "default-ulimit": parse_ulimit,
        "label": lambda text: "=".join(_pair(text)),
        "log-opt": _pair,
        "add-runtime": _pair,
        "feature": _feature,
    },
)


def parse_flags(words: list[str]) -> dict[str, Any] | None:
    """What was given, by configuration key; and `config-file`, `validate`, `version`.

    None when help was asked for. Raises WrongUsage in pflag's words, InvalidArgument for a flag
    whose thing tiffin does not have.
    """
    arguments = parse("daemon", COMMAND, words)
    if arguments is None:
        return None
    given = arguments.values
    for name in given:
        if name in ABSENT:
            raise InvalidArgument(f"--{name} is not supported: {ABSENT[name]}")
    for key in SETTLED:
        flag = SETTLED_FLAGS.get(key, key)
        if flag in given:
            check_settled(key, given[flag])
    for feature in given.pop("feature", ()):
        check_settled("features", feature)
    found = {key.name: _value(key.kind, given[key.flag]) for key in OBEYED if key.flag in given}
    return found | {name: given[name] for name, *_ in _OWN if name in given}


def _value(kind: str, value: Any) -> Any:
    if kind != "map":
        return value
    pairs = [(each["Name"], each) if isinstance(each, dict) else each for each in value]
    return dict(pairs)
