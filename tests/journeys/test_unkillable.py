"""A process in state D, which no signal ends: it is told of truthfully, and holds nobody up."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests import stuckfs
from tests.live import Finished, LiveDaemon
from tests.patience import patient
from tests.stuckfs import StuckFiles
from tiffin.engine.exhaustion import WORKERS

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(not stuckfs.is_possible(), reason="needs /dev/fuse"),
]
READ = ("dd", f"if=/stuck/{stuckfs.FILE}", "of=/dev/null", "count=1")
NO_EXIT = "tried to kill container, but did not receive an exit event: process"
ASLEEP = "(dd) is in uninterruptible sleep (state D)"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StuckFiles]:
    stuck = StuckFiles(str(tmp_path_factory.mktemp("stuck")))
    yield stuck
    stuck.release()


@pytest.fixture(scope="module")
def stuck(daemon: LiveDaemon, files: StuckFiles) -> Iterator[LiveDaemon]:
    """Its containers: `reader`, which reads; `host`, in which an exec does; `well`."""
    try:
        seeing = ("run", "-d", "-v", f"{files.path}:/stuck", "--name")
        daemon.docker(*seeing, "reader", "busybox", *READ)
        daemon.docker(*seeing, "host", "busybox", "sleep", "1000")
        daemon.docker(*seeing, "well", "busybox", "sleep", "1000")
        daemon.docker("exec", "-d", "host", *READ)
        for _ in range(2):
            assert files.reads.acquire(timeout=patient(30))
        yield daemon
    finally:
        files.release()


def _at_once(daemon: LiveDaemon, *commands: tuple[str, ...]) -> list[Finished]:
    with ExitStack() as stack:
        running = [
            stack.enter_context(
                subprocess.Popen(
                    daemon.argv("docker", *command),
                    env=daemon.environment(),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )
            for command in commands
        ]
        others_go_on(daemon)
        said = [process.communicate(timeout=patient(120)) for process in running]
    return [
        subprocess.CompletedProcess(process.args, process.returncode, *words)
        for process, words in zip(running, said, strict=True)
    ]


def others_go_on(daemon: LiveDaemon) -> None:
    assert daemon.docker("exec", "well", "echo", "hi").stdout == "hi\n"
    assert daemon.docker("run", "--rm", "busybox", "echo", "new").stdout == "new\n"
    assert "reader" in daemon.docker("ps").stdout
    assert daemon.docker("inspect", "-f", "{{.State.Status}}", "reader").stdout == "running\n"
    daemon.docker("restart", "-t", "0", "well")


def test_what_only_looks_at_it_is_answered(stuck: LiveDaemon, tmp_path: Path) -> None:
    assert "dd" in stuck.docker("top", "reader").stdout
    assert "reader" in stuck.docker("stats", "--no-stream").stdout
    assert stuck.docker("logs", "reader").stdout == ""
    assert "/stuck" in stuck.docker("diff", "reader").stdout
    (tmp_path / "note").write_text("a note\n")
    stuck.docker("cp", str(tmp_path / "note"), "reader:/note")
    assert stuck.docker("exec", "reader", "cat", "/note").stdout == "a note\n"


def test_who_ends_it_is_told_who_does_not_end(stuck: LiveDaemon) -> None:
    finished = _at_once(
        stuck,
        ("commit", "reader", "half"),
        ("stop", "-t", "1", "reader"),
        ("kill", "reader"),
        ("rm", "-f", "reader"),
        ("rm", "-f", "host"),
    )
    assert [one.returncode for one in finished] == [1] * 5
    assert "Cannot pause container" in finished[0].stderr
    assert ASLEEP in finished[0].stderr
    for ended in finished[1:]:
        assert NO_EXIT in ended.stderr
        assert ASLEEP in ended.stderr
    assert 'cannot remove container "/host": could not kill' in finished[-1].stderr
    assert "half" not in stuck.docker("images").stdout
    assert stuck.docker("ps", "--format", "{{.Names}} {{.State}}").stdout.splitlines() == [
        "well running",
        "host running",
        "reader running",
    ]


def test_a_daemon_that_waits_for_a_file_gives_way_to_the_next(
    stuck: LiveDaemon, files: StuckFiles
) -> None:
    """Killed, it is a zombie with a thread in state D, which holds its sockets and its lock."""
    command = ("cp", f"well:/stuck/{stuckfs.FILE}", "-")
    with subprocess.Popen(
        stuck.argv("docker", *command), env=stuck.environment(), stdout=subprocess.DEVNULL
    ) as copying:
        assert files.reads.acquire(timeout=patient(30))
        with stuck.replaced():
            others_go_on(stuck)
            copying.kill()
            others_go_on(stuck)
            files.release()


def test_it_ends_as_it_was_told_to_when_the_file_fails(stuck: LiveDaemon) -> None:
    assert stuck.docker("wait", "reader", "host").stdout == "137\n137\n"
    stuck.docker("rm", "-f", "well")
    checked = stuck.tiffin("system", "check", "--format", "json", check=False)
    assert json.loads(checked.stdout)["Findings"] == []
    stuck.docker("rm", "reader", "host")


def test_files_that_say_nothing_hold_those_alone_who_ask_for_them(
    daemon: LiveDaemon, tmp_path: Path
) -> None:
    """More of them than the daemon has threads that all share."""
    mute = StuckFiles(str(tmp_path), mute=True)
    with ExitStack() as stack:
        stack.callback(mute.release)
        for number in range(WORKERS + 2):
            client = http.client.HTTPConnection("localhost")
            stack.callback(client.close)
            client.sock = socket.socket(socket.AF_UNIX)
            client.sock.connect(daemon.socket)
            bind = {"Type": "bind", "Source": f"{tmp_path}/{number}", "Target": "/x"}
            body = json.dumps({"Image": "busybox", "HostConfig": {"Mounts": [bind]}})
            headers = {"Content-Type": "application/json"}
            client.request("POST", "/containers/create", body, headers)
        for _ in range(WORKERS + 2):
            assert mute.reads.acquire(timeout=patient(30))
        assert daemon.docker("run", "--rm", "busybox", "echo", "new").stdout == "new\n"
