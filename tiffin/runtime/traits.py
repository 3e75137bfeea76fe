"""OCI's properties of a process that few use: scheduler, ioPriority, execCPUAffinity, personality.

Given while there are still the rights to, before the identity is taken on.
"""

from __future__ import annotations

import os

from tiffin.kernel import traits
from tiffin.runtime.failure import Failure, failure_of
from tiffin.runtime.operations import Config

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_LAST_CPU = 8191  # the largest NR_CPUS of the kernel's


def apply(process: Config, personality: Config) -> None:
    """Raises Failure, which names the property."""
    for key, act in _TRAITS.items():
        if process.get(key):
            _act(f"process.{key}", act, process[key])
    if personality:
        _act("linux.personality", _set_personality, personality)


def set_affinity(process: Config, which: str) -> None:
    """The `initial` one is who makes an exec's until that is in its cgroup, then it is `final`.

    A container's first process has neither. Raises Failure.
    """
    words = (process.get("execCPUAffinity") or {}).get(which)
    if words:
        where = f"process.execCPUAffinity.{which}"
        _act(where, lambda text: os.sched_setaffinity(0, cpus(text)), words)


def _act(where: str, act: Callable[[Any], None], asked: Any) -> None:
    try:
        act(asked)
    except OSError as error:
        raise failure_of(f"set {where}", error) from error
    except (KeyError, ValueError, TypeError) as error:
        raise Failure(f"{where}: invalid value {error}", f"set {where}") from error


def _set_scheduler(asked: Config) -> None:
    flags = 0
    for name in asked.get("flags") or []:
        flags |= traits.SCHEDULER_FLAGS[name]
    times = [int(asked.get(key) or 0) for key in ("runtime", "deadline", "period")]
    traits.set_scheduler(
        traits.POLICIES[asked["policy"]],
        flags,
        int(asked.get("nice") or 0),
        int(asked.get("priority") or 0),
        (times[0], times[1], times[2]),
    )


def _set_io_priority(asked: Config) -> None:
    traits.set_io_priority(traits.IO_CLASSES[asked["class"]], int(asked.get("priority") or 0))


def _set_personality(asked: Config) -> None:
    traits.set_personality(traits.PERSONALITIES[asked["domain"]])


def cpus(text: str) -> set[int]:
    """ "0-3,7" as numbers. Raises ValueError."""
    found: set[int] = set()
    for part in text.split(","):
        first, _, last = part.strip().partition("-")
        low, high = int(first), int(last or first)
        if not 0 <= low <= high <= _LAST_CPU:
            raise ValueError(text)
        found.update(range(low, high + 1))
    return found


_TRAITS = {"scheduler": _set_scheduler, "ioPriority": _set_io_priority}
