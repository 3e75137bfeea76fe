"""How a shim is born, without one."""

from __future__ import annotations

import os
import traceback
from _socket import socket

import pytest

from tiffin.kernel import cgroup
from tiffin.runtime import hiredmaker, messages, shimbirth
from tiffin.runtime.birth import Host

RAISED = 7


class Maker:
    """One whose shim is killed before it has it all."""

    def make(self, _heir: socket) -> bool:
        raise messages.ConnectionEnded


def test_a_maker_whose_shim_was_killed_ends_without_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hiredmaker, "of", lambda *_: Maker())
    pid = os.fork()
    if pid == 0:
        code = RAISED
        try:
            code = _makers_code()
        except BaseException:  # noqa: BLE001 - back in pytest there would be two of it
            traceback.print_exc()
        os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def _makers_code() -> int:
    shimbirth._make(b"{}", [], Host(cgroup.detect(), "boot", 40, "0"), None)
    code = os.waitstatus_to_exitcode(os.waitpid(-1, 0)[1])
    return 0 if code == 1 else code
