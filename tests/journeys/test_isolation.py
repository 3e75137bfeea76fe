"""What a container can and cannot do to the machine, as a user would try it."""

from __future__ import annotations

import http.client
import io
import json
import os
import re
import select
import subprocess
import tarfile
import time
from pathlib import Path

import pytest

from tests.busybox import busybox_tar
from tests.live import LiveDaemon
from tests.patience import patient

pytestmark = pytest.mark.root


def in_busybox(daemon: LiveDaemon, client: str, *flags: str, script: str) -> str:
    """What `script` says in a container that was run with `flags`."""
    finished = daemon.client(client)("run", "--rm", *flags, "busybox", "sh", "-c", script)
    return str(finished.stdout)


# -- user namespaces -----------------------------------------------------------------------------


def test_every_container_has_a_range_of_ids_of_its_own(daemon: LiveDaemon, client: str) -> None:
    script = "tr -s ' ' < /proc/self/uid_map"
    maps = [in_busybox(daemon, client, script=script).split() for _ in range(2)]
    for inside, outside, length in maps:
        assert (inside, length) == ("0", "65536")
        assert int(outside) >= 0x80000


def test_a_server_on_port_80_of_the_hosts_network_works(daemon: LiveDaemon, client: str) -> None:
    run = daemon.client(client)
    name = f"eighty-{client}"
    run("run", "-d", "--network", "host", "--name", name, "busybox", "sh", "-c",
        "echo eighty > /i; exec httpd -f -p 127.0.0.80:80 -h /")  # fmt: skip
    run("exec", name, "sh", "-c", "until wget -qO /dev/null http://127.0.0.80/i; do :; done")
    connection = http.client.HTTPConnection("127.0.0.80", 80, timeout=patient(60))
    connection.request("GET", "/i")
    assert connection.getresponse().read() == b"eighty\n"
    connection.close()
    run("rm", "-f", name)


def test_the_host_can_be_seen_whole_and_as_it_is(daemon: LiveDaemon, client: str) -> None:
    script = "stat -c %u:%g /host/etc/passwd /host/etc/shadow; ls /host/proc/1/exe; ls -a /host"
    seen = in_busybox(daemon, client, "-v", "/:/host", script=script).split()
    shadow = os.stat("/etc/shadow")
    assert seen[:2] == ["0:0", f"{shadow.st_uid}:{shadow.st_gid}"]
    assert set(os.listdir("/")) <= set(seen)


@pytest.mark.parametrize("user", ["0", "www-data", "100000", "100000:7"])
def test_any_user_may_open_its_standard_streams_anew(
    daemon: LiveDaemon, client: str, user: str
) -> None:
    script = "echo out > /dev/stdout; echo err > /dev/stderr"
    finished = daemon.client(client)("run", "--rm", "-u", user, "busybox", "sh", "-c", script)
    assert (finished.stdout, finished.stderr) == ("out\n", "err\n")
    name = f"streams-{client}-{user.replace(':', '-')}"
    daemon.client(client)("run", "-d", "--name", name, "-u", user, "busybox", "sleep", "1000")
    finished = daemon.client(client)("exec", name, "sh", "-c", script)
    assert (finished.stdout, finished.stderr) == ("out\n", "err\n")
    daemon.client(client)("rm", "-f", name)


def test_a_bind_source_of_an_id_above_the_range_is_owned_by_it(
    daemon: LiveDaemon, client: str, tmp_path: Path
) -> None:
    tmp_path.chmod(0o755)
    own = tmp_path / "own"
    own.mkdir()
    os.chown(own, 100000, 100000)
    flags = ("-u", "100000:100000", "-v", f"{own}:/own")
    seen = in_busybox(daemon, client, *flags, script="stat -c %u:%g /own; echo mine > /own/f")
    assert seen == "100000:100000\n"
    made = (own / "f").stat()
    assert (made.st_uid, made.st_gid) == (100000, 100000)


