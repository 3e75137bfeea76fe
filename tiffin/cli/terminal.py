"""Our terminal while a container has it: raw, of the right size, and given back in every case."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import posix
import termios

from tiffin.cli.failures import DaemonAnswered
from tiffin.cli.output import STDIN, STDOUT, is_terminal, terminal_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType, TracebackType
    from typing import Any

    from tiffin.cli.client import Client

_ENDING = (_signal.SIGTERM, _signal.SIGHUP, _signal.SIGINT, _signal.SIGQUIT)


class RawTerminal:
    """Keys go to the container as they are typed, while this is entered.

    A signal that would end us gives the terminal back first.
    """

    def __init__(self, *, catch_signals: bool = True):
        self.saved: list[Any] | None = None
        self.catch_signals = catch_signals

    def __enter__(self) -> RawTerminal:
        if not is_terminal(STDIN):
            return self
        self.saved = termios.tcgetattr(STDIN)
        termios.tcsetattr(STDIN, termios.TCSANOW, _raw(termios.tcgetattr(STDIN)))
        if self.catch_signals:
            for number in _ENDING:
                _signal.signal(number, self._end)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.restore()

    def restore(self) -> None:
        if self.saved is not None:
            termios.tcsetattr(STDIN, termios.TCSADRAIN, self.saved)
            self.saved = None

    def _end(self, number: int, _: FrameType | None) -> None:
        self.restore()
        if number in (_signal.SIGINT, _signal.SIGTERM):
            raise SystemExit(128 + number)
        _signal.signal(number, _signal.SIG_DFL)
        posix.kill(posix.getpid(), number)


def _raw(mode: list[Any]) -> list[Any]:
    """cfmakeraw, and output processing off as Docker has it."""
    input_flags, output_flags, control, local, *_ = mode
    ignored = (
        termios.IGNBRK
        | termios.BRKINT
        | termios.PARMRK
        | termios.ISTRIP
        | termios.INLCR
        | termios.IGNCR
        | termios.ICRNL
        | termios.IXON
    )
    silent = termios.ECHO | termios.ECHONL | termios.ICANON | termios.ISIG | termios.IEXTEN
    mode[0] = input_flags & ~ignored
    mode[1] = output_flags & ~termios.OPOST
    mode[2] = control & ~(termios.CSIZE | termios.PARENB) | termios.CS8
    mode[3] = local & ~silent
    mode[6][termios.VMIN] = 1
    mode[6][termios.VTIME] = 0
    return mode


def follow_size(client: Client, path: str) -> None:
    """Tells the daemon the size of our terminal, now and whenever it changes."""

    def resize(*_: object) -> None:
        rows, columns = terminal_size(STDOUT)
        if not rows and not columns:
            return
        try:
            client.request("POST", path, {"h": str(rows), "w": str(columns)}).read()
        except (DaemonAnswered, OSError):
            pass  # the process may be gone already, and its terminal with it

    resize()
    _signal.signal(_signal.SIGWINCH, resize)
