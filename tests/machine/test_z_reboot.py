"""The machine goes down by systemd's own order and comes up again: restart policies are kept.

The last of the tests of one boot asks for it; those of the next one follow.
"""

from __future__ import annotations

import os
import select
import subprocess
from pathlib import Path

import pytest

from tests.live import CHECKOUT
from tests.machine.conftest import SOCKET, Machine
from tests.patience import patient

pytestmark = pytest.mark.root

SAID = Path("/var/lib/said/answer")
LEFT = Path("/var/lib/left-by-the-last-boot")
ASLEEP = ("busybox", "sleep", "100000")
second = os.path.exists(LEFT)


def boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text()


@pytest.mark.skipif(second, reason="this is the boot after it")
def test_containers_of_all_policies_are_left_to_a_reboot(machine: Machine) -> None:
    machine.docker("run", "-d", "--name", "always", "--restart", "always", "-p", "0:80", *ASLEEP)
    machine.docker("run", "-d", "--name", "unless", "--restart", "unless-stopped", *ASLEEP)
    machine.docker("run", "-d", "--name", "stopped", "--restart", "unless-stopped", *ASLEEP)
    machine.docker("stop", "-t", "0", "stopped")
    machine.docker("run", "-d", "--name", "plain", *ASLEEP)
    SAID.parent.mkdir(mode=0o777)
    SAID.parent.chmod(0o777)  # the container's root is somebody else here
    # Nobody but us knows by which signal it ends.
    flags = ("--name", "asked", "--stop-signal", "USR1", "-v", f"{SAID.parent}:/said")
    script = (
        f"trap 'echo asked > /said/{SAID.name}; exit' USR1; echo ready; while :; do sleep 1; done"
    )
    machine.docker("run", "-d", *flags, "busybox", "sh", "-c", script)
    with subprocess.Popen(
        ["docker", "-H", f"unix://{SOCKET}", "logs", "-f", "asked"], stdout=subprocess.PIPE
    ) as logs:
        assert logs.stdout is not None
        assert logs.stdout.readline() == b"ready\n"
        logs.kill()
    machine.docker("run", "-d", "--name", "removed", "--rm", *ASLEEP)
    LEFT.write_text(boot())
    Path(CHECKOUT, "reboot").write_text("tests/machine/test_z_reboot.py\n")


def until_running(machine: Machine, name: str) -> None:
    stream = ["docker", "-H", f"unix://{SOCKET}", "events", "--since", "1", "--format", "{{.ID}}"]
    stream += ["--filter", f"container={name}", "--filter", "event=start"]
    with subprocess.Popen(stream, stdout=subprocess.PIPE) as events:
        assert events.stdout is not None
        assert select.select([events.stdout], [], [], patient(60))[0], machine.journal()
        events.kill()
    assert machine.inspect(name)["State"]["Status"] == "running"


@pytest.mark.skipif(not second, reason="this is the boot before it")
def test_after_the_reboot_what_is_to_run_runs_without_being_asked_for() -> None:
    machine = Machine()
    assert LEFT.read_text() != boot()
    # Nobody has asked it anything in this boot.
    assert machine.show("ActiveState") == "active", machine.journal()
    until_running(machine, "always")
    until_running(machine, "unless")
    status = {
        name: machine.inspect(name)["State"]["Status"] for name in ("stopped", "plain", "asked")
    }
    assert status == {"stopped": "exited", "plain": "exited", "asked": "exited"}
    assert SAID.read_text() == "asked\n"
    assert "removed" not in machine.docker("ps", "-a").split()
    machine.docker("rm", "-f", "always", "unless", *status)
