"""`logs`."""

from __future__ import annotations

from tiffin.cli.options import Arguments, Command
from tiffin.cli.streams import Frames, Plain
from tiffin.cli.targets import container_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tiffin.cli.client import Client, Response

_FRAMED = "application/vnd.docker.multiplexed-stream"


def logs(client: Client, arguments: Arguments) -> None:
    name = arguments.words[0]
    answer = client.request("GET", container_path(name, "logs"), _query(arguments))
    output: Frames | Plain = Frames() if _is_framed(client, answer, name) else Plain()
    for piece in answer.pieces():
        output.feed(piece)


def _query(arguments: Arguments) -> dict[str, str]:
    query = {"stdout": "1", "stderr": "1", "tail": arguments.text("tail", "all")}
    for option in ("follow", "timestamps", "details"):
        if arguments.flag(option):
            query[option] = "1"
    for option in ("since", "until"):
        if arguments.text(option):
            from tiffin.cli.moments import timestamp

            query[option] = timestamp(arguments.text(option), option)
    return query


def _is_framed(client: Client, answer: Response, name: str) -> bool:
    """From API 1.42 on the answer says it; before, it takes a look at the container."""
    if answer.headers.get("content-type") == _FRAMED:
        return True
    return not client.get(container_path(name, "json"))["Config"].get("Tty")


LOGS = Command(
    logs,
    " [OPTIONS] CONTAINER",
    "Fetch the logs of a container",
    (
        ("details", "", "bool", "Show extra details provided to logs"),
        ("follow", "f", "bool", "Follow log output"),
        (
            "since",
            "",
            "string",
            (
                'Show logs since timestamp (e.g. "2013-01-02T13:23:37Z") '
                'or relative (e.g. "42m" for 42 minutes)'
            ),
        ),
        (
            "tail",
            "n",
            "string",
            'Number of lines to show from the end of the logs (default "all")',
        ),
        ("timestamps", "t", "bool", "Show timestamps"),
        (
            "until",
            "",
            "string",
            (
                'Show logs before a timestamp (e.g. "2013-01-02T13:23:37Z") '
                'or relative (e.g. "42m" for 42 minutes)'
            ),
        ),
    ),
    least=1,
    most=1,
)
