"""Clients in the foreground outlive the daemon: whole output, the right exit code, --rm done."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import time
from collections.abc import Iterator

import pytest

from tests.api.wire import UnixConnection
from tests.live import LiveDaemon
from tests.patience import patient
from tests.terminal import Terminal

pytestmark = pytest.mark.root

SECONDS = patient(60)


class Foreground:
    """A client with pipes for its streams."""

    def __init__(self, daemon: LiveDaemon, client: str, *arguments: str) -> None:
        self._process = subprocess.Popen(
            daemon.argv(client, *arguments),
            env=daemon.environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def __enter__(self) -> Foreground:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.communicate()

    def line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().decode()

    def say(self, text: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(text.encode())
        self._process.stdin.flush()

    def result(self) -> tuple[str, str, int]:
        """Output and errors from here on, and the exit code."""
        output, errors = self._process.communicate(timeout=SECONDS)
        return output.decode(), errors.decode(), self._process.returncode

    @property
    def runs(self) -> bool:
        return self._process.poll() is None


@pytest.fixture
def daemon(daemon: LiveDaemon) -> Iterator[LiveDaemon]:
    yield daemon
    daemon.revive()


def door_of(daemon: LiveDaemon, name: str) -> int:
    """The pid of a helper that the daemon has started, by what ps shows of it."""
    found = []
    for entry in filter(str.isdecimal, os.listdir("/proc")):
        try:
            with open(f"/proc/{entry}/stat", encoding="utf-8") as file:
                shown, _, rest = file.read().partition("(")[2].rpartition(")")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if shown == name and int(rest.split()[1]) == daemon.pid:
            found.append(int(entry))
    assert len(found) == 1
    return found[0]


def gone(daemon: LiveDaemon, name: str) -> bool:
    """An auto-removal is part of the recovery, but not of what the daemon waits for to serve."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        if name not in daemon.docker("ps", "-a", "--format", "{{.Names}}").stdout.split():
            return True
    return False


def started(daemon: LiveDaemon, container: str) -> None:
    """Its output may be ahead of the answer to its start; a signal waits for that."""
    daemon.docker("kill", "-s", "WINCH", container)


def pid_handle(daemon: LiveDaemon, container: str, command: str) -> int:
    """A pidfd of the process in the container that was started as `command`."""
    for line in daemon.docker("top", container).stdout.splitlines()[1:]:
        columns = line.split(maxsplit=7)  # UID PID PPID C STIME TTY TIME CMD
        if command in columns[7]:
            return os.pidfd_open(int(columns[1]))
    raise AssertionError(f"nothing runs {command}")


