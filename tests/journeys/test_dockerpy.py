"""The whole journey through docker-py, a client that we did not write."""

from __future__ import annotations

import contextlib
import io
import subprocess
import tarfile
import time
import urllib.request
from collections.abc import Iterator

import docker
import docker.errors
import pytest
from docker.types import LogConfig, Mount, Ulimit

from tests.live import LiveDaemon
from tests.patience import patient
from tests.registry_server import RegistryServer, registry_fixture  # noqa: F401
from tiffin.kernel.filesystems import name_of_magic

pytestmark = pytest.mark.root

DOCKERFILE = b"""\
FROM busybox
RUN mkdir /web && echo hello > /web/index.html
EXPOSE 80
CMD ["httpd", "-f", "-h", "/web"]
"""


@pytest.fixture(params=["auto", "1.30", "1.41"])  # it asks for no mounts before 1.30
def api(daemon: LiveDaemon, request: pytest.FixtureRequest) -> Iterator[docker.DockerClient]:
    client = docker.DockerClient(base_url=daemon.host, version=request.param, timeout=patient(60))
    with contextlib.closing(client):
        yield client


def test_build_run_commit_ship_and_prune(
    daemon: LiveDaemon, api: docker.DockerClient, registry: RegistryServer
) -> None:
    since = int(time.time())
    assert api.ping()
    assert api.version()["Version"]
    info = api.info()
    assert info["OSType"] == "linux"
    backing = subprocess.check_output(["stat", "-f", "-c", "%t", daemon.data_root], text=True)
    assert name_of_magic(int(backing, 16)) == dict(info["DriverStatus"])["Backing Filesystem"]

    image, said = api.images.build(fileobj=_context(), custom_context=True, tag="site:one", rm=True)
    assert any("Successfully built" in line.get("stream", "") for line in said)
    assert "site:one" in [tag for one in api.images.list() for tag in one.tags]
    assert image.history()

    web = api.containers.run("site:one", detach=True, ports={"80/tcp": None}, name="site")
    web.reload()
    assert web.status == "running"
    port = web.ports["80/tcp"][0]["HostPort"]
    code, _ = web.exec_run(["sh", "-c", "until wget -qO /dev/null localhost; do :; done"])
    assert code == 0
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=patient(60)) as answer:
        assert answer.read() == b"hello\n"
    code, output = web.exec_run(["sh", "-c", "echo changed > /web/index.html; echo done"])
    assert (code, output) == (0, b"done\n")
    assert {"Path": "/web/index.html", "Kind": 0} in web.diff()

    changed = web.commit("site", "two")
    name = f"{registry.address}/site"
    changed.tag(name, "two")
    pushed = list(api.api.push(name, tag="two", stream=True, decode=True))
    assert not [line for line in pushed if "error" in line], pushed
    web.stop(timeout=0)
    web.remove(v=True)
    api.images.remove(f"{name}:two")
    api.images.remove("site:two")
    pulled = api.images.pull(name, tag="two")
    assert pulled.id == changed.id
    saved = b"".join(pulled.save(named=True))
    api.images.remove(f"{name}:two")
    with pytest.raises(docker.errors.ImageNotFound):
        api.images.get(f"{name}:two")
    (loaded,) = api.images.load(saved)
    assert loaded.id == changed.id
    shown = api.containers.run(f"{name}:two", ["cat", "/web/index.html"], remove=True)
    assert shown == b"changed\n"

    events = list(api.events(since=since, until=int(time.time()) + 1, decode=True))
    actions = {event.get("Action") or event.get("status") for event in events}
    assert {"create", "start", "die", "destroy", "tag", "untag", "push", "pull"} <= actions
    api.images.remove(f"{name}:two")
    api.images.remove("site:one")
    api.images.prune()
    assert [tag for one in api.images.list() for tag in one.tags] == ["busybox:latest"]
    assert api.containers.prune()["ContainersDeleted"] in (None, [])


