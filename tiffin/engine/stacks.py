"""Where everybody is: the stacks of tasks and threads, for a daemon that seems to hang."""

from __future__ import annotations

import asyncio
import sys
import threading
import traceback
from collections.abc import Iterator
from types import FrameType
from typing import Any


def everybody() -> str:
    """All tasks of the running loop, then all threads."""
    tasks = sorted(asyncio.all_tasks(), key=lambda task: task.get_name())
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    parts = [f"task {task.get_name()}\n{of_task(task)}" for task in tasks]
    for ident, frame in sys._current_frames().items():  # noqa: SLF001 (there is no other way)
        lines = "".join(traceback.format_stack(frame))
        parts.append(f"thread {names.get(ident, '?')} ({ident})\n{lines}")
    return "\n".join(parts)


def of_task(task: asyncio.Task[Any]) -> str:
    """Outermost first, down to what it waits for."""
    frames = [(frame, frame.f_lineno) for frame in _frames(task.get_coro())]
    return "".join(traceback.StackSummary.extract(frames).format())


def _frames(waiting: Any) -> Iterator[FrameType]:
    """Along the chain of what awaits what; a task itself knows only the first."""
    while waiting is not None:
        frame = getattr(waiting, "cr_frame", None) or getattr(waiting, "gi_frame", None)
        if frame is not None:
            yield frame
        waiting = getattr(waiting, "cr_await", None) or getattr(waiting, "gi_yieldfrom", None)
