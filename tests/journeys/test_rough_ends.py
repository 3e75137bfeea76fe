"""Clients that are killed and registries that die in the middle of it: nothing hangs or stays."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live import LiveDaemon
from tests.patience import patient
from tests.registry_server import RegistryServer, registry_fixture  # noqa: F401

pytestmark = pytest.mark.root

CUT_AFTER = 300_000


@contextlib.contextmanager
def running(daemon: LiveDaemon, client: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A client, until it is killed."""
    process = subprocess.Popen(
        daemon.argv(client, *arguments),
        env=daemon.environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate(timeout=patient(30))


def read_until(process: subprocess.Popen[str], words: str) -> None:
    assert process.stdout is not None
    seen = []
    for line in process.stdout:
        seen.append(line)
        if words in line and "RUN" not in line:
            return
    raise AssertionError(f"{words} was never said: {seen}")


def pidfd_of(words: str) -> int:
    """Of a process with `words` in its arguments."""
    for entry in filter(str.isdecimal, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            if words.encode() in Path(f"/proc/{entry}/cmdline").read_bytes():
                return os.pidfd_open(int(entry))
    raise AssertionError(f"no process has {words}")


def ends(pidfd: int) -> bool:
    try:
        return bool(select.select([pidfd], [], [], patient(30))[0])
    finally:
        os.close(pidfd)


def test_a_killed_build_takes_its_step_along(
    daemon: LiveDaemon, client: str, tmp_path: Path
) -> None:
    step = f"echo begun && sleep 1000 && echo {client} of {os.getpid()}"
    (tmp_path / "Dockerfile").write_text(f"FROM busybox\nRUN {step}\n")
    with running(daemon, client, "build", "-t", "never", str(tmp_path)) as build:
        read_until(build, "begun")
        shell = pidfd_of(step)
    assert ends(shell)
    assert "never" not in daemon.docker("images").stdout
    (tmp_path / "Dockerfile").write_text("FROM busybox\nRUN echo again\n")
    daemon.client(client)("build", str(tmp_path))


def test_who_runs_in_the_foreground_may_be_killed_and_the_container_goes_on(
    daemon: LiveDaemon, client: str
) -> None:
    script = "echo begun; until [ -e /go ]; do sleep 0.05; done; echo done; exit 4"
    with running(daemon, client, "run", "--name", "left", "busybox", "sh", "-c", script) as run:
        read_until(run, "begun")
    assert daemon.docker("inspect", "-f", "{{.State.Status}}", "left").stdout == "running\n"
    daemon.docker("exec", "-d", "left", "touch", "/go")
    assert daemon.docker("wait", "left").stdout == "4\n"
    assert daemon.docker("logs", "left").stdout == "begun\ndone\n"
    daemon.docker("rm", "left")


def test_input_ends_with_the_client_that_gave_it(daemon: LiveDaemon, client: str) -> None:
    script = "echo begun; cat; echo end"
    arguments = ("run", "-i", "--name", "fed", "busybox", "sh", "-c", script)
    with running(daemon, client, *arguments) as run:
        read_until(run, "begun")
    assert daemon.docker("wait", "fed").stdout == "0\n"
    assert daemon.docker("logs", "fed").stdout == "begun\nend\n"
    daemon.docker("rm", "fed")


def test_a_killed_exec_leaves_the_container_and_others_alone(
    daemon: LiveDaemon, client: str
) -> None:
    daemon.docker("run", "-d", "--name", "host", "busybox", "sleep", "1000")
    script = "echo begun; cat; echo end"
    with running(daemon, client, "exec", "-i", "host", "sh", "-c", script) as run:
        read_until(run, "begun")
    assert daemon.client(client)("exec", "host", "echo", "well").stdout == "well\n"
    daemon.docker("rm", "-f", "host")


class Cutter:
    """Carries connections to a server, and cuts each after CUT_AFTER bytes.

    While `dies` is set nothing more is carried after the first cut.
    """

    def __init__(self, target: str) -> None:
        host, _, port = target.rpartition(":")
        self._target = (host, int(port))
        self.dies = True
        self.cuts = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._accept)
        self._carriers: list[threading.Thread] = []
        self._clients: list[socket.socket] = []

    def __enter__(self) -> Cutter:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for client in self._clients:  # kept alive, in case there is more to ask
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
        for thread in (self._thread, *self._carriers):
            thread.join()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._clients.append(client)
            carrier = threading.Thread(target=self._carry, args=(client,))
            carrier.start()
            self._carriers.append(carrier)

    def _carry(self, client: socket.socket) -> None:
        left = 0 if self.dies and self.cuts else CUT_AFTER
        with client, socket.create_connection(self._target) as server:
            other = {client: server, server: client}
            while left > 0:
                for ready in select.select([client, server], [], [])[0]:
                    try:
                        data = ready.recv(65536)
                        other[ready].sendall(data)
                    except OSError:
                        return
                    if not data:
                        return
                    left -= len(data)
            self.cuts += 1


@pytest.fixture
def cutter(registry: RegistryServer) -> Iterator[Cutter]:
    with Cutter(registry.address) as cutter:
        yield cutter


def test_a_registry_that_dies_in_the_middle_is_an_error_and_nothing_stays(
    daemon: LiveDaemon, client: str, registry: RegistryServer, cutter: Cutter
) -> None:
    run = daemon.client(client)
    whole, cut = f"{registry.address}/box", f"{cutter.address}/box"
    run("tag", "busybox", cut)
    push = run("push", cut, check=False)
    assert (push.returncode, cutter.cuts > 0) == (1, True)
    assert registry.tags("box") == []
    run("rmi", cut)
    run("tag", "busybox", whole)
    run("push", whole)
    run("rmi", whole)
    with LiveDaemon() as other:
        cutter.cuts = 0
        pull = other.client(client)("pull", cut, check=False)
        assert (pull.returncode, cutter.cuts > 0) == (1, True)
        assert other.docker("images", "-q").stdout == ""
        assert os.listdir(f"{other.data_root}/ingest") == []
        other.client(client)("pull", whole)
        assert other.docker("run", "--rm", whole, "echo", "well").stdout == "well\n"
        other.docker("rmi", whole)
        # One that only stumbles is asked for the rest.
        cutter.cuts, cutter.dies = 0, False
        other.client(client)("pull", cut)
        assert cutter.cuts > 0
        other.docker("rmi", cut)
    assert other.leaks() == []
