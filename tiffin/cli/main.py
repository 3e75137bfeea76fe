"""The `tiffin` command: finds the verb, loads its module, runs it.

A start of the CLI costs what it imports, so the hot commands import almost nothing: `posix` for
`os`, `_signal` for `signal`, C parts for `json`, and no argparse, dataclasses, typing, re, socket.
"""

from __future__ import annotations

import posix
from _signal import (  # type: ignore[import-not-found]
    SIG_DFL,
    SIG_IGN,
    SIGINT,
    SIGPIPE,
    SIGTERM,
    getsignal,
    signal,
)

from tiffin.cli.client import Client
from tiffin.cli.commands import COMMANDS, GROUPS, load
from tiffin.cli.failures import CommandFailed, WrongUsage
from tiffin.cli.options import parse, to_bool
from tiffin.cli.output import complain, keep_standard_streams, write
from tiffin.cli.surroundings import config_document, environment
from tiffin.cli.targeting import context_name, find_target

_SWITCHES = {
    "-D": "debug",
    "--debug": "debug",
    "-v": "version",
    "--version": "version",
    "--tls": "tls",
    "--tlsverify": "tlsverify",
}
_VALUES = {
    "-H": "host",
    "--host": "host",
    "-l": "log-level",
    "--log-level": "log-level",
    "-c": "context",
    "--context": "context",
    "--config": "config",
    "--tlscacert": "tlscacert",
    "--tlscert": "tlscert",
    "--tlskey": "tlskey",
}
_PREFERENCES = ("DOCKER_DEFAULT_PLATFORM", "DOCKER_CONTENT_TRUST", "DOCKER_CUSTOM_HEADERS")
_NEW_OPTIONS = frozenset(("annotation", "cgroupns", "health-start-interval", "platform"))
# Second names of commands in groups: messages call a command by its first.
_FIRST_NAMES = {"list": "ls", "remove": "rm", "container ps": "ls"}
_LEVELS = ("trace", "debug", "info", "warn", "warning", "error", "fatal", "panic")
_HINT = "Usage:  tiffin [OPTIONS] COMMAND [ARG...]\n\nRun 'tiffin --help' for more information"


def main(words: list[str]) -> int:
    """Runs the command line `words` (without the program's name); returns the exit code."""
    keep_standard_streams()
    signal(SIGPIPE, SIG_DFL)  # a closed pipe ends us as it ends any other program
    for number in (SIGINT, SIGTERM):
        if getsignal(number) is not SIG_IGN:
            signal(number, _end)
    try:
        return _run(words)
    except CommandFailed as error:
        if error.message:
            complain(error.message)
        return error.code
    except OSError as error:
        complain(_words(error))
        return 1
    except ValueError as error:
        complain(f"tiffin: the daemon's answer makes no sense: {error}")
        return 1
    except (AttributeError, KeyError, IndexError, TypeError) as error:
        if not {"-D", "--debug"}.isdisjoint(words):  # show where
            raise
        complain(f"tiffin: the daemon's answer makes no sense: {type(error).__name__}: {error}")
        return 1


def _end(number: int, _: object) -> None:
    """Ctrl-C: quietly, with Docker's exit code, and what was half done is put away on the way."""
    raise SystemExit(128 + number)


def _words(error: OSError) -> str:
    text = (error.strerror or str(error)).lower()
    return f"{error.filename}: {text}" if error.filename else text


def _run(words: list[str]) -> int:
    settings, words = _global_options(words)
    if settings.get("version") == "true":
        from tiffin import __version__

        write(1, f"tiffin version {__version__}\n".encode())
        return 0
    if "help" in settings or not words:
        from tiffin.cli.overview import overview

        write(1 if "help" in settings else 2, overview().encode())
        return 0
    name, rest = _find(words)
    if not name:
        return 0
    if name == "daemon":
        from tiffin.cli.start_daemon import become_daemon

        become_daemon(rest)
    command = load(name)
    arguments = parse(name, command, rest)
    if arguments is None:
        from tiffin.cli.overview import help_for

        write(1, help_for(name, command).encode())
        return 0
    client = _client(name, settings)
    if config_document() or any(map(environment, _PREFERENCES)):
        from tiffin.cli.preferences import fill_in, http_headers

        client.headers = http_headers()
        fill_in(name, arguments, client.host)
    if not _NEW_OPTIONS.isdisjoint(arguments.values):
        from tiffin.cli.since import refuse_too_new

        refuse_too_new(client, name, arguments)
    return command.function(client, arguments) or 0


