"""Who waits for a container's end. A client that goes away leaves no waiter behind."""

from __future__ import annotations

import asyncio

import msgspec


class ExitResult(msgspec.Struct, frozen=True):
    exit_code: int
    error: str = ""


class Waiters:
    """Futures by container id: of the next exit, of the removal."""

    def __init__(self) -> None:
        self._exits: dict[str, list[asyncio.Future[ExitResult]]] = {}
        self._removals: dict[str, list[asyncio.Future[ExitResult]]] = {}

    def __len__(self) -> int:
        return len(self._exits) + len(self._removals)

    def next_exit(self, container_id: str) -> asyncio.Future[ExitResult]:
        return _wait_in(self._exits, container_id)

    def removal(self, container_id: str) -> asyncio.Future[ExitResult]:
        return _wait_in(self._removals, container_id)

    def ended(self, container_id: str, result: ExitResult) -> None:
        _tell(self._exits, container_id, result)

    def removed(self, container_id: str, result: ExitResult) -> None:
        """A removed container has ended, too."""
        _tell(self._removals, container_id, result)
        _tell(self._exits, container_id, result)


def _wait_in(
    waiting: dict[str, list[asyncio.Future[ExitResult]]], container_id: str
) -> asyncio.Future[ExitResult]:
    future: asyncio.Future[ExitResult] = asyncio.get_running_loop().create_future()
    waiting.setdefault(container_id, []).append(future)
    future.add_done_callback(lambda done: _forget(waiting, container_id, done))
    return future


def _tell(
    waiting: dict[str, list[asyncio.Future[ExitResult]]], container_id: str, result: ExitResult
) -> None:
    for future in waiting.pop(container_id, []):
        if not future.done():
            future.set_result(result)


def _forget(
    waiting: dict[str, list[asyncio.Future[ExitResult]]],
    container_id: str,
    done: asyncio.Future[ExitResult],
) -> None:
    pending = waiting.get(container_id)
    if pending and done in pending:
        pending.remove(done)
        if not pending:
            del waiting[container_id]
