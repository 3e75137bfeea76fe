"""Where attacks are tried: a runtime as it is, and one with a named defence taken away."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tests.kernel.runtime_bench import Bench, opened
from tiffin.runtime import spec, zygoteclient

_T = TypeVar("_T")
CHECKOUT = Path(__file__).resolve().parents[2]
Attack = Callable[[Bench], Awaitable[_T]]
Change = Callable[[dict[str, Any]], None]


def outcome(attack: Attack[_T], *, without: str = "", plan: Change | None = None) -> _T:
    """What `attack` achieves on a runtime of its own.

    `without` names weaknesses of tests.threats.weakened (several with commas between); `plan`
    changes the OCI config of every container: a defence that is planned is taken out there.
    """

    async def main() -> _T:
        async with opened() as bench:
            return await attack(bench)

    weak = bool(without or plan)
    with _weakened(without), _planned(plan) if weak else contextlib.nullcontext():
        return asyncio.run(main())


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
