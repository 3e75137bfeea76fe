"""docker-py, a client that we did not write, goes through the API on a real daemon."""

from __future__ import annotations

import io
import socket
import tarfile
import threading
from collections.abc import Iterator
from typing import Any

import docker
import docker.errors
import pytest

from tests.api.conftest import Daemon
from tests.patience import patient

pytestmark = pytest.mark.root


@pytest.fixture
def client(daemon: Daemon) -> Iterator[docker.DockerClient]:
    client = docker.DockerClient(
        base_url=f"unix://{daemon.path}", version="auto", timeout=patient(60)
    )
    yield client
    client.close()


def run(client: docker.DockerClient, *command: str, **options: Any) -> Any:
    options.setdefault("network_mode", "none")
    return client.containers.run("busybox", list(command), **options)


def test_a_command_runs_and_its_exit_code_is_told(client: docker.DockerClient) -> None:
    assert client.api._version == "1.55"
    container = run(client, "sh", "-c", "exit 7", detach=True)
    assert container.wait()["StatusCode"] == 7
    container.remove()
    with pytest.raises(docker.errors.NotFound):
        client.containers.get(container.id)


def test_input_goes_in_and_output_comes_out_of_an_attached_container(
    client: docker.DockerClient,
) -> None:
    container = client.containers.create("busybox", ["cat"], stdin_open=True, network_mode="none")
    container.start()
    stream = container.attach_socket(params={"stdin": 1, "stdout": 1, "stream": 1})
    raw = stream._sock
    raw.sendall(b"hello")
    raw.shutdown(socket.SHUT_WR)
    assert _read_all(raw) == b"\x01\0\0\0\0\0\0\x05hello"
    stream.close()
    assert container.wait(timeout=patient(60))["StatusCode"] in (0, 137)
    container.remove(force=True)


def test_an_exec_is_separate_streams_and_an_exit_code(client: docker.DockerClient) -> None:
    container = run(client, "sleep", "100", detach=True)
    code, (out, err) = container.exec_run(
        ["sh", "-c", "echo out; echo err >&2; exit 3"], demux=True
    )
    assert (code, out, err) == (3, b"out\n", b"err\n")
    code, output = container.exec_run(["tty"], tty=True)
    assert (code, output) == (0, b"/dev/pts/0\r\n")
    code, output = container.exec_run(["/no/such"])
    assert code == 127
    assert b"no such file or directory" in output
    container.remove(force=True)


def test_a_container_is_paused_renamed_stopped_and_restarted(client: docker.DockerClient) -> None:
    container = run(client, "sleep", "100", detach=True, name="first", stop_signal="SIGKILL")
    container.pause()
    container.reload()
    assert container.status == "paused"
    container.unpause()
    container.rename("second")
    assert client.containers.get("second").id == container.id
    container.stop(timeout=1)
    container.reload()
    assert container.status == "exited"
    container.restart(timeout=1)
    container.reload()
    assert container.status == "running"
    assert container.top()["Processes"]
    container.kill()
    container.wait()
    container.remove()


def test_events_are_told_while_they_happen(client: docker.DockerClient) -> None:
    seen: list[str] = []
    enough = threading.Event()
    events = client.events(decode=True, filters={"type": "container"})

    def listen() -> None:
        for event in events:
            seen.append(event["Action"])
            if event["Action"] == "destroy":
                enough.set()
                return

    listener = threading.Thread(target=listen)
    listener.start()
    run(client, "true", remove=True)
    assert enough.wait(patient(60))
    events.close()
    listener.join(patient(60))
    assert seen[:2] == ["create", "start"] or seen[:3] == ["create", "attach", "start"]
    assert "die" in seen


def test_an_image_is_committed_saved_loaded_and_tagged(client: docker.DockerClient) -> None:
    container = run(client, "sh", "-c", "echo new > /file", detach=True)
    container.wait()
    assert {"Path": "/file", "Kind": 1} in container.diff()
    image = container.commit("made", "one", changes='CMD ["cat", "/file"]')
    container.remove()
    saved = b"".join(image.save(named=True))
    client.images.remove("made:one")
    (loaded,) = client.images.load(saved)
    assert loaded.id == image.id
    loaded.tag("again", "two")
    assert sorted(client.images.get("again:two").tags) == ["again:two", "made:one"]
    container = client.containers.create("made:one", network_mode="none")
    container.start()
    assert container.wait()["StatusCode"] == 0
    container.remove()


def test_files_are_copied_out_and_in(client: docker.DockerClient) -> None:
    container = client.containers.create("busybox", ["cat", "/tmp/a"], network_mode="none")
    chunks, about = container.get_archive("/etc/passwd")
    assert about["name"] == "passwd"
    with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as archive:
        assert archive.getnames() == ["passwd"]
    assert container.put_archive("/tmp", _tar("a", b"inside"))
    container.start()
    assert container.wait()["StatusCode"] == 0
    exported = b"".join(container.export())
    with tarfile.open(fileobj=io.BytesIO(exported)) as archive:
        assert archive.getmember("tmp/a").size == 6
    container.remove()


def test_an_image_is_built_and_imported(client: docker.DockerClient) -> None:
    dockerfile = b'FROM busybox\nRUN echo built > /b\nCMD ["cat", "/b"]\n'
    image, said = client.images.build(
        fileobj=io.BytesIO(_tar("Dockerfile", dockerfile)),
        custom_context=True,
        tag="built:one",
        network_mode="none",
    )
    assert image.tags == ["built:one"]
    assert any("Successfully built" in line.get("stream", "") for line in said)
    with pytest.raises(docker.errors.BuildError, match="non-zero code: 3"):
        client.images.build(
            fileobj=io.BytesIO(_tar("Dockerfile", b"FROM busybox\nRUN exit 3\n")),
            custom_context=True,
            network_mode="none",
        )
    said = client.api.import_image_from_data(_tar("x", b"y"), repository="brought", tag="in")
    assert "sha256:" in str(said)
    assert client.images.get("brought:in").attrs["RootFS"]["Layers"]


def test_volumes_and_networks_are_listed_and_pruned(client: docker.DockerClient) -> None:
    volume = client.volumes.create("keep", labels={"a": "b"})
    assert [one.name for one in client.volumes.list(filters={"label": "a=b"})] == ["keep"]
    run(client, "true", remove=True, volumes={"keep": {"bind": "/data", "mode": "rw"}})
    volume.remove()
    assert {network.name for network in client.networks.list()} == {"bridge", "host", "none"}
    assert client.df()
    assert client.info()["Images"] == 1


def _read_all(raw: socket.socket) -> bytes:
    data = b""
    while chunk := raw.recv(1000):
        data += chunk
    return data


def _tar(name: str, data: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        entry = tarfile.TarInfo(name)
        entry.size = len(data)
        entry.mode = 0o644
        archive.addfile(entry, io.BytesIO(data))
    return out.getvalue()
