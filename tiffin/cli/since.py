"""Options that older daemons do not know: they would pass over them in silence, so we refuse."""

from __future__ import annotations

from tiffin.cli.commands import COMMANDS
from tiffin.cli.failures import CommandFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tiffin.cli.client import Client
    from tiffin.cli.options import Arguments

_CONTAINER = {"annotation": (1, 43), "cgroupns": (1, 41), "health-start-interval": (1, 44)}
# Module and command -> option -> the API version that it came with.
_SINCE = {
    ("images", "HISTORY"): {"platform": (1, 48)},
    ("images", "RMI"): {"platform": (1, 50)},
    ("inspect", "INSPECT_IMAGE"): {"platform": (1, 49)},
    ("pull", "PUSH"): {"platform": (1, 46)},
    ("save", "LOAD"): {"platform": (1, 48)},
    ("save", "SAVE"): {"platform": (1, 48)},
    ("run", "CREATE"): _CONTAINER,
    ("run", "RUN"): _CONTAINER,
}


def refuse_too_new(client: Client, name: str, arguments: Arguments) -> None:
    """CommandFailed for an option of the command `name` that the daemon is too old for."""
    known = _SINCE.get(COMMANDS[name], {})
    given = {option: known[option] for option in known if arguments.given(option)}
    if not given:
        return
    spoken = client.negotiate()
    numbers = tuple(int(part) for part in spoken.split(".") if part.isdecimal())
    for option, least in given.items():
        if numbers < least:
            raise CommandFailed(
                f'"--{option}" requires API version {least[0]}.{least[1]}, '
                f"but the Docker daemon API version is {spoken}"
            )
