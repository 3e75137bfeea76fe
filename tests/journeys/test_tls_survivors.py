"""Clients that came through the TLS door outlive the daemon as those on unix sockets do."""

from __future__ import annotations

import http.client
import os
import select
import signal
import socket
import ssl
import subprocess
import tempfile
from collections.abc import Iterator

import pytest

from tests.certificates import make_certificates
from tests.journeys.test_survivors import (
    Foreground,
    door_of,
    ends_on_a_terminal_meanwhile,
    pid_handle,
    started,
)
from tests.live import LiveDaemon
from tests.patience import patient
from tests.terminal import Terminal

pytestmark = pytest.mark.root

SECONDS = patient(60)


class TlsDaemon(LiveDaemon):
    """Its clients come through a TLS door, at a port that stays the same over its restarts."""

    def __init__(self, folder: str) -> None:
        self.port = free_port()
        flags = ["--tlsverify", "--tlscacert", f"{folder}/ca.pem"]
        flags += ["--tlscert", f"{folder}/server-cert.pem", "--tlskey", f"{folder}/server-key.pem"]
        super().__init__(*flags, "-H", f"tcp://127.0.0.1:{self.port}")
        self.certificates = folder

    def environment(self) -> dict[str, str]:
        return {
            **super().environment(),
            "DOCKER_HOST": f"tcp://127.0.0.1:{self.port}",
            "TIFFIN_HOST": f"tcp://127.0.0.1:{self.port}",
            "DOCKER_TLS_VERIFY": "1",
            "DOCKER_CERT_PATH": self.certificates,
        }

    def connection(self) -> http.client.HTTPSConnection:
        context = ssl.create_default_context(cafile=f"{self.certificates}/ca.pem")
        context.load_cert_chain(f"{self.certificates}/cert.pem", f"{self.certificates}/key.pem")
        return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=SECONDS, context=context)

    def door(self) -> int:
        """Its process id."""
        return door_of(self, "tiffin-tlsdoor")


def free_port() -> int:
    """One that no outgoing connection is given while no daemon has it."""
    for number in range(20_000 + os.getpid() % 5000, 32_000):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", number))
            except OSError:
                continue
            return number
    raise AssertionError("no port is free")


@pytest.fixture(scope="module")
def served() -> Iterator[TlsDaemon]:
    with tempfile.TemporaryDirectory(prefix="tfncert") as folder:
        make_certificates(folder)
        with TlsDaemon(folder) as daemon:
            daemon.load_busybox()
            yield daemon
        assert daemon.processes() == []


@pytest.fixture
def daemon(served: TlsDaemon) -> Iterator[TlsDaemon]:
    yield served
    served.revive()


def ends(handle: int) -> bool:
    """A process does, within reason."""
    try:
        return bool(select.select([handle], [], [], SECONDS)[0])
    finally:
        os.close(handle)


