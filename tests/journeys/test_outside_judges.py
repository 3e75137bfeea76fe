"""What docker-py's, dockerode's and testcontainers' own test suites found wanting, once each."""

from __future__ import annotations

import io
import socket
import tarfile
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import docker
import docker.errors
import pytest
from docker.types import Mount
from docker.utils.socket import next_frame_header, read_exactly

from tests.live import LiveDaemon

pytestmark = pytest.mark.root

Made = Callable[..., str]


@pytest.fixture(scope="module")
def api(daemon: LiveDaemon) -> Iterator[docker.APIClient]:
    client = docker.APIClient(base_url=daemon.host, version="auto", timeout=120)
    yield client
    client.close()


@pytest.fixture
def made(api: docker.APIClient) -> Iterator[Made]:
    """Creates containers that are gone after the test."""
    ids: list[str] = []

    def create(*command: str, **options: Any) -> str:
        found: str = api.create_container("busybox", list(command), **options)["Id"]
        ids.append(found)
        return found

    yield create
    for container in ids:
        api.remove_container(container, force=True, v=True)


def _tar(**files: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return out.getvalue()


def _untar(chunks: Any) -> dict[str, bytes]:
    found = {}
    with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as archive:
        for entry in archive:
            file = archive.extractfile(entry)
            found[entry.name] = file.read() if file else b""
    return found


def test_the_volumes_of_a_stopped_container_can_be_read(api: docker.APIClient, made: Made) -> None:
    writer = made("sh", "-c", "echo -n kept > /vol/data.txt", volumes=["/vol"])
    api.start(writer)
    api.wait(writer)

    chunks, stat = api.get_archive(writer, "/vol/data.txt")

    assert _untar(chunks) == {"data.txt": b"kept"}
    assert (stat["name"], stat["size"]) == ("data.txt", 4)


def test_what_is_copied_to_a_container_that_never_ran_reaches_its_volume(
    api: docker.APIClient, made: Made
) -> None:
    reader = made("cat", "/vol/in.txt", volumes=["/vol"])

    api.put_archive(reader, "/vol", _tar(**{"in.txt": b"through"}))
    api.start(reader)
    api.wait(reader)

    assert api.logs(reader) == b"through"
    assert "/vol/in.txt" not in {change["Path"] for change in api.diff(reader) or ()}


def test_a_read_only_mount_of_a_stopped_container_is_not_written_to(
    api: docker.APIClient, made: Made, short_tmp: str
) -> None:
    host = api.create_host_config(mounts=[Mount("/in", short_tmp, type="bind", read_only=True)])
    container = made("true", host_config=host)

    with pytest.raises(docker.errors.APIError, match="mounted volume is marked read-only"):
        api.put_archive(container, "/in", _tar(x=b"x"))


def test_a_bind_whose_source_is_gone_hides_nothing_else(
    api: docker.APIClient, made: Made, tmp_path: Any
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    host = api.create_host_config(binds=[f"{source}:/in"])
    container = made("true", host_config=host, volumes=["/vol"])
    source.rmdir()

    chunks, _ = api.get_archive(container, "/etc/passwd")

    assert "passwd" in _untar(chunks)


def test_a_container_that_never_ran_has_its_files_of_etc(api: docker.APIClient, made: Made) -> None:
    container = made("true")

    for name in ("hosts", "hostname", "resolv.conf"):
        chunks, _ = api.get_archive(container, f"/etc/{name}")
        assert _untar(chunks) == {name: b""}

    assert api.diff(container) in (None, [])


def test_copying_from_a_stopped_container_shows_its_hosts_file(
    api: docker.APIClient, made: Made
) -> None:
    container = made("true", hostname="inside")
    api.start(container)
    api.wait(container)

    chunks, _ = api.get_archive(container, "/etc/hostname")

    assert _untar(chunks) == {"hostname": b"inside\n"}


def test_the_start_of_an_exec_says_how_its_stream_looks(api: docker.APIClient, made: Made) -> None:
    container = made("sleep", "300", stop_signal="SIGKILL")
    api.start(container)
    asked = api.exec_create(container, ["echo", "hello"], tty=True)

    framed = api.exec_start(asked, socket=True, tty=False)

    try:
        received = _everything(framed._sock)
    finally:
        framed.close()
    assert received == b"\x01\0\0\0\0\0\0\x07hello\r\n"


def _everything(connection: socket.socket) -> bytes:
    connection.settimeout(60)
    found = b""
    while chunk := connection.recv(4096):
        found += chunk
    return found


def test_a_container_that_ends_meanwhile_is_committed(
    daemon: LiveDaemon, api: docker.APIClient, made: Made
) -> None:
    container = made("touch", "/there")
    api.start(container)

    image = api.commit(container)["Id"]

    try:
        parent = api.inspect_image("busybox")["Id"]
        with docker.APIClient(base_url=daemon.host, version="1.44", timeout=60) as older:
            assert older.inspect_image(image)["Parent"] == parent
            assert {one["ParentId"] for one in older.images() if one["Id"] == image} == {parent}
    finally:
        api.remove_image(image)


def test_a_create_without_a_body_is_told_that_it_has_none(api: docker.APIClient) -> None:
    answer = api.post(f"{api.base_url}/containers/create", timeout=60)

    assert answer.status_code == 400
    assert answer.json() == {"message": "invalid JSON: got EOF while reading request body"}


def test_why_an_exec_did_not_start_is_never_lost_beside_the_head(
    api: docker.APIClient, made: Made
) -> None:
    """docker-py drops what comes in one piece with the head, which was one in ten."""
    container = made("sleep", "1000")
    api.start(container)

    for _ in range(40):
        with closing(api.exec_start(api.exec_create(container, "nonesuch"), socket=True)) as stream:
            read_exactly(stream, next_frame_header(stream)[1]).index(b'exec: "nonesuch"')


def test_nothing_comes_with_the_head_to_who_would_lose_it(
    daemon: LiveDaemon, api: docker.APIClient, made: Made
) -> None:
    container = made("sleep", "1000")
    api.start(container)
    asked = api.exec_create(container, ["echo", "here"])["Id"]
    head = (
        f"POST /v1.44/exec/{asked}/start HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\n"
        "Upgrade: tcp\r\nUser-Agent: docker-sdk-python/7.1.0\r\n"
        "Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
    )
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(daemon.socket)
        client.sendall(head.encode())
        for _ in range(20):  # the time of an exec, for one that did not wait
            api.version(api_version=False)
        assert client.recv(65536).endswith(b"\r\n\r\n")
        assert client.recv(65536).endswith(b"here\n")
