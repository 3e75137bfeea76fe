"""Work that may hang: bounded, told of, and in nobody's way."""

from __future__ import annotations

import asyncio
import threading

import pytest

from tiffin.kernel import ownthread
from tiffin.kernel.ownthread import may_hang


def test_what_it_returns_and_what_it_raises_are_the_caller_s() -> None:
    async def main() -> int:
        with pytest.raises(ValueError, match="invalid literal"):
            await may_hang(int, "x")
        return await may_hang(int, "7")

    assert asyncio.run(main()) == 7


def test_beyond_a_number_that_hang_the_next_is_refused_until_one_returns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ownthread, "MOST", 2)
    served = threading.Event()

    async def main() -> bool:
        hanging = [asyncio.create_task(may_hang(served.wait)) for _ in range(2)]
        given_up, waiting = hanging
        await asyncio.sleep(0)
        given_up.cancel()
        with pytest.raises(OSError, match="2 requests wait for files that do not answer"):
            await may_hang(int, "7")
        served.set()
        return await waiting

    assert asyncio.run(main()) is True


def test_a_loop_that_ends_waits_for_none() -> None:
    served = threading.Event()

    async def main() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(may_hang(served.wait), 0)

    asyncio.run(main())
    served.set()
