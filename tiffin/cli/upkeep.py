"""`system check`: what a crash has left, as a table; exit code 1 while something is left."""

from __future__ import annotations

from tiffin.cli.options import Arguments, Command
from tiffin.cli.output import complain, say
from tiffin.cli.tables import table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tiffin.cli.client import Client

_TITLES = ("KIND", "SUBJECT", "PROBLEM", "STATE")
_FORMAT = "Format output using a custom template, or 'json'"


def check(client: Client, arguments: Arguments) -> int:
    """A daemon that is started for this has mended things by then: --all shows those as well."""
    query = {"repair": "1"} if arguments.flag("repair") else {}
    answer = client.request("POST", "/tiffin/check", query).document()
    findings, at_start = answer["Findings"], answer["AtStart"]
    left = [found for found in findings if not found["Mended"]]
    form = arguments.text("format")
    if form:
        from tiffin.cli.template.engine import print_one

        print_one(form, answer)
        return 1 if left else 0
    shown = findings + at_start if arguments.flag("all") else findings
    if shown:
        say(table([_TITLES, *map(_row, shown)]))
    if not findings:
        say("Nothing is out of order.")
    if at_start and not arguments.flag("all"):
        say(f"{len(at_start)} found at the daemon's start (--all shows them).")
    if left and not arguments.flag("repair"):
        complain("tiffin system check --repair mends what can be mended")
    return 1 if left else 0


def _row(found: dict[str, Any]) -> tuple[str, ...]:
    state = "mended" if found["Mended"] else found["Error"] or "left"
    return found["Kind"], found["Subject"], found["Problem"], state


CHECK = Command(
    check,
    " [OPTIONS]",
    "Find what a crash has left behind, and mend it",
    (
        ("all", "a", "bool", "Show also what the daemon found and mended at its start"),
        ("format", "f", "string", _FORMAT),
        ("repair", "", "bool", "Mend what is found"),
    ),
    most=0,
)
