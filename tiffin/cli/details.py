"""`port` and `top`."""

from __future__ import annotations

from tiffin.cli.failures import CommandFailed
from tiffin.cli.options import Arguments, Command
from tiffin.cli.output import say
from tiffin.cli.sorting import natural
from tiffin.cli.tables import table
from tiffin.cli.targets import container_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tiffin.cli.client import Client


def _place(binding: dict[str, str]) -> str:
    address, port = binding["HostIp"], binding["HostPort"]
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def port(client: Client, arguments: Arguments) -> None:
    from tiffin.cli.portwords import parse_port

    name, *asked = arguments.words
    ports = client.get(container_path(name, "json"))["NetworkSettings"].get("Ports") or {}
    if any(asked):
        number, _, protocol = asked[0].partition("/")
        try:
            parse_port(number)
        except ValueError as error:
            raise CommandFailed(f"Error: invalid port ({number}): {error}") from error
        bindings = ports.get(f"{number}/{protocol or 'tcp'}")
        if not bindings:
            raise CommandFailed(f"Error: No public port '{asked[0]}' published for {name}")
        lines = [_place(binding) for binding in bindings]
    else:
        lines = [
            f"{inside} -> {_place(binding)}"
            for inside, bindings in ports.items()
            for binding in bindings or ()
        ]
    if lines:
        say("\n".join(sorted(lines, key=natural)))


def top(client: Client, arguments: Arguments) -> None:
    name, *words = arguments.words
    query = {"ps_args": " ".join(words)} if words else None
    found = client.get(container_path(name, "top"), query)
    say(table([found["Titles"], *(found.get("Processes") or ())], 20, 3))


PORT = Command(
    port,
    " CONTAINER [PRIVATE_PORT[/PROTO]]",
    "List port mappings or a specific mapping for the container",
    least=1,
    most=2,
)
TOP = Command(
    top,
    " CONTAINER [ps OPTIONS]",
    "Display the running processes of a container",
    least=1,
    interspersed=False,
)
