"""What runs in a container, as `ps -ef` on the host would show it (proc(5)).

Owners are told as in the container: its root is root, whatever the host's id for it.
"""

from __future__ import annotations

import os
import pwd
import time
from typing import NamedTuple

from tiffin.core.container import IdRange

TITLES = ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]
_TICKS = os.sysconf("SC_CLK_TCK")


class Table(NamedTuple):
    titles: list[str]
    rows: list[list[str]]


def process_table(pids: list[int], ids: IdRange | None) -> Table:
    """Rows of the processes that still live. `ids`: the host's for the container's."""
    boot = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    rows = [_row(pid, boot, ids) for pid in sorted(pids)]
    return Table(TITLES, [row for row in rows if row is not None])


def _row(pid: int, boot: float, ids: IdRange | None) -> list[str] | None:
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            stat = file.read()
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            words = file.read().rstrip(b"\0").replace(b"\0", b" ").decode(errors="replace")
        owner = os.stat(f"/proc/{pid}").st_uid
    except OSError:
        return None  # it ended while we looked
    name = stat[stat.index("(") + 1 : stat.rindex(")")]
    fields = stat[stat.rindex(")") + 2 :].split()
    cpu_seconds = (int(fields[11]) + int(fields[12])) // _TICKS
    started = boot + int(fields[19]) / _TICKS
    elapsed = max(1.0, time.time() - started)
    return [
        user_name(inside(owner, ids)),
        str(pid),
        fields[1],
        str(min(99, int(100 * cpu_seconds / elapsed))),
        time.strftime("%H:%M" if elapsed < 86400 else "%b%d", time.localtime(started)),
        _terminal(int(fields[4])),
        f"{cpu_seconds // 3600:02}:{cpu_seconds // 60 % 60:02}:{cpu_seconds % 60:02}",
        words or f"[{name}]",
    ]


def inside(number: int, ids: IdRange | None) -> int:
    """A host's id as the container has it; as it is where the container has no such id."""
    if ids is None or not ids.start <= number < ids.start + ids.size:
        return number
    return number - ids.start


def user_name(number: int) -> str:
    """By the host's table, as ps does."""
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def _terminal(device: int) -> str:
    if not device:
        return "?"
    major = os.major(device)
    return f"pts/{os.minor(device)}" if 136 <= major <= 143 else f"tty{os.minor(device)}"
