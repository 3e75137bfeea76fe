"""Want of threads, descriptors and memory is borne, and named."""

from __future__ import annotations

import asyncio
import errno
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tiffin.engine import exhaustion
from tiffin.engine.exhaustion import Workers


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.EMFILE, "x"), "Too many open files"),
        (BlockingIOError(errno.EAGAIN, "x"), "Resource temporarily unavailable"),
        (MemoryError(), "Cannot allocate memory"),
        (RuntimeError("can't start new thread"), "can't start new thread"),
        (RuntimeError("anything else"), ""),
        (OSError(errno.ENOENT, "x"), ""),
    ],
)
def test_what_there_is_too_little_of_is_named(error: BaseException, words: str) -> None:
    assert exhaustion.words(error) == words


def test_without_a_further_thread_work_waits_for_one_that_there_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with Workers(4) as workers:
        busy, done = threading.Event(), threading.Event()
        first = workers.submit(lambda: (busy.set(), done.wait(30)))
        assert busy.wait(30)
        monkeypatch.setattr(ThreadPoolExecutor, "_adjust_thread_count", _no_thread)
        second = workers.submit(lambda: "done")
        done.set()
        assert first.result(30)[1]
        assert second.result(30) == "done"


def test_without_any_thread_it_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ThreadPoolExecutor, "_adjust_thread_count", _no_thread)
    with Workers(4) as workers, pytest.raises(RuntimeError, match="start new thread"):
        workers.submit(lambda: None)


def _no_thread(_: ThreadPoolExecutor) -> None:
    raise RuntimeError("can't start new thread")


def test_a_want_of_descriptors_is_complained_of_once(caplog: pytest.LogCaptureFixture) -> None:
    async def scene() -> None:
        loop = asyncio.get_running_loop()
        exhaustion.prepare(loop)
        error = OSError(errno.EMFILE, "Too many open files")
        for _ in range(100):
            loop.call_exception_handler(
                {"message": "socket.accept() out of system resource", "exception": error}
            )

    asyncio.run(scene())
    assert caplog.text.count("cannot accept a connection: Too many open files") == 1
