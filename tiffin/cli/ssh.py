"""A daemon on another machine, through `ssh`: one ssh runs `system dial-stdio` there for each
connection, and its standard streams are the connection.
"""

from __future__ import annotations

import socket
import subprocess

from tiffin.cli.failures import CommandFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket

# Whichever of the two is there; docker's daemon is as good as ours.
_REMOTE = (
    "if command -v tiffin >/dev/null 2>&1; then exec tiffin{host} system dial-stdio; "
    "else exec docker{host} system dial-stdio; fi"
)


def ssh_command(host: str) -> list[str]:
    """The command line for `ssh://[user@]name[:port][/path/of/socket]`. CommandFailed."""
    place, slash, path = host.removeprefix("ssh://").partition("/")
    user, at, name = place.rpartition("@")
    wrong = "Failed to initialize: ssh host connection is not valid: invalid SSH URL"
    if at and (not user or ":" in user):
        raise CommandFailed(f"{wrong}: plain-text password is not supported")
    name, port = _name_and_port(name)
    if not name or name.startswith("-") or user.startswith("-"):
        raise CommandFailed(f"{wrong}: hostname is empty")
    if port and not port.isdecimal():
        raise CommandFailed(f"{wrong}: invalid port {port}")
    if "?" in path or "#" in path:
        raise CommandFailed(f"{wrong}: extra query or fragment")
    words = ["ssh", "-o", "ConnectTimeout=30", "-T"]
    words += ["-l", user] if user else []
    words += ["-p", port] if port else []
    remote = f" --host {_quoted(f'unix:///{path}')}" if slash and path else ""
    return [*words, "--", name, f"sh -c {_quoted(_REMOTE.format(host=remote))}"]


def _name_and_port(text: str) -> tuple[str, str]:
    if text.startswith("["):
        name, _, rest = text[1:].partition("]")
        return name, rest.removeprefix(":")
    name, _, port = text.partition(":")
    return name, port


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def dial_ssh(host: str) -> _socket.socket:
    """CommandFailed when there is no ssh here. What it complains of goes to our stderr."""
    command = ssh_command(host)
    ours, theirs = socket.socketpair()
    try:
        # A session of its own: Ctrl-C is for the container, and not for the way to it.
        subprocess.Popen(
            command, stdin=theirs.fileno(), stdout=theirs.fileno(), start_new_session=True
        )
    except OSError as error:
        ours.close()
        raise CommandFailed(
            f'error during connect: exec: "ssh": {(error.strerror or "").lower()}'
        ) from error
    finally:
        theirs.close()
    return ours
