"""Each flag of `run` is seen by the program inside; both command lines."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.live import LiveDaemon
from tests.patience import patient
from tests.terminal import Terminal

pytestmark = pytest.mark.root

DOCKERS_CAPABILITIES = "00000000a80425fb"


def in_busybox(daemon: LiveDaemon, client: str, *flags: str, script: str) -> str:
    """What `script` says in a container that was run with `flags`."""
    finished = daemon.client(client)("run", "--rm", *flags, "busybox", "sh", "-c", script)
    return str(finished.stdout)


@pytest.mark.parametrize(
    ("flags", "script", "said"),
    [
        (("-h", "web.example.org"), "hostname; hostname -f", "web.example.org\nweb.example.org\n"),
        (("-w", "/made/on/the/way"), "pwd", "/made/on/the/way\n"),
        (("-e", "A=1", "-e", "B=two words"), 'echo "$A $B"', "1 two words\n"),
        (("-u", "www-data"), "id -u; id -g", "33\n33\n"),
        (("-u", "33"), "id -u; id -g", "33\n33\n"),
        (("-u", "33:50"), "id -u; id -g", "33\n50\n"),
        (("-u", "nobody:staff"), "id -u; id -g", "65534\n50\n"),
        (("-u", "4321"), "id -u; id -g", "4321\n0\n"),
        (("-u", "100000"), "id -u; touch /tmp/x; stat -c %u /tmp/x", "100000\n100000\n"),
        (("-u", "100000:100001"), "touch /tmp/x; stat -c %u:%g /tmp/x", "100000:100001\n"),
        (("--group-add", "50"), "id -G", "0 50\n"),
        (("--ulimit", "nofile=123:456"), "ulimit -n; ulimit -Hn", "123\n456\n"),
        (("--ulimit", "nofile=5"), "ulimit -n; ulimit -Hn", "5\n5\n"),
        (("--ulimit", "core=0"), "ulimit -c", "0\n"),
        (("--tmpfs", "/t:size=64k,mode=700"), "df -k /t | tail -1 | cut -c1-5", "tmpfs\n"),
        (("--shm-size", "1m"), "df -k /dev/shm | tail -1 | tr -s ' ' | cut -d' ' -f2", "1024\n"),
        (("--sysctl", "net.ipv4.ip_default_ttl=77"), "cat /proc/sys/net/ipv4/ip_default_ttl",
         "77\n"),
        (("--mac-address", "02:42:ac:11:00:99"), "cat /sys/class/net/eth0/address",
         "02:42:ac:11:00:99\n"),
        (("--init",), "echo $$ $PPID", None),
        (("--oom-score-adj", "77"), "cat /proc/self/oom_score_adj", "77\n"),
        (("--domainname", "example.org", "-h", "web"), "cat /proc/sys/kernel/domainname",
         "example.org\n"),
        (("--ipc", "none"), "ls /dev/shm 2>&1 || true", None),
        (("--env", "HOME=/tmp"), "echo $HOME", "/tmp\n"),
        (("-u", "www-data"), "echo $HOME", "/var/www\n"),
        ((), "echo $HOME $PATH",
         "/root /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n"),
        (("--userns", "host"), "cat /proc/self/uid_map | tr -s ' '", " 0 0 4294967295\n"),
        (("--uts", "host"), "test $(hostname) = $(cat /proc/sys/kernel/hostname) && echo ok",
         "ok\n"),
    ],
)  # fmt: skip
def test_a_flag_is_seen_inside(
    daemon: LiveDaemon, client: str, flags: tuple[str, ...], script: str, said: str | None
) -> None:
    seen = in_busybox(daemon, client, *flags, script=script)
    assert said is None or seen == said


def test_link_local_addresses_are_seen_inside(daemon: LiveDaemon) -> None:
    # Of ours alone: docker's of old passes the flag over on the default network.
    flags = ("--link-local-ip", "169.254.7.9", "--link-local-ip", "fe80::77")
    script = "ip -o addr show eth0 | grep -oE '(169.254|fe80).* scope'"
    seen = in_busybox(daemon, "tiffin", *flags, script=script)
    assert seen == "169.254.7.9/16 brd 169.254.255.255 scope\nfe80::77/64 scope\n"


def test_a_link_local_address_of_ipv6_is_reached_by_one_like_it(daemon: LiveDaemon) -> None:
    network = ("--link-local-ip", "fe80::88")
    name = daemon.tiffin("run", "-d", *network, "busybox", "sleep", "1000").stdout.strip()
    script = "ping -6 -c 1 -w 20 fe80::88%eth0 >/dev/null && echo reached"
    assert in_busybox(daemon, "tiffin", "--link-local-ip", "fe80::99", script=script) == "reached\n"
    daemon.tiffin("rm", "-f", name)


def test_the_default_capabilities_are_dockers(daemon: LiveDaemon, client: str) -> None:
    status = _status(in_busybox(daemon, client, script="cat /proc/self/status"))
    assert status["CapEff"] == status["CapPrm"] == status["CapBnd"] == DOCKERS_CAPABILITIES
    assert (status["CapInh"], status["CapAmb"]) == ("0" * 16, "0" * 16)
    assert (status["Seccomp"], status["NoNewPrivs"]) == ("2", "0")
    user = _status(in_busybox(daemon, client, "-u", "33", script="cat /proc/self/status"))
    assert (user["CapEff"], user["CapBnd"]) == ("0" * 16, DOCKERS_CAPABILITIES)


def test_capabilities_are_added_and_dropped(daemon: LiveDaemon, client: str) -> None:
    flags = ("--cap-add", "NET_ADMIN", "--cap-drop", "CHOWN", "--cap-drop", "cap_mknod")
    status = _status(in_busybox(daemon, client, *flags, script="cat /proc/self/status"))
    expected = int(DOCKERS_CAPABILITIES, 16) | 1 << 12  # NET_ADMIN
    expected &= ~(1 << 0 | 1 << 27)  # CHOWN, MKNOD
    assert int(status["CapEff"], 16) == expected
    none = _status(in_busybox(daemon, client, "--cap-drop", "ALL", script="cat /proc/self/status"))
    assert (none["CapEff"], none["CapBnd"]) == ("0" * 16, "0" * 16)
    every = _status(in_busybox(daemon, client, "--cap-add", "ALL", script="cat /proc/self/status"))
    ours = _status(Path("/proc/self/status").read_text())
    assert every["CapEff"] == ours["CapBnd"]


def test_privileged_has_what_root_has(daemon: LiveDaemon, client: str) -> None:
    script = "cat /proc/self/status; cat /proc/self/uid_map; ls /dev; mount -t tmpfs x /mnt; "
    script = "mkdir /mnt; mount -t tmpfs x /mnt && echo mounted; " + script
    seen = in_busybox(daemon, client, "--privileged", script=script)
    ours = _status(Path("/proc/self/status").read_text())
    assert "mounted" in seen
    assert _status(seen)["CapEff"] == ours["CapEff"]
    assert _status(seen)["Seccomp"] == "0"
    assert "4294967295" in seen
    assert "kmsg" in seen


def test_no_new_privileges_is_an_option(daemon: LiveDaemon, client: str) -> None:
    for option in ("no-new-privileges", "no-new-privileges:true"):
        flags = ("--security-opt", option)
        status = _status(in_busybox(daemon, client, *flags, script="cat /proc/self/status"))
        assert status["NoNewPrivs"] == "1"


def test_a_read_only_root_still_has_its_volumes(daemon: LiveDaemon, client: str) -> None:
    script = "touch /x 2>&1; touch /tmp/x /data/x && echo written"
    flags = ("--read-only", "--tmpfs", "/tmp", "-v", "/data")
    seen = in_busybox(daemon, client, *flags, script=script)
    assert seen == "touch: /x: Read-only file system\nwritten\n"


def test_an_environment_file_and_the_clients_own_variables(
    daemon: LiveDaemon, client: str, tmp_path: Path
) -> None:
    file = tmp_path / "env"
    file.write_text("# comment\nA=from file\nB=x=y\n\nFROM_CLIENT\nNOT_SET\n")
    finished = subprocess.run(
        daemon.argv(client, "run", "--rm", "--env-file", str(file), "-e", "A=flag", "-e", "ALSO",
                    "busybox", "env"),
        env=daemon.environment() | {"FROM_CLIENT": "1", "ALSO": "2"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    seen = set(finished.stdout.splitlines())
    assert {"A=flag", "B=x=y", "FROM_CLIENT=1", "ALSO=2"} <= seen
    assert not any(line.startswith("NOT_SET") for line in seen)


def test_an_entrypoint_replaces_the_images_and_its_command(
    daemon: LiveDaemon, client: str, tmp_path: Path
) -> None:
    run = daemon.client(client)
    (tmp_path / "Dockerfile").write_text(
        'FROM busybox\nENTRYPOINT ["echo", "entry"]\nCMD ["command"]\n'
    )
    name = f"entered-{client}"
    run("build", "-t", name, str(tmp_path))
    assert run("run", "--rm", name).stdout == "entry command\n"
    assert run("run", "--rm", name, "mine").stdout == "entry mine\n"
    assert run("run", "--rm", "--entrypoint", "/bin/echo", name).stdout == "\n"
    assert run("run", "--rm", "--entrypoint", "/bin/echo", name, "own").stdout == "own\n"
    assert run("run", "--rm", "--entrypoint", "", name, "echo", "bare").stdout == "bare\n"
    run("rmi", name)


def test_publish_all_gives_each_exposed_port_one_of_the_host(
    daemon: LiveDaemon, client: str
) -> None:
    run = daemon.client(client)
    name = f"all-{client}"
    run("run", "-dP", "--expose", "80", "--expose", "53/udp", "--name", name, "busybox",
        "sleep", "1000")  # fmt: skip
    published = dict(line.split(" -> ", 1) for line in run("port", name).stdout.splitlines())
    assert sorted(published) == ["53/udp", "80/tcp"]
    assert all(int(address.rpartition(":")[2]) >= 1024 for address in published.values())
    run("rm", "-f", name)


def test_our_command_line_says_port_for_publish(daemon: LiveDaemon) -> None:
    daemon.tiffin("run", "-d", "--port", "18096:80", "--name", "ported", "busybox", "sleep", "99")
    assert daemon.docker("port", "ported").stdout.startswith("80/tcp -> 0.0.0.0:18096\n")
    daemon.docker("rm", "-f", "ported")


def test_a_name_an_id_and_a_prefix_all_find_it(daemon: LiveDaemon, client: str) -> None:
    run = daemon.client(client)
    name = f"found-{client}"
    container = run("create", "--name", name, "busybox", "true").stdout.strip()
    for reference in (name, container, container[:12], container[:5]):
        assert run("inspect", "-f", "{{.Id}}", reference).stdout.strip() == container
    run("rm", container[:12])


def test_a_cidfile_and_labels(daemon: LiveDaemon, client: str, tmp_path: Path) -> None:
    run = daemon.client(client)
    file = tmp_path / "cid"
    run("run", "-d", "--cidfile", str(file), "-l", "a=b", "--label", "c", "busybox", "true")
    container = file.read_text()
    labels = run("inspect", "-f", "{{json .Config.Labels}}", container).stdout
    assert labels == '{"a":"b","c":""}\n'
    assert run("ps", "-aq", "--no-trunc", "-f", "label=a=b").stdout.strip() == container
    run("wait", container)
    run("rm", container)


@pytest.mark.parametrize(("signal", "code"), [("KILL", 137), ("TERM", 143), ("SIGQUIT", 131)])
def test_a_program_ended_by_a_signal_exits_with_128_and_its_number(
    daemon: LiveDaemon, client: str, signal: str, code: int
) -> None:
    run = daemon.client(client)
    name = f"killed-{client}"
    # The first process of a pid namespace ignores what it does not handle; init's child does not.
    run("run", "-d", "--init", "--name", name, "busybox", "sleep", "1000")
    run("kill", "-s", signal, name)
    assert run("wait", name).stdout == f"{code}\n"
    assert run("inspect", "-f", "{{.State.ExitCode}}", name).stdout == f"{code}\n"
    run("rm", name)


def test_stop_sends_the_stop_signal_and_then_kills(daemon: LiveDaemon, client: str) -> None:
    run = daemon.client(client)
    script = "trap 'echo told; exit 5' USR1; echo ready; while :; do sleep 0.05; done"
    name = f"stopped-{client}"
    run("run", "-d", "--stop-signal", "USR1", "--name", name, "busybox", "sh", "-c", script)
    _await_log(daemon, client, name, "ready")
    run("stop", name)
    assert run("logs", name).stdout == "ready\ntold\n"
    assert run("inspect", "-f", "{{.State.ExitCode}}", name).stdout == "5\n"
    run("start", name)
    run("stop", "-t", "0", name)
    assert run("inspect", "-f", "{{.State.ExitCode}}", name).stdout in ("137\n", "5\n")
    run("rm", name)


def test_a_restart_is_a_new_process_in_the_same_container(daemon: LiveDaemon, client: str) -> None:
    run = daemon.client(client)
    name = f"again-{client}"
    run("run", "-d", "--name", name, "busybox", "sh", "-c", "echo up >> /n; exec sleep 1000")
    first = run("inspect", "-f", "{{.State.Pid}}", name).stdout
    run("restart", "-t", "0", name)
    assert run("inspect", "-f", "{{.State.Pid}}", name).stdout != first
    run("exec", name, "sh", "-c", "until [ $(wc -l < /n) = 2 ]; do :; done")
    run("rename", name, f"{name}-2")
    assert run("ps", "--format", "{{.Names}}", "-f", f"name={name}").stdout == f"{name}-2\n"
    run("rm", "-f", f"{name}-2")


def test_a_paused_container_stands_still(daemon: LiveDaemon, client: str) -> None:
    run = daemon.client(client)
    name = f"paused-{client}"
    run("run", "-d", "--name", name, "busybox", "sleep", "1000")
    run("pause", name)
    assert "(Paused)" in run("ps", "--format", "{{.Status}}", "-f", f"name={name}").stdout
    refused = run("exec", name, "true", check=False)
    assert refused.returncode == 1
    assert "is paused, unpause the container before exec" in refused.stderr
    twice = run("pause", name, check=False)
    assert "is already paused" in twice.stderr
    run("unpause", name)
    assert run("exec", name, "echo", "goes on").stdout == "goes on\n"
    run("rm", "-f", name)


def test_restart_policies_are_kept(daemon: LiveDaemon, client: str) -> None:
    run = daemon.client(client)
    name = f"retried-{client}"
    run("run", "-d", "--restart", "on-failure:2", "--name", name, "busybox", "sh", "-c",
        "echo try; exit 3")  # fmt: skip
    while run("inspect", "-f", "{{.State.Running}}", name).stdout == "true\n":
        run("wait", name)
    assert run("inspect", "-f", "{{.RestartCount}} {{.State.ExitCode}}", name).stdout == "2 3\n"
    assert run("logs", name).stdout == "try\n" * 3
    run("rm", name)


def test_several_clients_are_attached_to_one_container(daemon: LiveDaemon, client: str) -> None:
    run = daemon.client(client)
    name = f"shared-{client}"
    run("run", "-di", "--name", name, "busybox", "cat")
    attached = [
        subprocess.Popen(
            daemon.argv(client, "attach", name), env=daemon.environment(),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for client in ("docker", "tiffin", "docker")
    ]  # fmt: skip
    # A client is attached once it hears what another one says.
    for speaker in attached:
        assert speaker.stdin is not None
        speaker.stdin.write("x\n" * 10)
        speaker.stdin.flush()
    for one in attached:
        assert one.stdout is not None
        assert one.stdout.readline() == "x\n"
    run("kill", name)
    for one in attached:
        one.communicate(timeout=patient(60))
        assert one.returncode == 137
    run("rm", name)


def test_a_terminal_has_its_size_when_it_changes(daemon: LiveDaemon, client: str) -> None:
    argv = daemon.argv(client, "run", "-it", "--rm", "busybox", "sh")
    with Terminal(argv, daemon.environment(), rows=33, columns=99) as terminal:
        terminal.expect("# ")
        terminal.send("stty size; echo $TERM\n")
        terminal.expect("33 99")
        terminal.expect("xterm")
        terminal.send("exit\n")
        assert terminal.exit_code() == 0


def test_an_interactive_exec_is_on_a_terminal(daemon: LiveDaemon, client: str) -> None:
    run = daemon.client(client)
    name = f"term-{client}"
    run("run", "-d", "--name", name, "busybox", "sleep", "1000")
    argv = daemon.argv(client, "exec", "-it", "-w", "/tmp", "-u", "www-data", name, "sh")
    with Terminal(argv, daemon.environment()) as terminal:
        terminal.expect("$ ")
        terminal.send("tty; pwd; id -u; exit 4\n")
        terminal.expect("/dev/pts/")
        terminal.expect("/tmp")
        terminal.expect("33")
        assert terminal.exit_code() == 4
    run("rm", "-f", name)


def _await_log(daemon: LiveDaemon, client: str, name: str, words: str) -> None:
    with subprocess.Popen(
        daemon.argv(client, "logs", "-f", name),
        env=daemon.environment(),
        stdout=subprocess.PIPE,
        text=True,
    ) as following:
        assert following.stdout is not None
        for line in following.stdout:
            if words in line:
                break
        following.kill()


def _status(text: str) -> dict[str, str]:
    """/proc/PID/status by field."""
    fields = (line.partition(":") for line in text.splitlines())
    return {name: value.strip() for name, _, value in fields}
