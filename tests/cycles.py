"""Run, exec, fail and remove, over and over; and counts of all that could be left behind by it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import docker
from docker.errors import APIError

from tests.live import LiveDaemon

NOT_A_PROGRAM = "/no/such/program"


def cycles(daemon: LiveDaemon, number: int) -> None:
    """With a client that is gone afterwards, its connections too."""
    client = docker.DockerClient(base_url=daemon.host, timeout=120)
    try:
        for _ in range(number):
            _cycle(client)
    finally:
        client.close()


def _cycle(client: docker.DockerClient) -> None:
    """One of each: a container with a port, execs, a foreign exit, starts that fail."""
    container = client.containers.create("busybox", ["sleep", "1000"], ports={"80/tcp": None})
    container.start()
    assert container.exec_run(["echo", "hi"]).exit_code == 0
    assert container.exec_run([NOT_A_PROGRAM]).exit_code in (126, 127)
    container.kill()
    container.wait()
    container.start()
    container.remove(force=True, v=True)
    said = client.containers.run("busybox", ["echo", "hi"], remove=True)
    assert said == b"hi\n"
    for options in ({}, {"devices": ["/dev/no-such:/dev/x"]}, {"network_mode": "none"}):
        _fails(client, options)


def _fails(client: docker.DockerClient, options: dict[str, object]) -> None:
    container = client.containers.create("busybox", [NOT_A_PROGRAM], **options)
    try:
        container.start()
    except APIError:
        container.remove()
    else:
        raise AssertionError("it started")


def counts(daemon: LiveDaemon) -> dict[str, int]:
    """Of everything that a cycle makes and takes away again."""
    processes = daemon.processes()
    settings = daemon.settings
    return {
        "processes": len(processes),
        "descriptors": len(os.listdir(f"/proc/{daemon.pid}/fd")),
        "zygote's descriptors": sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in zygotes(daemon)),
        "mounts": len(Path(f"/proc/{daemon.pid}/mountinfo").read_text().splitlines()),
        "namespaces": len(set(_namespaces(processes))),
        "links": len(os.listdir("/sys/class/net")),
        "rules": _rules(settings.table_name),
        "cgroups": sum(1 for _ in _cgroups(settings.cgroup_name)),
        "files": sum(len(files) for _, _, files in os.walk(daemon.data_root)),
        "containers' directories": len(os.listdir(f"{daemon.data_root}/containers")),
        "run directories": len(os.listdir(daemon.run_root)),
    }


def threads(daemon: LiveDaemon) -> int:
    return len(os.listdir(f"/proc/{daemon.pid}/task"))


def memory_kilobytes(daemon: LiveDaemon) -> int:
    """The daemon's own: proportional, so that what others share does not count twice."""
    text = Path(f"/proc/{daemon.pid}/smaps_rollup").read_text()
    return int(next(line.split()[1] for line in text.splitlines() if line.startswith("Pss:")))


def zygotes(daemon: LiveDaemon) -> list[int]:
    children = Path(f"/proc/{daemon.pid}/task/{daemon.pid}/children").read_text().split()
    return [pid for pid in map(int, children) if name_of(pid) == "tiffin-zygote"]


def name_of(pid: int) -> str:
    """As ps shows it; "" of one that is gone."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def _namespaces(pids: list[int]) -> Iterator[str]:
    for pid in pids:
        try:
            for name in os.listdir(f"/proc/{pid}/ns"):
                yield os.readlink(f"/proc/{pid}/ns/{name}")
        except OSError:
            continue


def _rules(table: str) -> int:
    command = ["nft", "list", "table", "ip", table]
    listed = subprocess.run(command, capture_output=True, text=True, check=True)
    return sum(line.count(" : ") or 1 for line in listed.stdout.splitlines())


def _cgroups(name: str) -> Iterator[str]:
    for folder, _, _ in os.walk("/sys/fs/cgroup"):
        if f"/{name}" in folder:
            yield folder