def test_run_outlives_a_killed_daemon(daemon: LiveDaemon, client: str) -> None:
    script = "echo up; read x; echo got $x; echo wrong >&2; exit 7"
    arguments = ("run", "-i", "--name", "lives", "busybox", "sh", "-c", script)
    with Foreground(daemon, client, *arguments) as run:
        assert run.line() == "up\n"
        started(daemon, "lives")
        daemon.kill9()
        run.say("word\n")
        assert run.result() == ("got word\n", "wrong\n", 7)
    daemon.start()
    state = daemon.docker("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "lives").stdout
    assert state == "exited 7\n"
    assert daemon.docker("logs", "lives").stdout == "up\ngot word\n"


def ends_on_a_terminal_meanwhile(daemon: LiveDaemon, client: str) -> None:
    """`run --rm -it`, whose container ends while no daemon serves, and is removed by the next."""
    script = "echo up; read x; echo got $x; exit 5"
    arguments = ("run", "--rm", "-it", "--name", "passes", "busybox", "sh", "-c", script)
    with Terminal(daemon.argv(client, *arguments), daemon.environment()) as terminal:
        terminal.expect("up")
        started(daemon, "passes")
        daemon.kill9()
        terminal.send("word\r")
        terminal.expect("got word")
        assert terminal.exit_code() == 5
    daemon.start()
    assert gone(daemon, "passes")


def test_run_rm_on_a_terminal_outlives_it_and_is_removed(daemon: LiveDaemon, client: str) -> None:
    ends_on_a_terminal_meanwhile(daemon, client)


def test_run_rm_over_a_restart_ends_with_the_next_daemon(daemon: LiveDaemon, client: str) -> None:
    script = "echo up; read x; exit 6"
    arguments = ("run", "--rm", "-i", "--name", "stays", "busybox", "sh", "-c", script)
    with Foreground(daemon, client, *arguments) as run:
        assert run.line() == "up\n"
        started(daemon, "stays")
        daemon.kill9()
        daemon.start()
        run.say("word\n")
        assert run.result() == ("", "", 6)
    # Who waits for the removal is told once that is done.
    assert "stays" not in daemon.docker("ps", "-a").stdout


def test_an_exec_that_ends_without_a_daemon_is_told_by_the_next(
    daemon: LiveDaemon, client: str
) -> None:
    daemon.docker("run", "-d", "--name", "host", "busybox", "sleep", "1000")
    script = "echo up; read x; echo got $x; exit 9"
    with Foreground(daemon, client, "exec", "-i", "host", "sh", "-c", script) as run:
        assert run.line() == "up\n"
        ending = pid_handle(daemon, "host", "read x")
        daemon.kill9()
        run.say("word\n")
        assert run.line() == "got word\n"
        assert select.select([ending], [], [], SECONDS)[0]
        os.close(ending)
        assert run.runs  # nobody is there to say how it ended
        daemon.start()
        assert run.result() == ("", "", 9)


def test_an_exec_on_a_terminal_goes_on_over_a_restart(daemon: LiveDaemon, client: str) -> None:
    daemon.docker("run", "-d", "--name", "host", "busybox", "sleep", "1000")
    script = "echo up; read x; echo got $x; exit 3"
    arguments = ("exec", "-it", "host", "sh", "-c", script)
    with Terminal(daemon.argv(client, *arguments), daemon.environment()) as terminal:
        terminal.expect("up")
        daemon.kill9()
        daemon.start()
        ids = daemon.docker("inspect", "-f", "{{.ExecIDs}}", "host").stdout
        assert re.fullmatch(r"\[[0-9a-f]{64}\]\n", ids)
        terminal.send("word\r")
        terminal.expect("got word")
        assert terminal.exit_code() == 3


@pytest.mark.parametrize(
    ("version", "document"),
    [("v1.50", b'{"StatusCode":137}\n'), ("v1.41", b'{"StatusCode":137,"Error":null}\n')],
)
def test_a_wait_outlives_a_stopped_daemon(
    daemon: LiveDaemon, version: str, document: bytes
) -> None:
    daemon.docker("run", "-d", "-i", "--name", "host", "busybox", "cat")
    ending = pid_handle(daemon, "host", "cat")
    waiting = UnixConnection(daemon.socket, timeout=SECONDS)
    waiting.request("POST", f"/{version}/containers/host/wait?condition=next-exit")
    with waiting.getresponse() as answer:
        assert answer.headers["Content-Type"] == "application/json"
        daemon.docker("exec", "host", "true")  # the shim has the client, as requests keep in order
        daemon.stop()
        signal.pidfd_send_signal(ending, signal.SIGKILL)
        os.close(ending)
        assert answer.read() == document
    waiting.close()
    daemon.start()


def test_who_waits_before_the_start_is_told_of_a_start_that_fails(daemon: LiveDaemon) -> None:
    daemon.docker("create", "--name", "host", "busybox", "no-such-program")
    waiting = UnixConnection(daemon.socket, timeout=SECONDS)
    waiting.request("POST", "/v1.50/containers/host/wait?condition=next-exit")
    with waiting.getresponse() as answer:
        daemon.docker("start", "host", check=False)
        assert answer.read() == b'{"StatusCode":127}\n'
    waiting.close()


def test_who_waits_for_a_removal_is_told_of_it(daemon: LiveDaemon) -> None:
    daemon.docker("run", "-d", "--name", "host", "busybox", "true")
    waiting = UnixConnection(daemon.socket, timeout=SECONDS)
    waiting.request("POST", "/v1.50/containers/host/wait?condition=removed")
    with waiting.getresponse() as answer:
        daemon.docker("wait", "host")
        daemon.docker("rm", "host")
        assert answer.read() == b'{"StatusCode":0}\n'
    waiting.close()
