"""A daemon on another machine, through `ssh`: one ssh runs `system dial-stdio` there for each
connection, and its standard streams are the connection.
"""

from __future__ import annotations

import socket
import subprocess

from tiffin.cli.failures import CommandFailed
from tiffin.cli.wording import go_quote

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
    wrong = "Failed to initialize: ssh host connection is not valid: invalid SSH URL"
    whole, hash_mark, fragment = host.removeprefix("ssh://").partition("#")
    whole, question, query = whole.partition("?")
    place, slash, path = whole.partition("/")
    user, at, name = place.rpartition("@")
    if at and (not user or ":" in user):
        raise CommandFailed(f"{wrong}: plain-text password is not supported")
    name, port = _name_and_port(name)
    if not name or name.startswith("-") or user.startswith("-"):
        raise CommandFailed(f"{wrong}: hostname is empty")
    if port and not port.isdecimal():
        raise CommandFailed(
            f'Failed to initialize: parse {go_quote(host)}: invalid port ":{port}" after host'
        )
    if question:
        raise CommandFailed(f"{wrong}: query parameters are not allowed: {go_quote(query)}")
    if hash_mark:
        raise CommandFailed(f"{wrong}: fragments are not allowed: {go_quote(fragment)}")
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


class SshEnd(socket.socket):
    """What the rest of the CLI holds of a connection that is an ssh."""

    process: subprocess.Popen[bytes] | None = None

    @property
    def failure(self) -> str:
        """Why the stream ended too early. Waits for the ssh, which has ended or soon will."""
        if self.process is None:
            return ""
        self.close()
        code = self.process.wait()
        if not code:
            return ""
        shown = " ".join(map(str, self.process.args[:-1]))  # type: ignore[index]
        return (
            f"command [{shown} ...] has exited with exit status {code}, "
            "make sure the URL is valid, and tiffin, or Docker 18.09 or later, is installed on the "
            "remote host"
        )


def dial_ssh(host: str) -> _socket.socket:
    """CommandFailed when there is no ssh here. What it complains of goes to our stderr."""
    command = ssh_command(host)
    pair, theirs = socket.socketpair()
    ours = SshEnd(fileno=pair.detach())
    try:
        # A session of its own: Ctrl-C is for the container, and not for the way to it.
        ours.process = subprocess.Popen(
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
