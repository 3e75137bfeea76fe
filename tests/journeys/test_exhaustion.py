"""The machine has no more to give: what is refused is named, nothing is half made, all goes on."""

from __future__ import annotations

import http.client
import json
import os
import resource
import select
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import docker
import pytest

from tests.cycles import zygotes
from tests.disks import small_disk
from tests.live import LiveDaemon
from tests.patience import patient
from tiffin.kernel import cgroup

pytestmark = pytest.mark.root

AGAIN = "resource temporarily unavailable"


def is_whole(daemon: LiveDaemon) -> None:
    """Nothing of what failed is left, and the next start succeeds."""
    assert daemon.docker("run", "--rm", "busybox", "echo", "well").stdout == "well\n"
    checked = daemon.tiffin("system", "check", "--format", "json", check=False)
    assert json.loads(checked.stdout)["Findings"] == []
    assert daemon.docker("ps", "-aq").stdout == ""


@contextmanager
def counted(daemon: LiveDaemon) -> Iterator[cgroup.Cgroup]:
    """The daemon and its zygote in a cgroup that limits processes and threads."""
    group = cgroup.Cgroup(cgroup.detect(), f"{daemon.settings.cgroup_name}-few", ("pids",))
    group.create()
    try:
        for pid in (daemon.pid, *zygotes(daemon)):
            group.add(pid)
        yield group
    finally:
        group.limit({"pids": {"limit": -1}})
        daemon.stop()
        group.kill()
        group.remove()
        daemon.start()


def test_without_further_processes_starts_fail_by_name_until_there_are_more(
    daemon: LiveDaemon,
) -> None:
    with counted(daemon) as group:
        group.limit({"pids": {"limit": len(group.pids()) + _threads(daemon)}})
        # By the shim that was made ahead, if it can: there is none after this.
        daemon.docker("run", "-d", "busybox", "sleep", "1000", check=False)
        refused = []
        for more in range(40):  # one thread or process more each time: every step fails once
            group.limit({"pids": {"limit": len(group.pids()) + _threads(daemon) + more}})
            finished = daemon.docker("run", "--rm", "busybox", "true", check=False)
            if finished.returncode == 0:
                break
            assert finished.returncode == 125
            refused.append(finished.stderr.lower())
        assert refused
        assert all(AGAIN in words or "can't start new thread" in words for words in refused)
        group.limit({"pids": {"limit": -1}})
        daemon.remove_containers()
        is_whole(daemon)


def _threads(daemon: LiveDaemon) -> int:
    """Those of the daemon that are not its first: the controller counts them, too."""
    return len(os.listdir(f"/proc/{daemon.pid}/task")) - 1


def test_without_further_processes_in_a_container_an_exec_fails_by_name(
    daemon: LiveDaemon,
) -> None:
    daemon.docker("run", "-d", "--name", "few", "--pids-limit", "1", "busybox", "sleep", "1000")
    finished = daemon.docker("exec", "few", "true", check=False)
    assert finished.returncode == 126
    assert AGAIN in finished.stdout.lower()  # as Docker: in the stream
    assert daemon.docker("top", "few").stdout.count("sleep") == 1
    daemon.docker("update", "--pids-limit", "2", "few")
    daemon.docker("exec", "few", "true")  # one is all that it takes
    daemon.docker("rm", "-f", "few")


def test_a_shim_that_may_not_fork_says_so_to_an_exec_and_goes_on(daemon: LiveDaemon) -> None:
    with counted(daemon) as group:
        daemon.docker("run", "-d", "--name", "kept", "busybox", "sleep", "1000")
        daemon.docker("exec", "kept", "true")  # threads that the daemon needs for one are there
        group.add(_shim_of(daemon, "kept"))
        group.limit({"pids": {"limit": 1}})
        finished = daemon.docker("exec", "kept", "true", check=False)
        assert finished.returncode == 126
        assert AGAIN in (finished.stdout + finished.stderr).lower()
        group.limit({"pids": {"limit": -1}})
        daemon.docker("exec", "kept", "true")
        daemon.remove_containers()
        is_whole(daemon)


def _shim_of(daemon: LiveDaemon, name: str) -> int:
    pid = daemon.docker("inspect", "--format", "{{.State.Pid}}", name).stdout.strip()
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("PPid:")[1].split()[0])


