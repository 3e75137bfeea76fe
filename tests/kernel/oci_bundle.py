"""Bundles for the command line of an OCI runtime, and that command line in a root of its own."""

from __future__ import annotations

import copy
import json
import os
import select
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.busybox import busybox_rootfs
from tests.patience import patient
from tiffin.kernel import cgroup
from tiffin.runtime.oci.bundle import CGROUP_PARENT
from tiffin.runtime.oci.describe import example

RUNTIME = str(Path(__file__).resolve().parents[2] / "script" / "tiffin-runtime")
DEADLINE = patient(60)


class Bundle:
    """One bundle, and the runtime's --root beside it. Containers are deleted by `close`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.rootfs = directory / "rootfs"
        self.root = directory / "state"
        self.rootfs.mkdir()
        busybox_rootfs(str(self.rootfs))
        self.config: dict[str, Any] = copy.deepcopy(example())
        self.config["process"]["terminal"] = False
        self.config["process"]["env"] = ["PATH=/bin:/usr/bin"]
        self.config["root"]["readonly"] = False
        self.process = self.config["process"]
        self.linux = self.config["linux"]

    def write(self, *argv: str) -> None:
        if argv:
            self.process["args"] = list(argv)
        (self.directory / "config.json").write_text(json.dumps(self.config))

    def call(self, *words: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Whatever comes of it. Output goes through a file: a container keeps a pipe open."""
        with open(self.directory / "out", "w+b") as out, open(self.directory / "err", "w+b") as err:
            done = subprocess.run(
                [RUNTIME, "--root", str(self.root), *words],
                stdin=options.pop("stdin", subprocess.DEVNULL),
                stdout=out,
                stderr=err,
                timeout=DEADLINE,
                check=False,
                cwd=self.directory,
                **options,
            )
            texts = []
            for file in (out, err):
                file.seek(0)
                texts.append(file.read().decode())
        return subprocess.CompletedProcess(done.args, done.returncode, *texts)

    def ok(self, *words: str, **options: Any) -> str:
        done = self.call(*words, **options)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def refused(self, *words: str, **options: Any) -> str:
        done = self.call(*words, **options)
        assert done.returncode != 0, done.stdout
        return done.stderr

    def shell(self, script: str, name: str = "box") -> str:
        """Run a script to its end in a container of its own."""
        self.write("sh", "-c", script)
        return self.ok("run", name)

    def state(self, name: str = "box") -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.ok("state", name))
        return found

    def output(self) -> str:
        """What a detached container has said so far: it has the file of the create's stdout."""
        return (self.directory / "out").read_text()

    def wait(self, pid: int) -> None:
        """Until a process that is not our child has ended."""
        try:
            handle = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        poller = select.poll()
        poller.register(handle, select.POLLIN)
        ended = poller.poll(DEADLINE * 1000)
        os.close(handle)
        assert ended, f"process {pid} does not end"

    def close(self) -> None:
        """Whatever the commands have left of themselves ends by itself, or fails the test."""
        for name in os.listdir(self.root) if self.root.exists() else ():
            self.ok("delete", "--force", name)
        for entry in filter(str.isdecimal, os.listdir("/proc")):
            try:
                command = Path(f"/proc/{entry}/cmdline").read_bytes()
            except OSError:
                continue
            if os.fsencode(f"\0{self.root}\0") in command:
                self.wait(int(entry))
        layout = cgroup.detect()
        for directory in cgroup.Cgroup(layout, CGROUP_PARENT, layout.controllers).directories():
            with suppress(OSError):  # not there, or in use: somebody else's containers are in it
                os.rmdir(directory)
