"""Why a container does not end, or does not stand still: processes that wait in the kernel.

In state D a process takes no signal, SIGKILL included, until what it waits for has come: a disk, a
network file system's server, the program behind a FUSE mount.
"""

from __future__ import annotations

import contextlib
import os

from tiffin.engine.ports import ContainerRuntime
from tiffin.errors import TiffinError
from tiffin.kernel.syscalls import has_ended

__all__ = ["has_ended", "named", "words"]

_SHOWN = 3


async def named(runtime: ContainerRuntime, container_id: str) -> str:
    """A container's processes that no signal reaches, behind a colon; "" where there are none."""
    try:
        pids = await runtime.pids(container_id)
    except (TiffinError, OSError):
        return ""
    found = words(pids)
    return f": {found}" if found else ""


def words(pids: list[int]) -> str:
    """Which of `pids` wait so, to be said behind a colon; "" where none does."""
    waiting = [f"{pid} ({name})" for pid in sorted(pids) if (name := _waiting(pid))]
    if not waiting:
        return ""
    more = f" and {len(waiting) - _SHOWN} more" if len(waiting) > _SHOWN else ""
    who = "process" if len(waiting) == 1 else "processes"
    verb = "is" if len(waiting) == 1 else "are"
    return f"{who} {', '.join(waiting[:_SHOWN])}{more} {verb} in uninterruptible sleep (state D)"


def _waiting(pid: int) -> str:
    """Its name, if one of its threads does: the first may have ended before the others."""
    with contextlib.suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/stat", encoding="utf-8", errors="replace") as f:
                stat = f.read()
            if stat[stat.rindex(")") + 2 :].startswith("D"):
                return stat[stat.index("(") + 1 : stat.rindex(")")]
    return ""
