"""A machine that is only for tests, with systemd as its first process: script/test-vm makes it.

The units are those of `tiffin system install`, in their own place and under their own names.
Nowhere else may a test do that.
"""

from __future__ import annotations

import json
import os
import subprocess
from typing import Any

import pytest

from tests.busybox import busybox_image_tar
from tests.live import TIFFIN
from tests.patience import patient

SOCKET = "/run/tiffin/tiffin.sock"
SERVICE = "tiffin.service"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.environ.get("TIFFIN_VM") != "systemd":
        reason = "only in the machine of TIFFIN_VM_INIT=systemd script/test-vm"
        for item in items:
            if "tests/machine/" in item.nodeid:
                item.add_marker(pytest.mark.skip(reason=reason))


class Machine:
    """Its systemd and the docker command line, as root at a prompt has them."""

    def run(self, *argv: str, check: bool = True, **options: Any) -> str:
        settings: dict[str, Any] = {"capture_output": True, "timeout": patient(120)}
        done = subprocess.run(argv, check=False, **(settings | options))
        said = (done.stdout or b"").decode(errors="replace")
        if check and done.returncode:
            words = (done.stderr or b"").decode(errors="replace")
            pytest.fail(f"{' '.join(argv)}: {done.returncode}\n{said}{words}{self.journal()}")
        return said

    def docker(self, *words: str, **options: Any) -> str:
        return self.run("docker", "-H", f"unix://{SOCKET}", *words, **options)

    def inspect(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.docker("inspect", name))[0]
        return found

    def load_busybox(self) -> None:
        self.docker("load", input=busybox_image_tar())

    def show(self, prop: str, unit: str = SERVICE) -> str:
        return self.run("systemctl", "show", "-P", prop, unit).strip()

    def journal(self) -> str:
        argv = ["journalctl", "--no-pager", "-n", "40", "-u", SERVICE]
        return subprocess.run(argv, check=False, capture_output=True, text=True).stdout

    def install(self) -> None:
        said = subprocess.run(
            [TIFFIN, "system", "install"], check=True, capture_output=True, text=True
        ).stderr
        assert said.startswith("Now: ")
        self.run("sh", "-c", said.removeprefix("Now: "))  # what it says is to be done


@pytest.fixture(scope="session")
def machine() -> Machine:
    made = Machine()
    made.install()
    made.load_busybox()
    return made
