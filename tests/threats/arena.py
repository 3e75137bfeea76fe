"""Where attacks are tried: a runtime as it is, and one with a named defence taken away."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tests.kernel.runtime_bench import Bench, opened
from tiffin.kernel import syscalls
from tiffin.runtime import spec, zygoteclient

_T = TypeVar("_T")
CHECKOUT = Path(__file__).resolve().parents[2]
Attack = Callable[[Bench], Awaitable[_T]]
Change = Callable[[dict[str, Any]], None]
PATIENCE_SECONDS, POLL_SECONDS = 2.0, 0.01


def outcome(attack: Attack[_T], *, without: str = "", plan: Change | None = None) -> _T:
    """What `attack` achieves on a runtime of its own.

    `without` names weaknesses of tests.threats.weakened (several with commas between); `plan`
    changes the OCI config of every container: a defence that is planned is taken out there.
    """

    async def main() -> _T:
        async with opened() as bench:
            return await attack(bench)

    weak = bool(without or plan)
    with (
        _ended_afterwards(),
        _weakened(without),
        _planned(plan) if weak else contextlib.nullcontext(),
    ):
        return asyncio.run(main())


@contextlib.contextmanager
def _ended_afterwards() -> Iterator[None]:
    """Who leaks descriptors may hold the end by which another would see that it is alone."""
    before = _descendants()
    syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 1)  # who loses his parent is among ours
    try:
        yield
    finally:
        until = time.monotonic() + PATIENCE_SECONDS
        while left := _descendants() - before:
            _end(left, until - time.monotonic())
        syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 0)


def _end(pids: set[int], patience: float) -> None:
    """All that have ended by themselves, or all of them if there is no patience left."""
    with contextlib.ExitStack() as stack:
        handles = list(_handles(pids))
        for handle in handles:
            stack.callback(os.close, handle)
            if patience <= 0:
                signal.pidfd_send_signal(handle, signal.SIGKILL)
        select.select(handles, [], [], max(patience, POLL_SECONDS))
    for pid in pids:
        with contextlib.suppress(ChildProcessError):  # its parent's, who sees to it
            os.waitpid(pid, os.WNOHANG)


def _descendants() -> set[int]:
    """Of this process, itself among them."""
    found: set[int] = set()
    unseen = [os.getpid()]
    while unseen:
        pid = unseen.pop()
        with contextlib.suppress(OSError):
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
            unseen += map(int, children.split())
            found.add(pid)
    return found


def _handles(pids: set[int]) -> Iterator[int]:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            yield os.pidfd_open(pid)


@contextlib.contextmanager
def _weakened(names: str) -> Iterator[None]:
    if not names:
        yield
        return
    boot = (
        "import sys; sys.path.insert(0, sys.argv[1]); "
        f"sys.path.insert(0, {str(CHECKOUT)!r}); "
        "from tests.threats.weakened import main; "
        f"main({names!r}, int(sys.argv[2]))"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(zygoteclient, "BOOT", boot)
        yield


@contextlib.contextmanager
def _planned(change: Change | None) -> Iterator[None]:
    """Also without AppArmor, where the kernel has it: a second lock on most doors."""
    true_plan = spec.plan

    def weak(*arguments: Any) -> dict[str, Any]:
        config = true_plan(*arguments)
        config["process"].pop("apparmorProfile", None)
        if change is not None:
            change(config)
        return config

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spec, "plan", weak)
        yield


def libraries() -> list[str]:
    """Directories without which the host's programs do not run in a container."""
    wanted = {"/lib", "/lib64", "/usr/lib", os.path.realpath(sys.base_prefix)}
    return sorted(path for path in wanted if os.path.exists(path))
