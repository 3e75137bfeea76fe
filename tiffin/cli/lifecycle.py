"""`stop`, `rm`, `kill`, `restart`, `pause`, `unpause`, `rename`, `wait`."""

from __future__ import annotations

from tiffin.cli.failures import CommandFailed, DaemonAnswered, EmptyName
from tiffin.cli.options import Arguments, Command
from tiffin.cli.output import say
from tiffin.cli.targets import container_path, for_each, one_by_one

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tiffin.cli.client import Client
    from tiffin.cli.options import Option

_STOPPING: tuple[Option, ...] = (
    ("signal", "s", "string", "Signal to send to the container"),
    ("timeout", "t", "int", "Seconds to wait before killing the container"),
    ("time", "", "=timeout", "use --timeout instead"),
)
_MANY = " [OPTIONS] CONTAINER [CONTAINER...]"


def _stopping(arguments: Arguments) -> dict[str, str]:
    query = {}
    if arguments.text("signal"):
        query["signal"] = arguments.text("signal")
    if arguments.given("timeout"):
        query["t"] = str(arguments.number("timeout"))
    return query


def stop(client: Client, arguments: Arguments) -> None:
    query = _stopping(arguments)
    for_each(client, arguments.words, "POST", lambda name: container_path(name, "stop"), query)


def restart(client: Client, arguments: Arguments) -> None:
    query = _stopping(arguments)

    def act(name: str) -> None:
        client.request("POST", container_path(name, "restart"), query).read()
        say(name)

    one_by_one(arguments.words, act)


def kill(client: Client, arguments: Arguments) -> None:
    signal = arguments.text("signal")
    query = {"signal": signal} if signal else None
    for_each(client, arguments.words, "POST", lambda name: container_path(name, "kill"), query)


def remove(client: Client, arguments: Arguments) -> None:
    options = (("force", "force"), ("link", "link"), ("volumes", "v"))
    query = {name: "1" for option, name in options if arguments.flag(option)}

    def place_of(name: str) -> str:
        if not name.strip("/"):
            raise EmptyName("container", "container name cannot be empty")
        return container_path(name.strip("/"))

    for_each(
        client,
        arguments.words,
        "DELETE",
        place_of,
        query,
        forgive_missing=arguments.flag("force"),
    )


def pause(client: Client, arguments: Arguments) -> None:
    for_each(client, arguments.words, "POST", lambda name: container_path(name, "pause"))


def unpause(client: Client, arguments: Arguments) -> None:
    for_each(client, arguments.words, "POST", lambda name: container_path(name, "unpause"))


def rename(client: Client, arguments: Arguments) -> None:
    old, new = (word.strip() for word in arguments.words)
    if not old or not new:
        raise CommandFailed("Error: Neither old nor new names may be empty")
    try:
        client.request("POST", container_path(old, "rename"), {"name": new}).read()
    except DaemonAnswered as error:
        words = f"{error.message}\nError: failed to rename container named {old}"
        raise CommandFailed(words) from error


def wait(client: Client, arguments: Arguments) -> None:
    def act(name: str) -> None:
        say(str(client.post(container_path(name, "wait"))["StatusCode"]))

    one_by_one(arguments.words, act)


STOP = Command(stop, _MANY, "Stop one or more running containers", _STOPPING, least=1)
RESTART = Command(restart, _MANY, "Restart one or more containers", _STOPPING, least=1)
KILL = Command(kill, _MANY, "Kill one or more running containers", _STOPPING[:1], least=1)
RM = Command(
    remove,
    _MANY,
    "Remove one or more containers",
    (
        ("force", "f", "bool", "Force the removal of a running container (uses SIGKILL)"),
        ("link", "l", "bool", "Remove the specified link"),
        ("volumes", "v", "bool", "Remove anonymous volumes associated with the container"),
    ),
    least=1,
)
PAUSE = Command(
    pause,
    " CONTAINER [CONTAINER...]",
    "Pause all processes within one or more containers",
    least=1,
)
UNPAUSE = Command(
    unpause,
    " CONTAINER [CONTAINER...]",
    "Unpause all processes within one or more containers",
    least=1,
)
RENAME = Command(rename, " CONTAINER NEW_NAME", "Rename a container", least=2, most=2)
WAIT = Command(
    wait,
    " CONTAINER [CONTAINER...]",
    "Block until one or more containers stop, then print their exit codes",
    least=1,
)
