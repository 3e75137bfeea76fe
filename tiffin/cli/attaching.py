"""What run, start, attach and exec have in common: a stream to a container, and what ends it."""

from __future__ import annotations

from tiffin.cli.failures import CommandFailed
from tiffin.cli.output import complain
from tiffin.cli.streams import (
    DETACH_KEYS,
    Escape,
    Frames,
    Plain,
    copy_streams,
    parse_keys,
    wait_for_answer,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from tiffin.cli.client import Client, Connection, Response


def escape_for(keys: str) -> Escape:
    try:
        return Escape(parse_keys(keys) if keys else DETACH_KEYS)
    except ValueError as error:
        complain(f"invalid detach escape keys, using default: {error}")
        return Escape(DETACH_KEYS)


def attach_query(keys: str, **streams: bool) -> dict[str, str]:
    query = {name: "1" for name in sorted(streams) if streams[name]}
    return {"detachKeys": keys, **query, "stream": "1"} if keys else {**query, "stream": "1"}


def converse(
    connection: Connection,
    *,
    tty: bool,
    stdin: bool,
    output: bool = True,
    keys: str = "",
    until: Connection | None = None,
    ready: Callable[[], None] | None = None,
    catch_signals: bool = True,
) -> None:
    """Copies both ways until the stream ends; `ready` runs first. Detached when the keys came."""
    if not tty:
        if ready is not None:
            ready()
        frames = Frames() if output else None
        copy_streams(connection, frames, take_input=stdin, until=until)
        return
    escape = escape_for(keys) if stdin else None
    plain = Plain() if output else None
    if not stdin:
        if ready is not None:
            ready()
        copy_streams(connection, plain, take_input=False, until=until)
        return
    from tiffin.cli.terminal import RawTerminal

    with RawTerminal(catch_signals=catch_signals):
        if ready is not None:
            ready()
        copy_streams(connection, plain, take_input=True, escape=escape, until=until)


class Waiting:
    """A wait on its own connection, asked for before the container starts: no exit is lost.

    Asked for before the attach, it is answered meanwhile: heard() then costs nothing.
    """

    def __init__(self, client: Client, container: str, condition: str = ""):
        self.client = client
        query = {"condition": condition} if condition else None
        self.connection = client.ask("POST", f"/containers/{container}/wait", query)
        self.answer: Response | None = None

    def heard(self) -> None:
        """Returns when the daemon has heard of it, which it says at once.

        Each connection takes its own time: a container that starts on another one may be gone
        before one waits for it.
        """
        try:
            self.answer = self.client.answer(self.connection, "POST")
        except CommandFailed as error:
            raise CommandFailed(f"error waiting for container: {error.message}", 125) from error

    def exit_code(self) -> int:
        """Blocks until the container has ended. 125 when the daemon could not tell."""
        try:
            wait_for_answer(self.connection)
            answer = self.answer or self.client.answer(self.connection, "POST")
            document = answer.document()
        except CommandFailed as error:
            complain(f"error waiting for container: {error.message}")
            return 125
        except ValueError:
            complain("error waiting for container: unexpected EOF")
            return 125
        problem = document.get("Error")
        if problem and problem.get("Message"):
            complain(f"Error waiting for container: {problem['Message']}")
            return 125
        return int(document["StatusCode"])
