"""The daemon in systemd's hands: started by its socket, restarted, killed; containers go on."""

from __future__ import annotations

import json
import os
import select
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.machine.conftest import SERVICE, Machine
from tests.patience import patient

pytestmark = pytest.mark.root

ASLEEP = ("busybox", "sleep", "100000")


@pytest.fixture
def box(machine: Machine) -> Iterator[str]:
    machine.docker("run", "-d", "--name", "box", "-m", "64m", "-p", "0:80", *ASLEEP)
    yield "box"
    machine.docker("rm", "-f", "box")


def identity(machine: Machine, name: str) -> tuple[int, str]:
    """Pid and start time: the very process."""
    state = machine.inspect(name)["State"]
    assert state["Status"] == "running"
    pid = int(state["Pid"])
    return pid, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]


def test_systemd_has_nothing_to_say_against_the_units(machine: Machine) -> None:
    assert "tiffin" not in machine.run("systemd-analyze", "verify", "tiffin.service")
    assert machine.show("Type") == "notify"
    assert machine.show("Delegate") == "yes"


def test_the_socket_starts_the_daemon_at_the_first_request(machine: Machine) -> None:
    machine.run("systemctl", "stop", SERVICE)
    assert machine.show("ActiveState") == "inactive"
    assert machine.show("ActiveState", "tiffin.socket") == "active"
    assert machine.docker("info", "-f", "{{.CgroupVersion}}") == "2\n"
    assert machine.show("ActiveState") == "active"


def test_a_restart_leaves_containers_as_they_are(machine: Machine, box: str) -> None:
    before = identity(machine, box)
    old = machine.show("MainPID")
    machine.run("systemctl", "restart", SERVICE)
    assert machine.show("MainPID") != old
    assert identity(machine, box) == before
    assert machine.docker("exec", box, "echo", "there") == "there\n"


def test_what_a_stopped_daemon_leaves_running_the_next_finds(machine: Machine, box: str) -> None:
    before = identity(machine, box)
    machine.run("systemctl", "stop", SERVICE)
    assert os.path.exists(f"/proc/{before[0]}")
    machine.run("systemctl", "start", SERVICE)
    assert identity(machine, box) == before


def test_a_killed_daemon_comes_back_and_takes_containers_over(machine: Machine, box: str) -> None:
    before = identity(machine, box)
    restarts = int(machine.show("NRestarts"))
    ended = os.pidfd_open(int(machine.show("MainPID")))
    machine.run("systemctl", "kill", "-s", "KILL", "--kill-who=main", SERVICE)
    assert select.select([ended], [], [], patient(30))[0]
    os.close(ended)
    # Its socket stays open: who asks meanwhile is answered by the next one.
    assert identity(machine, box) == before
    assert int(machine.show("NRestarts")) + (machine.show("ActiveState") == "active") > restarts
    assert machine.docker("exec", box, "echo", "there") == "there\n"
    machine.docker("stop", "-t", "0", box)
    assert machine.inspect(box)["State"]["ExitCode"] == 137


def test_limits_hold_whatever_systemd_does_with_its_own_cgroups(machine: Machine, box: str) -> None:
    pid, _ = identity(machine, box)
    path = Path(f"/proc/{pid}/cgroup").read_text().strip().removeprefix("0::")
    assert "tiffin.service" not in path  # or stopping the unit would count it in
    group = Path(f"/sys/fs/cgroup{path}")
    limits = {"memory.max": str(64 << 20), "memory.swap.max": str(64 << 20)}
    for act in ("daemon-reload", "daemon-reexec"):
        machine.run("systemctl", act)
        machine.run("systemctl", "restart", SERVICE)
        machine.run("systemd-run", "--wait", "-p", "MemoryMax=100M", "-p", "IOWeight=50", "true")
        assert {name: (group / name).read_text().strip() for name in limits} == limits
        assert "pids" in (group / "cgroup.controllers").read_text().split()


def test_a_container_can_be_put_in_a_slice(machine: Machine) -> None:
    machine.run("systemd-run", "--slice", "jobs.slice", "--unit", "keeper", "sleep", "100000")
    try:
        flags = ("--cgroup-parent", "/jobs.slice", "--cgroupns", "host", "-m", "64m")
        path = machine.docker("run", "--rm", *flags, "busybox", "cat", "/proc/self/cgroup")
        assert path.startswith("0::/jobs.slice/")
    finally:
        machine.run("systemctl", "stop", "keeper")


def test_a_reload_reads_the_configuration_again(machine: Machine) -> None:
    pid = machine.show("MainPID")
    machine.run("systemctl", "reload", SERVICE)
    machine.docker("version")
    assert (machine.show("MainPID"), machine.show("ActiveState")) == (pid, "active")


def test_journald_has_what_containers_say_and_logs_reads_it(machine: Machine) -> None:
    script = "echo out; echo err >&2"
    machine.docker("run", "--name", "told", "--log-driver", "journald", "--log-opt", "tag=mine",
                   "busybox", "sh", "-c", script)  # fmt: skip
    found: dict[str, dict[str, str]] = {}
    with subprocess.Popen(
        ["journalctl", "-f", "-n", "all", "-o", "json", "CONTAINER_NAME=told"],
        stdout=subprocess.PIPE,
        bufsize=0,  # or a line that is read already is waited for
    ) as reader:
        assert reader.stdout is not None
        while len(found) < 2 and select.select([reader.stdout], [], [], patient(30))[0]:
            entry = json.loads(reader.stdout.readline())
            found[entry["MESSAGE"]] = entry
        reader.kill()
    assert {name: entry["PRIORITY"] for name, entry in found.items()} == {"out": "6", "err": "3"}
    assert found["out"]["CONTAINER_ID_FULL"] == machine.inspect("told")["Id"]
    assert found["out"]["CONTAINER_TAG"] == "mine"
    assert machine.docker("logs", "told") == "out\n"
    machine.docker("rm", "told")
