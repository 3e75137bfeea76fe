"""The help that needs every command's table: `tiffin --help`, a group's, a command's aliases."""

from __future__ import annotations

from tiffin.cli.commands import COMMANDS, GROUPS, load
from tiffin.cli.failures import WrongUsage
from tiffin.cli.help import columns, command_help

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from tiffin.cli.options import Command

COMMON = (
    "run", "exec", "ps", "build", "pull", "push", "images", "login", "logout", "version", "info",
)  # fmt: skip

GLOBAL_OPTIONS = (
    (
        "      --config string",
        'Location of client config files (default "~/.docker")',
    ),
    (
        "  -c, --context string",
        (
            "Name of the context to use to connect to the daemon (overrides DOCKER_HOST env var "
            'and default context set with "tiffin context use")'
        ),
    ),
    ("  -D, --debug", "Enable debug mode"),
    ("  -H, --host list", "Daemon socket to connect to"),
    (
        "  -l, --log-level string",
        'Set the logging level ("debug", "info", "warn", "error", "fatal") (default "info")',
    ),
    ("      --tls", "Use TLS; implied by --tlsverify"),
    (
        "      --tlscacert string",
        'Trust certs signed only by this CA (default "~/.docker/ca.pem")',
    ),
    (
        "      --tlscert string",
        'Path to TLS certificate file (default "~/.docker/cert.pem")',
    ),
    ("      --tlskey string", 'Path to TLS key file (default "~/.docker/key.pem")'),
    ("      --tlsverify", "Use TLS and verify the remote"),
    ("  -v, --version", "Print version information and quit"),
)


def _listing(rows: Iterable[tuple[str, str]]) -> str:
    return "\n".join(f"  {name:<11} {text}" for name, text in rows)


def aliases(name: str) -> list[str]:
    """All names of the command, those within groups first."""
    same = [other for other, place in COMMANDS.items() if place == COMMANDS[name]]
    return sorted(same, key=lambda other: " " not in other)


def help_for(name: str, command: Command) -> str:
    return command_help(name, command, aliases(name))


def help_about(words: list[str]) -> str:
    """`tiffin help`, `tiffin help run`, `tiffin help container run`."""
    if not words:
        return overview()
    name = " ".join(words)
    if name in GROUPS:
        return group_help(name)
    if name in COMMANDS:
        return help_for(name, load(name))
    raise WrongUsage(f"unknown help topic: {name}", code=1)


def overview() -> str:
    others = [name for name in COMMANDS if " " not in name and name not in COMMON]
    return "\n".join(
        (
            "Usage:  tiffin [OPTIONS] COMMAND",
            "",
            "A container engine in Python that speaks the Docker Engine API",
            "",
            "Common Commands:",
            _listing((name, load(name).summary) for name in COMMON),
            "",
            "Management Commands:",
            _listing(GROUPS.items()),
            "",
            "Commands:",
            _listing((name, load(name).summary) for name in sorted(others)),
            "",
            "Global Options:",
            columns(GLOBAL_OPTIONS),
            "",
            "Run 'tiffin COMMAND --help' for more information on a command.",
            "",
        )
    )


def group_help(group: str) -> str:
    rows: list[tuple[str, str]] = []
    seen: list[tuple[str, str]] = []
    for name, place in COMMANDS.items():
        if name.startswith(f"{group} ") and place not in seen:
            seen.append(place)
            rows.append((name.partition(" ")[2], load(name).summary))
    return (
        f"Usage:  tiffin {group} COMMAND\n\n{GROUPS[group]}\n\nCommands:\n"
        f"{_listing(sorted(rows))}\n\n"
        f"Run 'tiffin {group} COMMAND --help' for more information on a command.\n"
    )
