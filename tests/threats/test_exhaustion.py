"""What one client, one container or one image may use up of the engine itself."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest

from tests.patience import patient
from tiffin.api import bodies, router
from tiffin.api.messages import MAX_JSON_BYTES, Query, Request, Response
from tiffin.core import image
from tiffin.core.image import decode_config
from tiffin.engine import exhaustion
from tiffin.engine.imagecatalog import chains_of
from tiffin.errors import InvalidArgument
from tiffin.kernel.ownthread import may_hang

LAYERS = 2000


@pytest.mark.threat("hung-files")
def test_files_of_a_server_that_hangs_leave_the_threads_to_others() -> None:
    """A bind source, or a path to copy, on a network file system that answers nobody: as many
    requests as the engine has threads, and no container is served any more.

    Defence: such work has threads of its own, a bounded number of them, that nobody waits for.
    Seen to fail: given to the threads that all share, the next piece of work never begins.
    """

    async def others_go_on(
        ask: Callable[[Callable[[], object]], Awaitable[object]], patience: float
    ) -> bool:
        exhaustion.prepare(asyncio.get_running_loop())
        served = threading.Event()
        tasks = [asyncio.ensure_future(ask(served.wait)) for _ in range(exhaustion.WORKERS)]
        await asyncio.sleep(0)
        work = asyncio.ensure_future(asyncio.to_thread(os.getpid))
        done, _ = await asyncio.wait((work,), timeout=patience)
        served.set()
        await asyncio.gather(work, *tasks)
        return bool(done)

    assert asyncio.run(others_go_on(may_hang, patient(60))) is True
    assert asyncio.run(others_go_on(asyncio.to_thread, 1.0)) is False


@pytest.mark.threat("large-bodies")
def test_bodies_that_never_end_take_no_more_than_their_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A thousand clients that each send most of a large body, and then nothing.

    Defence: beyond a small size only so many bodies are received at a time.
    Seen to fail: with room for all of them, all are in memory.
    """
    clients, sent = 40, 2 * bodies.SMALL_BYTES

    async def held(room: int) -> int:
        monkeypatch.setattr(bodies, "LARGE_AT_A_TIME", room)
        monkeypatch.setattr(bodies, "_large", None)
        taken = 0

        async def endless() -> AsyncIterator[bytes]:
            nonlocal taken
            yield bytes(bodies.SMALL_BYTES)
            yield bytes(sent - bodies.SMALL_BYTES)
            taken += sent  # who comes to ask for more has kept all that
            await asyncio.Event().wait()

        async def receive() -> None:
            async with bodies.whole(_request(endless()), MAX_JSON_BYTES):
                raise AssertionError

        tasks = [asyncio.create_task(receive()) for _ in range(clients)]
        for _ in range(10):
            await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return taken

    assert asyncio.run(held(6)) == 6 * sent
    assert asyncio.run(held(clients)) == clients * sent


def _request(body: Any) -> Request:
    async def nobody(*_: object) -> Any:
        raise AssertionError

    return Request("POST", "/containers/create", Query(""), {}, body, nobody)


@pytest.mark.threat("deep-images")
def test_an_image_has_no_more_layers_than_the_kernel_puts_on_each_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A config of four megabytes names fifty thousand layers: identifying each stack by all that
    is in it takes hours, and none of it can be mounted.

    Defence: too many are refused before anything is computed, which takes one pass in any case.
    Seen to fail: without the limit the config is taken.
    """
    names = ",".join(f'"sha256:{number:064x}"' for number in range(LAYERS))
    config = f'{{"rootfs": {{"type": "layers", "diff_ids": [{names}]}}}}'.encode()
    with pytest.raises(InvalidArgument, match="max depth exceeded"):
        decode_config(config)
    monkeypatch.setattr(image, "MAX_LAYERS", LAYERS)
    assert len(chains_of(decode_config(config).rootfs.diff_ids)) == LAYERS


@pytest.mark.threat("want")
@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.EMFILE, "x"), "Too many open files"),
        (OSError(errno.EAGAIN, "x"), "Resource temporarily unavailable"),
        (OSError(errno.ENOSPC, "x"), "No space left on device"),
        (MemoryError(), "Cannot allocate memory"),
        (RuntimeError("can't start new thread"), "can't start new thread"),
    ],
)
def test_what_there_is_too_little_of_is_named(
    error: Exception, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Out of descriptors, processes, room or memory, a server that falls over, or says nothing
    that a user could act on, is as good as gone.

    Defence: the operation and what it wanted are named, and the next request is served.
    Seen to fail: without the words for it the answer is an internal error.
    """

    async def wanting(_request: Request) -> Response:
        raise error

    routes = [router.Route("POST", "/containers/create", wanting)]

    async def nothing() -> AsyncIterator[bytes]:
        return
        yield b""

    def answer() -> bytes:
        found = asyncio.run(router.Router(routes).answer(_request(nothing())))
        assert isinstance(found, Response)
        assert found.status == 500
        return found.body

    assert f"cannot POST /containers/create: {words}".encode() in answer()
    monkeypatch.setattr(router, "exhaustion", SimpleNamespace(words=lambda _error: ""))
    assert b"internal error" in answer()
