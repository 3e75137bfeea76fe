"""Round trips with a real Docker: archives and registry, the same image ID on both sides."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.busybox import busybox_image_id, busybox_image_tar
from tests.imagebench import Bench
from tests.patience import patient
from tests.registry_server import RegistryServer, registry_fixture  # noqa: F401
from tiffin.kernel import mounts

pytestmark = pytest.mark.root


class Docker:
    """A private dockerd: no bridge, no firewall rules, its own roots."""

    def __init__(self, root: Path) -> None:
        self.socket = f"unix://{root}/d.sock"
        self._data = str(root / "data")
        self._log = (root / "log").open("wb")
        flags = ["--data-root", self._data, "--exec-root", root / "exec"]
        flags += ["--pidfile", root / "pid", "-H", self.socket, "--storage-driver", "vfs"]
        flags += ["--bridge", "none", "--iptables=false", "--ip6tables=false"]
        self._process = subprocess.Popen(
            ["dockerd", *map(str, flags)], stdout=self._log, stderr=self._log
        )

    def wait(self) -> None:
        deadline = time.monotonic() + patient(60)
        while self._try("version").returncode:
            assert self._process.poll() is None, "dockerd ended"
            assert time.monotonic() < deadline, "dockerd does not answer"
            try:
                self._process.wait(0.1)
            except subprocess.TimeoutExpired:
                continue

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(patient(60))
        self._log.close()
        with suppress(OSError):  # where the root is not shared it has mounted this on itself
            mounts.umount(self._data, mounts.MNT_DETACH)

    def __call__(self, *arguments: str, stdin: bytes = b"") -> bytes:
        done = self._try(*arguments, stdin=stdin)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    def _try(self, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        command = ["docker", "-H", self.socket, *arguments]
        return subprocess.run(command, input=stdin, capture_output=True, check=False)

    def image_id(self, name: str) -> str:
        return str(json.loads(self("inspect", name))[0]["Id"])


@pytest.fixture(scope="module")
def docker() -> Iterator[Docker]:
    if not shutil.which("dockerd") or not shutil.which("docker"):
        pytest.skip("dockerd is not installed")
    root = Path(tempfile.mkdtemp(prefix="tfndk"))
    engine = Docker(root)
    try:
        engine.wait()
        yield engine
    finally:
        engine.stop()
        shutil.rmtree(root, ignore_errors=True)


@pytest.fixture
def bench() -> Iterator[Bench]:
    with Bench() as bench:
        yield bench


def test_what_we_save_docker_loads_with_the_same_id(bench: Bench, docker: Docker) -> None:
    bench.load(busybox_image_tar())
    ours = bench.make_on("busybox", "rt/ours:1", files={"more": b"more" * 1000}, labels={"a": "b"})

    said = docker("load", stdin=bench.save("busybox", "rt/ours:1")).decode()

    assert "Loaded image: busybox:latest" in said
    assert "Loaded image: rt/ours:1" in said
    assert docker.image_id("busybox") == busybox_image_id()
    assert docker.image_id("rt/ours:1") == ours


def test_what_docker_saves_we_load_with_the_same_id(bench: Bench, docker: Docker) -> None:
    docker("load", stdin=busybox_image_tar())
    context = tempfile.mkdtemp(prefix="tfnctx")
    try:
        Path(context, "Dockerfile").write_text("FROM busybox\nCOPY Dockerfile /it\nENV A=b\n")
        docker("build", "-q", "-t", "rt/theirs:1", context)
    finally:
        shutil.rmtree(context)

    bench.load(docker("save", "rt/theirs:1", "busybox"))

    assert bench.run(bench.images.get("rt/theirs:1")).id == docker.image_id("rt/theirs:1")
    assert bench.files("rt/theirs:1")["it"].startswith(b"FROM")


def test_images_travel_through_a_registry_both_ways(
    bench: Bench,
    docker: Docker,
    registry: RegistryServer,
) -> None:
    ours, theirs = f"{registry.address}/ours:1", f"{registry.address}/theirs:1"
    bench.make(ours, files={"x": b"x" * 200_000})
    bench.push(ours)
    docker("pull", ours)
    docker("load", stdin=busybox_image_tar())
    docker("tag", "busybox", theirs)
    docker("push", theirs)
    bench.pull(theirs)

    assert docker.image_id(ours) == bench.run(bench.images.get(ours)).id
    assert bench.run(bench.images.get(theirs)).id == docker.image_id(theirs)
