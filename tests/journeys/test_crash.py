"""The daemon is killed in the middle: containers and logs go on, and the next daemon knows all."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import urllib.request
from collections.abc import Iterator

import pytest

from tests.journeys.test_survivors import gone
from tests.live import LiveDaemon
from tests.patience import patient
from tiffin.kernel import syscalls
from tiffin.runtime.survivors import Process

pytestmark = pytest.mark.root


@pytest.fixture
def daemon() -> Iterator[LiveDaemon]:
    live = LiveDaemon()
    with live:
        live.load_busybox()
        yield live
    assert live.leaks() == []


def test_containers_logs_and_ports_survive_a_killed_daemon(daemon: LiveDaemon) -> None:
    count = "n=0; while [ -e /i ]; do n=$((n+1)); echo $n; sleep 0.01; done"
    script = f"echo hi > /i; httpd -p 80 -h /; {count}"
    daemon.docker("run", "-d", "--name", "web", "-p", "18097:80", "busybox", "sh", "-c", script)
    pid = daemon.docker("inspect", "-f", "{{.State.Pid}}", "web").stdout
    serving = "until wget -qO /dev/null http://127.0.0.1/i; do :; done"
    daemon.docker("exec", "web", "sh", "-c", serving)
    daemon.kill9()
    with urllib.request.urlopen("http://127.0.0.1:18097/i", timeout=patient(60)) as answer:
        assert answer.read() == b"hi\n"
    daemon.start()
    assert daemon.docker("inspect", "-f", "{{.State.Pid}}", "web").stdout == pid
    # Without it there is no container for long: whether `rm` outlives its own work is a race.
    daemon.docker("exec", "-d", "web", "rm", "/i")
    assert daemon.docker("wait", "web").stdout == "0\n"
    lines = daemon.docker("logs", "web").stdout.split()
    assert lines == [str(number + 1) for number in range(len(lines))]
    assert len(lines) > 3
    daemon.docker("rm", "web")


def test_what_ended_meanwhile_is_known_with_its_exit_code(daemon: LiveDaemon) -> None:
    daemon.docker("run", "-d", "--name", "short", "busybox", "sh", "-c", "sleep 1000; exit 1")
    pid = int(daemon.docker("inspect", "-f", "{{.State.Pid}}", "short").stdout)
    waiting = os.pidfd_open(pid)
    daemon.kill9()
    os.kill(pid, signal.SIGKILL)
    assert select.select([waiting], [], [], patient(60))[0]
    os.close(waiting)
    daemon.start()
    state = daemon.docker("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "short").stdout
    assert state == "exited 137\n"


def test_auto_remove_completes_after_the_restart(daemon: LiveDaemon) -> None:
    daemon.docker("run", "-d", "--rm", "--name", "gone", "busybox", "sleep", "1000")
    pid = int(daemon.docker("inspect", "-f", "{{.State.Pid}}", "gone").stdout)
    daemon.kill9()
    os.kill(pid, signal.SIGKILL)
    daemon.start()
    assert gone(daemon, "gone")


def test_a_kill_in_the_middle_of_many_starts_leaves_nothing_behind(daemon: LiveDaemon) -> None:
    loops = [
        subprocess.Popen(
            ["sh", "-c", "while docker run --rm busybox true; do :; done"],
            env=daemon.environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for _ in range(3)
    ]
    for _ in range(5):
        daemon.docker("run", "--rm", "busybox", "true")
    daemon.kill9()
    for loop in loops:
        loop.wait(patient(60))
    daemon.start()
    daemon.remove_containers()
    assert daemon.docker("ps", "-aq").stdout == ""
    assert daemon.docker("run", "--rm", "busybox", "echo", "well").stdout == "well\n"


def test_two_daemons_live_side_by_side(daemon: LiveDaemon) -> None:
    with LiveDaemon() as other:
        other.load_busybox()
        for one in (daemon, other):
            one.docker("run", "-d", "--name", "same", "busybox", "sleep", "1000")
        assert daemon.docker("ps", "-q").stdout != other.docker("ps", "-q").stdout
        other.docker("rm", "-f", "same")
    assert other.leaks() == []
    assert daemon.docker("exec", "same", "echo", "still here").stdout == "still here\n"


def test_a_second_daemon_on_the_same_data_root_is_refused(daemon: LiveDaemon) -> None:
    second = LiveDaemon()
    try:
        second.data_root = daemon.data_root
        with pytest.raises(RuntimeError, match="the daemon did not start"):
            second.start()
    finally:
        second._put_away()


def test_a_killed_shim_is_told_and_the_restart_policy_applies(daemon: LiveDaemon) -> None:
    for name, policy in (("kept", "on-failure"), ("plain", "no")):
        daemon.docker("run", "-d", "--name", name, "--restart", policy, "busybox", "sleep", "1000")
        pid = int(daemon.docker("inspect", "-f", "{{.State.Pid}}", name).stdout)
        os.kill(Process(pid, syscalls.start_ticks(pid)).shim(), signal.SIGKILL)
    assert daemon.docker("wait", "plain").stdout == "137\n"
    told = daemon.docker("inspect", "-f", "{{.State.Status}}: {{.State.Error}}", "plain").stdout
    assert told == "exited: the container's shim was killed\n"
    starts = ("events", "--since", "1", "--filter", "container=kept", "--filter", "event=start")
    with subprocess.Popen(
        daemon.argv("docker", *starts),
        env=daemon.environment(),
        stdout=subprocess.PIPE,
        text=True,
    ) as events:
        assert events.stdout is not None
        for _ in ("the first", "the second"):
            assert "container start" in events.stdout.readline()
        events.kill()
    assert daemon.docker("exec", "kept", "echo", "again").stdout == "again\n"
    assert daemon.docker("inspect", "-f", "{{.RestartCount}}", "kept").stdout == "1\n"
