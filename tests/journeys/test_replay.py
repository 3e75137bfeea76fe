"""Attach with logs: what was said before and what is said from then on, every byte once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import docker
import pytest

from tests.live import LiveDaemon
from tests.patience import patient

pytestmark = pytest.mark.root

SECONDS = patient(60)
LAST = 30_000
COUNT = f"n=0; while [ $n -le {LAST} ]; do echo $n; n=$((n+1)); done; read x"


@pytest.fixture
def client(daemon: LiveDaemon) -> Iterator[docker.DockerClient]:
    client = docker.DockerClient(base_url=daemon.host, version="auto", timeout=SECONDS)
    yield client
    client.close()


def container(client: docker.DockerClient, script: str, **options: Any) -> Any:
    return client.containers.create(
        "busybox", ["sh", "-c", script], network_mode="none", stdin_open=True, **options
    )


def let_end(container: Any) -> None:
    """What reads its input now."""
    stream = container.attach_socket(params={"stdin": 1, "stream": 1})
    stream._sock.sendall(b"\n")
    stream.close()


def log_of(kind: str, **options: str) -> dict[str, Any]:
    return {"Type": kind, "Config": {name.replace("_", "-"): v for name, v in options.items()}}


class Attached:
    """A client that reads until the end; `begun` once it has seen something."""

    def __init__(self, container: Any) -> None:
        self._stream = container.attach(logs=True, stream=True)
        self.begun = threading.Event()
        self.seen = b""
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        for chunk in self._stream:
            self.seen += chunk
            self.begun.set()

    def numbers(self) -> list[int]:
        self._thread.join(SECONDS)
        assert not self._thread.is_alive()
        return [int(line) for line in self.seen.split()]


@pytest.mark.parametrize("tty", [False, True])
@pytest.mark.parametrize("kind", ["json-file", "local"])
def test_who_comes_late_sees_every_number_once(
    client: docker.DockerClient, kind: str, tty: bool
) -> None:
    log = log_of(kind, max_size="50k", max_file="99")
    counting = container(client, COUNT, tty=tty, log_config=log)
    counting.start()
    late = []
    for _ in range(4):
        late.append(Attached(counting))
        assert late[-1].begun.wait(SECONDS)
    let_end(counting)
    for one in late:
        assert one.numbers() == list(range(LAST + 1))
    counting.remove(force=True)


@pytest.mark.parametrize("files", ["1", "2"])
def test_of_a_log_that_is_thrown_away_meanwhile_the_rest_is_seen_without_a_gap(
    client: docker.DockerClient, files: str
) -> None:
    log = log_of("json-file", max_size="2k", max_file=files)
    counting = container(client, COUNT, log_config=log)
    counting.start()
    late = [Attached(counting) for _ in range(5)]
    for one in late:
        assert one.begun.wait(SECONDS)
    let_end(counting)
    for one in late:
        seen = one.numbers()
        assert seen == list(range(seen[0], LAST + 1))
    counting.remove(force=True)


def test_of_one_that_has_ended_the_next_run_follows_its_log(client: docker.DockerClient) -> None:
    script = r"printf '1\n2'; read x; echo; echo 3"  # what is printed is written at once
    asking = container(client, script)
    asking.start()
    running = Attached(asking)
    assert running.begun.wait(SECONDS)
    asking.stop(timeout=0)
    assert running.numbers() == [1, 2]
    ended = Attached(asking)
    assert ended.begun.wait(SECONDS)
    asking.start()
    let_end(asking)
    assert ended.numbers() == [1, 21, 2, 3]
    asking.remove(force=True)
