from __future__ import annotations

import os
import subprocess

from tiffin.engine import unkillable


def test_who_sleeps_as_usual_is_not_named() -> None:
    assert unkillable.words([os.getpid(), 1 << 30]) == ""


def test_a_zombie_has_ended_and_a_living_process_has_not() -> None:
    with subprocess.Popen(["true"]) as child:
        ended = os.pidfd_open(child.pid)
        os.waitid(os.P_PIDFD, ended, os.WEXITED | os.WNOWAIT)
        os.close(ended)
        assert unkillable.has_ended(child.pid)
    assert unkillable.has_ended(child.pid)
    assert not unkillable.has_ended(os.getpid())
