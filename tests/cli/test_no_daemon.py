"""What is said where no daemon is, or one that is too old: Docker's words."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.cli.fake_daemon import Answer, FakeDaemon
from tests.cli.test_requests import TIFFIN

DOWN = "Cannot connect to the Docker daemon at unix://{}. Is the docker daemon running?\n"


def run(program: list[str], home: Path, host: str, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "DOCKER_HOST": host}
    return subprocess.run(
        [*program, *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )


@pytest.mark.parametrize(
    ("words", "stdout"),
    [
        (("ps",), ""),
        (("inspect", "a"), "[]\n"),
        (("image", "inspect", "a", "b"), "[]\n"),
        (("info", "-f", "{{.ServerVersion}}"), "\n"),
        (("version", "-f", "{{.Server.Version}}"), "\n"),
    ],
)
def test_a_daemon_that_is_not_there(
    program: list[str], tmp_path: Path, words: tuple[str, ...], stdout: str
) -> None:
    done = run(program, tmp_path, f"unix://{tmp_path}/d.sock", *words)

    assert (done.returncode, done.stdout) == (1, stdout)
    assert done.stderr.startswith(DOWN.format(f"{tmp_path}/d.sock"))


@pytest.mark.parametrize("host", ["foo://x", "http://x", "fd://", "ssh://", "ssh://u:p@h"])
def test_a_host_that_makes_no_sense(program: list[str], tmp_path: Path, host: str) -> None:
    done = run(program, tmp_path, host, "ps")

    assert (done.returncode, done.stdout) == (1, "")
    reasons = {
        "foo://x": "unable to resolve docker endpoint: invalid bind address format: foo://x",
        "http://x": "unable to resolve docker endpoint: invalid bind address format: http://x",
        "fd://": "unable to parse docker host `fd://`",
        "ssh://": "ssh host connection is not valid: invalid SSH URL: hostname is empty",
        "ssh://u:p@h": (
            "ssh host connection is not valid: invalid SSH URL: "
            "plain-text password is not supported"
        ),
    }
    assert done.stderr == f"Failed to initialize: {reasons[host]}\n"


@pytest.mark.parametrize(
    "line",
    [
        "save --platform linux/amd64 busybox -o x.tar",
        "image history --platform linux/amd64 busybox",
        "image inspect --platform linux/amd64 busybox",
        "push --platform linux/amd64 busybox",
        "rmi --platform linux/amd64 busybox",
        "run --annotation a=b busybox",
        "container create --health-start-interval 1s busybox",
    ],
)
def test_what_a_daemon_is_too_old_for_is_refused(
    program: list[str], tmp_path: Path, line: str
) -> None:
    with FakeDaemon("1.41") as older:
        done = run(program, tmp_path, older.host, *line.split())
        asked = [each.path for each in older.requests if each.path != "/_ping"]

    assert (done.returncode, done.stdout, asked) == (1, "", [])
    option = next(word for word in line.split() if word.startswith("--"))
    assert done.stderr.startswith(f'"{option}" requires API version 1.')
    assert done.stderr.endswith(", but the Docker daemon API version is 1.41\n")


def test_what_a_daemon_is_not_too_old_for_is_done(program: list[str], tmp_path: Path) -> None:
    with FakeDaemon("1.43") as older:
        done = run(program, tmp_path, older.host, "create", "--annotation", "a=b", "busybox")

    assert done.returncode == 0


@pytest.mark.parametrize("document", [None, [], "x", 3, {"Id": None}, {"Warnings": 1}])
@pytest.mark.parametrize("line", ["create busybox", "ps", "version", "info", "port one", "top one"])
def test_an_answer_that_makes_no_sense_is_told_in_a_line(
    tmp_path: Path, line: str, document: object
) -> None:
    with FakeDaemon() as daemon:
        daemon.answer = lambda _: Answer(document=document)  # type: ignore[method-assign]
        done = run(TIFFIN, tmp_path, daemon.host, *line.split())

    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) <= 1
