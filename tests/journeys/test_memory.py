"""Clients that send too much, or read too little: the daemon's memory stays its own."""

from __future__ import annotations

import http.client
import io
import json
import socket
import tarfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from tests.live import LiveDaemon
from tests.patience import patient
from tiffin.api.messages import MAX_JSON_BYTES
from tiffin.core.image import MAX_LAYERS
from tiffin.core.labels import MAX_BYTES
from tiffin.kernel import cgroup, syscalls

pytestmark = pytest.mark.root

MIB = 1 << 20


@pytest.fixture(scope="module", autouse=True)
def well(daemon: LiveDaemon) -> Iterator[None]:
    """A container that must outlive all of this."""
    script = "head -c 20000000 /dev/zero > /big; echo made; exec sleep 1000"
    daemon.docker("run", "-d", "--name", "well", "busybox", "sh", "-c", script)
    yield
    assert daemon.docker("exec", "well", "echo", "hi").stdout == "hi\n"


class Client:
    """One connection, that sends and does not read until it is asked to."""

    def __init__(self, daemon: LiveDaemon) -> None:
        self.http = http.client.HTTPConnection("localhost", timeout=patient(60))
        self.http.sock = socket.socket(socket.AF_UNIX)
        self.http.sock.settimeout(patient(60))
        self.http.sock.connect(daemon.socket)

    def close(self) -> None:
        self.http.close()

    def begin(self, method: str, path: str, length: int, first: bytes = b"") -> None:
        self.http.putrequest(method, path)
        self.http.putheader("Content-Type", "application/json")
        self.http.putheader("Content-Length", str(length))
        self.http.endheaders(first)

    def answer(self) -> tuple[int, str]:
        answer = self.http.getresponse()
        return answer.status, answer.read().decode()


@contextmanager
def clients(daemon: LiveDaemon, count: int) -> Iterator[list[Client]]:
    with ExitStack() as stack:
        made = [Client(daemon) for _ in range(count)]
        for client in made:
            stack.callback(client.close)
        yield made


def message(text: str) -> str:
    return str(json.loads(text)["message"])


def resident(daemon: LiveDaemon, field: str = "VmRSS") -> int:
    lines = Path(f"/proc/{daemon.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


@contextmanager
def takes_at_most(daemon: LiveDaemon, size: int) -> Iterator[None]:
    Path(f"/proc/{daemon.pid}/clear_refs").write_text("5")  # the peak is measured from here
    before = resident(daemon)
    yield
    assert resident(daemon, "VmHWM") - before < size


def test_large_bodies_that_do_not_end_share_a_room(daemon: LiveDaemon) -> None:
    """As many as there are would take three times what all may."""
    start = b'{"Image": "busybox", "Labels": {"a": "' + b"x" * 4 * MIB
    with takes_at_most(daemon, 150 * MIB), clients(daemon, 60) as sending:
        for client in sending:
            client.begin("POST", "/containers/create", MAX_JSON_BYTES)
            client.http.sock.setblocking(False)
        waiting = {client: memoryview(start) for client in sending}
        for _ in range(3):  # whatever goes in, round by round
            for client in sending:
                with suppress(BlockingIOError):
                    while waiting[client]:
                        sent = client.http.sock.send(waiting[client])
                        waiting[client] = waiting[client][sent:]
            assert daemon.docker("version", "-f", "{{.Server.Version}}").stdout
        assert sum(map(len, waiting.values())) > 40 * len(start)
        small = Client(daemon)
        small.begin("POST", "/containers/create", 2, b"{}")
        assert small.answer()[0] == 400
        small.close()


@pytest.mark.parametrize("length", [MAX_JSON_BYTES + 1, 10**17])
def test_a_body_that_is_said_to_be_too_large_is_refused_unseen(
    daemon: LiveDaemon, length: int
) -> None:
    with clients(daemon, 1) as (client,):
        client.begin("POST", "/containers/create", length)
        status, text = client.answer()
    assert status == 400
    assert message(text) == f"request body is larger than {MAX_JSON_BYTES} bytes"


@pytest.mark.parametrize("path", ["/containers/create", "/volumes/create"])
def test_labels_have_a_size(daemon: LiveDaemon, path: str) -> None:
    body = json.dumps({"Image": "busybox", "Labels": {"a": "x" * MAX_BYTES}}).encode()
    with clients(daemon, 1) as (client,):
        client.begin("POST", path, len(body), body)
        status, words = client.answer()
    assert status == 400
    assert "labels are too large" in words


@contextmanager
def cramped(daemon: LiveDaemon, size: int) -> Iterator[None]:
    """The daemon, and what it starts from now on, may take `size` more. It is started again."""
    group = cgroup.Cgroup(cgroup.detect(), f"{daemon.settings.cgroup_name}-small", ("memory",))
    group.create()
    try:
        group.limit({"memory": {"limit": size}})
        group.add(daemon.pid)
        yield
    finally:
        if not syscalls.has_ended(daemon.pid):
            daemon.kill9()
        else:
            daemon.ended()
        group.kill()
        group.remove()
        daemon.start()


def test_a_daemon_that_is_killed_for_its_memory_loses_nothing(daemon: LiveDaemon) -> None:
    """The kernel takes it, or the child that unpacks, in the middle of a large import."""
    pid = daemon.docker("inspect", "-f", "{{.State.Pid}}", "well").stdout
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as archive:
        entry = tarfile.TarInfo("large")
        entry.size = 16 * MIB
        archive.addfile(entry, io.BytesIO(bytes(entry.size)))
    with cramped(daemon, 4 * MIB):
        for _ in range(5):
            if not syscalls.has_ended(daemon.pid):
                asked = ("import", "-", "large")
                daemon.docker(*asked, input=layer.getvalue(), text=False, check=False)

    assert daemon.docker("inspect", "-f", "{{.State.Pid}}", "well").stdout == pid
    checked = daemon.tiffin("system", "check", "--format", "json", check=False)
    assert json.loads(checked.stdout)["Findings"] == []
    daemon.docker("import", "-", "large", input=layer.getvalue(), text=False)
    sizes = daemon.docker("images", "--format", "{{.Size}}", "large").stdout.split()
    assert sizes == ["16.8MB"]
    daemon.docker("rmi", "-f", *daemon.docker("images", "-aq", "large").stdout.split())


def test_files_are_read_as_slowly_as_their_clients(daemon: LiveDaemon) -> None:
    with takes_at_most(daemon, 120 * MIB), clients(daemon, 40) as reading:
        for client in reading:
            client.http.request("GET", "/containers/well/archive?path=/big")
        for client in reading:
            assert client.http.getresponse().status == 200
        assert daemon.docker("run", "--rm", "busybox", "echo", "new").stdout == "new\n"


def test_an_image_of_more_layers_than_there_can_be_is_refused_at_once(daemon: LiveDaemon) -> None:
    """Its chain IDs alone would take hours."""
    layers = [f"sha256:{number:064x}" for number in range(50_000)]
    config = {"architecture": "amd64", "os": "linux", "rootfs": {"diff_ids": layers}}
    names = ["x"] * len(layers)
    documents = {
        "config.json": config,
        "manifest.json": [{"Config": "config.json", "RepoTags": [], "Layers": names}],
    }
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for name, document in {**documents, "x": {}}.items():
            data = json.dumps(document).encode()
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))

    loaded = daemon.docker("load", input=archive.getvalue(), text=False, check=False)

    assert loaded.returncode == 1
    assert b"max depth exceeded" in loaded.stderr
    assert len(layers) > MAX_LAYERS
