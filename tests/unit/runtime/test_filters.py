"""Seccomp filters: once for each profile, and apart for one that somebody brings."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from tests.patience import patient
from tiffin.errors import CannotStart
from tiffin.kernel import seccomp
from tiffin.runtime import filters

PROFILE: dict[str, Any] = {
    "defaultAction": "SCMP_ACT_ERRNO",
    "syscalls": [{"names": ["read", "write", "exit_group"], "action": "SCMP_ACT_ALLOW"}],
}


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seccomp, "_programs", {})


def compiled(profile: dict[str, Any], *, brought: bool) -> bytes:
    async def ask() -> bytes:
        async with asyncio.timeout(patient(60)):
            return await filters.program_of(profile, "key", brought=brought)

    return asyncio.run(ask())


@pytest.mark.parametrize("brought", [False, True])
def test_a_profile_is_compiled_once(brought: bool) -> None:
    first = compiled(PROFILE, brought=brought)

    assert compiled({"defaultAction": "nonsense"}, brought=brought) is first


def test_a_profile_that_is_brought_becomes_the_same_program() -> None:
    assert compiled(PROFILE, brought=True) == seccomp.compile_small(PROFILE)


def test_what_is_wrong_with_it_is_told() -> None:
    with pytest.raises(seccomp.SeccompError, match="SCMP_ACT_NONSENSE is not supported"):
        compiled({"defaultAction": "SCMP_ACT_NONSENSE"}, brought=True)


def test_rules_that_take_for_ever_are_given_up(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """And their process ended: it has told us its pid."""
    told = tmp_path / "pid"
    boot = f"import os, time; open({str(told)!r}, 'w').write(str(os.getpid())); time.sleep(1e6)"
    monkeypatch.setattr(filters, "_BOOT", boot)
    monkeypatch.setattr(filters, "DEADLINE_SECONDS", patient(3))

    with pytest.raises(CannotStart, match="compiling it takes more than"):
        compiled(PROFILE, brought=True)

    with pytest.raises(ProcessLookupError):
        os.kill(int(told.read_text()), 0)


def test_a_compiler_that_dies_is_no_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filters, "_BOOT", "import os; os.abort()")

    with pytest.raises(CannotStart, match="compiling it failed"):
        compiled(PROFILE, brought=True)