@pytest.mark.parametrize("user", ["0", "100000:100000"])
def test_the_engine_answers_through_its_socket_in_a_container(
    daemon: LiveDaemon, client: str, user: str
) -> None:
    libraries = [f"-v={path}:{path}:ro" for path in ("/usr", "/lib", "/lib64")]
    flags = ("-v", f"{daemon.socket}:/engine.sock", "-e", "DOCKER_HOST=unix:///engine.sock")
    program = ("docker", "version", "-f", "{{.Server.Version}}")
    run = daemon.client(client)
    finished = run("run", "--rm", "-u", user, *libraries, *flags, "busybox", *program, check=False)
    if user == "0":
        assert finished.stdout == run("version", "-f", "{{.Server.Version}}").stdout
    else:  # the mode of the socket is its check, as on the host
        assert "permission denied" in finished.stderr


# -- devices -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def with_nodes(daemon: LiveDaemon) -> str:
    """An image that brings device nodes of the host's first disk, of memory and of full."""
    disk = next(
        os.stat(f"/dev/{name}").st_rdev
        for name in sorted(os.listdir("/sys/class/block"))
        if os.path.exists(f"/dev/{name}")
    )
    nodes = {
        "disk": (tarfile.BLKTYPE, os.major(disk), os.minor(disk)),
        "mem": (tarfile.CHRTYPE, 1, 1),
        "full": (tarfile.CHRTYPE, 1, 7),
    }
    out = io.BytesIO(busybox_tar())
    with tarfile.open(fileobj=out, mode="a") as archive:
        for name, (kind, major, minor) in nodes.items():
            entry = tarfile.TarInfo(f"nodes/{name}")
            entry.type, entry.devmajor, entry.devminor, entry.mode = kind, major, minor, 0o666
            archive.addfile(entry)
    daemon.docker("import", "-", "with-nodes", input=out.getvalue(), text=False)
    return "with-nodes"


@pytest.mark.parametrize("flags", [(), ("--userns", "host"), ("--cap-add", "ALL")])
def test_a_device_node_in_an_image_opens_nothing(
    daemon: LiveDaemon, client: str, with_nodes: str, flags: tuple[str, ...]
) -> None:
    script = (
        "ls /nodes; for node in /nodes/disk /nodes/mem; do"
        " head -c 1 $node >/dev/null 2>&1 && echo read $node; done; true"
    )
    finished = daemon.client(client)("run", "--rm", *flags, with_nodes, "sh", "-c", script)
    assert finished.stdout.split() == ["disk", "full", "mem"]


@pytest.mark.parametrize("flags", [(), ("--userns", "host")])
def test_a_device_node_that_is_made_opens_nothing_either(
    daemon: LiveDaemon, client: str, flags: tuple[str, ...]
) -> None:
    script = "mknod /tmp/kmsg c 1 11 && head -c 1 /tmp/kmsg && echo read; true"
    finished = daemon.client(client)("run", "--rm", *flags, "busybox", "sh", "-c", script)
    assert finished.stdout == ""
    assert "Operation not permitted" in finished.stderr


def test_the_usual_devices_are_there_and_work(daemon: LiveDaemon, client: str) -> None:
    script = (
        "ls /dev; head -c 3 /dev/zero | wc -c; head -c 3 /dev/urandom | wc -c; echo x > /dev/null;"
        " echo x > /dev/full"
    )
    finished = daemon.client(client)(
        "run", "--rm", "-u", "33", "busybox", "sh", "-c", script, check=False
    )
    *names, zero, random = finished.stdout.split()
    if os.path.exists("/proc/kcore"):  # a link to it, as in Docker
        names.remove("core")
    assert names == sorted(
        "fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero".split()
    )
    assert (zero, random) == ("3", "3")
    assert "No space left on device" in finished.stderr


def test_a_device_that_is_asked_for_can_be_used_as_it_may(daemon: LiveDaemon, client: str) -> None:
    # The kernel's log is not among the devices that every container may open.
    script = "(: > /dev/klog) 2>/dev/null && echo opened"
    for access, said in (("w", "opened\n"), ("rwm", "opened\n"), ("r", "")):
        finished = daemon.client(client)(
            "run", "--rm", "--device", f"/dev/kmsg:/dev/klog:{access}", "busybox", "sh", "-c",
            script, check=False,
        )  # fmt: skip
        assert finished.stdout == said
    missing = daemon.client(client)(
        "run", "--rm", "--device", "/dev/nono", "busybox", "true", check=False
    )
    assert missing.returncode == 127  # as the words of Docker's message have it
    assert 'error gathering device information while adding custom device "/dev/nono"' in (
        missing.stderr
    )


