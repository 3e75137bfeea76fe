"""What else there is to do with a container: watch it, change it, copy into it, ask its health."""

from __future__ import annotations

import http.client
import io
import json
import os
import socket
import struct
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.asked import Asked
from tests.live import LiveDaemon
from tests.patience import patient
from tests.websockets import websocket

pytestmark = pytest.mark.root

Named = Callable[..., str]


@pytest.fixture
def named(daemon: LiveDaemon, client: str, request: pytest.FixtureRequest) -> Iterator[Named]:
    """Starts containers with `run -d` that are gone after the test; gives their names."""
    made: list[str] = []

    def run(*arguments: str) -> str:
        name = f"more-{client}-{len(made)}-{abs(hash(request.node.name)) % 10**8}"
        made.append(name)
        daemon.client(client)("run", "-d", "--name", name, *arguments)
        return name

    yield run
    for name in made:
        daemon.docker("rm", "-f", "-v", name, check=False)


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=patient(60))
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def ask(
    daemon: LiveDaemon, method: str, path: str, body: Any = None, kind: str = "application/json"
) -> tuple[int, bytes]:
    connection = _UnixConnection(daemon.socket)
    data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    connection.request(method, path, data, {"Content-Type": kind})
    answer = connection.getresponse()
    found = answer.status, answer.read()
    connection.close()
    return found


def inspect(daemon: LiveDaemon, name: str) -> Any:
    return json.loads(daemon.docker("inspect", name).stdout)[0]


# -- stats ---------------------------------------------------------------------------------------


def test_stats_show_what_a_container_uses(daemon: LiveDaemon, client: str, named: Named) -> None:
    name = named("-m", "64m", "busybox", "sh", "-c", "while :; do :; done")
    form = "{{.Name}};{{.CPUPerc}};{{.MemUsage}};{{.PIDs}};{{.NetIO}}"
    line = daemon.client(client)("stats", "--no-stream", "--format", form, name).stdout.strip()
    shown, cpu, memory, pids, network = line.split(";")
    assert shown == name
    assert 5 < float(cpu.rstrip("%")) < 400
    assert memory.endswith("/ 64MiB")
    assert int(pids) >= 1
    assert "B" in network


def test_stats_count_what_is_written_to_disks(daemon: LiveDaemon, named: Named) -> None:
    name = named("busybox", "sleep", "1000")

    def written() -> int:
        _, body = ask(daemon, "GET", f"/containers/{name}/stats?stream=0&one-shot=1")
        found = json.loads(body)["blkio_stats"]["io_service_bytes_recursive"] or []
        return sum(one["value"] for one in found if one["op"].lower() == "write")

    before = written()
    daemon.docker("exec", name, "dd", "if=/dev/zero", "of=/big", "bs=1M", "count=4", "conv=fsync")
    on_a_disk = os.major(os.stat(daemon.data_root).st_dev) != 0
    assert not on_a_disk or written() - before >= 4 << 20


def test_a_stream_of_stats_goes_on_and_ends_with_its_client(
    daemon: LiveDaemon, client: str, named: Named
) -> None:
    name = named("busybox", "sleep", "1000")
    connection = _UnixConnection(daemon.socket)
    connection.request("GET", f"/containers/{name}/stats")
    answer = connection.getresponse()
    first, second = (json.loads(answer.readline()) for _ in range(2))
    assert first["precpu_stats"]["cpu_usage"]["total_usage"] == 0
    assert second["precpu_stats"] == first["cpu_stats"]
    assert second["preread"] == first["read"]
    assert second["networks"]["eth0"]["rx_bytes"] >= 0
    assert second["memory_stats"]["limit"] > 1 << 20
    version = daemon.docker("info", "--format", "{{.CgroupVersion}}").stdout.strip()
    pressed = version == "2" and os.path.exists("/proc/pressure/cpu")
    told = {"cpu", "memory", "io"} if pressed else set()
    assert set(second.get("pressure_stats", ())) == told
    answer.close()
    connection.close()
    status, body = ask(daemon, "GET", f"/containers/{name}/stats?stream=0&one-shot=1")
    assert (status, json.loads(body)["precpu_stats"]["cpu_usage"]["total_usage"]) == (200, 0)
    daemon.docker("kill", name)
    status, body = ask(daemon, "GET", f"/containers/{name}/stats?stream=false")
    assert json.loads(body)["read"] == "0001-01-01T00:00:00Z"
    assert ask(daemon, "GET", "/containers/nono/stats")[0] == 404


