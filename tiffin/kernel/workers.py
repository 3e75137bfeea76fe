"""Threads for work that blocks, asked by the loop: as an executor, at half of the cost.

An executor has futures of its own, that asyncio chains to those one awaits; a container's life has
ten such hops. Here a thread settles the awaited one itself. What was asked for is done, whether or
not somebody still waits: a client that goes away cuts nothing in two.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextvars import copy_context
from queue import SimpleQueue
from typing import Any, Generic, ParamSpec, TypeVar

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Workers:
    """At most so many threads, started as they are needed."""

    def __init__(self, most: int, name: str) -> None:
        self._most = most
        self._name = name
        self._jobs: SimpleQueue[Job[Any] | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._idle = 0

    def run(
        self, work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs
    ) -> asyncio.Future[_T]:
        """Of what `work` returns. Raises RuntimeError where no thread is to be had."""
        with self._lock:
            if self._idle:
                self._idle -= 1
            elif len(self._threads) < self._most:
                self._start()
        job = Job(work, args, kwargs)
        self._jobs.put(job)
        return job.result

    def _start(self) -> None:
        thread = threading.Thread(target=self._work, name=self._name, daemon=True)
        try:
            thread.start()
        except RuntimeError:
            if not self._threads:
                raise
            return  # it waits for one of those that there are
        self._threads.append(thread)

    def close(self) -> None:
        """Once all that was asked for is done."""
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join()
        self._threads.clear()
        self._idle = 0

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job.carry_out()
            del job  # what it held is not ours to keep
            with self._lock:
                self._idle += 1


class Job(Generic[_T]):
    """Work for a thread; `result` is of the loop that asked for it."""

    __slots__ = ("_args", "_context", "_kwargs", "_loop", "_work", "result")

    def __init__(
        self, work: Callable[..., _T], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self.result: asyncio.Future[_T] = self._loop.create_future()
        self._context = copy_context()
        self._work = work
        self._args = args
        self._kwargs = kwargs

    def carry_out(self) -> None:
        try:
            found = self._context.run(self._work, *self._args, **self._kwargs)
        except BaseException as error:  # noqa: BLE001 (it is whoever waits that it concerns)
            self._tell(_fail, error)
        else:
            self._tell(_settle, found)

    def _tell(self, act: Callable[..., None], what: object) -> None:
        try:
            self._loop.call_soon_threadsafe(act, self.result, what)
        except RuntimeError:
            return  # the loop has ended: nobody waits


def _settle(result: asyncio.Future[Any], found: object) -> None:
    if not result.done():
        result.set_result(found)


def _fail(result: asyncio.Future[Any], error: BaseException) -> None:
    if not result.done():
        result.set_exception(error)


_FILES = Workers(6, "files")


def in_thread(work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> asyncio.Future[_T]:
    """For what is short and a container's start or end waits for: nothing long stands before it."""
    return _FILES.run(work, *args, **kwargs)