def test_without_further_descriptors_starts_fail_by_name_until_there_are_more(
    daemon: LiveDaemon,
) -> None:
    before = resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE)
    with one_connection(daemon) as connection:
        open_now = len(os.listdir(f"/proc/{daemon.pid}/fd"))
        refused = []
        try:
            for more in range(80):
                resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (open_now + more, before[1]))
                words = _start_one(connection)
                if not words:
                    break
                refused.append(words.lower())
        finally:
            resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, before)
    daemon.remove_containers()
    assert refused
    assert any("too many open files" in words for words in refused), refused
    daemon.tiffin("system", "check", "--repair")  # a directory that could not be read, to delete it
    is_whole(daemon)


@contextmanager
def one_connection(daemon: LiveDaemon) -> Iterator[http.client.HTTPConnection]:
    """Accepted already, and kept: a daemon without descriptors accepts no further one."""
    connection = http.client.HTTPConnection("localhost", timeout=patient(60))
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(daemon.socket)
    try:
        assert _ask(connection, "GET", "/_ping") == (200, b"OK")
        yield connection
    finally:
        connection.close()


def _ask(
    connection: http.client.HTTPConnection, method: str, path: str, body: str = ""
) -> tuple[int, bytes]:
    connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
    answer = connection.getresponse()
    return answer.status, answer.read()


def _start_one(connection: http.client.HTTPConnection) -> str:
    """What refused it."""
    body = json.dumps({"Image": "busybox", "Cmd": ["true"]})
    status, answer = _ask(connection, "POST", "/containers/create", body)
    if status == 201:
        path = f"/containers/{json.loads(answer)['Id']}/start"
        status, answer = _ask(connection, "POST", path)
    return "" if status == 204 else str(json.loads(answer)["message"])


def test_arguments_and_environments_that_are_too_large_are_said_to_be(daemon: LiveDaemon) -> None:
    long = "x" * 200_000  # the kernel takes 131,072 in one
    client = docker.DockerClient(base_url=daemon.host)
    client.containers.create("busybox", ["true"], environment={"LONG": long}, name="big")
    client.close()
    daemon.docker("start", "big")
    daemon.docker("wait", "big")
    assert daemon.docker("logs", "big").stderr == "exec true: argument list too long\n"
    assert daemon.docker("inspect", "-f", "{{.State.ExitCode}}", "big").stdout == "255\n"
    daemon.docker("rm", "big")
    is_whole(daemon)


# --- a full run root ----------------------------------------------------------------------------


@pytest.fixture
def cramped() -> Iterator[LiveDaemon]:
    """A daemon whose run root is a tmpfs of one megabyte."""
    live = LiveDaemon()
    Path(live.run_root).mkdir()
    live.beneath.enter_context(small_disk(Path(live.run_root), "1m"))
    with live:
        live.load_busybox()
        yield live
        Path(live.run_root, "fill").unlink(missing_ok=True)
    assert live.leaks() == []


def fill(daemon: LiveDaemon) -> None:
    with open(f"{daemon.run_root}/fill", "ab", buffering=0) as file:
        try:
            while True:
                file.write(bytes(512))
        except OSError:
            return


def test_a_full_run_root_loses_no_exit_code(cramped: LiveDaemon) -> None:
    script = "trap 'exit 7' TERM; echo up; sleep 1000 & wait"
    for name in ("seen", "unseen"):
        cramped.docker("run", "-d", "--name", name, "busybox", "sh", "-c", script)
        first_line = cramped.argv("docker", "logs", "-f", name)
        with subprocess.Popen(
            first_line, env=cramped.environment(), stdout=subprocess.PIPE, text=True
        ) as logs:
            assert logs.stdout is not None
            assert logs.stdout.readline() == "up\n"
            logs.kill()
    fill(cramped)
    finished = cramped.docker("run", "--rm", "busybox", "true", check=False)
    assert finished.returncode == 125
    assert "no space left on device" in finished.stderr
    cramped.docker("stop", "seen")
    assert _state(cramped, "seen") == "exited 7"
    pid = int(cramped.docker("inspect", "-f", "{{.State.Pid}}", "unseen").stdout)
    ended = os.pidfd_open(pid)
    cramped.kill9()
    fill(cramped)
    os.kill(pid, signal.SIGTERM)
    _until_readable(ended)
    Path(cramped.run_root, "fill").unlink()
    cramped.start()
    assert _state(cramped, "unseen") == "exited 7"
    cramped.remove_containers()
    is_whole(cramped)


def _until_readable(descriptor: int) -> None:
    assert select.select([descriptor], [], [], patient(30))[0]
    os.close(descriptor)


def _state(daemon: LiveDaemon, name: str) -> str:
    words = ("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", name)
    return str(daemon.docker(*words).stdout).strip()
