"""Help texts, made from the tables: nothing is described twice."""

from __future__ import annotations

from tiffin.cli.options import usage_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tiffin.cli.options import Command, Option

WIDTH = 80


def wrap(text: str, width: int) -> list[str]:
    """Lines of at most `width` characters, broken at spaces; its own line breaks stay."""
    lines = []
    for paragraph in text.split("\n"):
        line = ""
        for word in paragraph.split(" "):
            if line and len(line) + 1 + len(word) > width:
                lines.append(line)
                line = word
            else:
                line = f"{line} {word}" if line else word
        lines.append(line)
    return lines


def columns(rows: Iterable[tuple[str, str]], gap: int = 3) -> str:
    """Two columns, the right one wrapped."""
    shown = list(rows)
    left = max((len(row[0]) for row in shown), default=0) + gap
    out = []
    for head, text in shown:
        for number, line in enumerate(wrap(text, max(WIDTH - left, 24))):
            out.append(f"{head if number == 0 else '':<{left}}{line}".rstrip())
    return "\n".join(out)


def option_rows(options: Sequence[Option]) -> list[tuple[str, str]]:
    rows = []
    for name, letter, kind, text in sorted(options):
        if kind.startswith("=") or not text:
            continue
        short = f"-{letter}," if letter else "   "
        value = "" if kind == "bool" else f" {kind}"
        rows.append((f"  {short} --{name}{value}", text))
    return rows


def command_help(name: str, command: Command, aliases: list[str]) -> str:
    parts = [
        f"Usage:  tiffin {usage_of(name, command)}",
        "",
        command.details or command.summary,
    ]
    if len(aliases) > 1:
        parts += ["", "Aliases:", "  " + ", ".join(f"tiffin {alias}" for alias in aliases)]
    if rows := option_rows(command.options):
        parts += ["", "Options:", columns(rows)]
    return "\n".join(parts) + "\n"
