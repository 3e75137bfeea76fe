"""A shim that is stopped: who asks it waits, and nobody else; not even a daemon that starts."""

from __future__ import annotations

import os
import select
import signal
import subprocess
from collections.abc import Iterator

import pytest

from tests.live import LiveDaemon
from tests.patience import patient
from tiffin.kernel import syscalls
from tiffin.runtime.survivors import Process

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def hung(daemon: LiveDaemon) -> Iterator[Process]:
    """A stopped shim, of a container of that name."""
    daemon.docker("run", "-d", "--name", "hung", "busybox", "sleep", "1000")
    daemon.docker("run", "-d", "--name", "well", "busybox", "sleep", "1000")
    pid = int(daemon.docker("inspect", "-f", "{{.State.Pid}}", "hung").stdout)
    shim = Process(pid, syscalls.start_ticks(pid)).shim()
    os.kill(shim, signal.SIGSTOP)
    stopped = Process(shim, syscalls.start_ticks(shim))
    yield stopped
    stopped.signal(signal.SIGCONT)


def test_others_go_on_while_one_waits(daemon: LiveDaemon, hung: Process) -> None:
    asking = subprocess.Popen(
        daemon.argv("docker", "exec", "hung", "touch", "/late"),
        env=daemon.environment(),
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert "hung" in daemon.docker("ps").stdout
        assert daemon.docker("inspect", "-f", "{{.State.Status}}", "hung").stdout == "running\n"
        assert "sleep" in daemon.docker("top", "hung").stdout
        assert daemon.docker("exec", "well", "echo", "hi").stdout == "hi\n"
        assert daemon.docker("run", "--rm", "busybox", "echo", "new").stdout == "new\n"
        daemon.docker("stop", "-t", "0", "well")
        said, _ = asking.communicate(timeout=patient(60))
    finally:
        asking.kill()
        asking.wait(patient(30))
    assert asking.returncode == 126
    assert "did not start the exec in time" in said


def test_a_daemon_stops_and_starts_beside_it(daemon: LiveDaemon, hung: Process) -> None:
    daemon.stop()
    daemon.start()
    assert daemon.docker("inspect", "-f", "{{.State.Status}}", "hung").stdout == "running\n"
    assert daemon.docker("start", "well").stdout == "well\n"


def test_what_was_given_up_is_not_done_when_it_goes_on(daemon: LiveDaemon, hung: Process) -> None:
    hung.signal(signal.SIGCONT)
    # After the other: a shim does what it is asked in turn.
    assert "late" not in daemon.docker("exec", "hung", "ls", "/").stdout
    hung.signal(signal.SIGSTOP)


def test_it_can_be_removed_by_force(daemon: LiveDaemon, hung: Process) -> None:
    ended = os.pidfd_open(hung.pid)
    daemon.docker("rm", "-f", "hung")
    assert select.select([ended], [], [], patient(30))[0]
    os.close(ended)
    assert "hung" not in daemon.docker("ps", "-a").stdout


def test_sigusr1_shows_where_everybody_is(daemon: LiveDaemon) -> None:
    os.kill(daemon.pid, signal.SIGUSR1)
    daemon.docker("version")  # the loop has had its turn
    shown = daemon.log()
    assert "Current thread" in shown  # at once, whatever the loop does
    assert "tiffin: stacks" in shown
    assert "await stopping.wait()" in shown
    assert "thread MainThread" in shown
