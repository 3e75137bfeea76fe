"""OCI's process properties that few use: scheduler, ioPriority, execCPUAffinity.

Given while there are still the rights to, before the identity is taken on.
"""

from __future__ import annotations

import os

from tiffin.kernel import traits
from tiffin.runtime.failure import Failure, failure_of
from tiffin.runtime.operations import Config


def apply(process: Config) -> None:
    """Raises Failure, which names the property."""
    for key, act in _TRAITS.items():
        asked = process.get(key)
        if asked:
            try:
                act(asked)
            except OSError as error:
                raise failure_of(f"set process.{key}", error) from error
            except (KeyError, ValueError, TypeError) as error:
                raise Failure(f"process.{key}: invalid value {error}", f"set {key}") from error


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


def _set_affinity(asked: Config) -> None:
    """Only the final one: what the process runs with. The initial one is for the runtime."""
    if asked.get("final"):
        os.sched_setaffinity(0, cpus(asked["final"]))


def cpus(text: str) -> set[int]:
    """ "0-3,7" as numbers."""
    found: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        found.update(range(int(first), int(last or first) + 1))
    return found


_TRAITS = {
    "scheduler": _set_scheduler,
    "ioPriority": _set_io_priority,
    "execCPUAffinity": _set_affinity,
}
