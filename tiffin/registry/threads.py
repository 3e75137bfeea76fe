"""Blocking work of transfers beside the loop, in threads that nobody else waits for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import ParamSpec, TypeVar

_P = ParamSpec("_P")
_T = TypeVar("_T")

# Layers take seconds; the loop's own pool is for what a `ps` waits for.
_pool = ThreadPoolExecutor(8, thread_name_prefix="transfer")


async def in_thread(function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """As asyncio.to_thread, but a cancelled caller goes on only when the thread has let go.

    So that what the thread works on (a file, an ingest) is not closed under its hands.
    """
    loop, context = asyncio.get_running_loop(), copy_context()
    work = loop.run_in_executor(_pool, partial(context.run, function, *args, **kwargs))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        while not work.done():
            await asyncio.wait([work])
        if not work.cancelled():
            work.exception()  # it is the cancellation that is told
        raise
