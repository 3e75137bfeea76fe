"""`system dial-stdio`: our standard streams are a connection to the daemon. What ssh runs."""

from __future__ import annotations

from tiffin.cli.options import Arguments, Command
from tiffin.cli.streams import Plain, copy_streams

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tiffin.cli.client import Client


def dial_stdio(client: Client, _: Arguments) -> None:
    copy_streams(client.open(), Plain(), take_input=True)


DIAL_STDIO = Command(
    dial_stdio,
    "",
    "Proxy the stdio stream to the daemon connection. Should not be invoked manually.",
    most=0,
)
