"""What tiffin does with containers and Docker does not: docs/beyond-docker.md."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.live import LiveDaemon

pytestmark = pytest.mark.root


@pytest.fixture
def name(daemon: LiveDaemon, request: pytest.FixtureRequest) -> Iterator[str]:
    chosen = f"beyond-{abs(hash(request.node.nodeid)) % 10**8}"
    yield chosen
    daemon.docker("rm", "-f", "-v", chosen, check=False)


def inspect(daemon: LiveDaemon, name: str) -> Any:
    return json.loads(daemon.docker("inspect", name).stdout)[0]


def verdict(daemon: LiveDaemon, name: str) -> tuple[str, str, str]:
    found = inspect(daemon, name)["State"]["Verdict"]
    return found["Cause"], found["By"], found["Text"]


def next_event(daemon: LiveDaemon, name: str, action: str, since: str) -> None:
    """Until this event of the container has come; those since then count."""
    argv = ["--filter", f"container={name}", "--filter", f"event={action}", "--since", since]
    with subprocess.Popen(
        daemon.argv("docker", "events", *argv),
        stdout=subprocess.PIPE,
        env=daemon.environment(),
        text=True,
    ) as events:
        assert events.stdout is not None
        assert action in events.stdout.readline()
        events.terminate()


# -- verdicts ------------------------------------------------------------------------------------


def test_every_end_has_a_verdict(daemon: LiveDaemon, client: str, name: str) -> None:
    run = daemon.client(client)
    run("run", "-d", "--name", name, "busybox", "sleep", "1000")
    assert "Verdict" not in inspect(daemon, name)["State"]
    run("stop", "-t", "0", name)
    assert verdict(daemon, name)[:2] == ("timeout", "user")
    run("start", name)
    run("kill", name)
    assert verdict(daemon, name) == ("signal", "user", "killed by the user (SIGKILL)")
    run("start", name)
    os.kill(inspect(daemon, name)["State"]["Pid"], signal.SIGKILL)
    run("wait", name)
    text = "SIGKILL that the engine did not send"
    assert verdict(daemon, name) == ("signal", "unknown", text)
    shown = daemon.tiffin("ps", "-a", "--filter", f"name={name}").stdout
    assert f"Exited (137) Less than a second ago: {text}" in shown or f" ago: {text}" in shown
    assert daemon.docker("ps", "-a", "--filter", f"name={name}").stdout.count(text) == 0
    form = daemon.tiffin("ps", "-a", "--filter", f"name={name}", "--format", "{{.Verdict}}")
    assert form.stdout == f"{text}\n"


def test_want_of_memory_and_a_failed_start_are_verdicts(daemon: LiveDaemon, name: str) -> None:
    bomb = "x=aaaaaaaaaaaaaaaa; while :; do x=$x$x; done"
    run = daemon.docker(
        *("run", "--name", name, "-m", "16m", "--memory-swap", "16m"),
        *("busybox", "sh", "-c", bomb),
        check=False,
    )
    assert run.returncode == 137
    assert verdict(daemon, name) == ("oom", "kernel", "out of memory")
    daemon.docker("rm", name)
    daemon.docker("run", "--name", name, "busybox", "/nowhere", check=False)
    cause, by, text = verdict(daemon, name)
    assert (cause, by) == ("start", "engine")
    assert text.startswith("did not start: ")


# -- restart on-unhealthy ------------------------------------------------------------------------


def test_what_turns_unhealthy_is_restarted(daemon: LiveDaemon, client: str, name: str) -> None:
    run = daemon.client(client)
    # Healthy in its first run alone once it was told to be ill; well again after the restart.
    check = "! [ -e /ill ] || [ -e /restarted ]"
    program = "[ -e /ill ] && touch /restarted; exec sleep 1000"
    run(
        *("run", "-d", "--name", name, "--restart", "on-unhealthy:3", "--stop-timeout", "0"),
        *("--health-cmd", check, "--health-interval", "50ms", "--health-retries", "2"),
        *("busybox", "sh", "-c", program),
    )
    started = inspect(daemon, name)["State"]["StartedAt"]
    next_event(daemon, name, "health_status", started)
    since = f"{time.time():.6f}"
    run("exec", name, "touch", "/ill")
    next_event(daemon, name, "die", since)
    next_event(daemon, name, "start", since)
    found = inspect(daemon, name)
    assert found["RestartCount"] == 1
    assert found["HostConfig"]["RestartPolicy"] == {
        "Name": "on-unhealthy",
        "MaximumRetryCount": 3,
    }
    refused = run("create", "--restart", "on-unhealthy", "busybox", "true", check=False)
    assert "restart policy 'on-unhealthy' needs a health check" in refused.stderr