# -- what is masked and read-only ----------------------------------------------------------------


def test_masked_paths_are_empty_and_kernel_settings_cannot_be_written(
    daemon: LiveDaemon, client: str
) -> None:
    script = (
        "for file in kcore timer_list keys; do cat /proc/$file 2>/dev/null; done | wc -c;"
        " ls /proc/acpi /sys/firmware 2>/dev/null | grep -v : | wc -w;"
        " echo 1 2>/dev/null > /proc/sys/vm/drop_caches || echo refused;"
        " echo b 2>/dev/null > /proc/sysrq-trigger || echo refused;"
        " mkdir /sys/fs/cgroup/x 2>/dev/null || echo refused;"
        " touch /sys/class/x 2>/dev/null || echo refused;"
        " mount -t tmpfs x /mnt 2>/dev/null || echo refused;"
        " mount -o remount,rw /sys 2>/dev/null || echo refused;"
        " umount /proc/keys 2>/dev/null || echo refused"
    )
    for flags in ((), ("--userns", "host")):
        seen = in_busybox(daemon, client, *flags, script=script).split()
        assert seen == ["0"] * 2 + ["refused"] * 7


def test_the_list_of_system_calls_is_dockers(daemon: LiveDaemon, client: str) -> None:
    run = daemon.client(client)
    # unshare of a user namespace is not for a program without CAP_SYS_ADMIN.
    refused = run("run", "--rm", "busybox", "unshare", "-U", "true", check=False)
    assert refused.returncode == 1
    assert "Operation not permitted" in refused.stderr
    open_ = ("--security-opt", "seccomp=unconfined")
    assert run("run", "--rm", *open_, "busybox", "unshare", "-U", "echo", "x").stdout == "x\n"
    status = in_busybox(daemon, client, *open_, script="grep ^Seccomp: /proc/self/status")
    assert status.split() == ["Seccomp:", "0"]


def test_a_profile_of_ones_own_is_read_from_a_file(
    daemon: LiveDaemon, client: str, tmp_path: Path
) -> None:
    rule = {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 30}
    file = tmp_path / "profile.json"
    file.write_text(json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}))
    run = daemon.client(client)
    flags = ("--security-opt", f"seccomp={file}")
    refused = run("run", "--rm", *flags, "busybox", "mkdir", "/new", check=False)
    assert "Read-only file system" in refused.stderr  # errno 30, as the rule has it
    file.write_text(json.dumps({"defaultAction": "SCMP_ACT_NONSENSE"}))
    refused = run("run", "--rm", *flags, "busybox", "true", check=False)
    assert refused.returncode == 125
    assert "SCMP_ACT_NONSENSE is not a valid action" in refused.stderr


def test_nothing_of_the_engine_is_inherited(daemon: LiveDaemon, client: str) -> None:
    seen = in_busybox(daemon, client, script="ls /proc/self/fd; env | cut -d= -f1 | sort | xargs")
    # 3 is the directory that ls reads.
    assert seen == "0\n1\n2\n3\nHOME HOSTNAME PATH PWD SHLVL\n"


def test_a_container_sees_only_its_own_processes_mounts_and_names(
    daemon: LiveDaemon, client: str
) -> None:
    seen = in_busybox(daemon, client, script="ls -d /proc/[0-9]* | wc -l; cat /proc/mounts")
    count, _, mounts = seen.partition("\n")
    assert int(count) <= 3
    assert not [line for line in mounts.splitlines() if daemon.root in line.split()[1]]


# -- limits --------------------------------------------------------------------------------------


def test_a_program_that_takes_too_much_memory_is_killed_and_this_is_told(
    daemon: LiveDaemon, client: str
) -> None:
    run = daemon.client(client)
    name = f"hungry-{client}"
    hungry = ("dd", "if=/dev/zero", "of=/dev/null", "bs=200M", "count=1")
    finished = run("run", "--name", name, "-m", "16m", "busybox", *hungry, check=False)
    assert finished.returncode == 137
    state = run("inspect", "-f", "{{.State.OOMKilled}} {{.State.ExitCode}}", name).stdout
    assert state == "true 137\n"
    events = run("events", "--since", "1h", "--until", str(int(time.time()) + 1), "-f",
                 f"container={name}",
                 "--format", "{{.Action}}").stdout.split()  # fmt: skip
    assert "oom" in events
    run("rm", name)


