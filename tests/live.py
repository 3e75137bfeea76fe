"""A real daemon for a test, with roots, socket, bridge and subnet of its own.

`python -m tiffin.daemon` of this checkout runs as a process; both command lines drive it. It can be
killed and started again, and tells what it left behind.
"""

from __future__ import annotations

import functools
import itertools
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tests.busybox import busybox_image_tar
from tests.patience import patient
from tiffin.engine.settings import Settings
from tiffin.kernel import syscalls

CHECKOUT = Path(__file__).resolve().parents[1]
TIFFIN = CHECKOUT / "script" / "tiffin"
READY_SECONDS = patient(60)
Finished = subprocess.CompletedProcess[Any]
_subnets = itertools.count(os.getpid() % 200)


@functools.cache
def docker_cli_version() -> tuple[int, ...]:
    """Of the `docker` program here: (28, 2, 2)."""
    words = subprocess.run(["docker", "--version"], capture_output=True, text=True, check=True)
    numbers = re.findall(r"\d+", words.stdout.partition(",")[0])
    return tuple(int(number) for number in numbers[:3])


class LiveDaemon:
    """Use as a context manager: everything that it made is gone afterwards, or `leaks` names it."""

    def __init__(self, *flags: str) -> None:
        self.root = tempfile.mkdtemp(prefix="tfn")
        self.socket = f"{self.root}/d.sock"
        self.host = f"unix://{self.socket}"
        self.data_root = f"{self.root}/data"
        self.run_root = f"{self.root}/run"
        self.log_path = f"{self.root}/daemon.log"
        self.settings = Settings(data_root=self.data_root, exec_root=self.run_root)
        self.subnet = f"10.213.{next(_subnets) % 250}"
        self.beneath = ExitStack()  # disks that its directories lie on: they go after it
        self._flags = flags
        self._process: subprocess.Popen[bytes] | None = None

    # -- the daemon --------------------------------------------------------------------------

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self, *, fail_at: str = "", within: tuple[str, ...] = ()) -> None:
        """Returns once it serves; shows its log if it does not.

        `fail_at`: kernel.failpoints. `within`: a command that executes the one it is given.
        """
        reading, writing = os.pipe()
        command = [*within, sys.executable, "-m", "tiffin.daemon", "-H", self.host]
        command += ["--data-root", self.data_root, "--exec-root", self.run_root]
        command += ["--bip", f"{self.subnet}.1/24", *self._flags]
        with open(self.log_path, "ab") as log:
            self._process = subprocess.Popen(
                command,
                cwd=CHECKOUT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[writing],
                env={**os.environ, "TIFFIN_READY_FD": str(writing), "TIFFIN_FAIL_AT": fail_at},
            )
        os.close(writing)
        with os.fdopen(reading, "rb") as pipe:
            ready = pipe.readline()
        if ready != b"ready\n":
            self._process.wait(READY_SECONDS)
            raise RuntimeError(f"the daemon did not start:\n{self.log()}")

    def stop(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(READY_SECONDS)
        self._process = None

    def ended(self) -> int:
        """Wait for it to end by itself: its exit code."""
        assert self._process is not None
        code = self._process.wait(READY_SECONDS)
        self._process = None
        return code

    def kill9(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self._process = None

    @contextmanager
    def replaced(self) -> Iterator[None]:
        """Killed, and another in its place: also if the first hangs in the kernel until later."""
        assert self._process is not None
        old, self._process = self._process, None
        old.kill()
        while not syscalls.has_ended(old.pid):
            select.select([], [], [], 0.01)  # nothing tells of a zombie that still has threads
        try:
            self.start()
            yield
        finally:
            old.wait(READY_SECONDS)

    def log(self) -> str:
        return Path(self.log_path).read_text(errors="replace")

    def __enter__(self) -> LiveDaemon:
        try:
            self.start()
        except BaseException:
            self._put_away()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        try:
            if self._process is None:
                self.start()
            self.remove_containers()
            self.stop()
        finally:
            self._put_away()

    def revive(self) -> None:
        """After a test that may have ended it, or been ended itself."""
        if self._process is None:
            self.start()
        self.remove_containers()

    def remove_containers(self) -> None:
        ids = self.docker("ps", "-aq").stdout.split()
        if ids:
            self.docker("rm", "-f", "-v", *ids, check=False)

    def _put_away(self) -> None:
        if self._process is not None:
            self.kill9()
        for pid in self.processes():
            os.kill(pid, signal.SIGKILL)
        self.beneath.close()
        shutil.rmtree(self.root, ignore_errors=True)

    # -- clients -----------------------------------------------------------------------------

    def docker(self, *arguments: str, check: bool = True, **options: object) -> Finished:
        return self._run(self.argv("docker", *arguments), check, options)

    def tiffin(self, *arguments: str, check: bool = True, **options: object) -> Finished:
        return self._run(self.argv("tiffin", *arguments), check, options)

    def client(self, name: str) -> Callable[..., Finished]:
        return {"docker": self.docker, "tiffin": self.tiffin}[name]

    def argv(self, client: str, *arguments: str) -> list[str]:
        return [{"docker": "docker", "tiffin": str(TIFFIN)}[client], *arguments]

    def _run(self, argv: list[str], check: bool, options: dict[str, object]) -> Finished:
        settings: dict[str, object] = {
            "timeout": patient(120),
            "text": True,
            "capture_output": True,
        }
        if "input" not in options and "stdin" not in options:
            settings["stdin"] = subprocess.DEVNULL
        finished = subprocess.run(argv, env=self.environment(), check=False, **(settings | options))  # type: ignore[call-overload]
        if check and finished.returncode:
            raise AssertionError(
                f"{' '.join(argv)}: exit {finished.returncode}\n{finished.stdout}\n"
                f"{finished.stderr}\n--- daemon ---\n{self.log()[-3000:]}"
            )
        return finished  # type: ignore[no-any-return]

    def environment(self) -> dict[str, str]:
        """What a client needs to find this daemon and nothing of the user's configuration."""
        return {
            **{key: value for key, value in os.environ.items() if key != "DOCKER_CONTEXT"},
            "DOCKER_HOST": self.host,
            "TIFFIN_HOST": self.host,
            "DOCKER_BUILDKIT": "0",
            "DOCKER_CONFIG": f"{self.root}/docker-config",
        }

    def load_busybox(self) -> None:
        self.docker("load", input=busybox_image_tar(), text=False)

    # -- leaks -------------------------------------------------------------------------------

    def processes(self) -> list[int]:
        """Pids of ours: daemon, zygote, shims, by the roots in their arguments or working files."""
        mine = []
        for entry in os.listdir("/proc"):
            if not entry.isdecimal() or int(entry) == os.getpid():
                continue
            try:
                command = Path(f"/proc/{entry}/cmdline").read_bytes()
                files = [
                    os.readlink(f"/proc/{entry}/fd/{number}")
                    for number in os.listdir(f"/proc/{entry}/fd")
                ]
            except OSError:
                continue
            if self.root.encode() in command or any(self.root in name for name in files):
                mine.append(int(entry))
        return mine

    def leaks(self) -> list[str]:
        """What is left of files, mounts, links, tables, cgroups and processes, after its end."""
        found = [f"process {pid}" for pid in self.processes()]
        mounts = Path("/proc/self/mountinfo").read_text().splitlines()
        found += [f"mount {line}" for line in mounts if self.root in line]
        links = os.listdir("/sys/class/net")
        found += [f"link {name}" for name in links if name == self.settings.bridge_name]
        tables = subprocess.run(
            ["nft", "list", "tables"], capture_output=True, text=True, check=False
        )
        found += [
            f"table {line}"
            for line in tables.stdout.splitlines()
            if line.split()[-1] == self.settings.table_name
        ]
        for folder, names, _ in os.walk("/sys/fs/cgroup"):
            found += [
                f"cgroup {folder}/{name}" for name in names if name == self.settings.cgroup_name
            ]
        return found + [f"directory {name}" for name in (self.root,) if os.path.exists(name)]
