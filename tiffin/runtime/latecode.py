"""Modules that a shim may have to load after all.

The zygote empties the path on which modules are found: what it forks may stand in a container's
root, where nothing must be loaded from. A shim never does; it gets the path back for a moment.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

_kept: list[str] = []


def close() -> None:
    """Nothing is found from here on."""
    _kept[:] = sys.path
    sys.path.clear()


class Opened:
    """Use as a context manager, in a process that is in the host's root."""

    def __enter__(self) -> None:
        sys.path[:] = _kept or sys.path

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if _kept:
            sys.path.clear()
