"""setrlimit(2) for a process that is to become a program: process.rlimits of an OCI config.

They are set from outside, because a user namespace gives no right to raise them. What the program
may have open is less than what it takes to make it, if somebody wishes: that is lowered by the
process itself, as the last thing that it does.
"""

from __future__ import annotations

import errno
import resource

from tiffin.runtime.operations import Config
from tiffin.runtime.rootfs import Failed

_ROOM = 64  # descriptors that we need on the way

# asm-generic/resource.h
RLIMITS = {
    f"RLIMIT_{name}": number
    for number, name in enumerate(
        "CPU FSIZE DATA STACK CORE RSS NPROC NOFILE MEMLOCK AS LOCKS SIGPENDING MSGQUEUE NICE"
        " RTPRIO RTTIME".split()
    )
}
_FILES = RLIMITS["RLIMIT_NOFILE"]


def apply(pid: int, process: Config) -> None:
    """To the process `pid`, 0 being the caller. Raises Failed."""
    for limit in process.get("rlimits") or []:
        number, soft, hard = _parsed(limit)
        if number == _FILES:
            soft, hard = _at_least(soft), _at_least(hard)
        _set(pid, number, soft, hard)


def lower_at_last(process: Config) -> None:
    """To this process, which opens nothing more. Raises Failed."""
    for number, soft, hard in last(process):
        _set(0, number, soft, hard)


def last(process: Config) -> list[tuple[int, int, int]]:
    """Those that are to be set at last: number, soft, hard; -1 is no limit."""
    parsed = map(_parsed, process.get("rlimits") or [])
    return [
        (number, soft, hard)
        for number, soft, hard in parsed
        if number == _FILES and (soft, hard) != (_at_least(soft), _at_least(hard))
    ]


def _parsed(limit: Config) -> tuple[int, int, int]:
    return RLIMITS.get(limit["type"], -1), _signed(limit["soft"]), _signed(limit["hard"])


def _signed(number: int) -> int:
    return -1 if number >= 2**63 else number


def _at_least(number: int) -> int:
    return max(number, _ROOM) if number >= 0 else number


def _set(pid: int, number: int, soft: int, hard: int) -> None:
    try:
        resource.prlimit(pid, number, (soft, hard))
    except (OSError, ValueError) as error:
        cause = error if isinstance(error, OSError) else OSError(errno.EINVAL, str(error))
        raise Failed(f"error setting rlimit type {number}", cause) from error