def test_every_wish_of_a_run_is_heard(daemon: LiveDaemon, api: docker.DockerClient) -> None:
    script = (
        "id -u; pwd; hostname; echo $A; ulimit -n; cat /vol/f; touch /ro/x 2>&1;"
        " df /scratch | tail -1 | cut -d' ' -f1; cat /etc/hosts"
    )
    volume = api.volumes.create("wished", labels={"a": "b"})
    api.containers.run("busybox", ["sh", "-c", "echo kept > /vol/f"], remove=True,
                       volumes={"wished": {"bind": "/vol", "mode": "rw"}})  # fmt: skip
    said = api.containers.run(
        "busybox",
        ["sh", "-c", script],
        remove=True,
        user="33",
        working_dir="/tmp",
        hostname="wish",
        environment={"A": "env"},
        ulimits=[Ulimit(name="nofile", soft=99, hard=99)],
        mounts=[Mount("/vol", "wished"), Mount("/ro", "/tmp", type="bind", read_only=True)],
        tmpfs={"/scratch": "size=1m"},
        extra_hosts={"db": "10.0.0.9"},
        mem_limit="64m",
        nano_cpus=500_000_000,
        pids_limit=50,
        cap_drop=["ALL"],
        log_config=LogConfig(type="json-file", config={"max-size": "1m"}),
    ).decode()
    assert said.split("\n")[:6] == ["33", "/tmp", "wish", "env", "99", "kept"]
    assert "Read-only file system" in said
    assert "\ntmpfs\n" in said
    assert "\n10.0.0.9\tdb\n" in said
    held = api.containers.create("busybox", ["true"], volumes=["wished:/vol"])
    with pytest.raises(docker.errors.APIError, match="volume is in use"):
        volume.remove()
    held.remove()
    volume.remove()
    assert api.volumes.list(filters={"label": "a=b"}) == []


def test_errors_are_the_clients_own_classes(daemon: LiveDaemon, api: docker.DockerClient) -> None:
    with pytest.raises(docker.errors.ContainerError) as failed:
        api.containers.run("busybox", ["sh", "-c", "echo bad >&2; exit 3"], remove=True)
    assert (failed.value.exit_status, failed.value.stderr) == (3, b"bad\n")
    with pytest.raises(docker.errors.NotFound):
        api.containers.get("nono")
    with pytest.raises(docker.errors.ImageNotFound):
        api.images.get("nono")
    with pytest.raises(docker.errors.NotFound):
        api.volumes.get("nono")
    with pytest.raises(docker.errors.NotFound):
        api.networks.get("nono")
    with pytest.raises(docker.errors.APIError, match="executable file not found"):
        api.containers.run("busybox", ["nope"], name="nope")
    api.containers.get("nope").remove()
    assert {one.name for one in api.networks.list()} == {"bridge", "host", "none"}
    assert api.containers.list(all=True) == []


def test_a_log_that_was_asked_for_outlives_its_container(api: docker.DockerClient) -> None:
    for _ in range(10):
        one = api.containers.run("busybox", ["echo", "here"], detach=True)
        one.wait()
        answer = one.logs(stream=True, follow=True)
        one.remove()
        assert b"".join(answer) == b"here\n"


def test_logs_follow_and_stamps(daemon: LiveDaemon, api: docker.DockerClient) -> None:
    script = "echo error >&2; for i in 1 2 3; do echo line $i; done"
    one = api.containers.run("busybox", ["sh", "-c", script], detach=True)
    assert b"".join(one.logs(stream=True, follow=True)).splitlines()[-1] == b"line 3"
    assert one.wait()["StatusCode"] == 0
    assert one.logs(stderr=False) == b"line 1\nline 2\nline 3\n"
    assert one.logs(stdout=False) == b"error\n"
    assert one.logs(stderr=False, tail=1) == b"line 3\n"
    stamped = one.logs(stderr=False, tail=1, timestamps=True)
    assert stamped.endswith(b"Z line 3\n")
    one.remove()


def _context() -> io.BytesIO:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        entry = tarfile.TarInfo("Dockerfile")
        entry.size = len(DOCKERFILE)
        archive.addfile(entry, io.BytesIO(DOCKERFILE))
    out.seek(0)
    return out


def test_events_tell_who_detaches_by_the_keys(api: docker.DockerClient) -> None:
    since = int(time.time())
    kept = api.containers.run("busybox", "cat", detach=True, tty=True, stdin_open=True)
    exec_id = api.api.exec_create(kept.id, "cat", stdin=True, tty=True)["Id"]
    params = {"stdin": 1, "stdout": 1, "stream": 1}
    for join in (
        lambda: api.api.exec_start(exec_id, socket=True, tty=True),
        lambda: kept.attach_socket(params=params),
    ):
        with join()._sock as connection:
            connection.settimeout(patient(30))
            connection.sendall(b"\x10\x11never seen")
            assert connection.recv(100) == b""
    wanted = ["exec_start", "exec_detach", "attach", "detach"]
    filters = {"container": kept.id, "event": wanted}
    events = api.events(since=since, filters=filters, decode=True)
    seen = [next(events) for _ in wanted]
    events.close()
    assert [one["Action"].partition(":")[0] for one in seen] == wanted
    assert [one["Actor"]["Attributes"].get("execID") for one in seen] == [exec_id] * 2 + [None] * 2
    assert seen[3]["Actor"]["Attributes"]["name"] == kept.name
    kept.remove(force=True)
