"""The daemon's progress messages: lines, and on a terminal bars that move.

The cursor moves only where somebody looks: on a pipe a message with numbers in it is left out.
"""

from __future__ import annotations

from tiffin.cli.failures import CommandFailed
from tiffin.cli.output import STDOUT, is_terminal, terminal_size, write
from tiffin.cli.wording import human_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

_WIDE = 110


def show_progress(
    messages: Iterable[dict[str, Any]],
    descriptor: int = STDOUT,
    on_result: Callable[[Any], None] | None = None,
) -> None:
    """Shows each message; `on_result` is given the results. CommandFailed if one is an error.

    A negative `descriptor` shows nothing.
    """
    display = _Display(descriptor)
    for message in messages:
        if message.get("aux") is not None:
            if on_result is not None:
                on_result(message["aux"])
            continue
        problem = message.get("errorDetail") or (
            {"message": message["error"]} if message.get("error") else None
        )
        if problem:
            raise CommandFailed(problem.get("message", ""), problem.get("code") or 1)
        if descriptor >= 0:
            display.show(message)


class _Display:
    def __init__(self, descriptor: int):
        self.descriptor = descriptor
        self.terminal = descriptor >= 0 and is_terminal(descriptor)
        self.lines: dict[str, int] = {}

    def show(self, message: dict[str, Any]) -> None:
        identity = message.get("id", "")
        moves = message.get("progressDetail") is not None or message.get("progress")
        text, up = "", 0
        if identity and moves:
            if identity not in self.lines:
                self.lines[identity] = len(self.lines)
                text += "\n" if self.terminal else ""
            up = len(self.lines) - self.lines[identity]
            text += f"\x1b[{up}A" if self.terminal else ""
        else:
            self.lines = {}
        text += self.line(message)
        if identity and self.terminal and up:
            text += f"\x1b[{up}B"
        if text:
            write(self.descriptor, text.encode("utf-8", "surrogateescape"))

    def line(self, message: dict[str, Any]) -> str:
        detail = message.get("progressDetail")
        stream = message.get("stream", "")
        numbers = self.bar(detail) if detail else ""
        ending = ""
        text = ""
        if self.terminal and not stream and detail is not None:
            text, ending = "\x1b[2K\r", "\r"
        elif numbers:
            return ""
        if message.get("id"):
            text += f"{message['id']}: "
        if message.get("from"):
            text += f"(from {message['from']}) "
        status = message.get("status", "")
        if detail is not None and self.terminal:
            return f"{text}{status} {numbers}{ending}"
        if stream:
            return f"{text}{stream}{ending}"
        return f"{text}{status}{ending}\n"

    def bar(self, detail: dict[str, Any]) -> str:
        """`[=====>     ]  1.2MB/4.5MB`; nothing where there are no numbers."""
        current, total = detail.get("current", 0), detail.get("total", 0)
        unit = detail.get("units", "")
        if current <= 0 and total <= 0:
            return ""
        if total <= 0:
            return f"{current} {unit}" if unit else f"{human_size(current):>8}"
        done = min(int(current / total * 100) // 2, 50)
        box = ""
        if (terminal_size(self.descriptor)[1] or 200) > _WIDE:
            box = f"[{'=' * done}>{' ' * (50 - done)}] "
        if detail.get("hidecounts"):
            return box
        if unit:
            return f"{box}{current}{'' if current > total else f'/{total}'} {unit}"
        shown = f"{human_size(current):>8}"
        return f"{box}{shown}" if current > total else f"{box}{shown}/{human_size(total)}"