# -- update --------------------------------------------------------------------------------------


def limits_inside(daemon: LiveDaemon, name: str) -> dict[str, str]:
    """What the kernel holds, by the container's first process."""
    pid = inspect(daemon, name)["State"]["Pid"]
    found = {}
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(",") if controllers else [""]:
            found[controller] = path
    files = {
        "memory": ("memory/{}/memory.limit_in_bytes", "{}/memory.max"),
        "pids": ("pids/{}/pids.max", "{}/pids.max"),
        "cpu": ("cpu/{}/cpu.shares", "{}/cpu.weight"),
    }
    read = {}
    for controller, (first, second) in files.items():
        form, path = (first, found.get(controller)) if "memory" in found else (second, found[""])
        if path is not None:
            read[controller] = Path("/sys/fs/cgroup", form.format(path.strip("/"))).read_text()
    return {key: value.strip() for key, value in read.items()}


def test_limits_of_a_running_container_change_at_once(
    daemon: LiveDaemon, client: str, named: Named
) -> None:
    run = daemon.client(client)
    name = named("-m", "64m", "busybox", "sleep", "1000")
    run("update", "-m", "96m", "--pids-limit", "77", "--restart", "on-failure:3", name)
    kept = inspect(daemon, name)["HostConfig"]
    assert (kept["Memory"], kept["PidsLimit"]) == (96 << 20, 77)
    assert kept["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 3}
    held = limits_inside(daemon, name)
    assert (held["memory"], held["pids"]) == (str(96 << 20), "77")
    refused = run("update", "-m", "1g", name, check=False)
    assert "update the memoryswap at the same time" in refused.stderr
    assert refused.returncode == 1
    refused = run("update", "-m", "1m", name, check=False)
    assert refused.stderr == "Error response from daemon: Minimum memory limit allowed is 6MB\n"


def test_a_container_without_limits_is_put_under_some(
    daemon: LiveDaemon, client: str, named: Named
) -> None:
    name = named("busybox", "sh", "-c", "sleep 1000 & exec sleep 1000")
    daemon.client(client)("update", "--cpu-shares", "512", name)
    held = limits_inside(daemon, name)["cpu"]
    assert held in ("512", "20")
    inside = daemon.docker("exec", name, "cat", "/proc/self/cgroup").stdout
    pid = inspect(daemon, name)["State"]["Pid"]
    outside = Path(f"/proc/{pid}/cgroup").read_text()
    assert inside.count("\n") == outside.count("\n")
    run_pids = daemon.docker("top", name).stdout.splitlines()[1:]
    assert len(run_pids) == 2
    for line in run_pids:
        assert Path(f"/proc/{line.split()[1]}/cgroup").read_text() == outside


def test_a_limit_may_go_below_the_reservation_that_is_there(daemon: LiveDaemon) -> None:
    asked = Asked(daemon)
    container = asked.made({"Memory": 200 << 20, "MemoryReservation": 100 << 20})
    asked.wire("POST", f"/containers/{container}/start")
    body = {"Memory": 50 << 20, "MemorySwap": 50 << 20}
    assert asked.wire("POST", f"/containers/{container}/update", body).status == 200
    shown = asked.inspect(container)["HostConfig"]
    assert (shown["Memory"], shown["MemoryReservation"]) == (50 << 20, 100 << 20)
    both = asked.wire(
        "POST", f"/containers/{container}/update", body | {"MemoryReservation": 60 << 20}
    )
    assert both.status == 400
    assert "can not be less than memory reservation limit" in both.message
    asked.remove(container)


def test_an_update_of_a_stopped_container_is_kept(daemon: LiveDaemon, client: str) -> None:
    run = daemon.client(client)
    name = f"kept-{client}"
    run("create", "--name", name, "busybox", "sleep", "1000")
    run("update", "--cpus", "0.5", name)
    run("start", name)
    assert inspect(daemon, name)["HostConfig"]["NanoCpus"] == 500_000_000
    run("rm", "-f", name)


# -- cp ------------------------------------------------------------------------------------------


def test_files_go_into_and_out_of_a_running_container(
    daemon: LiveDaemon, client: str, named: Named, tmp_path: Path
) -> None:
    run = daemon.client(client)
    name = named("-v", "/data", "--tmpfs", "/fast", "busybox", "sleep", "1000")
    source = tmp_path / "tree"
    (source / "deep").mkdir(parents=True)
    (source / "deep" / "file").write_text("words\n")
    (source / "link").symlink_to("deep/file")
    os.chown(source / "deep" / "file", 1234, 0)
    for place in ("/", "/data", "/fast"):
        run("cp", str(source), f"{name}:{place}")
        seen = run("exec", name, "stat", "-c", "%u %g %A", f"{place}/tree/deep/file").stdout
        assert seen == "1234 0 -rw-r--r--\n"
        assert run("exec", name, "cat", f"{place}/tree/link").stdout == "words\n"
        run("exec", name, "sh", "-c", f"echo more >> {place}/tree/deep/file")
        back = tmp_path / f"back{len(place)}"
        run("cp", "-a", f"{name}:{place}/tree", str(back))
        assert (back / "deep" / "file").read_text() == "words\nmore\n"
        assert os.readlink(back / "link") == "deep/file"
        taken = run("cp", f"{name}:{place}/tree/deep/file", "-", text=False).stdout
        with tarfile.open(fileobj=io.BytesIO(taken)) as archive:
            assert [(one.name, one.uid, one.gid) for one in archive] == [("file", 1234, 0)]
    assert run("exec", name, "stat", "-c", "%u %g", "/tree").stdout == "0 0\n"


def test_trailing_slashes_and_dots_mean_what_they_mean_to_cp(
    daemon: LiveDaemon, client: str, named: Named, tmp_path: Path
) -> None:
    run = daemon.client(client)
    name = named("busybox", "sh", "-c", "mkdir /dir && echo 1 > /dir/one; ln -s dir /l; sleep 1000")
    run("exec", name, "sh", "-c", "until [ -e /l ]; do :; done")
    for words, expected in (
        ("/dir", "dir/one"),
        ("/dir/", "dir/one"),
        ("/dir/.", "one"),
        ("/l/", "l/one"),
        ("/l/.", "one"),
        ("/dir/one", "one"),
    ):
        target = tmp_path / f"to{words.replace('/', '_')}"
        target.mkdir()
        run("cp", f"{name}:{words}", str(target))
        found = [p.relative_to(target) for p in target.rglob("*") if p.is_file()]
        assert [str(path) for path in found] == [expected], words
    (tmp_path / "f").write_text("x")
    run("cp", str(tmp_path / "f"), f"{name}:/dir/new")
    run("cp", str(tmp_path / "f"), f"{name}:/dir/")
    assert run("exec", name, "ls", "/dir").stdout.split() == ["f", "new", "one"]
    missing = run("cp", str(tmp_path / "f"), f"{name}:/nowhere/", check=False)
    assert missing.returncode == 1


def test_an_archive_goes_through_the_standard_streams(
    daemon: LiveDaemon, client: str, named: Named
) -> None:
    run = daemon.client(client)
    name = named("busybox", "sleep", "1000")
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as out:
        entry = tarfile.TarInfo("from/stdin")
        entry.size, entry.uid, entry.gid = 3, 70000, 5
        out.addfile(entry, io.BytesIO(b"abc"))
    run("cp", "-", f"{name}:/tmp/..", input=archive.getvalue(), text=False)
    # An id that the container has not becomes its root's.
    assert run("exec", name, "stat", "-c", "%u %g", "/from/stdin").stdout == "0 5\n"
    taken = run("cp", f"{name}:/from/stdin", "-", text=False).stdout
    with tarfile.open(fileobj=io.BytesIO(taken)) as back:
        assert [(one.name, one.uid, one.gid) for one in back] == [("stdin", 0, 5)]


def test_capabilities_of_files_hold_for_the_container_s_root(
    daemon: LiveDaemon, client: str, named: Named
) -> None:
    run = daemon.client(client)
    name = named("busybox", "sleep", "1000")
    value = struct.pack("<5I", 0x02000001, 1 << 10, 0, 0, 0).decode()
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w", format=tarfile.PAX_FORMAT) as out:
        entry = tarfile.TarInfo("server")
        entry.pax_headers = {"SCHILY.xattr.security.capability": value}
        out.addfile(entry)
    run("cp", "-", f"{name}:/tmp", input=archive.getvalue(), text=False)
    taken = run("cp", f"{name}:/tmp/server", "-", text=False).stdout
    with tarfile.open(fileobj=io.BytesIO(taken)) as back:
        headers = back.getmembers()[0].pax_headers
    assert headers["SCHILY.xattr.security.capability"] == value


def test_no_link_leads_out_of_a_running_container(
    daemon: LiveDaemon, client: str, named: Named, tmp_path: Path
) -> None:
    run = daemon.client(client)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("host")
    script = f"ln -s {outside} /a; ln -s ../../../../..{outside} /b; ln -s /proc/self/root /c"
    name = named("busybox", "sh", "-c", f"{script}; touch /ready; sleep 1000")
    run("exec", name, "sh", "-c", "until [ -e /ready ]; do :; done")
    (tmp_path / "f").write_text("mine")
    for link in ("/a", "/b", "/c" + str(outside)):
        assert run("cp", f"{name}:{link}/secret", str(tmp_path / "got"), check=False).returncode
        assert run("cp", str(tmp_path / "f"), f"{name}:{link}/secret", check=False).returncode
    assert not (tmp_path / "got").exists()
    assert (outside / "secret").read_text() == "host"


def test_mounts_of_a_running_container_stay_when_something_is_copied_over_them(
    daemon: LiveDaemon, client: str, named: Named, tmp_path: Path
) -> None:
    run = daemon.client(client)
    name = named("--read-only", "-v", "/data", "--tmpfs", "/fast", "busybox", "sleep", "1000")
    (tmp_path / "hosts").write_text("mine")
    refused = run("cp", str(tmp_path / "hosts"), f"{name}:/", check=False)
    assert "container rootfs is marked read-only" in refused.stderr
    run("cp", str(tmp_path / "hosts"), f"{name}:/data")
    assert run("exec", name, "cat", "/data/hosts").stdout == "mine"
    other = named("busybox", "sleep", "1000")
    refused = run("cp", str(tmp_path / "hosts"), f"{other}:/etc/hosts", check=False)
    assert "something is mounted there" in refused.stderr
    assert "localhost" in run("exec", other, "cat", "/etc/hosts").stdout


def test_copying_into_a_privileged_and_into_a_paused_container(
    daemon: LiveDaemon, client: str, named: Named, tmp_path: Path
) -> None:
    run = daemon.client(client)
    (tmp_path / "f").write_text("x")
    privileged = named("--privileged", "busybox", "sleep", "1000")
    run("cp", str(tmp_path / "f"), f"{privileged}:/f")
    assert run("exec", privileged, "cat", "/f").stdout == "x"
    run("pause", privileged)
    run("cp", str(tmp_path / "f"), f"{privileged}:/g")
    run("unpause", privileged)
    assert run("exec", privileged, "cat", "/g").stdout == "x"


# -- health --------------------------------------------------------------------------------------


def until_health(daemon: LiveDaemon, name: str, wanted: str) -> Any:
    """The health once it is `wanted`."""
    deadline = time.monotonic() + patient(60)
    while time.monotonic() < deadline:
        health = inspect(daemon, name)["State"]["Health"]
        if health["Status"] == wanted:
            return health
    raise AssertionError(f"not {wanted}: {health}\n{daemon.log()[-3000:]}")


HEALTH = ("--health-interval", "100ms", "--health-retries", "2")


def test_a_container_is_starting_healthy_and_unhealthy(
    daemon: LiveDaemon, client: str, named: Named
) -> None:
    run = daemon.client(client)
    since = f"{time.time():.6f}"
    name = named(*HEALTH, "--health-cmd", "echo $HOSTNAME; cat /ok", "busybox", "sleep", "1000")
    first = inspect(daemon, name)["State"]["Health"]  # on a slow machine two have failed by now
    assert first["Status"] == ("starting" if first["FailingStreak"] < 2 else "unhealthy")
    run("exec", name, "touch", "/ok")
    health = until_health(daemon, name, "healthy")
    probe = health["Log"][-1]
    assert (probe["ExitCode"], probe["Output"]) == (0, f"{inspect(daemon, name)['Id'][:12]}\n")
    assert "(healthy)" in run("ps", "--filter", f"name={name}").stdout
    assert run("ps", "-q", "--filter", f"name={name}", "--filter", "health=starting").stdout == ""
    run("exec", name, "rm", "/ok")
    health = until_health(daemon, name, "unhealthy")
    assert health["FailingStreak"] >= 2
    assert "can't open '/ok'" in health["Log"][-1]["Output"]
    assert len(health["Log"]) <= 5
    until = f"{time.time():.6f}"
    told = run(
        "events", "--since", since, "--until", until, "--filter", "event=health_status",
        "--filter", f"container={name}", "--format", "{{.Action}}",
    ).stdout.splitlines()  # fmt: skip
    assert told[-2:] == ["health_status: healthy", "health_status: unhealthy"]
    run("kill", name)
    assert inspect(daemon, name)["State"]["Health"]["Status"] == "unhealthy"


def test_a_probe_that_takes_too_long_is_killed_with_its_children(
    daemon: LiveDaemon, client: str, named: Named
) -> None:
    command = "echo before; sleep 2000 & sleep 2000; true"
    name = named(
        "--health-interval", "1s", "--health-retries", "1", "--health-timeout", "200ms",
        "--health-cmd", command, "busybox", "sleep", "1000",
    )  # fmt: skip
    assert until_health(daemon, name, "unhealthy")["Log"][0]["ExitCode"] == -1
    until_probed(daemon, name, "Health check exceeded timeout (200ms): before")
    run_on = until_quiet(daemon, name)
    assert run_on == ["sleep 1000"]


def until_probed(daemon: LiveDaemon, name: str, words: str) -> None:
    """On a slow machine a probe may have been killed before it said anything."""
    deadline = time.monotonic() + patient(60)
    while time.monotonic() < deadline:
        said = [probe["Output"] for probe in inspect(daemon, name)["State"]["Health"]["Log"]]
        if any(output.startswith(words) for output in said):
            return
    raise AssertionError(f"none says {words}: {said}")


def until_quiet(daemon: LiveDaemon, name: str) -> list[str]:
    """What runs in it between two probes."""
    deadline = time.monotonic() + patient(60)
    while time.monotonic() < deadline:
        rows = daemon.docker("top", name).stdout.splitlines()[1:]
        commands = [row.split(None, 7)[7] for row in rows]
        if len(commands) == 1:
            return commands
    return commands


def test_a_check_of_the_image_is_used_changed_and_switched_off(
    daemon: LiveDaemon, client: str, named: Named, tmp_path: Path
) -> None:
    (tmp_path / "Dockerfile").write_text(
        "FROM busybox\nHEALTHCHECK --interval=200ms CMD head -c 9000 /dev/zero | tr '\\0' x\n"
    )
    daemon.client(client)("build", "-t", f"checked-{client}", str(tmp_path))
    name = named(f"checked-{client}", "sleep", "1000")
    output = until_health(daemon, name, "healthy")["Log"][-1]["Output"]
    assert output == "x" * 4096 + "..."
    other = named("--health-interval", "1h", f"checked-{client}", "sleep", "1000")
    assert inspect(daemon, other)["Config"]["Healthcheck"]["Interval"] == 3600 * 10**9
    assert inspect(daemon, other)["State"]["Health"]["Log"] == []
    none = named("--no-healthcheck", f"checked-{client}", "sleep", "1000")
    assert "Health" not in inspect(daemon, none)["State"]


def test_health_is_checked_on_after_a_crash_of_the_daemon(
    daemon: LiveDaemon, client: str, named: Named
) -> None:
    name = named(*HEALTH, "--health-cmd", "test -e /ok", "busybox", "sleep", "1000")
    daemon.docker("exec", name, "touch", "/ok")
    until_health(daemon, name, "healthy")
    daemon.kill9()
    daemon.start()
    assert inspect(daemon, name)["State"]["Health"]["Status"] == "healthy"
    daemon.client(client)("exec", name, "rm", "/ok")
    until_health(daemon, name, "unhealthy")


# -- terminals and logs --------------------------------------------------------------------------


def test_a_terminal_has_the_size_that_was_asked_for_from_the_start(daemon: LiveDaemon) -> None:
    body = {
        "Image": "busybox",
        "Cmd": ["stty", "size"],
        "Tty": True,
        "HostConfig": {"ConsoleSize": [33, 111]},
    }
    assert ask(daemon, "POST", "/containers/create?name=sized", body)[0] == 201
    daemon.docker("start", "sized")
    daemon.docker("wait", "sized")
    assert daemon.docker("logs", "sized").stdout.strip() == "33 111"
    assert inspect(daemon, "sized")["HostConfig"]["ConsoleSize"] == [33, 111]
    daemon.docker("rm", "sized")


def test_logs_with_details_say_labels_and_environment(daemon: LiveDaemon, client: str) -> None:
    run = daemon.client(client)
    name = f"details-{client}"
    run(
        "run", "--name", name, "--label", "tier=front", "-e", "A=1", "--log-opt", "labels=tier",
        "--log-opt", "env=A", "--log-opt", "tag={{.Name}}", "busybox", "echo", "hello",
    )  # fmt: skip
    assert run("logs", "--details", name).stdout == f"A=1,tag={name},tier=front hello\n"
    assert run("logs", name).stdout == "hello\n"
    record = Path(run("inspect", "-f", "{{.LogPath}}", name).stdout.strip()).read_text()
    assert f'"attrs":{{"A":"1","tag":"{name}","tier":"front"}}' in record
    run("rm", name)


def test_a_websocket_carries_both_directions(daemon: LiveDaemon) -> None:
    daemon.docker("run", "-di", "--name", "socketed", "busybox", "cat")
    with websocket(daemon, "socketed", "stream=1&stdin=1&stdout=1") as (connection, stream):
        connection.sendall(b"\x82\x86\0\0\0\0hello\n")
        assert stream.read(8) == b"\x82\x06hello\n"
        connection.sendall(b"\x88\x80\0\0\0\0")
        assert stream.read() == b"\x88\x02\x03\xe8"
    assert inspect(daemon, "socketed")["State"]["Running"]
    daemon.docker("rm", "-f", "socketed")


def test_a_websocket_has_the_log_first_and_only_what_it_asks_for(daemon: LiveDaemon) -> None:
    script = "echo before; echo err >&2; read x; echo $x"
    daemon.docker("run", "-di", "--name", "socketed", "busybox", "sh", "-c", script)
    wait_for_log(daemon, "socketed", "before\nerr\n")
    with websocket(daemon, "socketed", "logs=1&stdout=1") as (_, stream):
        assert stream.read() == b"\x82\x07before\n\x88\x02\x03\xe8"
    with websocket(daemon, "socketed", "logs=1&stream=1&stdin=1&stdout=1") as (connection, stream):
        assert stream.read(9) == b"\x82\x07before\n"
        connection.sendall(b"\x82\x86\0\0\0\0after\n")
        assert stream.read() == b"\x82\x06after\n\x88\x02\x03\xe8"
    daemon.docker("rm", "-f", "socketed")


@pytest.mark.parametrize("chosen", ["label=stage=old", "label!=stage=live"])
def test_a_prune_of_everything_may_be_by_label(
    daemon: LiveDaemon, client: str, chosen: str
) -> None:
    run = daemon.client(client)
    kept, gone = (
        run("create", "--label", f"stage={stage}", "busybox", "true").stdout.strip()
        for stage in ("live", "old")
    )
    said = run("system", "prune", "-f", "--filter", chosen).stdout
    assert gone in said
    assert kept not in said
    run("rm", kept)


def test_what_removes_itself_when_it_ends_may_be_removed_by_force(
    daemon: LiveDaemon, client: str
) -> None:
    run = daemon.client(client)
    container = run("run", "-d", "--rm", "busybox", "sleep", "1000").stdout.strip()
    removed = run("rm", "-f", container)
    assert (removed.stdout, removed.stderr) == (f"{container}\n", "")
    assert run("ps", "-aq", "--no-trunc", "-f", f"id={container}").stdout == ""


def wait_for_log(daemon: LiveDaemon, name: str, text: str) -> None:
    deadline = time.monotonic() + patient(60)
    while (finished := daemon.docker("logs", name)).stdout + finished.stderr != text:
        assert time.monotonic() < deadline
