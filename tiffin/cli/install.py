"""`system install` and `system uninstall`: the units with which systemd keeps the daemon.

Files only: nothing is started, and nothing is changed that we did not write. What is to be done
next is said. A file that somebody else wrote is left alone unless `--force`.
"""

from __future__ import annotations

import os
import shlex
import sys

from tiffin.cli.failures import CommandFailed
from tiffin.cli.options import Arguments, Command
from tiffin.cli.output import complain, say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tiffin.cli.client import Client

DIRECTORY = "/etc/systemd/system"
SERVICE, SOCKET = "tiffin.service", "tiffin.socket"
_MARK = "# Written by `tiffin system install`."

_SERVICE = """{mark}
[Unit]
Description=tiffin container engine
After=network-online.target firewalld.service nss-lookup.target
Wants=network-online.target
Requires={socket}

[Service]
Type=notify
ExecStart={command} daemon -H fd://{options}
# What runs or is to run is found first, however much it is.
TimeoutStartSec=0
ExecReload=/bin/sh -c 'kill -s HUP $MAINPID'
Restart=always
RestartSec=2
# Containers outlive the daemon: only its own process is stopped.
KillMode=process
Delegate=yes
LimitNOFILE=infinity
LimitNPROC=infinity
LimitCORE=infinity
TasksMax=infinity
OOMScoreAdjust=-500

[Install]
WantedBy=multi-user.target
"""

_SOCKET = """{mark}
[Unit]
Description=tiffin API socket

[Socket]
ListenStream={path}
SocketMode=0660
SocketUser=root
SocketGroup={group}

[Install]
WantedBy=sockets.target
"""


def units(arguments: Arguments) -> dict[str, str]:
    """The texts of the units by their names."""
    options = "".join(f" {_quoted(word)}" for word in arguments.words)
    return {
        SERVICE: _SERVICE.format(mark=_MARK, socket=SOCKET, command=_program(), options=options),
        SOCKET: _SOCKET.format(
            mark=_MARK,
            path=arguments.text("socket", "/run/tiffin/tiffin.sock"),
            group=arguments.text("group", _group()),
        ),
    }


def _program() -> str:
    """How this program is called: by its own path, or as a module of this interpreter."""
    name = sys.argv[0]
    for candidate in (name, *(os.path.join(each, "tiffin") for each in _search_path())):
        path = os.path.abspath(candidate)
        if os.path.basename(path) == "tiffin" and os.access(path, os.X_OK):
            return _quoted(path)
    main = os.path.abspath(__file__.rpartition("/cli/")[0] + "/__main__.py")
    return f"{_quoted(sys.executable)} -I {_quoted(main)}"


def _search_path() -> list[str]:
    return [each for each in os.environ.get("PATH", "").split(":") if each.startswith("/")]


def _group() -> str:
    """The group of the socket: docker where there is one."""
    import grp

    try:
        return grp.getgrnam("docker").gr_name
    except KeyError:
        return "root"


def _quoted(word: str) -> str:
    """For systemd.service(5), where % and $ mean something."""
    escaped = word.replace("%", "%%").replace("$", "$$")
    return shlex.quote(escaped) if escaped != shlex.quote(escaped) else escaped


def install(_: Client, arguments: Arguments) -> None:
    directory = arguments.text("directory", DIRECTORY)
    wanted = units(arguments)
    for name in wanted:
        path = os.path.join(directory, name)
        if not arguments.flag("force") and not _is_ours(path):
            raise CommandFailed(
                f"{path} was not written by tiffin: --force writes over it, "
                "--directory writes elsewhere"
            )
    for name, text in wanted.items():
        path = os.path.join(directory, name)
        _write(path, text)
        say(path)
    if directory != DIRECTORY:
        return
    if os.path.isdir("/run/systemd/system"):
        # The service too: containers with a restart policy come up with the machine.
        enable = f"systemctl enable --now {SOCKET} {SERVICE}"
        complain(f"Now: systemctl daemon-reload && {enable}")
    else:
        complain("systemd does not run here: the units wait for one that does")


def uninstall(_: Client, arguments: Arguments) -> None:
    directory = arguments.text("directory", DIRECTORY)
    paths = [os.path.join(directory, name) for name in (SERVICE, SOCKET)]
    present = [path for path in paths if os.path.lexists(path)]
    for path in present:
        if not arguments.flag("force") and not _is_ours(path):
            raise CommandFailed(f"{path} was not written by tiffin: --force removes it")
    if present and directory == DIRECTORY and os.path.isdir("/run/systemd/system"):
        complain("First, if it runs: systemctl disable --now tiffin.socket tiffin.service")
    for path in present:
        _unlink(path)
        say(path)
    if not present:
        complain(f"nothing to remove in {directory}")


def _is_ours(path: str) -> bool:
    """Whether it is not there, or is a file that we wrote."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.readline().rstrip("\n") == _MARK
    except FileNotFoundError:
        return True
    except OSError:
        return False


def _write(path: str, text: str) -> None:
    """Whole or not at all."""
    partial = f"{path}.{os.getpid()}.part"
    try:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.rename(partial, path)
    except PermissionError as error:
        raise CommandFailed(f"cannot write {path}: it needs root") from error
    except OSError as error:
        raise CommandFailed(f"cannot write {path}: {(error.strerror or '').lower()}") from error


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except PermissionError as error:
        raise CommandFailed(f"cannot remove {path}: it needs root") from error


_DIRECTORY = (
    "directory",
    "",
    "string",
    f'Where the units are written (default "{DIRECTORY}")',
)
INSTALL = Command(
    install,
    " [OPTIONS] [-- DAEMON_OPTION...]",
    "Write the systemd units of the daemon",
    (
        _DIRECTORY,
        ("force", "f", "bool", "Write over units that somebody else wrote"),
        ("group", "", "string", "Group of the socket (default: docker if there is one, else root)"),
        ("socket", "", "string", 'Path of the socket (default "/run/tiffin/tiffin.sock")'),
    ),
)
UNINSTALL = Command(
    uninstall,
    " [OPTIONS]",
    "Remove the systemd units of the daemon",
    (_DIRECTORY, ("force", "f", "bool", "Remove units that somebody else wrote")),
    most=0,
)