def test_what_is_killed_in_a_container_that_goes_on_is_told_when_it_happens(
    daemon: LiveDaemon, client: str
) -> None:
    run = daemon.client(client)
    name = f"lives-{client}"
    run(
        "run", "-d", "--name", name, "-m", "16m", "--memory-swap", "16m", "busybox", "sleep", "1000"
    )
    words = ("events", "-f", f"container={name}", "-f", "event=oom", "--format", "{{.Action}}")
    with subprocess.Popen(
        daemon.argv(client, *words, "--since", "0"),
        env=daemon.environment(),
        stdout=subprocess.PIPE,
        text=True,
    ) as events:
        hungry = ("dd", "if=/dev/zero", "of=/dev/null", "bs=64M", "count=1")
        assert run("exec", name, *hungry, check=False).returncode == 137
        assert events.stdout is not None
        told, _, _ = select.select([events.stdout], [], [], patient(60))
        events.terminate()
        assert told
        assert events.stdout.readline() == "oom\n"
    assert run("inspect", "-f", "{{.State.Running}}", name).stdout == "true\n"
    run("rm", "-f", name)


def test_a_fork_bomb_stops_at_the_limit(daemon: LiveDaemon, client: str) -> None:
    script = "for i in $(seq 50); do sleep 1000 & done; echo unlimited"
    finished = daemon.client(client)(
        "run", "--rm", "--pids-limit", "20", "busybox", "sh", "-c", script, check=False
    )
    assert finished.returncode != 0
    assert "unlimited" not in finished.stdout
    assert "can't fork" in finished.stderr


def test_cpu_limits_are_written(daemon: LiveDaemon, client: str) -> None:
    run = daemon.client(client)
    name = f"slow-{client}"
    flags = ("--cpus", "0.5", "--cpu-shares", "77", "--cpuset-cpus", "0", "--memory-swap", "64m")
    run("run", "-d", "--name", name, *flags, "-m", "64m", "busybox", "sleep", "1000")
    pid = run("inspect", "-f", "{{.State.Pid}}", name).stdout.strip()
    groups = dict(
        line.split(":")[1:] for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    )
    if "cpu" in {word for names in groups for word in names.split(",")}:
        by_name = {word: (names, path) for names, path in groups.items()
                   for word in names.split(",")}  # fmt: skip

        def value(controller: str, file: str) -> str:
            names, path = by_name[controller]
            return Path(f"/sys/fs/cgroup/{names}{path}/{controller}.{file}").read_text().strip()

        assert (value("cpu", "cfs_quota_us"), value("cpu", "cfs_period_us")) == ("50000", "100000")
        assert value("cpu", "shares") == "77"
    else:
        path = f"/sys/fs/cgroup{groups['']}"
        assert Path(path, "cpu.max").read_text() == "50000 100000\n"
    allowed = re.search(r"Cpus_allowed_list:\s*(\S+)", Path(f"/proc/{pid}/status").read_text())
    assert allowed
    assert allowed[1] == "0"
    run("rm", "-f", name)


def test_an_rlimit_that_we_may_not_raise_is_named(daemon: LiveDaemon, client: str) -> None:
    status = Path("/proc/self/status").read_text()
    effective = re.search(r"CapEff:\s*(\w+)", status)
    assert effective
    may = int(effective[1], 16) & 1 << 24
    run = daemon.client(client)
    finished = run("run", "--rm", "--ulimit", "memlock=999999999999", "busybox", "sh", "-c",
                   "ulimit -l", check=False)  # fmt: skip
    if may:
        assert finished.returncode == 0
    else:
        assert finished.returncode == 125
        assert "error setting rlimit" in finished.stderr
        assert "operation not permitted" in finished.stderr.lower()
    assert run("ps", "-aq").stdout == ""


# -- processes -----------------------------------------------------------------------------------


