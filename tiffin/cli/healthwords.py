"""`--health-*` and `--no-healthcheck` as the API has them."""

from __future__ import annotations

from tiffin.cli.failures import WrongOption

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tiffin.cli.options import Arguments


def parse_health(arguments: Arguments) -> dict[str, Any]:
    command = arguments.text("health-cmd")
    spans = {
        "Interval": arguments.number("health-interval"),
        "Timeout": arguments.number("health-timeout"),
        "StartPeriod": arguments.number("health-start-period"),
        "StartInterval": arguments.number("health-start-interval"),
        "Retries": arguments.number("health-retries"),
    }
    asked = bool(command) or any(spans.values())
    if arguments.flag("no-healthcheck"):
        if asked:
            raise WrongOption("--no-healthcheck conflicts with --health-* options")
        return {"Test": ["NONE"]}
    options = ("interval", "timeout", "start-period", "start-interval", "retries")
    for option, value in zip(options, spans.values(), strict=True):
        if value < 0:
            raise WrongOption(f"--health-{option} cannot be negative")
    found: dict[str, Any] = {"Test": ["CMD-SHELL", command]} if command else {}
    return found | {name: value for name, value in spans.items() if value} if asked else {}
