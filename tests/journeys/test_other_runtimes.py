"""The same containers, made by an OCI runtime that is installed here: `--runtime crun|runc`."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live import LiveDaemon
from tests.patience import patient
from tests.terminal import Terminal

pytestmark = pytest.mark.root

OURS = Path(__file__).resolve().parents[2] / "script" / "tiffin-runtime"


@pytest.fixture(scope="module")
def daemon() -> Iterator[LiveDaemon]:
    live = LiveDaemon("--add-runtime", f"by-path={OURS}")
    with live:
        live.load_busybox()
        yield live
    assert live.leaks() == []


@pytest.fixture(params=["crun", "runc", "by-path"])
def runtime(request: pytest.FixtureRequest) -> str:
    name = str(request.param)
    if name != "by-path" and shutil.which(name) is None:
        pytest.skip(f"{name} is not installed")
    return name


def test_output_exit_code_and_isolation_are_the_same(daemon: LiveDaemon, runtime: str) -> None:
    script = "hostname; cat /proc/self/uid_map; echo $$; touch /x; stat -c %u /x; exit 3"
    done = daemon.docker(
        *("run", "--rm", "--runtime", runtime, "--hostname", "box", "busybox"),
        *("sh", "-c", script),
        check=False,
    )
    assert done.returncode == 3, done.stderr
    name, inside, outside, size, pid, owner = done.stdout.split()
    assert (name, inside, size, pid, owner) == ("box", "0", "65536", "1", "0")
    assert int(outside) > 0


def test_input_users_and_environment_arrive(daemon: LiveDaemon, runtime: str) -> None:
    done = daemon.docker(
        *("run", "--rm", "-i", "--runtime", runtime, "-u", "www-data", "--group-add", "staff"),
        *("-e", "A=b", "-w", "/tmp", "busybox", "sh", "-c"),
        "cat; id; echo $A $HOME; pwd; echo out > /dev/stdout",
        input="given\n",
    )
    assert done.stdout.splitlines() == [
        "given",
        "uid=33(www-data) gid=33(www-data) groups=50(staff)",
        "b /var/www",
        "/tmp",
        "out",
    ]


def test_a_network_is_there_before_the_program(daemon: LiveDaemon, runtime: str) -> None:
    script = "ip addr show eth0 | grep -c inet; ip route | grep -c default; grep box /etc/hosts"
    words = ("--runtime", runtime, "--hostname", "box", "busybox", "sh", "-c", script)
    lines = daemon.docker("run", "--rm", *words).stdout.split()
    assert lines[:2] == ["1", "1"]
    assert lines[-1] == "box"


def test_volumes_binds_and_limits_hold(daemon: LiveDaemon, runtime: str) -> None:
    bound = Path(daemon.root) / f"bound-{runtime}"
    bound.mkdir()
    (bound / "file").write_text("of the host\n")
    script = "cat /b/file; touch /v/x; stat -c %u /v/x; touch /b/y 2>/dev/null || echo read-only"
    words = ("-v", f"{bound}:/b:ro", "-v", f"v-{runtime}:/v", "--pids-limit", "77", "--read-only")
    done = daemon.docker("run", "--rm", "--runtime", runtime, *words, "busybox", "sh", "-c", script)
    assert done.stdout.splitlines() == ["of the host", "0", "read-only"]
    daemon.docker("volume", "rm", f"v-{runtime}")


def test_a_program_that_is_not_there_is_127(daemon: LiveDaemon, runtime: str) -> None:
    words = ("run", "--rm", "--runtime", runtime, "busybox", "nonsense")
    done = daemon.docker(*words, check=False)
    assert done.returncode == 127
    assert "nonsense" in done.stderr
    missing = daemon.docker(
        "run", "--rm", "--runtime", runtime, "-u", "nobody-knows", "busybox", "id", check=False
    )
    assert "unable to find user nobody-knows" in missing.stderr


def test_execs_pause_statistics_and_inspection_work(daemon: LiveDaemon, runtime: str) -> None:
    name = f"life-{runtime}"
    run = daemon.docker
    run("run", "-d", "--name", name, "--runtime", runtime, "-m", "64m", "busybox", "sleep", "1000")
    done = run("exec", "-e", "A=b", name, "sh", "-c", "hostname; echo $A; exit 9", check=False)
    assert done.returncode == 9
    assert done.stdout.splitlines()[1] == "b"
    assert run("exec", "-i", name, "cat", input="typed").stdout == "typed"
    assert run("exec", name, "nonsense", check=False).returncode == 127
    run("pause", name)
    run("unpause", name)
    [found] = json.loads(run("inspect", name).stdout)
    assert found["HostConfig"]["Runtime"] == runtime
    assert found["State"]["Running"]
    assert "64MiB" in run("stats", "--no-stream", name).stdout
    run("update", "--pids-limit", "55", name)
    run("stop", "-t", "0", name)
    assert run("wait", name).stdout.strip() == "137"
    run("start", name)
    run("rm", "-f", name)


def test_a_terminal_is_one(daemon: LiveDaemon, runtime: str) -> None:
    script = "tty; read x; echo got $x"
    words = ("run", "--rm", "-it", "--runtime", runtime, "busybox", "sh", "-c", script)
    with Terminal(daemon.argv("docker", *words), daemon.environment()) as terminal:
        terminal.expect("/dev/pts/")
        terminal.send("typed\r")
        terminal.expect("got typed")
        assert terminal.exit_code() == 0


def test_it_outlives_the_daemon_and_the_next_one_knows_how_it_ended(
    daemon: LiveDaemon, runtime: str
) -> None:
    name = f"survivor-{runtime}"
    script = "trap 'echo bye; exit 7' TERM; echo up; while :; do sleep 1; done"
    daemon.docker("run", "-d", "--name", name, "--runtime", runtime, "busybox", "sh", "-c", script)
    daemon.kill9()
    daemon.start()
    assert daemon.docker("exec", name, "echo", "here").stdout == "here\n"
    daemon.docker("stop", "-t", str(int(patient(30))), name)
    assert daemon.docker("wait", name).stdout.strip() == "7"
    assert daemon.docker("logs", name).stdout == "up\nbye\n"
    daemon.docker("rm", name)


def test_they_are_listed_and_others_are_refused(daemon: LiveDaemon) -> None:
    info = json.loads(daemon.docker("info", "--format", "{{json .}}").stdout)
    assert info["DefaultRuntime"] == "tiffin"
    assert info["Runtimes"]["by-path"]["path"] == str(OURS)
    refused = daemon.docker("run", "--runtime", "kata", "busybox", check=False)
    assert "unknown or invalid runtime name: kata" in refused.stderr
    assert refused.returncode == 125


def test_nothing_is_left_of_a_start_that_fails(daemon: LiveDaemon, runtime: str) -> None:
    before = _mounts(), sorted(os.listdir(daemon.run_root))
    words = ("run", "--rm", "--runtime", runtime, "-w", "/bin/sh", "busybox", "true")
    assert daemon.docker(*words, check=False).returncode != 0
    assert (_mounts(), sorted(os.listdir(daemon.run_root))) == before


def _mounts() -> str:
    return Path("/proc/self/mountinfo").read_text()