def test_orphans_become_no_zombies_and_all_end_with_the_first(
    daemon: LiveDaemon, client: str
) -> None:
    run = daemon.client(client)
    name = f"orphans-{client}"
    # The shell is no init: it does not wait for grandchildren that were given to it.
    script = "for i in 1 2 3; do (sh -c 'sleep 0.01 &'); done; (sleep 1000 &); exec sleep 1000"
    run("run", "-d", "--init", "--name", name, "busybox", "sh", "-c", script)
    run("exec", name, "sh", "-c",
        "until ! grep -s 'State:.Z' /proc/[0-9]*/status && [ $(pidof sleep | wc -w) = 2 ];"
        " do :; done")  # fmt: skip
    listed = run("top", name).stdout.splitlines()[1:]
    assert sum("sleep 1000" in line for line in listed) == 3  # and init, which names it
    assert {line.split()[0] for line in listed} == {"root"}  # the container's
    pids = [int(line.split()[1]) for line in listed]
    run("kill", name)
    run("wait", name)
    assert not [pid for pid in pids if os.path.exists(f"/proc/{pid}/exe")]
    run("rm", name)


def test_an_exec_in_a_container_has_its_bounds(daemon: LiveDaemon, client: str) -> None:
    run = daemon.client(client)
    name = f"bound-{client}"
    run("run", "-d", "--cap-drop", "ALL", "--name", name, "busybox", "sleep", "1000")
    script = ("grep", "-E", "^(Seccomp:|CapBnd|NoNewPrivs)", "/proc/self/status")
    seen = run("exec", name, *script).stdout.split()
    assert seen == ["CapBnd:", "0" * 16, "NoNewPrivs:", "0", "Seccomp:", "2"]
    privileged = run("exec", "--privileged", name, "cat", "/proc/self/status").stdout
    assert "CapEff:\t" + "0" * 16 not in privileged
    run("rm", "-f", name)


def test_shared_memory_is_shared_with_who_may_join(daemon: LiveDaemon, client: str) -> None:
    run = daemon.client(client)
    open_, closed = f"open-{client}", f"closed-{client}"
    script = "echo theirs > /dev/shm/x; exec sleep 1000"
    run("run", "-d", "--name", open_, "--ipc", "shareable", "busybox", "sh", "-c", script)
    run("run", "-d", "--name", closed, "busybox", "sleep", "1000")
    run("exec", open_, "sh", "-c", "until [ -e /dev/shm/x ]; do :; done")
    joins = ("run", "--rm", "--ipc", f"container:{open_}", "busybox", "sh", "-c")
    assert run(*joins, "cat /dev/shm/x; echo ours > /dev/shm/y").stdout == "theirs\n"
    assert run("exec", open_, "cat", "/dev/shm/y").stdout == "ours\n"
    refused = run("run", "--rm", "--ipc", f"container:{closed}", "busybox", "true", check=False)
    assert refused.returncode == 125
    assert "non-shareable IPC" in refused.stderr
    both = ("--ipc", f"container:{open_}", "--pid", f"container:{closed}")
    refused = run("run", "--rm", *both, "busybox", "true", check=False)
    assert refused.returncode == 125
    assert "they have user namespaces of their own" in refused.stderr
    run("rm", "-f", open_, closed)


def test_the_hosts_shared_memory_is_the_hosts(daemon: LiveDaemon, client: str) -> None:
    name = f"tiffin-{os.getpid()}-{client}"
    in_busybox(daemon, client, "--ipc", "host", script=f"echo seen > /dev/shm/{name}")
    file = Path("/dev/shm", name)
    assert file.read_text() == "seen\n"
    file.unlink()


def test_a_hosts_file_and_a_hostname_are_the_containers(daemon: LiveDaemon, client: str) -> None:
    seen = in_busybox(
        daemon, client, "-h", "web", "--add-host", "db:10.9.8.7", "--add-host",
        "gateway:host-gateway",
        script="cat /etc/hosts /etc/hostname; hostname -i",
    ).split("\n")  # fmt: skip
    assert "127.0.0.1\tlocalhost" in seen
    assert "10.9.8.7\tdb" in seen
    assert f"{daemon.subnet}.1\tgateway" in seen
    own = next(line for line in seen if line.endswith("\tweb"))
    assert seen[-3:] == ["web", own.split("\t")[0], ""]