def test_run_outlives_a_killed_daemon(daemon: TlsDaemon, client: str) -> None:
    """The next one has the port while the client is still there, and nothing is left after it."""
    script = "echo up; read x; seq 100000; echo wrong >&2; read x; exit 7"
    arguments = ("run", "-i", "--name", "lives", "busybox", "sh", "-c", script)
    with Foreground(daemon, client, *arguments) as run:
        assert run.line() == "up\n"
        started(daemon, "lives")
        door = os.pidfd_open(daemon.door())
        daemon.kill9()
        run.say("word\n")
        for number in range(1, 50_001):
            assert run.line() == f"{number}\n"
        daemon.start()
        assert daemon.docker("ps", "--format", "{{.Names}}").stdout == "lives\n"
        run.say("word\n")
        for number in range(50_001, 100_001):
            assert run.line() == f"{number}\n"
        assert run.result() == ("", "wrong\n", 7)
    assert ends(door)
    state = daemon.docker("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "lives").stdout
    assert state == "exited 7\n"


def test_run_ends_while_no_daemon_serves(daemon: TlsDaemon, client: str) -> None:
    ends_on_a_terminal_meanwhile(daemon, client)


def test_attach_and_wait_outlive_a_stopped_daemon(daemon: TlsDaemon, client: str) -> None:
    script = "while read x; do echo got $x; [ $x = end ] && exit 4; done"
    daemon.docker("run", "-d", "-i", "--name", "host", "busybox", "sh", "-c", script)
    waiting = daemon.connection()
    waiting.request("POST", "/v1.50/containers/host/wait?condition=next-exit")
    with (
        Foreground(daemon, client, "attach", "host") as attached,
        waiting.getresponse() as answer,
    ):
        attached.say("word\n")
        assert attached.line() == "got word\n"
        door = os.pidfd_open(daemon.door())
        daemon.stop()
        daemon.start()
        attached.say("end\n")
        assert attached.line() == "got end\n"
        assert attached.result() == ("", "", 4)
        assert answer.read() == b'{"StatusCode":4}\n'
    waiting.close()
    assert ends(door)


def test_an_exec_that_ends_without_a_daemon_is_told_by_the_next(
    daemon: TlsDaemon, client: str
) -> None:
    daemon.docker("run", "-d", "--name", "host", "busybox", "sleep", "1000")
    script = "echo up; read x; echo got $x; exit 9"
    with Foreground(daemon, client, "exec", "-i", "host", "sh", "-c", script) as run:
        assert run.line() == "up\n"
        ending = pid_handle(daemon, "host", "read x")
        daemon.kill9()
        run.say("word\n")
        assert run.line() == "got word\n"
        assert ends(ending)
        assert run.runs  # nobody is there to say how it ended
        daemon.start()
        assert run.result() == ("", "", 9)


def test_an_exec_on_a_terminal_goes_on_over_a_restart(daemon: TlsDaemon, client: str) -> None:
    daemon.docker("run", "-d", "--name", "host", "busybox", "sleep", "1000")
    script = "echo up; read x; echo got $x; exit 3"
    arguments = ("exec", "-it", "host", "sh", "-c", script)
    with Terminal(daemon.argv(client, *arguments), daemon.environment()) as terminal:
        terminal.expect("up")
        daemon.kill9()
        daemon.start()
        terminal.send("word\r")
        terminal.expect("got word")
        assert terminal.exit_code() == 3


def test_input_that_nobody_reads_costs_no_output(daemon: TlsDaemon, client: str) -> None:
    """The container has ended while its client still sends: the end of the pair is a reset."""
    words = daemon.argv(client, "run", "--rm", "-i", "busybox", "sh", "-c", "seq 50000; exit 2")
    found = subprocess.run(
        words,
        env=daemon.environment(),
        input=b"x" * 4_000_000,
        capture_output=True,
        timeout=SECONDS,
        check=False,
    )
    assert (found.stdout.splitlines()[-1:], found.returncode) == ([b"50000"], 2), found.stderr


def test_a_door_that_was_killed_is_replaced(daemon: TlsDaemon) -> None:
    handle = os.pidfd_open(daemon.door())
    signal.pidfd_send_signal(handle, signal.SIGKILL)
    assert ends(handle)
    with socket.create_connection(("127.0.0.1", daemon.port), SECONDS):
        daemon.docker("version", check=False)  # may have come to the door that ended
        assert daemon.docker("version", "-f", "{{.Server.Version}}").stdout.strip()
    assert "the TLS door ended" in daemon.log()


def test_who_never_says_who_he_is_keeps_no_door_open(daemon: TlsDaemon) -> None:
    with socket.create_connection(("127.0.0.1", daemon.port), SECONDS) as silent:
        daemon.docker("version")
        handle = os.pidfd_open(daemon.door())
        daemon.kill9()
        assert silent.recv(1) == b""
        assert ends(handle)


def test_a_wrong_key_is_found_at_the_start() -> None:
    with tempfile.TemporaryDirectory(prefix="tfncert") as folder:
        make_certificates(folder)
        words = [f"--tlscacert={folder}/ca.pem", f"--tlscert={folder}/server-cert.pem"]
        words += [f"--tlskey={folder}/key.pem", "--tlsverify", "-H", "tcp://127.0.0.1:0"]
        daemon = LiveDaemon(*words)
        try:
            with pytest.raises(RuntimeError, match="could not load X509 key pair"):
                daemon.start()
        finally:
            daemon._put_away()
