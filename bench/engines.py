"""Engines under measurement, each on its own data root, socket and network namespace."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

CGROUPS = "/sys/fs/cgroup"
_MEMORY = "/dev/shm"
CHECKOUT = Path(__file__).resolve().parents[1]


class Engine:
    """A running daemon: its name, socket, process and the accounts of its CPU time."""

    def __init__(
        self,
        name: str,
        socket: str,
        process: subprocess.Popen[bytes],
        cpu: CpuAccount,
        namespace: str,
        start_ms: float,
    ):
        self.name = name
        self.host = f"unix://{socket}"
        self.socket = socket
        self.process = process
        self.cpu = cpu
        self.namespace = namespace  # the path of its network namespace
        self.start_ms = start_ms  # from its exec to its first answer

    def docker(self, *arguments: str) -> list[str]:
        return ["docker", "-H", self.host, *arguments]

    def tiffin(self, *arguments: str) -> list[str]:
        return [str(tiffin_command()), "-H", self.host, *arguments]


def tiffin_command() -> Path:
    checkout = CHECKOUT / "script" / "tiffin"
    return checkout if checkout.exists() else Path(sys.executable).with_name("tiffin")


class CpuAccount:
    """CPU time of everything that ever ran in some cgroups (v1 cpuacct or v2), in seconds."""

    def __init__(self, own: str, containers: str) -> None:
        self._root = _cpu_root()
        self.own = os.path.join(self._root, own)
        os.makedirs(self.own, exist_ok=True)
        self._containers = os.path.join(self._root, containers)

    def join(self) -> None:
        """Called in a child before exec."""
        Path(self.own, "cgroup.procs").write_text("0")

    def seconds(self) -> float:
        return _usage(self.own) + _usage(self._containers)

    def close(self) -> None:
        remove_cgroup(self.own)


def remove_containers(engine: Engine) -> None:
    listed = subprocess.run(engine.docker("ps", "-aq"), capture_output=True, text=True, check=True)
    if ids := listed.stdout.split():
        command = engine.docker("rm", "-f", "-v", *ids)
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True)


def remove_cgroup(root: str) -> None:
    """What was in it may take a moment to be gone."""
    for path, _, _ in os.walk(root, topdown=False):
        for attempt in range(500, -1, -1):
            try:
                os.rmdir(path)
                break
            except OSError:
                if not attempt:
                    raise
                time.sleep(0.01)


def _cpu_root() -> str:
    for path in (f"{CGROUPS}/cpuacct", f"{CGROUPS}/cpu,cpuacct"):
        if os.path.isdir(path):
            return path
    return CGROUPS


def _usage(group: str) -> float:
    try:
        return int(Path(group, "cpuacct.usage").read_text()) / 1e9
    except FileNotFoundError:
        pass
    try:
        words = Path(group, "cpu.stat").read_text().split()
    except FileNotFoundError:
        return 0.0
    return int(words[words.index("usage_usec") + 1]) / 1e6


@contextmanager
def _network_namespace() -> Iterator[str]:
    name = f"bench-{uuid.uuid4().hex[:8]}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        subprocess.run(["ip", "-n", name, "link", "set", "lo", "up"], check=True)
        yield f"/run/netns/{name}"
    finally:
        subprocess.run(["ip", "netns", "del", name], check=True)


@contextmanager
def _daemon(name: str, command: list[str], work: str, cpu: CpuAccount) -> Iterator[Engine]:
    """`command` with its ready socket at work/d.sock, in a network namespace of its own."""
    path = os.path.join(work, "d.sock")
    with _network_namespace() as namespace, open(os.path.join(work, "log"), "wb") as log:
        started = time.perf_counter()
        process = subprocess.Popen(
            ["nsenter", f"--net={namespace}", *command],
            stdout=log,
            stderr=log,
            preexec_fn=cpu.join,  # noqa: PLW1509 - one thread here
        )
        try:
            _await_ready(process, path, os.path.join(work, "log"))
            start_ms = (time.perf_counter() - started) * 1000
            yield Engine(name, path, process, cpu, namespace, start_ms)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _await_ready(process: subprocess.Popen[bytes], path: str, log: str) -> None:
    """Asks every two milliseconds."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket(socket.AF_UNIX) as probe, suppress(OSError):
            probe.connect(path)
            probe.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
            if b" 200 " in probe.recv(100):
                return
        time.sleep(0.002)
    raise RuntimeError(f"daemon did not start: {Path(log).read_text()[-2000:]}")


@contextmanager
def work_directory() -> Iterator[str]:
    path = tempfile.mkdtemp(prefix="tfnb")
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@contextmanager
def run_directory(work: str) -> Iterator[str]:
    """For what ends with the machine: in memory, as /run mostly is."""
    path = tempfile.mkdtemp(prefix=f"{os.path.basename(work)}-", dir=_MEMORY)
    try:
        yield path
    finally:
        subprocess.run(["umount", "-q", "-R", path], check=False)
        shutil.rmtree(path, ignore_errors=True)


@contextmanager
def dockerd(directory: str = "") -> Iterator[Engine]:
    """Debian's dockerd. It starts a containerd of its own. What is in `directory` stays."""
    with ExitStack() as stack:
        work = directory or stack.enter_context(work_directory())
        run = stack.enter_context(run_directory(work))
        group = f"bench-docker-{os.path.basename(work)}"
        cpu = CpuAccount(group, f"{group}-containers")
        stack.callback(cpu.close)
        for hierarchy in ("", *os.listdir(CGROUPS)):  # on v1 it is in each
            path = os.path.join(CGROUPS, hierarchy, f"{group}-containers")
            stack.callback(remove_cgroup, path)
        command = ["dockerd", "--data-root", f"{work}/data", "--exec-root", run]
        command += ["-H", f"unix://{work}/d.sock", "--pidfile", f"{work}/pid"]
        command += ["--cgroup-parent", f"/{group}-containers"]
        yield stack.enter_context(_daemon("dockerd", command, work, cpu))


@contextmanager
def tiffin(directory: str = "", *flags: str) -> Iterator[Engine]:
    """Ours, of this checkout. What is in `directory` stays."""
    with ExitStack() as stack:
        work = directory or stack.enter_context(work_directory())
        run = stack.enter_context(run_directory(work))
        from tiffin.engine.settings import Settings  # noqa: PLC0415 - only this engine needs it

        containers = Settings(data_root=f"{work}/data").cgroup_name
        cpu = CpuAccount(f"bench-tiffin-{os.path.basename(work)}", containers)
        stack.callback(cpu.close)
        command = [str(tiffin_command()), "daemon", "--data-root", f"{work}/data"]
        command += ["--exec-root", run, "-H", f"unix://{work}/d.sock", *flags]
        with _daemon("tiffin", command, work, cpu) as engine:
            try:
                yield engine
            finally:
                if not directory:
                    remove_containers(engine)  # they would outlive the daemon
