"""Threads that settle what the loop awaits."""

from __future__ import annotations

import asyncio
import threading
from contextvars import ContextVar

import pytest

from tiffin.kernel.workers import Workers, in_thread


def test_what_work_returns_and_what_it_raises_are_the_caller_s() -> None:
    async def main() -> int:
        with pytest.raises(ValueError, match="invalid literal"):
            await in_thread(int, "x")
        return await in_thread(int, "7")

    assert asyncio.run(main()) == 7


def test_one_worker_does_one_thing_after_another_in_order() -> None:
    done: list[int] = []
    workers = Workers(1, "one")

    async def main() -> None:
        await asyncio.gather(*(workers.run(done.append, number) for number in range(20)))

    asyncio.run(main())
    workers.close()
    assert done == list(range(20))


def test_no_more_threads_than_there_may_be_and_as_many_as_work_asks_for() -> None:
    together = threading.Barrier(3)
    workers = Workers(3, "three")

    async def main() -> int:
        await asyncio.gather(*(workers.run(together.wait, 60) for _ in range(3)))
        await asyncio.gather(*(workers.run(int) for _ in range(10)))
        return sum(thread.name == "three" for thread in threading.enumerate())

    assert asyncio.run(main()) == 3
    workers.close()


def test_what_nobody_waits_for_any_more_is_done_all_the_same() -> None:
    begin, done = threading.Event(), threading.Event()
    workers = Workers(1, "one")

    async def main() -> None:
        first = workers.run(begin.wait, 60)
        given_up = asyncio.ensure_future(workers.run(done.set))
        given_up.cancel()
        begin.set()
        await first

    asyncio.run(main())
    workers.close()
    assert done.is_set()


def test_work_sees_the_context_of_whoever_asks() -> None:
    name: ContextVar[str] = ContextVar("name", default="")

    async def main() -> str:
        name.set("web")
        return await in_thread(name.get)

    assert asyncio.run(main()) == "web"


def test_without_any_thread_the_caller_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    workers = Workers(1, "none")

    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def main() -> None:
        monkeypatch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            await workers.run(int)
        monkeypatch.undo()
        assert await workers.run(int, "7") == 7

    asyncio.run(main())
    workers.close()
