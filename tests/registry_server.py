"""A real distribution registry on a free port of this machine, with its own storage.

    from tests.registry_server import RegistryServer, registry_fixture  # noqa: F401
    def test_something(registry: RegistryServer) -> None: ...

`address` is "127.0.0.1:port"; the storage's files can be looked at, damaged and removed.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.patience import patient

PROGRAM = "docker-registry"
USER, PASSWORD = "tiffin", "secret"
_HTPASSWD = f"{USER}:$2b$04$fgi998Ql3220ZzWiPn72iehb3iQyBGICJQqnhUh49NmGE/vANyRBa\n"
_LISTENING = re.compile(r"listening on ([0-9.:\[\]]+)")


class RegistryServer:
    """Use as a context manager. `locked` asks for USER and PASSWORD."""

    def __init__(self, *, locked: bool = False) -> None:
        self._locked = locked
        self.root = Path(tempfile.mkdtemp(prefix="tfnreg"))
        self.address = ""
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> RegistryServer:
        try:
            self.start()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._remove()

    def start(self, address: str = "127.0.0.1:0") -> None:
        """Returns once it listens. With an address of before, the same registry is back."""
        config = self.root / "config.json"
        config.write_text(json.dumps(self._config(address)))
        self._process = subprocess.Popen(
            [PROGRAM, "serve", str(config)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._process.stderr is not None
        seen = []
        for line in self._process.stderr:
            seen.append(line)
            found = _LISTENING.search(line)
            if found:
                self.address = found[1]
                break
        else:
            raise RuntimeError("the registry did not start:\n" + "".join(seen))
        threading.Thread(target=self._process.stderr.read, daemon=True).start()

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            process.wait(patient(60))
            if process.stderr:
                process.stderr.close()

    def get(self, path: str, accept: str = "*/*") -> bytes:
        """What the registry answers to an unauthenticated GET."""
        request = urllib.request.Request(f"http://{self.address}{path}", headers={"Accept": accept})
        with urllib.request.urlopen(request, timeout=patient(60)) as response:
            data: bytes = response.read()
            return data

    def tags(self, repository: str) -> list[str]:
        try:
            found: list[str] = json.loads(self.get(f"/v2/{repository}/tags/list"))["tags"]
        except urllib.error.HTTPError:
            return []
        return found

    def blob_path(self, digest: str) -> Path:
        value = digest.removeprefix("sha256:")
        blobs = self.root / "data/docker/registry/v2/blobs/sha256"
        return blobs / value[:2] / value / "data"

    def _config(self, address: str) -> dict[str, object]:
        config: dict[str, object] = {
            "version": "0.1",
            "log": {"level": "info", "accesslog": {"disabled": True}},
            "storage": {
                "filesystem": {"rootdirectory": str(self.root / "data")},
                "delete": {"enabled": True},
            },
            "http": {"addr": address, "secret": "tests"},
        }
        if self._locked:
            htpasswd = self.root / "htpasswd"
            htpasswd.write_text(_HTPASSWD)
            config["auth"] = {"htpasswd": {"realm": "tests", "path": str(htpasswd)}}
        return config

    def _remove(self) -> None:
        shutil.rmtree(self.root, ignore_errors=True)


def is_installed() -> bool:
    return shutil.which(PROGRAM) is not None


@pytest.fixture(name="registry")
def registry_fixture() -> Iterator[RegistryServer]:
    if not is_installed():
        pytest.skip(f"{PROGRAM} is not installed")
    with RegistryServer() as server:
        yield server


@pytest.fixture(name="locked_registry")
def locked_registry_fixture() -> Iterator[RegistryServer]:
    if not is_installed():
        pytest.skip(f"{PROGRAM} is not installed")
    with RegistryServer(locked=True) as server:
        yield server
