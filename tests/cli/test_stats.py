"""`stats` before containers that come and go."""

from __future__ import annotations

import itertools
import os
import subprocess

import pytest

from tests.cli.fake_daemon import CONTAINER_ID, Answer, FakeDaemon, Request, error
from tests.cli.test_requests import TIFFIN
from tests.patience import patient

READING = {"id": CONTAINER_ID, "name": "/one", "pids_stats": {"current": 7}}


def lines_of(daemon: FakeDaemon, *words: str, until: str) -> list[str]:
    """What it prints, up to a line that contains `until`."""
    process = subprocess.Popen(
        [*TIFFIN, "-H", daemon.host, "stats", *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        env={"PATH": os.environ["PATH"]},
    )
    assert process.stdout is not None
    found = []
    try:
        for line in process.stdout:
            found.append(line.rstrip("\n"))
            if until in line:
                break
    finally:
        process.kill()
        process.communicate(timeout=patient(30))
    return found


def test_a_container_that_goes_while_it_is_watched_shows_nothing_more() -> None:
    answers = itertools.chain([Answer(document=READING)], itertools.repeat(error(404, "gone")))

    with FakeDaemon() as daemon:
        daemon.routes["GET /containers/one/stats"] = lambda _: next(answers)
        form = "{{.Container}} {{.Name}} {{.ID}} {{.CPUPerc}} {{.MemUsage}} {{.NetIO}} {{.PIDs}}"
        first, *_, last = lines_of(daemon, "--format", form, "one", until="--")

    assert first == f"one one {CONTAINER_ID[:12]} 0.00% 0B / 0B 0B / 0B 7"
    assert last == f"one one {CONTAINER_ID[:12]} -- -- / -- -- --"


@pytest.mark.parametrize("words", [(), ("--all",)])
def test_a_container_that_goes_between_list_and_reading_is_left_out(words: tuple[str, ...]) -> None:
    def read(request: Request) -> Answer:
        here = request.path.startswith("/containers/0a1b")
        return Answer(document=READING) if here else error(404, "gone")

    with FakeDaemon() as daemon:
        daemon.routes["GET /containers/json"] = Answer(
            document=[{"Id": CONTAINER_ID}, {"Id": "0a1b" * 16}]
        )
        for identity in (CONTAINER_ID, "0a1b" * 16):
            daemon.routes[f"GET /containers/{identity[:12]}/stats"] = read
        command = [*TIFFIN, "-H", daemon.host, "stats", "--no-stream", "--format"]
        done = subprocess.run(
            [*command, "{{.Container}}", *words], capture_output=True, text=True, check=True
        )

    assert done.stdout == "0a1b0a1b0a1b\n"


def test_all_names_that_are_wrong_are_said_and_each_container_is_read_once() -> None:
    with FakeDaemon() as daemon:
        daemon.routes["GET /containers/one/stats"] = Answer(document=READING)
        for name in ("a", "b"):
            daemon.routes[f"GET /containers/{name}/stats"] = error(
                404, f"No such container: {name}"
            )
        command = [*TIFFIN, "-H", daemon.host, "stats", "--no-stream", "--all"]
        done = subprocess.run(
            [*command, "a", "one", "b", "one"], capture_output=True, text=True, check=False
        )
        asked = [each.path for each in daemon.requests if each.path.endswith("/stats")]

    assert sorted(asked) == [f"/containers/{name}/stats" for name in ("a", "b", "one")]
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines() == [
        f"Error response from daemon: No such container: {name}" for name in ("a", "b")
    ]
