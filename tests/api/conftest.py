"""A real daemon on temporary roots, for tests that ask it over its socket."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.wire import Wire
from tests.busybox import busybox_image_tar
from tests.patience import patient


class Daemon:
    """One tiffin daemon and the directory that is all its world."""

    def __init__(self) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="tfn"))
        self.path = str(self.root / "api.sock")
        self.wire = Wire(self.path)
        reading, writing = os.pipe()
        options = ["--data-root", f"{self.root}/data", "--exec-root", f"{self.root}/run"]
        with open(self.root / "log", "wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tiffin.daemon", "-H", f"unix://{self.path}", *options],
                stdout=log,
                stderr=log,
                pass_fds=[writing],
                env=os.environ | {"TIFFIN_READY_FD": str(writing)},
            )
        os.close(writing)
        with os.fdopen(reading, "rb") as ready:
            if ready.read() != b"ready\n":
                self.close()
                raise RuntimeError(f"the daemon does not serve:\n{self.log}")

    @property
    def log(self) -> str:
        return (self.root / "log").read_text(errors="replace")[-4000:]

    def close(self) -> None:
        try:
            self._remove_containers()
        finally:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(patient(60))
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            shutil.rmtree(self.root, ignore_errors=True)

    def _remove_containers(self) -> None:
        if self._process.poll() is None:
            for container in self.wire("GET", "/containers/json?all=1").json():
                self.wire("DELETE", f"/containers/{container['Id']}?force=1&v=1")


def load_busybox(daemon: Daemon) -> None:
    loaded = daemon.wire(
        "POST", "/images/load", busybox_image_tar(), content_type="application/x-tar"
    )
    assert loaded.status == 200, loaded.body
    assert b"Loaded image: busybox:latest" in loaded.body, loaded.body


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    """With busybox:latest and nothing else."""
    daemon = Daemon()
    try:
        load_busybox(daemon)
        yield daemon
    finally:
        daemon.close()
