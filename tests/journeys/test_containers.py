"""Containers, as users run them, through the docker command line and ours."""

from __future__ import annotations

import json
import os
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest

from tests.live import LiveDaemon, docker_cli_version
from tests.patience import patient
from tests.terminal import Terminal

pytestmark = pytest.mark.root


def test_a_foreground_run_shows_both_streams_and_gives_its_exit_code(
    daemon: LiveDaemon, client: str
) -> None:
    run = daemon.client(client)
    finished = run(
        "run", "--rm", "busybox", "sh", "-c", "echo out; echo err >&2; exit 7", check=False
    )
    assert (finished.stdout, finished.stderr, finished.returncode) == ("out\n", "err\n", 7)
    assert run("ps", "-aq").stdout == ""


def test_input_reaches_the_container_and_ends(daemon: LiveDaemon, client: str) -> None:
    finished = daemon.client(client)(
        "run", "-i", "--rm", "busybox", "wc", "-c", input="x" * 100_000
    )
    assert finished.stdout.strip() == "100000"


def test_a_large_output_arrives_whole(daemon: LiveDaemon, client: str) -> None:
    script = "dd if=/dev/zero bs=1M count=20 2>/dev/null"
    finished = daemon.client(client)("run", "--rm", "busybox", "sh", "-c", script, text=False)
    assert finished.stdout == bytes(20 << 20)


def test_a_detached_web_server_answers_on_its_published_port(
    daemon: LiveDaemon, client: str
) -> None:
    run = daemon.client(client)
    script = "echo hello > /index.html; exec httpd -f -p 3000 -h /"
    container = run("run", "-dp", "3000", "--name", f"web-{client}", "busybox", "sh", "-c", script)
    assert len(container.stdout.strip()) == 64
    address = run("port", f"web-{client}", "3000/tcp").stdout.splitlines()[0]
    port = address.rpartition(":")[2]
    listing = run("ps", "--format", "{{.Names}} {{.Ports}}").stdout
    assert f"web-{client} 0.0.0.0:{port}->3000/tcp" in listing
    # The server may not listen yet: its own log says nothing, so the container itself tells.
    run("exec", f"web-{client}", "sh", "-c", "until wget -qO- http://127.0.0.1:3000/; do :; done")
    with urllib.request.urlopen(
        f"http://127.0.0.1:{port}/index.html", timeout=patient(60)
    ) as answer:
        assert answer.read() == b"hello\n"
    run("stop", "-t", "1", f"web-{client}")
    assert f"web-{client}" not in run("ps", "--format", "{{.Names}}").stdout
    run("rm", f"web-{client}")
    assert f"web-{client}" not in run("ps", "-a", "--format", "{{.Names}}").stdout


def test_logs_are_kept_followed_and_cut(daemon: LiveDaemon, client: str) -> None:
    run = daemon.client(client)
    name = f"logs-{client}"
    run("run", "--name", name, "busybox", "sh", "-c", "for i in 1 2 3; do echo line $i; done")
    assert run("logs", name).stdout == "line 1\nline 2\nline 3\n"
    assert run("logs", "--tail", "1", name).stdout == "line 3\n"
    assert run("logs", "-f", name).stdout == "line 1\nline 2\nline 3\n"
    stamped = run("logs", "-t", "--tail", "1", name).stdout
    assert stamped.endswith("Z line 3\n")
    run("rm", name)


def test_exec_runs_beside_with_its_own_exit_code_and_environment(
    daemon: LiveDaemon, client: str
) -> None:
    run = daemon.client(client)
    name = f"exec-{client}"
    run("run", "-d", "--name", name, "-e", "A=1", "busybox", "sleep", "1000")
    script = "echo $A$B; cat; exit 5"
    finished = run("exec", "-i", "-e", "B=2", name, "sh", "-c", script, input="in", check=False)
    assert (finished.stdout, finished.returncode) == ("12\nin", 5)
    missing = run("exec", name, "nope", check=False)
    assert missing.returncode == 127
    run("rm", "-f", name)


def test_a_terminal_is_a_terminal(daemon: LiveDaemon, client: str) -> None:
    with Terminal(
        daemon.argv(client, "run", "-it", "--rm", "busybox", "sh"), daemon.environment()
    ) as terminal:
        terminal.expect("# ")
        terminal.send("tty; stty size; exit 3\n")
        terminal.expect("/dev/pts/0")
        terminal.expect("24 80")
        assert terminal.exit_code() == 3


