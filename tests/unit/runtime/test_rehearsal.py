"""What the zygote plays through before its first fork leaves it as it was."""

from __future__ import annotations

import os
import signal
import traceback

from tiffin.kernel import cgroup
from tiffin.runtime import rehearsal
from tiffin.runtime.birth import Host


def test_a_rehearsal_leaves_no_descriptor_and_no_child() -> None:
    pid = os.fork()
    if pid == 0:  # as the zygote, who waits for nobody
        code = 1
        try:
            code = _descriptors_left()
        except BaseException:  # noqa: BLE001 - back in pytest there would be two of it
            traceback.print_exc()
        os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def _descriptors_left() -> int:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    host = Host(cgroup.detect(), "boot", 40, "0")
    before = set(os.listdir("/proc/self/fd"))
    rehearsal.rehearse(host)
    left = set(os.listdir("/proc/self/fd")) - before
    try:
        os.waitpid(-1, 0)  # until none is left
    except ChildProcessError:
        return len(left)
    return 2
