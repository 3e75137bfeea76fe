"""tiffin-runtime: the life of a container on the command line, from bundles made here."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kernel.oci_bundle import DEADLINE, RUNTIME, Bundle
from tests.threats.arena import libraries
from tiffin.kernel import cgroup
from tiffin.runtime.traits import cpus

pytestmark = pytest.mark.root


@pytest.fixture
def bundle(tmp_path: Path) -> Iterator[Bundle]:
    made = Bundle(tmp_path)
    made.linux["cgroupsPath"] = f"/tiffin-test-{os.getpid()}-{abs(hash(str(tmp_path))) % 10**8}"
    try:
        yield made
    finally:
        made.close()
        group = cgroup.Cgroup(cgroup.detect(), made.linux["cgroupsPath"], cgroup.BASE_CONTROLLERS)
        assert not group.exists()


def test_a_container_goes_from_created_to_running_to_stopped_to_gone(bundle: Bundle) -> None:
    bundle.write("sh", "-c", "echo started; exec sleep 1000")
    bundle.ok("create", "--pid-file", "pid", "box")
    state = bundle.state()
    assert state["status"] == "created"
    assert state["bundle"] == str(bundle.directory)
    assert state["pid"] == int((bundle.directory / "pid").read_text())
    bundle.ok("start", "box")
    assert bundle.state()["status"] == "running"
    bundle.ok("kill", "box", "KILL")
    bundle.wait(state["pid"])
    assert bundle.state()["status"] == "stopped"
    bundle.ok("delete", "box")
    assert "container does not exist" in bundle.refused("state", "box")


def test_the_program_runs_at_start_and_not_before(bundle: Bundle) -> None:
    bundle.write("sh", "-c", "touch /ran")
    bundle.ok("create", "box")
    assert not (bundle.rootfs / "ran").exists()
    pid = bundle.state()["pid"]
    bundle.ok("start", "box")
    bundle.wait(pid)
    assert (bundle.rootfs / "ran").exists()


def test_run_ends_with_the_programs_exit_code_and_leaves_nothing(bundle: Bundle) -> None:
    bundle.write("sh", "-c", "echo hello; exit 7")
    done = bundle.call("run", "box")
    assert (done.returncode, done.stdout) == (7, "hello\n")
    assert os.listdir(bundle.root) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("start", "box"), "already running"),
        (("delete", "box"), "is not stopped: running"),
        (("create", "box"), "already exists"),
        (("resume", "box"), "not paused"),
        (("kill", "box", "NONSENSE"), "unknown signal"),
        (("exec", "box"), "needs a program"),
        (("exec", "box", "nonsense"), "executable file not found in $PATH"),
        (("update", "box"), "nothing to change"),
    ],
)
def test_what_a_running_container_does_not_allow_changes_nothing(
    bundle: Bundle, words: tuple[str, ...], said: str
) -> None:
    bundle.write("sleep", "1000")
    bundle.ok("run", "-d", "box")
    before = bundle.state()
    assert said in bundle.refused(*words)
    assert bundle.state() == before


def test_a_program_that_is_not_there_fails_the_create_already(bundle: Bundle) -> None:
    for name, said in (
        ("nonsense", 'exec: "nonsense": executable file not found in $PATH'),
        ("/etc/passwd", 'exec: "/etc/passwd": permission denied'),
    ):
        bundle.write(name)
        assert said in bundle.refused("create", "box")
    assert os.listdir(bundle.root) == []


def test_a_failed_start_says_why_and_a_failed_create_leaves_nothing(bundle: Bundle) -> None:
    bundle.process["cwd"] = "/etc/passwd"
    bundle.write("true")
    bundle.ok("create", "box")
    assert 'chdir to cwd ("/etc/passwd")' in bundle.refused("start", "box")
    bundle.config["mounts"].append({"destination": "/x", "source": "missing", "options": ["bind"]})
    bundle.write("true")
    assert "bind " in bundle.refused("create", "other")
    assert os.listdir(bundle.root) == ["box"]


def test_exec_joins_the_container_and_ends_with_its_own_code(bundle: Bundle) -> None:
    bundle.write("sleep", "1000")
    bundle.ok("run", "-d", "box")
    script = "hostname; readlink /proc/1/ns/pid; cat /proc/self/cgroup; echo $A; id -u; exit 9"
    done = bundle.call("exec", "-e", "A=b", "-u", "33:33", "box", "sh", "-c", script)
    assert done.returncode == 9, done.stderr
    assert "tiffin\n" in done.stdout
    assert done.stdout.endswith("b\n33\n")


def test_exec_takes_a_process_as_json(bundle: Bundle) -> None:
    bundle.write("sleep", "1000")
    bundle.ok("run", "-d", "box")
    process = {"args": ["sh", "-c", "pwd; echo $A"], "cwd": "/tmp", "env": ["A=1", "PATH=/bin"]}
    (bundle.directory / "process.json").write_text(json.dumps(process))
    assert bundle.ok("exec", "--process", "process.json", "box") == "/tmp\n1\n"


def test_a_detached_exec_leaves_its_pid_and_goes_on(bundle: Bundle) -> None:
    bundle.write("sleep", "1000")
    bundle.ok("run", "-d", "box")
    bundle.ok("exec", "-d", "--pid-file", "exec-pid", "box", "sleep", "1001")
    pid = int((bundle.directory / "exec-pid").read_text())
    with open(f"/proc/{pid}/cmdline", "rb") as file:
        assert file.read() == b"sleep\x001001\0"
    assert sorted(json.loads(bundle.ok("ps", "-f", "json", "box"))) == sorted(
        [pid, bundle.state()["pid"]]
    )


def test_hooks_run_in_order_where_they_belong_with_the_state_on_stdin(bundle: Bundle) -> None:
    told = bundle.directory / "told"

    def hook(kind: str) -> dict[str, object]:
        script = f'printf "{kind} " >> {told}; cat >> {told}; echo >> {told}'
        return {"path": "/bin/sh", "args": ["sh", "-c", script]}

    inside = {"path": "/bin/sh", "args": ["sh", "-c", "cat > /inside; pwd -P >> /inside"]}
    kinds = ("prestart", "createRuntime", "createContainer", "poststart", "poststop")
    bundle.config["hooks"] = {kind: [hook(kind)] for kind in kinds} | {"startContainer": [inside]}
    bundle.config["annotations"] = {"org.example": "yes"}
    bundle.shell("test -e /inside")
    lines = [line.partition(" ") for line in told.read_text().splitlines()]
    assert [kind for kind, _, _ in lines] == list(kinds)
    states = [json.loads(text) for _, _, text in lines]
    expected = ["created", "created", "created", "running", "stopped"]
    assert [state["status"] for state in states] == expected
    assert all(state["annotations"] == {"org.example": "yes"} for state in states)
    assert '"status":"created"' in (bundle.rootfs / "inside").read_text()


def test_a_hook_that_fails_before_the_program_ends_the_container(bundle: Bundle) -> None:
    script = "echo the reason >&2; exit 3"
    failing = {"path": "/bin/sh", "args": ["sh", "-c", script]}
    bundle.config["hooks"] = {"createRuntime": [failing]}
    bundle.write("true")
    said = bundle.refused("create", "box")
    assert "error running createRuntime hook #0: exit status 3" in said
    assert "the reason" in said
    assert os.listdir(bundle.root) == []


def test_a_hook_that_fails_after_the_start_is_a_warning(bundle: Bundle) -> None:
    after = bundle.directory / "after"
    failing = {"path": "/bin/false"}
    good = {"path": "/bin/sh", "args": ["sh", "-c", f"echo x > {after}"]}
    bundle.config["hooks"] = {"poststart": [failing, good]}
    bundle.write("true")
    done = bundle.call("run", "box")
    assert done.returncode == 0
    assert "error running poststart hook #0" in done.stderr
    assert after.exists()


def test_a_hook_that_hangs_is_ended_by_its_timeout(bundle: Bundle) -> None:
    hanging = {"path": "/bin/sleep", "args": ["sleep", "1000"], "timeout": 1}
    bundle.config["hooks"] = {"prestart": [hanging]}
    bundle.write("true")
    assert "hook ran past its timeout of 1 s" in bundle.refused("create", "box")


def test_a_terminals_master_goes_to_the_console_socket(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle.process["terminal"] = True
    bundle.process["consoleSize"] = {"height": 33, "width": 77}
    bundle.write("sh", "-c", "tty; stty size")
    with socket.socket(socket.AF_UNIX) as listener:
        monkeypatch.chdir(bundle.directory)  # an address holds 108 bytes
        listener.bind("s")
        listener.listen(1)
        listener.settimeout(DEADLINE)
        bundle.ok("create", "--console-socket", "s", "box")
        connection, _ = listener.accept()
        with connection:
            _, [master], _, _ = socket.recv_fds(connection, 4096, 1)
    pid = bundle.state()["pid"]
    bundle.ok("start", "box")
    bundle.wait(pid)
    with open(master, "rb", buffering=0) as terminal:
        assert terminal.read(4096) == b"/dev/pts/0\r\n33 77\r\n"


def test_a_terminal_needs_a_socket_unless_run_stays(bundle: Bundle) -> None:
    bundle.process["terminal"] = True
    bundle.write("true")
    assert "--console-socket" in bundle.refused("create", "box")
    bundle.process["terminal"] = False
    bundle.write("true")
    assert "will not allocate a tty" in bundle.refused("create", "--console-socket", "s", "box")


def test_descriptors_are_preserved_when_asked_and_only_these(bundle: Bundle) -> None:
    reading, writing = os.pipe()
    os.write(writing, b"through\n")
    os.close(writing)
    bundle.write("sh", "-c", "cat <&3; ls /proc/self/fd")
    command = f"exec 3</proc/self/fd/{reading} 4</dev/null; exec {RUNTIME} --root {bundle.root} run"
    done = subprocess.run(
        ["sh", "-c", f"{command} --preserve-fds 1 -b {bundle.directory} box"],
        pass_fds=[reading],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=True,
    )
    os.close(reading)
    assert done.stdout.split() == ["through", "0", "1", "2", "3", "4"]  # 4 is ls's own directory
    assert "descriptor 3 is not open" in bundle.refused("create", "--preserve-fds", "1", "box")


def test_errors_are_in_the_log_too_as_json(bundle: Bundle) -> None:
    bundle.refused("--log", "log.json", "--log-format", "json", "state", "nobody")
    record = json.loads((bundle.directory / "log.json").read_text())
    assert (record["level"], record["msg"]) == ("error", "container does not exist: nobody")


@pytest.mark.parametrize("name", ["", "..", "a/b", "a b", "ä"])
def test_a_name_is_never_a_path(bundle: Bundle, name: str) -> None:
    bundle.write("true")
    assert "invalid container ID" in bundle.refused("create", name)


def test_pause_stops_and_resume_goes_on(bundle: Bundle) -> None:
    bundle.write("sleep", "1000")
    bundle.ok("run", "-d", "box")
    bundle.ok("pause", "box")
    assert bundle.state()["status"] == "paused"
    assert "paused" in bundle.refused("exec", "box", "true")
    bundle.ok("resume", "box")
    assert bundle.ok("exec", "box", "echo", "awake") == "awake\n"


def test_update_changes_limits_that_state_and_statistics_know(bundle: Bundle) -> None:
    bundle.write("sleep", "1000")
    bundle.ok("run", "-d", "box")
    bundle.ok("update", "--pids-limit", "77", "--memory", "67108864", "box")
    data = json.loads(bundle.ok("events", "--stats", "box"))["data"]
    assert data["pids"]["limit"] == 77
    assert data["memory"]["usage"]["limit"] == 67108864


def test_statistics_tell_of_pressure_where_the_kernel_does(bundle: Bundle) -> None:
    bundle.write("sleep", "1000")
    bundle.ok("run", "-d", "box")
    data = json.loads(bundle.ok("events", "--stats", "box"))["data"]
    told = {name for name in ("cpu", "memory", "blkio") if "psi" in data.get(name, {})}
    unified = cgroup.detect().version == 2 and os.path.exists("/proc/pressure/cpu")
    assert told == ({"cpu", "memory", "blkio"} if unified else set())
    assert all(data[name]["psi"]["some"]["total"] >= 0 for name in told)


def test_forced_deletion_ends_what_runs_and_minds_nothing_missing(bundle: Bundle) -> None:
    bundle.write("sleep", "1000")
    bundle.ok("run", "-d", "box")
    pid = bundle.state()["pid"]
    bundle.ok("delete", "--force", "box")
    bundle.wait(pid)
    bundle.ok("delete", "--force", "box")


def test_spec_and_features_describe_what_there_is(bundle: Bundle) -> None:
    bundle.ok("spec")
    assert "exists" in bundle.refused("spec")
    features = json.loads(bundle.ok("features"))
    assert "createRuntime" in features["hooks"]
    assert features["linux"]["seccomp"]["actions"]


def test_what_is_not_supported_is_refused_by_name(bundle: Bundle) -> None:
    bundle.write("true")
    assert "--systemd-cgroup is not supported" in bundle.refused("--systemd-cgroup", "run", "box")
    assert "checkpoint is not supported" in bundle.refused("checkpoint", "box")
    assert "flag provided but not defined: --nonsense" in bundle.refused("run", "--nonsense", "x")
    assert os.listdir(bundle.directory / "rootfs" / "tmp") == []


@pytest.mark.parametrize("mapped", [False, True])
def test_a_time_namespace_has_clocks_of_its_own(bundle: Bundle, mapped: bool) -> None:
    bundle.linux["namespaces"].append({"type": "time"})
    bundle.linux["timeOffsets"] = {"boottime": {"secs": 1_000_000_000}}
    if mapped:
        bundle.linux["namespaces"].append({"type": "user"})
        ids = [{"containerID": 0, "hostID": 0, "size": 65536}]
        bundle.linux["uidMappings"] = bundle.linux["gidMappings"] = ids
    assert float(bundle.shell("cat /proc/uptime").split()[0]) > 1_000_000_000


def test_traits_of_a_process_are_given(bundle: Bundle) -> None:
    bundle.process["scheduler"] = {"policy": "SCHED_BATCH"}
    bundle.process["user"] = {"uid": 0, "gid": 0, "umask": 0o77}
    bundle.linux["personality"] = {"domain": "LINUX32"}
    (bundle.rootfs / "up").mkdir()
    (bundle.rootfs / "up" / "file").write_text("below\n")
    bundle.config["mounts"].append(
        {"destination": "/up", "type": "tmpfs", "source": "t", "options": ["tmpcopyup"]}
    )
    lines = bundle.shell("umask; uname -m; cat /up/file")
    assert lines.split()[:3] == ["0077", "i686", "below"]


@pytest.mark.parametrize("when", ["initial", "final"])
def test_an_exec_has_the_container_s_personality_and_its_own_cpus(
    bundle: Bundle, when: str
) -> None:
    """The first process has all: execCPUAffinity is not for it."""
    if when == "initial" and cgroup.detect().version == 2:
        pytest.skip("a kernel may give it all of its cgroup's when it moves in, as OCI allows")
    bundle.linux["personality"] = {"domain": "LINUX32"}
    bundle.process["execCPUAffinity"] = {when: "0"}
    script = "uname -m; grep Cpus_allowed_list /proc/self/status"
    bundle.write("sleep", "1000")
    everything = ",".join(map(str, sorted(os.sched_getaffinity(0))))
    bundle.ok("run", "--detach", "box")
    machine, _, mask = bundle.ok("exec", "box", "sh", "-c", script).split()
    assert (machine, mask) == ("i686", "0")
    status = Path(f"/proc/{bundle.state()['pid']}/status").read_text()
    allowed = status.partition("Cpus_allowed_list:")[2].split()[0]
    assert cpus(allowed) == cpus(everything)


def test_an_update_that_checks_first_takes_no_less_than_there_is(bundle: Bundle) -> None:
    bundle.write("sleep", "1000")
    bundle.ok("run", "--detach", "box")
    asked = bundle.directory / "resources.json"
    asked.write_text(json.dumps({"memory": {"limit": 4096, "checkBeforeUpdate": True}}))
    said = bundle.refused("update", "--resources", str(asked), "box")
    assert "resources.memory.limit 4096 is less than" in said
    assert bundle.state()["status"] == "running"


def test_ids_are_those_of_the_config_whatever_the_image_has_for_them(bundle: Bundle) -> None:
    """Its passwd and group may have lines by which a number is somebody else."""
    etc = bundle.rootfs / "etc"
    (etc / "passwd").write_text("root:x:0:5::/root:/\n1000:x:0:0::/evil:/\nu:x:1000:0::/home:/\n")
    (etc / "group").write_text("1000:x:0:\naudio:x:9:root,u\n")
    ids = "grep -E '^(Uid|Gid|Groups)' /proc/self/status; echo $HOME"

    def seen(text: str) -> list[list[str]]:
        return [line.split() for line in text.splitlines()]

    bundle.process["user"] = {"uid": 1000, "gid": 1000, "additionalGids": [7]}
    of_thousand = [["Uid:", *["1000"] * 4], ["Gid:", *["1000"] * 4]]
    assert seen(bundle.shell(ids)) == [*of_thousand, ["Groups:", "7"], ["/home"]]
    bundle.process["user"] = {"uid": 0, "gid": 0}
    of_root = [["Uid:", *["0"] * 4], ["Gid:", *["0"] * 4], ["Groups:"], ["/root"]]
    assert seen(bundle.shell(ids)) == of_root
    bundle.write("sleep", "1000")
    bundle.ok("run", "--detach", "box")
    told = bundle.ok("exec", "--user", "1000:1000", "box", "sh", "-c", ids)
    assert seen(told) == [*of_thousand, ["Groups:"], ["/home"]]


def test_ambient_capabilities_that_cannot_be_granted_are_left_out(bundle: Bundle) -> None:
    """As other builders ask for them: without the inheritable ones that they need."""
    names = ["CAP_CHOWN", "CAP_KILL"]
    kinds = ("bounding", "effective", "permitted", "ambient")
    bundle.process["capabilities"] = dict.fromkeys(kinds, names)
    script = "grep -E 'Cap(Eff|Amb)' /proc/self/status"
    assert bundle.shell(script).split() == ["CapEff:", f"{0x21:016x}", "CapAmb:", f"{0:016x}"]
    bundle.process["capabilities"]["inheritable"] = ["CAP_KILL"]
    assert bundle.shell(script).split() == ["CapEff:", f"{0x21:016x}", "CapAmb:", f"{0x20:016x}"]


KEYS = {"x86_64": (250, 248), "aarch64": (219, 217)}.get(os.uname().machine, (0, 0))
# Of its session keyring: the first process puts a key there, the exec looks for it.
OF_FIRST = f"""
import ctypes, time
assert ctypes.CDLL(None).syscall({KEYS[1]}, b"user", b"tiffin-own", b"x", 1, -3) > 0
open("/dev/shm/put", "w").close()
time.sleep(1000)
"""
OF_EXEC = f"""
import ctypes, os
while not os.path.exists("/dev/shm/put"): pass
print(ctypes.CDLL(None).syscall({KEYS[0]}, 10, -3, b"user", b"tiffin-own", 0) > 0)
"""


@pytest.mark.skipif(not os.path.exists("/proc/keys"), reason="the kernel has no keys")
def test_an_exec_has_the_session_keyring_of_its_container(bundle: Bundle) -> None:
    for path in libraries():
        bundle.config["mounts"].append(
            {"destination": path, "type": "bind", "source": path, "options": ["rbind", "ro"]}
        )
    python = (os.path.realpath(sys.executable), "-I", "-S", "-c")
    bundle.write(*python, OF_FIRST)
    bundle.ok("run", "--detach", "box")
    assert bundle.ok("exec", "box", *python, OF_EXEC) == "True\n"


@pytest.mark.skipif(not cgroup.named(), reason="no hierarchy of systemd's here")
@pytest.mark.parametrize("own", [True, False])
def test_a_hierarchy_of_systemds_can_be_mounted_among_the_others(bundle: Bundle, own: bool) -> None:
    """As podman does for images whose first process is systemd."""
    if not own:
        kept = [each for each in bundle.linux["namespaces"] if each["type"] != "cgroup"]
        bundle.linux["namespaces"] = kept
    name = os.path.basename(cgroup.named()[0])
    (bundle.directory / "theirs").mkdir()
    (bundle.directory / "theirs" / "here").touch()
    bind = {"type": "bind", "source": str(bundle.directory / "theirs"), "options": ["bind"]}
    bundle.config["mounts"].append({"destination": f"/sys/fs/cgroup/{name}", **bind})
    assert bundle.shell(f"ls /sys/fs/cgroup/{name}") == "here\n"