def test_detaching_leaves_it_running_and_attaching_comes_back(
    daemon: LiveDaemon, client: str
) -> None:
    name = f"detach-{client}"
    argv = daemon.argv(client, "run", "-it", "--name", name, "busybox", "sh")
    with Terminal(argv, daemon.environment()) as terminal:
        terminal.expect("# ")
        terminal.send("\x10\x11")
        assert terminal.exit_code() == 0
    run = daemon.client(client)
    assert run("inspect", "-f", "{{.State.Running}}", name).stdout == "true\n"
    with Terminal(daemon.argv(client, "attach", name), daemon.environment()) as terminal:
        terminal.send("echo back\n")
        terminal.expect("\nback")
        terminal.send("exit\n")
        assert terminal.exit_code() == 0
    run("rm", name)


def test_root_inside_is_nobody_outside(daemon: LiveDaemon, client: str) -> None:
    run = daemon.client(client)
    name = f"ids-{client}"
    run("run", "-d", "--name", name, "busybox", "sleep", "1000")
    pid = run("inspect", "-f", "{{.State.Pid}}", name).stdout.strip()
    assert os.stat(f"/proc/{pid}").st_uid >= 0x80000
    assert run("exec", name, "id", "-u").stdout == "0\n"
    run("rm", "-f", name)


def test_limits_reach_the_kernel(daemon: LiveDaemon, client: str) -> None:
    run = daemon.client(client)
    script = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null"
    flags = ("-m", "64m", "--cpus", "0.5", "--pids-limit", "77")
    finished = run("run", "--rm", *flags, "busybox", "sh", "-c", script, check=False)
    assert finished.stdout.split() == [str(64 << 20)]


def test_binds_volumes_and_tmpfs(daemon: LiveDaemon, client: str, tmp_path: Path) -> None:
    run = daemon.client(client)
    (tmp_path / "in").write_text("from the host\n")
    script = "cat /host/in; echo inside > /host/out; echo kept > /data/f; df -T /scratch | tail -1"
    flags = ("-v", f"{tmp_path}:/host", "-v", f"vol-{client}:/data", "--tmpfs", "/scratch")
    finished = run("run", "--rm", *flags, "busybox", "sh", "-c", script)
    assert finished.stdout.startswith("from the host\n")
    assert "tmpfs" in finished.stdout
    assert (tmp_path / "out").read_text() == "inside\n"
    assert (tmp_path / "out").stat().st_uid == 0
    again = run("run", "--rm", "-v", f"vol-{client}:/data", "busybox", "cat", "/data/f")
    assert again.stdout == "kept\n"
    run("volume", "rm", f"vol-{client}")


# What Debian 12's docker command line makes of the same answers.
OLD_CLIENTS_DIFFER = {
    ("run", "--rm", "busybox", "/etc"): (125, "is a directory"),
    ("volume", "rm", "nono"): (1, "No such volume"),
}


@pytest.mark.parametrize(
    ("flags", "code", "words"),
    [
        (("run", "--rm", "busybox", "nope"), 127, "executable file not found in $PATH"),
        (("run", "--rm", "busybox", "/etc/passwd"), 126, "permission denied"),
        (("run", "--rm", "busybox", "/etc"), 126, "is a directory"),
        (("run", "--rm", "-u", "nobody2", "busybox", "true"), 125, "unable to find user nobody2"),
        (("run", "--rm", "nono:latest", "true"), 125, "nono"),
        (("run", "--nope", "busybox"), 125, "unknown flag: --nope"),
        (("run", "-m", "1m", "busybox", "true"), 125, "Minimum memory limit allowed is 6MB"),
        (("start", "nono"), 1, "No such container: nono"),
        (("exec", "nono", "true"), 1, "No such container: nono"),
        (("logs", "nono"), 1, "No such container: nono"),
        (("inspect", "nono"), 1, "nono"),
        (("run", "--name", "a b", "busybox"), 125, "Invalid container name (a b)"),
        (("run", "--cap-add", "NOPE", "busybox"), 125, "NOPE"),
        (("volume", "rm", "nono"), 1, "no such volume"),
        (("network", "rm", "bridge"), 1, "bridge is a pre-defined network and cannot be removed"),
    ],
)
def test_bad_input_gets_dockers_words_and_exit_code(
    daemon: LiveDaemon, client: str, flags: tuple[str, ...], code: int, words: str
) -> None:
    run = daemon.client(client)
    finished = run(*flags, check=False)
    if client == "docker" and docker_cli_version() < (23,) and flags in OLD_CLIENTS_DIFFER:
        code, words = OLD_CLIENTS_DIFFER[flags]
    assert (finished.returncode, words in finished.stderr) == (code, True), finished.stderr
    assert run("ps", "-aq").stdout == ""
    assert "Traceback" not in daemon.log()


