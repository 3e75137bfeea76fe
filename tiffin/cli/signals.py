"""Signals to the CLI become signals to the container (`--sig-proxy`)."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import posix

from tiffin.cli.failures import CommandFailed
from tiffin.cli.output import complain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tiffin.cli.client import Client

# CHLD and PIPE are about our own process, KILL and STOP never arrive, URG is Go's own.
_FORWARDED = (
    "HUP", "INT", "QUIT", "TERM", "USR1", "USR2", "ALRM", "TSTP", "CONT", "TTIN", "TTOU",
    "VTALRM", "PROF", "WINCH", "IO", "XCPU", "XFSZ",
)  # fmt: skip

_PATIENCE = 3


def forward_signals(client: Client, container: str) -> None:
    """From here on every signal that can be is sent to the container instead."""
    names = {int(getattr(_signal, f"SIG{name}")): name for name in _FORWARDED}
    asked = 0

    def forward(number: int, _: object) -> None:
        nonlocal asked
        if number in (_signal.SIGINT, _signal.SIGTERM):
            asked += 1
            if asked == _PATIENCE:  # the container does not care: its user has said so often enough
                complain("\ngot 3 SIGTERM/SIGINTs, forcefully exiting")
                posix._exit(1)  # noqa: SLF001 - whatever we are in the middle of
        try:
            path = f"/containers/{container}/kill"
            client.again().request("POST", path, {"signal": names[number]}).read()
        except (CommandFailed, OSError):
            pass  # it is not running yet, or no more

    for number in names:
        _signal.signal(number, forward)


def stop_forwarding() -> None:
    for name in _FORWARDED:
        _signal.signal(int(getattr(_signal, f"SIG{name}")), _signal.SIG_DFL)
