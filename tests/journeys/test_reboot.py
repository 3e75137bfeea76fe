"""The machine goes down and comes up again: what was is known, what is to run runs again.

The boot is another by its id, which the daemon sees in a mount namespace of its own; the shims and
their containers are killed, and the run root is gone, as a tmpfs is.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
import uuid
from contextlib import suppress
from pathlib import Path

import pytest

from tests.cycles import name_of
from tests.journeys.test_survivors import gone
from tests.live import LiveDaemon
from tests.patience import patient
from tiffin.runtime.messages import SHIM_NAME

pytestmark = pytest.mark.root

ASLEEP = ("busybox", "sleep", "1000")


def reboot(daemon: LiveDaemon) -> None:
    shims = [pid for pid in daemon.processes() if name_of(pid) == SHIM_NAME]
    daemon.kill9()
    for pid in shims:
        with suppress(ProcessLookupError):  # the spare one goes with the daemon
            os.kill(pid, signal.SIGKILL)
    shutil.rmtree(daemon.run_root)
    Path(daemon.root, "boot_id").write_text(f"{uuid.uuid4()}\n")
    mount = f"mount --bind {daemon.root}/boot_id /proc/sys/kernel/random/boot_id"
    daemon.start(within=("unshare", "-m", "sh", "-c", f'{mount} && exec "$@"', "sh"))


def state(daemon: LiveDaemon, name: str) -> str:
    told = json.loads(daemon.docker("inspect", name).stdout)[0]["State"]
    return str(told["Status"])


def until_running(daemon: LiveDaemon, name: str) -> None:
    """By the event of its start: the stream begins with what has been since the daemon came up."""
    stream = daemon.argv("docker", "events", "--since", "1", "--filter", f"container={name}")
    with subprocess.Popen(
        [*stream, "--filter", "event=start", "--format", "{{.Action}}"],
        env=daemon.environment(),
        stdout=subprocess.PIPE,
        text=True,
    ) as events:
        assert events.stdout is not None
        assert select.select([events.stdout], [], [], patient(60))[0]
        assert events.stdout.readline() == "start\n"
        events.kill()
    assert state(daemon, name) == "running"


def test_after_a_reboot_policies_are_kept_and_nothing_else_is_believed(
    daemon: LiveDaemon,
) -> None:
    daemon.docker("run", "-d", "--name", "always", "--restart", "always", "-p", "0:80", *ASLEEP)
    daemon.docker("run", "-d", "--name", "unless", "--restart", "unless-stopped", *ASLEEP)
    daemon.docker("run", "-d", "--name", "stopped", "--restart", "unless-stopped", *ASLEEP)
    daemon.docker("stop", "-t", "0", "stopped")
    daemon.docker("run", "-d", "--name", "failed", "--restart", "on-failure", *ASLEEP)
    daemon.docker("run", "-d", "--name", "ended", "--restart", "on-failure", *ASLEEP)
    daemon.docker("stop", "-t", "0", "ended")
    daemon.docker("run", "-d", "--name", "plain", *ASLEEP)
    daemon.docker("run", "-d", "--name", "removed", "--rm", *ASLEEP)
    daemon.docker("run", "-d", "--name", "paused", *ASLEEP)
    daemon.docker("pause", "paused")
    reboot(daemon)
    until_running(daemon, "always")
    until_running(daemon, "unless")
    until_running(daemon, "failed")
    assert state(daemon, "stopped") == state(daemon, "ended") == "exited"
    assert daemon.docker("inspect", "-f", "{{.State.ExitCode}}", "plain", "paused").stdout == (
        "255\n255\n"
    )
    assert gone(daemon, "removed")
    checked = daemon.tiffin("system", "check", "--format", "json")
    assert json.loads(checked.stdout)["Findings"] == []
    daemon.docker("start", "plain", "paused")
    assert daemon.docker("exec", "plain", "echo", "again").stdout == "again\n"