def test_a_name_in_use_is_refused_and_a_taken_port_leaves_the_container_created(
    daemon: LiveDaemon, client: str
) -> None:
    run = daemon.client(client)
    run("run", "-d", "--name", "holder", "-p", "18099:80", "busybox", "sleep", "1000")
    twice = run("run", "-d", "--name", "holder", "busybox", "true", check=False)
    assert twice.returncode == 125
    assert 'The container name "/holder" is already in use by container' in twice.stderr
    taken = run("run", "-d", "--name", "late", "-p", "18099:80", "busybox", "true", check=False)
    assert taken.returncode == 125
    assert "port is already allocated" in taken.stderr
    assert run("inspect", "-f", "{{.State.Status}}", "late").stdout == "created\n"
    run("rm", "-f", "holder", "late")


def test_what_both_command_lines_show_is_the_same(daemon: LiveDaemon) -> None:
    if docker_cli_version() < (28,):
        pytest.skip("our output is that of the docker command line 28; the one here is older")
    daemon.docker("run", "-d", "--name", "seen", "-p", "18098:80", "busybox", "sleep", "1000")
    for arguments in (
        ("ps", "--no-trunc"),
        ("ps", "-a", "--format", "{{json .}}"),
        ("images",),
        ("images", "--digests", "--no-trunc"),
        ("inspect", "seen"),
        ("inspect", "busybox"),
        ("history", "--no-trunc", "busybox"),
        ("port", "seen"),
        ("network", "ls"),
        ("network", "inspect", "bridge"),
        ("volume", "ls"),
        ("top", "seen"),
        ("diff", "seen"),
    ):
        ours, theirs = _shown(daemon, arguments)
        assert ours in theirs, arguments
    daemon.docker("rm", "-f", "seen")


def _shown(daemon: LiveDaemon, arguments: tuple[str, ...]) -> tuple[str, list[str]]:
    """Ours, and theirs before and after: what is told of time may change once between them.

    On a slow machine more than once: then it is tried again.
    """
    for _ in range(10):
        before, ours, after = (
            command(*arguments).stdout for command in (daemon.docker, daemon.tiffin, daemon.docker)
        )
        if ours in (before, after):
            break
    return ours, [before, after]


def test_events_tell_a_containers_life(daemon: LiveDaemon, client: str) -> None:
    run = daemon.client(client)
    container = run("run", "-d", "busybox", "true").stdout.strip()
    run("wait", container)
    run("rm", container)
    until = str(int(time.time()) + 1)  # clients send whole seconds
    since = ("events", "--since", "1h", "--until", until, "--filter", f"container={container}")
    lines = run(*since, "--format", "{{json .}}").stdout.splitlines()
    actions = [json.loads(line)["Action"] for line in lines]
    assert actions == ["create", "start", "die", "destroy"]


def test_a_container_without_network_has_only_loopback(daemon: LiveDaemon, client: str) -> None:
    finished = daemon.client(client)(
        "run", "--rm", "--network", "none", "busybox", "ls", "/sys/class/net"
    )
    assert finished.stdout.split() == ["lo"]


def test_the_hosts_network_has_the_hosts_links(daemon: LiveDaemon, client: str) -> None:
    finished = daemon.client(client)(
        "run", "--rm", "--network", "host", "busybox", "ls", "/sys/class/net"
    )
    assert set(finished.stdout.split()) == set(os.listdir("/sys/class/net"))


def test_interrupting_a_foreground_run_reaches_the_program(daemon: LiveDaemon, client: str) -> None:
    argv = daemon.argv(
        client,
        "run",
        "--rm",
        "busybox",
        "sh",
        "-c",
        "trap 'exit 9' INT; echo ready; while :; do sleep 1; done",
    )
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, env=daemon.environment(), text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(2)
    assert process.wait(patient(60)) == 9
    process.stdout.close()
