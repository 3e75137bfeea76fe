"""What runs in a container, as `ps -ef` on the host would show it (proc(5))."""

from __future__ import annotations

import os
import pwd
import time
from typing import NamedTuple

TITLES = ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]
_TICKS = os.sysconf("SC_CLK_TCK")


class Table(NamedTuple):
    titles: list[str]
    rows: list[list[str]]


def process_table(pids: list[int]) -> Table:
    """Rows of the processes that still live."""
    boot = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    rows = [_row(pid, boot) for pid in sorted(pids)]
    return Table(TITLES, [row for row in rows if row is not None])


def _row(pid: int, boot: float) -> list[str] | None:
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
        _user(owner),
        str(pid),
        fields[1],
        str(min(99, int(100 * cpu_seconds / elapsed))),
        time.strftime("%H:%M" if elapsed < 86400 else "%b%d", time.localtime(started)),
        _terminal(int(fields[4])),
        f"{cpu_seconds // 3600:02}:{cpu_seconds // 60 % 60:02}:{cpu_seconds % 60:02}",
        words or f"[{name}]",
    ]


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def _terminal(device: int) -> str:
    if not device:
        return "?"
    major = os.major(device)
    return f"pts/{os.minor(device)}" if 136 <= major <= 143 else f"tty{os.minor(device)}"
