"""`start`, with `-a` and `-i` attached."""

from __future__ import annotations

from tiffin.cli.failures import CommandFailed
from tiffin.cli.options import Arguments, Command
from tiffin.cli.output import STDOUT, complain, is_terminal, say
from tiffin.cli.targets import container_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tiffin.cli.client import Client


def start(client: Client, arguments: Arguments) -> int:
    if arguments.flag("attach") or arguments.flag("interactive"):
        if len(arguments.words) > 1:
            raise CommandFailed("you cannot start and attach multiple containers at once")
        return _start_attached(client, arguments)
    failed = []
    for name in arguments.words:
        try:
            client.request("POST", container_path(name, "start")).read()
        except CommandFailed as error:
            complain(error.message)
            failed.append(name)
        else:
            say(name)
    if failed:
        raise CommandFailed(f"Error: failed to start containers: {', '.join(failed)}")
    return 0


def _start_attached(client: Client, arguments: Arguments) -> int:
    from tiffin.cli.attaching import Waiting, attach_query, converse
    from tiffin.cli.streams import Detached

    container = client.get(container_path(arguments.words[0], "json"))
    identity, tty = container["Id"], bool(container["Config"].get("Tty"))
    removed = bool(container["HostConfig"].get("AutoRemove"))
    if not tty:
        from tiffin.cli.signals import forward_signals

        forward_signals(client, identity)
    keys = arguments.text("detach-keys")
    stdin = arguments.flag("interactive") and bool(container["Config"].get("OpenStdin"))
    query = attach_query(keys, stdin=stdin, stdout=True, stderr=True)
    waiting = Waiting(client, identity, "removed" if removed else "next-exit")
    stream = client.hijack(container_path(identity, "attach"), query)
    waiting.heard()

    def begin() -> None:
        try:
            client.request("POST", container_path(identity, "start")).read()
        except CommandFailed:
            if removed:
                waiting.exit_code()
            raise
        if tty and is_terminal(STDOUT):
            from tiffin.cli.terminal import follow_size

            follow_size(client, container_path(identity, "resize"))

    try:
        converse(stream, tty=tty, stdin=stdin, keys=keys, ready=begin, catch_signals=tty)
    except Detached:
        return 0
    return waiting.exit_code()


START = Command(
    start,
    " [OPTIONS] CONTAINER [CONTAINER...]",
    "Start one or more stopped containers",
    (
        ("attach", "a", "bool", "Attach STDOUT/STDERR and forward signals"),
        ("detach-keys", "", "string", "Override the key sequence for detaching a container"),
        ("interactive", "i", "bool", "Attach container's STDIN"),
    ),
    least=1,
)
