"""The `tiffin` command: finds the verb in the table below, loads its module, runs it.

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
from tiffin.cli.failures import CommandFailed, WrongUsage
from tiffin.cli.options import Command, parse
from tiffin.cli.output import complain, write
from tiffin.cli.preferences import fill_in, http_headers
from tiffin.cli.surroundings import environment
from tiffin.cli.targeting import context_name, find_target

# What the user types -> module of tiffin.cli, and the Command in it.
COMMANDS: dict[str, tuple[str, str]] = {
    "run": ("run", "RUN"),
    "create": ("run", "CREATE"),
    "exec": ("execute", "EXEC"),
    "ps": ("ps", "PS"),
    "build": ("build", "BUILD"),
    "pull": ("pull", "PULL"),
    "push": ("pull", "PUSH"),
    "images": ("images", "IMAGES"),
    "login": ("login", "LOGIN"),
    "logout": ("login", "LOGOUT"),
    "version": ("version", "VERSION"),
    "info": ("system", "INFO"),
    "attach": ("attach", "ATTACH"),
    "commit": ("snapshot", "COMMIT"),
    "cp": ("archive", "CP"),
    "daemon": ("start_daemon", "DAEMON"),
    "diff": ("snapshot", "DIFF"),
    "events": ("system", "EVENTS"),
    "export": ("snapshot", "EXPORT"),
    "history": ("images", "HISTORY"),
    "import": ("save", "IMPORT"),
    "inspect": ("inspect", "INSPECT"),
    "kill": ("lifecycle", "KILL"),
    "load": ("save", "LOAD"),
    "logs": ("logs", "LOGS"),
    "pause": ("lifecycle", "PAUSE"),
    "port": ("details", "PORT"),
    "rename": ("lifecycle", "RENAME"),
    "restart": ("lifecycle", "RESTART"),
    "search": ("search", "SEARCH"),
    "rm": ("lifecycle", "RM"),
    "rmi": ("images", "RMI"),
    "save": ("save", "SAVE"),
    "start": ("start", "START"),
    "stats": ("stats", "STATS"),
    "stop": ("lifecycle", "STOP"),
    "tag": ("images", "TAG"),
    "top": ("details", "TOP"),
    "unpause": ("lifecycle", "UNPAUSE"),
    "update": ("update", "UPDATE"),
    "wait": ("lifecycle", "WAIT"),
    "container attach": ("attach", "ATTACH"),
    "container commit": ("snapshot", "COMMIT"),
    "container cp": ("archive", "CP"),
    "container create": ("run", "CREATE"),
    "container diff": ("snapshot", "DIFF"),
    "container exec": ("execute", "EXEC"),
    "container export": ("snapshot", "EXPORT"),
    "container inspect": ("inspect", "INSPECT_CONTAINER"),
    "container kill": ("lifecycle", "KILL"),
    "container logs": ("logs", "LOGS"),
    "container ls": ("ps", "PS"),
    "container list": ("ps", "PS"),
    "container ps": ("ps", "PS"),
    "container pause": ("lifecycle", "PAUSE"),
    "container port": ("details", "PORT"),
    "container prune": ("prune", "PRUNE_CONTAINERS"),
    "container rename": ("lifecycle", "RENAME"),
    "container restart": ("lifecycle", "RESTART"),
    "container rm": ("lifecycle", "RM"),
    "container remove": ("lifecycle", "RM"),
    "container run": ("run", "RUN"),
    "container start": ("start", "START"),
    "container stats": ("stats", "STATS"),
    "container stop": ("lifecycle", "STOP"),
    "container top": ("details", "TOP"),
    "container unpause": ("lifecycle", "UNPAUSE"),
    "container update": ("update", "UPDATE"),
    "container wait": ("lifecycle", "WAIT"),
    "image build": ("build", "BUILD"),
    "image history": ("images", "HISTORY"),
    "image import": ("save", "IMPORT"),
    "image inspect": ("inspect", "INSPECT_IMAGE"),
    "image load": ("save", "LOAD"),
    "image ls": ("images", "IMAGES"),
    "image list": ("images", "IMAGES"),
    "image prune": ("prune", "PRUNE_IMAGES"),
    "image pull": ("pull", "PULL"),
    "image push": ("pull", "PUSH"),
    "image rm": ("images", "RMI"),
    "image remove": ("images", "RMI"),
    "image save": ("save", "SAVE"),
    "image tag": ("images", "TAG"),
    "volume create": ("volumes", "CREATE"),
    "volume inspect": ("inspect", "INSPECT_VOLUME"),
    "volume ls": ("volumes", "LIST"),
    "volume list": ("volumes", "LIST"),
    "volume prune": ("prune", "PRUNE_VOLUMES"),
    "volume rm": ("volumes", "REMOVE"),
    "volume remove": ("volumes", "REMOVE"),
    "network connect": ("networks", "CONNECT"),
    "network create": ("networks", "CREATE"),
    "network disconnect": ("networks", "DISCONNECT"),
    "network inspect": ("inspect", "INSPECT_NETWORK"),
    "network ls": ("networks", "LIST"),
    "network list": ("networks", "LIST"),
    "network prune": ("prune", "PRUNE_NETWORKS"),
    "network rm": ("networks", "REMOVE"),
    "network remove": ("networks", "REMOVE"),
    "system check": ("upkeep", "CHECK"),
    "context create": ("contexts", "CREATE"),
    "context export": ("contexts", "EXPORT"),
    "context import": ("contexts", "IMPORT"),
    "context inspect": ("contexts", "INSPECT"),
    "context ls": ("contexts", "LIST"),
    "context list": ("contexts", "LIST"),
    "context rm": ("contexts", "REMOVE"),
    "context remove": ("contexts", "REMOVE"),
    "context show": ("contexts", "SHOW"),
    "context update": ("contexts", "UPDATE"),
    "context use": ("contexts", "USE"),
    "system df": ("usage", "DF"),
    "system dial-stdio": ("dialstdio", "DIAL_STDIO"),
    "system events": ("system", "EVENTS"),
    "system info": ("system", "INFO"),
    "system install": ("install", "INSTALL"),
    "system ping": ("system", "PING"),
    "system uninstall": ("install", "UNINSTALL"),
    "system prune": ("prune", "PRUNE_SYSTEM"),
    "builder build": ("build", "BUILD"),
    "builder prune": ("prune", "PRUNE_BUILDER"),
}

GROUPS: dict[str, str] = {
    "builder": "Manage builds",
    "container": "Manage containers",
    "context": "Manage contexts",
    "image": "Manage images",
    "network": "Manage networks",
    "system": "Manage tiffin",
    "volume": "Manage volumes",
}

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
_HINT = "Usage:  tiffin [OPTIONS] COMMAND [ARG...]\n\nRun 'tiffin --help' for more information"


def main(words: list[str]) -> int:
    """Runs the command line `words` (without the program's name); returns the exit code."""
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


def _end(number: int, _: object) -> None:
    """Ctrl-C: quietly, with Docker's exit code, and what was half done is put away on the way."""
    raise SystemExit(128 + number)


def _words(error: OSError) -> str:
    text = (error.strerror or str(error)).lower()
    return f"{error.filename}: {text}" if error.filename else text


def _run(words: list[str]) -> int:
    settings, words = _global_options(words)
    if "version" in settings:
        from tiffin import __version__

        write(1, f"tiffin version {__version__}\n".encode())
        return 0
    if "help" in settings or not words:
        from tiffin.cli.overview import overview

        write(1, overview().encode())
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
    fill_in(name, arguments, client.host)
    return command.function(client, arguments) or 0


def _client(name: str, settings: dict[str, str]) -> Client:
    if name.startswith("context "):  # works on contexts, and so also when the one in use is broken
        return Client(settings.get("host", ""), context=context_name(settings))
    target = find_target(settings)
    client = Client(target.host, may_start=not target.named, tls=target.tls, context=target.context)
    client.headers = http_headers()
    client.version = environment("DOCKER_API_VERSION") or client.version
    return client


def load(name: str) -> Command:
    module, attribute = COMMANDS[name]
    loaded = __import__(f"tiffin.cli.{module}", fromlist=(attribute,))
    found: Command = getattr(loaded, attribute)
    return found


def _global_options(words: list[str]) -> tuple[dict[str, str], list[str]]:
    """What stands before the verb, and the rest."""
    settings: dict[str, str] = {}
    rest = words[::-1]
    while rest and rest[-1].startswith("-"):
        word = rest.pop()
        name, equals, value = word.partition("=")
        if word in ("-h", "--help"):
            settings["help"] = "true"
        elif name in _SWITCHES:
            settings[_SWITCHES[name]] = value or "true"
        elif name in _VALUES or word[:2] in ("-H", "-l", "-c"):
            if name not in _VALUES:
                name, value, equals = word[:2], word[2:].removeprefix("="), "="
            if not equals and not rest:
                raise WrongUsage(_lacks(name), _HINT)
            if _VALUES[name] == "host" and "host" in settings:
                raise CommandFailed("Specify only one -H")
            settings[_VALUES[name]] = value if equals else rest.pop()
            if _VALUES[name] == "config":
                posix.environ[b"DOCKER_CONFIG"] = settings["config"].encode()
        elif word.startswith("--"):
            raise WrongUsage(f"unknown flag: {name}", _HINT)
        else:
            raise WrongUsage(f"unknown shorthand flag: {word[1]!r} in {word}", _HINT)
    return settings, rest[::-1]


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
    from tiffin.cli.absent import reason

    if why := reason(words[0]):
        raise CommandFailed(f"tiffin {words[0]} is not supported: {why}")
    raise WrongUsage(
        f"tiffin: unknown command: tiffin {words[0]}",
        "Run 'tiffin --help' for more information",
        code=1,
    )


def _find_in_group(words: list[str]) -> tuple[str, list[str]]:
    group = words[0]
    if len(words) == 1 or words[1] in ("-h", "--help"):
        from tiffin.cli.overview import group_help

        write(2 if len(words) == 1 else 1, group_help(group).encode())
        return "", []
    name = f"{group} {words[1]}"
    if name in COMMANDS:
        return name, words[2:]
    usage = f"{group} COMMAND" if group == "volume" else group
    hint = f"Usage:  tiffin {usage}\n\nRun 'tiffin {group} --help' for more information"
    if words[1].startswith("-"):
        raise WrongUsage(f"unknown flag: {words[1]}", hint)
    raise WrongUsage(f"tiffin: unknown command: tiffin {name}", hint, code=1)
