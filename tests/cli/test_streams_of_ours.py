"""Our own standard streams, as odd as shells and supervisors hand them to us."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.cli.fake_daemon import Answer, FakeDaemon
from tests.cli.test_requests import TIFFIN
from tests.live import CHECKOUT
from tests.patience import patient


@pytest.fixture
def daemon() -> Iterator[FakeDaemon]:
    with FakeDaemon() as found:
        found.routes["GET /containers/json"] = Answer(document=[])
        yield found


def shell(daemon: FakeDaemon, words: str) -> subprocess.CompletedProcess[str]:
    """`words` after `tiffin`, with the shell's redirections."""
    line = " ".join([*TIFFIN, "-H", daemon.host, words])
    return subprocess.run(
        ["sh", "-c", line], capture_output=True, text=True, timeout=patient(60), check=False
    )


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&-", "<&- >&- 2>&-"])
def test_a_stream_that_is_closed_is_nothing_else_later(closed: str) -> None:
    program = (
        "import os; from tiffin.cli.output import keep_standard_streams\n"
        "keep_standard_streams()\n"
        "found = [os.readlink(f'/proc/self/fd/{each}') for each in range(3)]\n"
        "os.write(9, repr((os.dup(0) > 2, *found)).encode())"
    )
    line = f'exec {sys.executable} -c "$0" 9>&1 {closed}'
    done = subprocess.run(
        ["sh", "-c", line, program],
        capture_output=True,
        text=True,
        check=True,
        cwd=CHECKOUT,
    )

    apart, *places = ast.literal_eval(done.stdout)
    assert apart
    gone = [each in f" {closed}" for each in (" <&-", " >&-", " 2>&-")]
    assert [place == "/dev/null" for place in places[1:]] == gone[1:]


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-"])
def test_a_list_needs_no_stream_that_is_closed(daemon: FakeDaemon, closed: str) -> None:
    done = shell(daemon, f"ps {closed}")

    assert (done.returncode, done.stderr) == (0, "")
    assert ("CONTAINER ID" in done.stdout) == (closed != ">&-")


def test_a_full_disk_is_told_with_the_stream(daemon: FakeDaemon) -> None:
    done = shell(daemon, "ps >/dev/full")

    assert (done.returncode, done.stderr) == (1, "write /dev/stdout: no space left on device\n")
