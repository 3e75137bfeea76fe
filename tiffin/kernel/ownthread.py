"""Work that the kernel may never return from, in threads that nobody waits for.

Files may be served by somebody who hangs: a network file system without its server, FUSE without
its program. Who asks for such a file waits for as long as that pleases. The threads here belong to
one piece of work each, so that no other work waits; and they are daemon threads, which do not keep
the process from its end.
"""

from __future__ import annotations

import asyncio
import errno
import threading
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from tiffin.kernel.workers import Job

_P = ParamSpec("_P")
_T = TypeVar("_T")

MOST = 128  # that may hang at a time: a thread is not free

_hanging = 0  # changed on the loop alone


def in_own_thread(
    work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs
) -> asyncio.Future[_T]:
    """Of what `work` returns. Raises RuntimeError where no thread is to be had."""
    job = Job(work, args, kwargs)
    name = getattr(work, "__name__", "work")
    threading.Thread(target=job.carry_out, name=name, daemon=True).start()
    return job.result


async def may_hang(work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """As asyncio.to_thread. OSError where too much of this kind hangs already."""
    global _hanging  # noqa: PLW0603 (the process has so many threads, not an object)
    if _hanging >= MOST:
        raise OSError(errno.EAGAIN, f"{MOST} requests wait for files that do not answer")
    future = in_own_thread(work, *args, **kwargs)
    _hanging += 1
    future.add_done_callback(_returned)
    # Who gives up waiting leaves the thread where it is: it counts until it returns.
    return await asyncio.shield(future)


def _returned(future: asyncio.Future[Any]) -> None:
    global _hanging  # noqa: PLW0603
    _hanging -= 1
    if not future.cancelled():
        future.exception()  # whoever waited may have gone: that is no news