def _client(name: str, settings: dict[str, str]) -> Client:
    if name.startswith("context "):  # works on contexts, and so also when the one in use is broken
        return Client(settings.get("host", ""), context=context_name(settings))
    target = find_target(settings)
    client = Client(
        target.host,
        tls=target.tls,
        context=target.context,
        when_down=None if target.named else _start_daemon,
    )
    client.debug = settings.get("debug") == "true"
    if version := environment("DOCKER_API_VERSION"):
        client.version, client.may_downgrade = version.removeprefix("v"), False
    return client


def _start_daemon(host: str) -> None:
    from tiffin.cli.start_daemon import start_daemon

    start_daemon(host)


def _global_options(words: list[str]) -> tuple[dict[str, str], list[str]]:
    """What stands before the verb, and the rest."""
    settings: dict[str, str] = {}
    rest = words[::-1]
    while rest and rest[-1].startswith("-"):
        word = rest.pop()
        name, equals, value = word.partition("=")
        if word in ("-h", "--help"):
            settings["help"] = "true"
        elif name == "--help":
            settings |= {"help": "true"} if _switched("--help", value) else {}
        elif name in _SWITCHES:
            _switch(settings, _SWITCHES[name], value if equals else "true")
        elif name in _VALUES or word[:2] in ("-H", "-l", "-c"):
            if name not in _VALUES:
                name, value, equals = word[:2], word[2:].removeprefix("="), "="
            if not equals and not rest:
                raise WrongUsage(_lacks(name), _HINT)
            _set(settings, _VALUES[name], value if equals else rest.pop())
        elif word.startswith("--"):
            raise WrongUsage(f"unknown flag: {name}", _HINT)
        else:
            raise WrongUsage(f"unknown shorthand flag: {word[1]!r} in {word}", _HINT)
    return settings, rest[::-1]


def _switch(settings: dict[str, str], name: str, value: str) -> None:
    flag = ", ".join(word for word, meant in _SWITCHES.items() if meant == name)
    settings[name] = "true" if _switched(flag, value) else "false"


def _switched(flag: str, value: str) -> bool:
    try:
        return to_bool(value)
    except ValueError as error:
        raise WrongUsage(f'invalid argument "{value}" for "{flag}" flag: {error}', _HINT) from error


def _set(settings: dict[str, str], name: str, value: str) -> None:
    if name == "host" and "host" in settings:
        raise CommandFailed(
            "Failed to initialize: unable to resolve docker endpoint: Specify only one -H"
        )
    if name == "log-level" and value and value.lower() not in _LEVELS:
        raise CommandFailed(f"Unable to parse logging level: {value}")
    settings[name] = value
    if name == "config":
        posix.environ[b"DOCKER_CONFIG"] = value.encode()


def _lacks(name: str) -> str:
    shown = f"{name[1]!r} in {name}" if len(name) == 2 else name
    return f"flag needs an argument: {shown}"


def _find(words: list[str]) -> tuple[str, list[str]]:
    """The verb that `words` begin with. Empty after the help of a group was printed."""
    if words[0] in GROUPS:
        return _find_in_group(words)
    if words[0] in COMMANDS:
        return words[0], words[1:]
    if words[0] == "help":
        from tiffin.cli.overview import help_about

        write(1, help_about(words[1:]).encode())
        return "", []
    _refuse_absent(words[0])
    raise WrongUsage(
        f"tiffin: unknown command: tiffin {words[0]}",
        "Run 'tiffin --help' for more information",
        code=1,
    )


def _refuse_absent(name: str) -> None:
    from tiffin.cli.absent import reason

    if why := reason(name):
        raise CommandFailed(f"tiffin {name} is not supported: {why}")


def _find_in_group(words: list[str]) -> tuple[str, list[str]]:
    group = words[0]
    asked = len(words) > 1 and words[1].startswith("--help=") and _switched("--help", words[1][7:])
    if len(words) == 1 or asked or words[1] in ("-h", "--help"):
        from tiffin.cli.overview import group_help

        write(2 if len(words) == 1 else 1, group_help(group).encode())
        return "", []
    name = f"{group} {words[1]}"
    name = f"{group} {_FIRST_NAMES.get(name, _FIRST_NAMES.get(words[1], words[1]))}"
    if name in COMMANDS:
        return name, words[2:]
    _refuse_absent(name)
    usage = f"{group} COMMAND" if group == "volume" else group
    hint = f"Usage:  tiffin {usage}\n\nRun 'tiffin {group} --help' for more information"
    if words[1].startswith("-"):
        raise WrongUsage(f"unknown flag: {words[1]}", hint)
    raise WrongUsage(f"tiffin: unknown command: tiffin {name}", hint, code=1)
