"""What tiffin does with containers and Docker does not: docs/beyond-docker.md."""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.live import LiveDaemon
from tests.patience import patient

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
        *("--health-cmd", check, "--health-interval", "250ms", "--health-retries", "2"),
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


# -- ports of a container that runs ----------------------------------------------------------------


def ports(daemon: LiveDaemon, name: str) -> dict[str, str]:
    """Where each port in the container answers, as `docker port` tells it."""
    lines = daemon.docker("port", name, check=False).stdout.splitlines()
    found: dict[str, str] = {}
    for line in lines:
        inside, _, outside = line.partition(" -> ")
        found[inside] = found.get(inside, "") + outside + " "
    return {inside: outside.strip() for inside, outside in found.items()}


def answer_of(port: int) -> str:
    """What is said on a port of this host; the reason where nothing is."""
    try:
        with socket.create_connection(("127.0.0.1", port), patient(60)) as connection:
            connection.settimeout(patient(60))
            return connection.recv(100).decode()
    except OSError as error:
        return type(error).__name__


SERVER = "nc -ll -p 80 -e echo eighty & exec nc -ll -p 81 -e echo eightyone"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("0.0.0.0", 0))
        return int(probe.getsockname()[1])


def start_server(daemon: LiveDaemon, name: str) -> None:
    daemon.docker("run", "-d", "--name", name, "-p", "0:80", "busybox", "sh", "-c", SERVER)
    listening = "until netstat -ltn | grep -q :80 && netstat -ltn | grep -q :81; do :; done"
    daemon.docker("exec", name, "sh", "-c", listening)


def test_ports_come_and_go_while_the_container_runs(daemon: LiveDaemon, name: str) -> None:
    start_server(daemon, name)
    first = int(ports(daemon, name)["80/tcp"].rpartition(":")[2])
    pid = inspect(daemon, name)["State"]["Pid"]
    more = free_port()
    assert daemon.tiffin("update", "-p", f"{more}:81", name).stdout == f"{name}\n"
    assert (answer_of(first), answer_of(more)) == ("eighty\n", "eightyone\n")
    assert ports(daemon, name)["81/tcp"] == f"0.0.0.0:{more}"
    shown = daemon.docker("ps", "--filter", f"name={name}", "--format", "{{.Ports}}").stdout
    assert f"0.0.0.0:{more}->81/tcp" in shown
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("0.0.0.0", more))

    # A daemon that comes and goes changes nothing, and what goes is free for others at once.
    daemon.kill9()
    daemon.start()
    assert answer_of(more) == "eightyone\n"
    daemon.tiffin("update", "--publish-rm", f"{first}:80", name)
    assert answer_of(first) == "ConnectionRefusedError"
    with socket.socket() as other:
        other.bind(("0.0.0.0", first))
    assert list(ports(daemon, name)) == ["81/tcp"]

    # One is turned to another port in the container, in one step.
    daemon.tiffin("update", "--publish-rm", f"{more}", "-p", f"{more}:80", name)
    assert answer_of(more) == "eighty\n"
    assert inspect(daemon, name)["State"]["Pid"] == pid
    daemon.docker("restart", "-t", "0", name)
    assert ports(daemon, name) == {"80/tcp": f"0.0.0.0:{more}"}


def test_a_taken_port_changes_nothing(daemon: LiveDaemon, name: str) -> None:
    start_server(daemon, name)
    before = inspect(daemon, name)
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        number = taken.getsockname()[1]
        wish = ("-p", "0:81", "-p", f"{number}:81", "--publish-rm", ":80")
        refused = daemon.tiffin("update", *wish, name, check=False)
    assert refused.returncode == 1
    assert f"0.0.0.0:{number}" in refused.stderr
    assert "address already in use" in refused.stderr
    after = inspect(daemon, name)
    assert after["NetworkSettings"]["Ports"] == before["NetworkSettings"]["Ports"]
    assert after["HostConfig"]["PortBindings"] == before["HostConfig"]["PortBindings"]
    assert answer_of(int(ports(daemon, name)["80/tcp"].rpartition(":")[2])) == "eighty\n"


def test_ports_that_cannot_change_are_refused_by_name(daemon: LiveDaemon, name: str) -> None:
    daemon.docker("create", "--name", name, "--network", "none", "busybox", "true")
    refused = daemon.tiffin("update", "-p", "8080:80", name, check=False)
    assert "ports cannot be published with network mode none" in refused.stderr
    daemon.docker("rm", name)
    daemon.docker("create", "--name", name, "-p", "8080:80", "busybox", "true")
    refused = daemon.tiffin("update", "--publish-rm", "8081", name, check=False)
    assert f"container {name} does not publish port 8081" in refused.stderr
    for words in ("a", "1:2:3:4", "", "80/"):
        refused = daemon.tiffin("update", "--publish-rm", words, name, check=False)
        assert refused.returncode == 1, words
    daemon.tiffin("update", "--publish-rm", "8080", "-p", "127.0.0.1:8082:82/udp", name)
    assert inspect(daemon, name)["HostConfig"]["PortBindings"] == {
        "82/udp": [{"HostIp": "127.0.0.1", "HostPort": "8082"}]
    }


# -- the command that makes a container ------------------------------------------------------------


def test_a_container_tells_the_command_that_makes_it(daemon: LiveDaemon, name: str) -> None:
    flags = ("-e", "A=it's", "-l", "one=two words", "-p", "0:80", "-m", "64m", "-v", "/data")
    daemon.tiffin("run", "-d", "--name", name, *flags, "busybox", "sh", "-c", "sleep 1000 # $x")
    line = daemon.tiffin("inspect", "--as", "run", name).stdout.strip()
    assert line == (
        f"tiffin run -d --name={name} --env='A=it'\"'\"'s' --label='one=two words' --volume=/data "
        "--publish=0:80 --memory=67108864 busybox sh -c 'sleep 1000 # $x'"
    )
    before = inspect(daemon, name)
    daemon.docker("rm", "-f", "-v", name)
    daemon.tiffin(*shlex.split(line)[1:])
    after = inspect(daemon, name)
    assert after["HostConfig"] == before["HostConfig"]
    before["Config"].pop("Hostname")
    after["Config"].pop("Hostname")
    assert after["Config"] == before["Config"]
    refused = daemon.tiffin("inspect", "--as", "poem", name, check=False)
    assert 'a container cannot be shown as "poem"' in refused.stderr
    refused = daemon.tiffin("inspect", "--as", "run", "nono-such", check=False)
    assert (refused.returncode, "No such container: nono-such" in refused.stderr) == (1, True)
