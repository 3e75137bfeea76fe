"""`attach`."""

from __future__ import annotations

from tiffin.cli.attaching import Waiting, attach_query, converse
from tiffin.cli.failures import CommandFailed
from tiffin.cli.options import Arguments, Command
from tiffin.cli.output import STDOUT, is_terminal, refuse_without_terminal, terminal_size
from tiffin.cli.streams import Detached
from tiffin.cli.targets import container_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tiffin.cli.client import Client

_REFUSALS = (
    ("Paused", "You cannot attach to a paused container, unpause it first"),
    ("Restarting", "You cannot attach to a restarting container, wait until it is running"),
)


def _running(client: Client, name: str) -> dict[str, Any]:
    container: dict[str, Any] = client.get(container_path(name, "json"))
    state = container["State"]
    if not state.get("Running"):
        raise CommandFailed("You cannot attach to a stopped container, start it first")
    for key, words in _REFUSALS:
        if state.get(key):
            raise CommandFailed(words)
    return container


def attach(client: Client, arguments: Arguments) -> int:
    container = _running(client, arguments.words[0])
    identity, tty = container["Id"], bool(container["Config"].get("Tty"))
    waiting = Waiting(client, identity)
    use_stdin = not arguments.flag("no-stdin")
    if use_stdin and tty:
        refuse_without_terminal()
    stdin = use_stdin and bool(container["Config"].get("OpenStdin"))
    forwarding = arguments.flag("sig-proxy", default=True) and not tty
    if forwarding:
        from tiffin.cli.signals import forward_signals

        forward_signals(client, identity)
    keys = arguments.text("detach-keys")
    query = attach_query(keys, stdin=stdin, stdout=True, stderr=True)
    stream = client.hijack(container_path(identity, "attach"), query)
    _running(client, identity)

    def redraw() -> None:
        """A program that is there already draws its screen again when the size changes."""
        if not tty or not is_terminal(STDOUT):
            return
        from tiffin.cli.terminal import follow_size

        rows, columns = terminal_size(STDOUT)
        size = {"h": str(rows + 1), "w": str(columns + 1)}
        client.request("POST", container_path(identity, "resize"), size).read()
        follow_size(client, container_path(identity, "resize"))

    try:
        converse(
            stream, tty=tty, stdin=stdin, keys=keys, ready=redraw, catch_signals=not forwarding
        )
    except Detached:
        raise CommandFailed("read escape sequence") from None
    return waiting.exit_code()


ATTACH = Command(
    attach,
    " [OPTIONS] CONTAINER",
    "Attach local standard input, output, and error streams to a running container",
    (
        ("detach-keys", "", "string", "Override the key sequence for detaching a container"),
        ("no-stdin", "", "bool", "Do not attach STDIN"),
        (
            "sig-proxy",
            "",
            "bool",
            "Proxy all received signals to the process (default true)",
        ),
    ),
    least=1,
    most=1,
)
