"""Blocking work beside the loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

_P = ParamSpec("_P")
_T = TypeVar("_T")


async def in_thread(function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """As asyncio.to_thread, but a cancelled caller goes on only when the thread has let go.

    So that what the thread works on (a file, an ingest) is not closed under its hands.
    """
    work = asyncio.ensure_future(asyncio.to_thread(function, *args, **kwargs))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        while not work.done():
            await asyncio.wait([work])
        if not work.cancelled():
            work.exception()  # it is the cancellation that is told
        raise
