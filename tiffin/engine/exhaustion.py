"""When the machine has no more to give: descriptors, processes, threads, memory.

What is then refused is named, and the daemon goes on with what it has.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

log = logging.getLogger(__name__)

WORKERS = 32  # a few may wait ten seconds for a process that does not end, and keep nobody else
COMPLAIN_EVERY_SECONDS = 60.0
_NUMBERS = frozenset(
    (errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM, errno.ENOSPC, errno.ENOBUFS)
)


def words(error: BaseException) -> str:
    """What there is too little of, in the kernel's words; "" where that is not what failed."""
    if isinstance(error, OSError) and error.errno in _NUMBERS:
        return os.strerror(error.errno)
    if isinstance(error, MemoryError):
        return os.strerror(errno.ENOMEM)
    if isinstance(error, RuntimeError) and "start new thread" in str(error):
        return str(error)
    return ""


class Workers(ThreadPoolExecutor):
    """Where no further thread can be had the work waits for one that there is."""

    def _adjust_thread_count(self) -> None:
        try:
            super()._adjust_thread_count()
        except RuntimeError:
            if not self._threads:
                raise


def prepare(loop: asyncio.AbstractEventLoop) -> None:
    """Have the loop do blocking work, and bear a want of descriptors, as said above."""
    loop.set_default_executor(Workers(WORKERS, thread_name_prefix="work"))
    loop.set_exception_handler(_Complaints())


class _Complaints:
    """asyncio tries to accept a hundred times a second, and has a traceback for each."""

    def __init__(self) -> None:
        self._next = 0.0

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        why = words(context.get("exception") or Exception())
        if not why or "accept" not in str(context.get("message")):
            loop.default_exception_handler(context)
        elif loop.time() >= self._next:
            self._next = loop.time() + COMPLAIN_EVERY_SECONDS
            log.error("clients wait: cannot accept a connection: %s", why)
