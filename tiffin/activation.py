"""The service manager's side of a daemon: sockets that it opened for us, and telling it how we are.

sd_listen_fds(3) and sd_notify(3), as far as a daemon needs them.
"""

from __future__ import annotations

import os
import socket
from collections.abc import MutableMapping
from contextlib import suppress

from tiffin.errors import EngineFailure

FIRST_FD = 3


def inherited_sockets(environ: MutableMapping[str, str]) -> dict[str, socket.socket]:
    """By name, or by number where it has none. Takes the variables away: children are not meant."""
    pid, count = environ.pop("LISTEN_PID", ""), environ.pop("LISTEN_FDS", "")
    names = environ.pop("LISTEN_FDNAMES", "").split(":")
    if pid != str(os.getpid()) or not count.isdecimal():
        return {}
    found: dict[str, socket.socket] = {}
    for offset in range(int(count)):
        number = FIRST_FD + offset
        os.set_inheritable(number, False)
        name = names[offset] if offset < len(names) else ""
        usable = name and name not in ("unknown", "stored") and name not in found
        found[name if usable else str(number)] = socket.socket(fileno=number)
    return found


def choose(found: dict[str, socket.socket], name: str) -> list[socket.socket]:
    """The sockets that `fd://name` means: all for "". Raises EngineFailure when there is none."""
    if not found:
        raise EngineFailure(
            "no sockets found via socket activation: make sure the service was started by systemd"
        )
    if not name:
        return list(found.values())
    for known, inherited in found.items():
        if name in (known, str(inherited.fileno())):
            return [inherited]
    raise EngineFailure(f"no socket {name} found via socket activation: {', '.join(found)}")


def notify(environ: MutableMapping[str, str], state: str) -> None:
    """Tell the service manager, if one wants to know."""
    path = environ.get("NOTIFY_SOCKET", "")
    if not path:
        return
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.connect("\0" + path[1:] if path.startswith("@") else path)
        sender.send(state.encode())
