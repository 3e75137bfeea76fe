"""`exec`."""

from __future__ import annotations

from tiffin.cli.failures import CommandFailed, DaemonDown, WrongOption
from tiffin.cli.options import Arguments, Command, late
from tiffin.cli.output import (
    STDIN,
    STDOUT,
    is_terminal,
    refuse_without_terminal,
    terminal_size,
)
from tiffin.cli.surroundings import environment
from tiffin.cli.targets import container_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tiffin.cli.client import Client


def exec_body(arguments: Arguments) -> dict[str, Any]:
    detached = arguments.flag("detach")
    body: dict[str, Any] = {
        "User": arguments.text("user"),
        "Privileged": arguments.flag("privileged"),
        "Tty": arguments.flag("tty"),
        "AttachStdin": arguments.flag("interactive") and not detached,
        "AttachStderr": not detached,
        "AttachStdout": not detached,
        "Detach": detached,
        "DetachKeys": arguments.text("detach-keys"),
        "Env": arguments.pairs("env", "env-file", environment),
        "WorkingDir": arguments.text("workdir"),
        "Cmd": arguments.words[1:],
    }
    if body["Tty"]:
        body["ConsoleSize"] = list(terminal_size(STDOUT))
    return body


def _load_attaching() -> None:
    import tiffin.cli.attaching  # noqa: F401


def execute(client: Client, arguments: Arguments) -> int:
    try:
        body = exec_body(arguments)
    except WrongOption as error:
        raise CommandFailed(str(error)) from error
    container = arguments.words[0]
    if body["AttachStdin"] and body["Tty"] and not is_terminal(STDIN):
        # A container that does not exist is the worse news, and an exec cannot be taken back.
        client.get(container_path(container, "json"))
        refuse_without_terminal()
    if not arguments.flag("detach"):
        client.meanwhile = _load_attaching
    identity = client.post(container_path(container, "exec"), None, body)["Id"]
    start: dict[str, Any] = {"Detach": arguments.flag("detach"), "Tty": body["Tty"]}
    if body["Tty"]:
        start["ConsoleSize"] = body["ConsoleSize"]
    if start["Detach"]:
        client.post(f"/exec/{identity}/start", None, start)
        return 0
    from tiffin.cli.attaching import converse
    from tiffin.cli.streams import Detached

    stream = client.hijack(f"/exec/{identity}/start", None, start)

    def follow() -> None:
        if body["Tty"] and is_terminal(STDIN):
            from tiffin.cli.terminal import follow_size

            follow_size(client, f"/exec/{identity}/resize")

    try:
        converse(
            stream,
            tty=body["Tty"],
            stdin=body["AttachStdin"],
            keys=body["DetachKeys"],
            ready=follow,
        )
    except Detached:
        raise CommandFailed("read escape sequence") from None
    try:
        return int(client.get(f"/exec/{identity}/json")["ExitCode"] or 0)
    except DaemonDown:
        return 255


EXEC = Command(
    execute,
    " [OPTIONS] CONTAINER COMMAND [ARG...]",
    "Execute a command in a running container",
    (
        ("detach", "d", "bool", "Detached mode: run command in the background"),
        ("detach-keys", "", "string", "Override the key sequence for detaching a container"),
        ("env", "e", "list", "Set environment variables"),
        ("env-file", "", "list", "Read in a file of environment variables"),
        ("interactive", "i", "bool", "Keep STDIN open even if not attached"),
        ("privileged", "", "bool", "Give extended privileges to the command"),
        ("tty", "t", "bool", "Allocate a pseudo-TTY"),
        ("user", "u", "string", 'Username or UID (format: "<name|uid>[:<group|gid>]")'),
        ("workdir", "w", "string", "Working directory inside the container"),
    ),
    least=2,
    checks={"env": late("optionchecks:check_env")},
    interspersed=False,
)
