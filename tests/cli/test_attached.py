"""Commands that go on: streams, exit codes, pulls, and a daemon that is older or gone."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.fake_daemon import CONTAINER_ID, Answer, FakeDaemon, Request, error
from tests.cli.test_requests import TIFFIN
from tests.patience import patient

RUNNING: dict[str, Any] = {
    "Id": CONTAINER_ID,
    "State": {"Running": True},
    "Config": {"Tty": False, "OpenStdin": True},
    "HostConfig": {"AutoRemove": False},
}


def frame(kind: int, payload: bytes) -> bytes:
    return bytes((kind, 0, 0, 0)) + len(payload).to_bytes(4, "big") + payload


@pytest.fixture
def daemon() -> Iterator[FakeDaemon]:
    with FakeDaemon() as found:
        yield found


def tiffin(
    daemon: FakeDaemon, *words: str, stdin: bytes = b"", home: str = "/nonexistent"
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*TIFFIN, *words],
        input=stdin,
        capture_output=True,
        timeout=patient(60),
        env={"PATH": os.environ["PATH"], "HOME": home, "DOCKER_HOST": daemon.host},
        check=False,
    )


def test_run_shows_both_streams_and_ends_with_the_containers_code(daemon: FakeDaemon) -> None:
    output = frame(1, b"out\n") + frame(2, b"err\n")
    daemon.routes[f"POST /containers/{CONTAINER_ID}/attach"] = Answer(hijack=output)
    daemon.routes[f"POST /containers/{CONTAINER_ID}/wait"] = Answer(document={"StatusCode": 42})

    done = tiffin(daemon, "run", "busybox", "x")

    assert (done.stdout, done.stderr, done.returncode) == (b"out\n", b"err\n", 42)


@pytest.mark.parametrize("words", [("run", "busybox"), ("start", "-a", CONTAINER_ID)], ids=" ".join)
def test_a_start_comes_after_the_attach_and_the_wait(
    daemon: FakeDaemon, words: tuple[str, ...]
) -> None:
    daemon.routes[f"GET /containers/{CONTAINER_ID}/json"] = Answer(document=RUNNING)

    tiffin(daemon, *words)

    order = [each.path.rpartition("/")[2] for each in daemon.requests]
    assert order.index("attach") < order.index("start")
    assert order.index("wait") < order.index("start")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ('exec: "x": executable file not found in $PATH: unknown', 127),
        ("stat /x: no such file or directory", 127),
        ('exec: "/x": permission denied: unknown', 126),
        ('exec: "/": is a directory: unknown', 126),
        ("driver failed: port is already allocated", 125),
    ],
)
def test_a_failed_start_ends_with_the_code_of_its_words(
    daemon: FakeDaemon, words: str, code: int
) -> None:
    daemon.routes[f"POST /containers/{CONTAINER_ID}/start"] = error(500, words)

    done = tiffin(daemon, "run", "busybox")

    assert done.returncode == code
    assert f"tiffin: Error response from daemon: {words}\n\nRun 'tiffin run --help'" in (
        done.stderr.decode()
    )


def test_a_missing_image_is_pulled_first(daemon: FakeDaemon) -> None:
    missing = [error(404, "No such image: busybox:latest")]
    created = daemon.routes["POST /containers/create"]
    assert isinstance(created, Answer)
    daemon.routes["POST /containers/create"] = lambda _: missing.pop() if missing else created
    daemon.routes["POST /images/create"] = Answer(
        chunks=[b'{"status":"Pulling from library/busybox","id":"latest"}\r\n']
    )

    done = tiffin(daemon, "run", "-d", "busybox")

    assert done.stdout.decode().strip() == CONTAINER_ID
    assert done.stderr.decode() == (
        "Unable to find image 'busybox:latest' locally\nlatest: Pulling from library/busybox\n"
    )
    assert daemon.asked("POST /images/create").query == {
        "fromImage": "docker.io/library/busybox",
        "tag": "latest",
    }


def test_a_pull_that_fails_on_the_way_ends_the_run(daemon: FakeDaemon) -> None:
    daemon.routes["POST /containers/create"] = error(404, "No such image: x:latest")
    daemon.routes["POST /images/create"] = Answer(
        chunks=[b'{"errorDetail":{"message":"manifest unknown"},"error":"manifest unknown"}\r\n']
    )

    done = tiffin(daemon, "run", "x")

    assert done.returncode == 125
    assert b"tiffin: manifest unknown\n" in done.stderr


def test_credentials_go_with_a_pull(daemon: FakeDaemon, tmp_path: Path) -> None:
    (tmp_path / ".docker").mkdir()
    (tmp_path / ".docker" / "config.json").write_text(
        json.dumps({"auths": {"localhost:5000": {"auth": "bWU6c2VjcmV0"}}})
    )
    daemon.routes["POST /images/create"] = Answer(chunks=[])

    tiffin(daemon, "pull", "localhost:5000/x", home=str(tmp_path))

    header = daemon.asked("POST /images/create").headers["X-Registry-Auth"]
    assert json.loads(base64.urlsafe_b64decode(header)) == {
        "username": "me",
        "password": "secret",
        "serveraddress": "localhost:5000",
    }


def test_exec_ends_with_the_code_of_its_process(daemon: FakeDaemon) -> None:
    daemon.routes["POST /containers/web/exec"] = Answer(201, {"Id": "e1"})
    daemon.routes["POST /exec/e1/start"] = Answer(hijack=frame(1, b"hi\n"))
    daemon.routes["GET /exec/e1/json"] = Answer(document={"ExitCode": 7, "Running": False})

    done = tiffin(daemon, "exec", "web", "ls")

    assert (done.stdout, done.returncode) == (b"hi\n", 7)


def test_logs_are_taken_apart(daemon: FakeDaemon) -> None:
    daemon.routes["GET /containers/web/logs"] = Answer(
        chunks=[frame(1, b"one\n")[:5], frame(1, b"one\n")[5:] + frame(2, b"two\n")],
        headers={"Content-Type": "application/vnd.docker.multiplexed-stream"},
    )

    done = tiffin(daemon, "logs", "web")

    assert (done.stdout, done.stderr) == (b"one\n", b"two\n")


def test_logs_of_a_terminal_come_as_they_are(daemon: FakeDaemon) -> None:
    document = {**RUNNING, "Config": {"Tty": True}}
    daemon.routes["GET /containers/web/json"] = Answer(document=document)
    daemon.routes["GET /containers/web/logs"] = Answer(
        body=b"raw\r\n", headers={"Content-Type": "application/vnd.docker.raw-stream"}
    )

    assert tiffin(daemon, "logs", "web").stdout == b"raw\r\n"


def test_several_containers_are_stopped_at_the_same_time(daemon: FakeDaemon) -> None:
    barrier = threading.Barrier(3)

    def stop(_: Request) -> Answer:
        barrier.wait(timeout=patient(60))
        return Answer(204)

    daemon.routes |= {f"POST /containers/{name}/stop": stop for name in "abc"}

    done = tiffin(daemon, "stop", "a", "b", "c")

    assert (done.stdout, done.returncode) == (b"a\nb\nc\n", 0)


def test_errors_come_after_what_went_well(daemon: FakeDaemon) -> None:
    daemon.routes["POST /containers/a/stop"] = error(404, "No such container: a")
    daemon.routes["POST /containers/b/stop"] = Answer(204)

    done = tiffin(daemon, "stop", "a", "b")

    assert (done.stdout, done.stderr, done.returncode) == (
        b"b\n",
        b"Error response from daemon: No such container: a\n",
        1,
    )


def test_an_older_daemon_is_asked_in_its_version() -> None:
    with FakeDaemon(api_version="1.41") as old:
        old.routes["GET /containers/json"] = Answer(document=[])
        done = tiffin(old, "ps", "-q")

    assert done.returncode == 0
    assert [each.version for each in old.requests] == ["1.50", "1.41"]


def test_a_build_for_an_older_daemon_sends_its_context_once(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    with FakeDaemon(api_version="1.41") as old:
        old.routes["POST /build"] = Answer(chunks=[b'{"stream":"Successfully built abc\\n"}\r\n'])
        done = tiffin(old, "build", "-t", "x", str(tmp_path))

    assert done.stdout.endswith(b"Successfully built abc\n")
    request = old.asked("POST /build")
    assert request.version == "1.41"
    assert request.query["dockerfile"] == "Dockerfile"
    (tmp_path / "context.tar").write_bytes(request.body)
    with tarfile.open(tmp_path / "context.tar") as archive:
        assert archive.getnames() == ["Dockerfile"]


@pytest.mark.parametrize(
    ("words", "code"), [(["ps"], 1), (["run", "x"], 125), (["version"], 1), (["stop", "x"], 1)]
)
def test_a_daemon_that_is_not_there_is_named(words: list[str], code: int) -> None:
    done = subprocess.run(
        [*TIFFIN, "-H", "unix:///no/such.sock", *words], capture_output=True, check=False
    )

    assert done.returncode == code
    assert (
        b"Cannot connect to the Docker daemon at unix:///no/such.sock. "
        b"Is the docker daemon running?" in done.stderr
    )


def test_the_option_wins_over_our_variable_and_that_over_dockers(daemon: FakeDaemon) -> None:
    def who(*words: str, **variables: str) -> str:
        done = subprocess.run(
            [*TIFFIN, *words, "ps"],
            capture_output=True,
            text=True,
            env={"PATH": os.environ["PATH"], **variables},
            check=False,
        )
        return done.stderr.partition("unix://")[2].partition(". Is")[0]

    both = {"TIFFIN_HOST": "unix:///tiffin", "DOCKER_HOST": "unix:///docker"}
    assert who("-H", "unix:///option", **both) == "/option"
    assert who(**both) == "/tiffin"
    assert who(DOCKER_HOST="unix:///docker") == "/docker"


def test_an_id_file_is_gone_when_there_is_no_container(daemon: FakeDaemon, tmp_path: Path) -> None:
    daemon.routes["POST /containers/create"] = error(409, "name in use")
    file = tmp_path / "cid"

    done = tiffin(daemon, "create", "--cidfile", str(file), "busybox")

    assert done.returncode == 1
    assert not file.exists()


def test_save_leaves_nothing_half_made(daemon: FakeDaemon, tmp_path: Path) -> None:
    daemon.routes["GET /images/get"] = error(404, "No such image: x")

    done = tiffin(daemon, "save", "-o", str(tmp_path / "x.tar"), "x")

    assert done.returncode == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("words", [("run", "--rm", "busybox"), ("start", "-a", "one")])
def test_over_a_way_that_is_not_local_a_container_starts_when_its_end_is_waited_for(
    daemon: FakeDaemon, tmp_path: Path, words: tuple[str, ...]
) -> None:
    """Each connection of an ssh takes its own time: a quick container would be gone before."""
    started, too_early = threading.Event(), []

    def start(_: Request) -> Answer:
        started.set()
        return Answer(204)

    def wait(_: Request) -> Answer:
        too_early.append(started.wait(1))
        return Answer(document={"StatusCode": 3})

    daemon.routes["GET /containers/one/json"] = Answer(document=RUNNING)
    daemon.routes[f"POST /containers/{CONTAINER_ID}/start"] = start
    daemon.routes[f"POST /containers/{CONTAINER_ID}/wait"] = wait
    ssh = tmp_path / "ssh"
    ssh.write_text(f"#!/bin/sh\nexec {' '.join(TIFFIN)} -H {daemon.host} system dial-stdio\n")
    ssh.chmod(0o755)

    done = subprocess.run(
        [*TIFFIN, *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=patient(60),
        env={
            "PATH": f"{tmp_path}:{os.environ['PATH']}",
            "HOME": str(tmp_path),
            "DOCKER_HOST": "ssh://there",
        },
        check=False,
    )

    assert (done.returncode, done.stderr, too_early) == (3, b"", [False])
