"""`commit`: what of a container becomes an image, and what of its config."""

from __future__ import annotations

import io
import json
import tarfile
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.live import LiveDaemon

pytestmark = pytest.mark.root


@pytest.fixture
def name(daemon: LiveDaemon, client: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """Of a container and of an image, both gone after the test."""
    chosen = f"commit-{client}-{abs(hash(request.node.name)) % 10**8}"
    yield chosen
    daemon.docker("rm", "-f", "-v", chosen, check=False)
    daemon.docker("rmi", "-f", chosen, check=False)


def image(daemon: LiveDaemon, name: str) -> Any:
    return json.loads(daemon.docker("image", "inspect", name).stdout)[0]


CHANGES = (
    'CMD ["httpd", "-f"]',
    'ENTRYPOINT ["busybox"]',
    "ENV COLOUR=red SHAPE=round",
    "EXPOSE 80 53/udp",
    'LABEL one=1 "two words"=2',
    "ONBUILD RUN true",
    "STOPSIGNAL SIGINT",
    "USER 1000:50",
    "VOLUME /data",
    "WORKDIR /srv",
    "HEALTHCHECK --interval=3s --retries=2 CMD test -e /ok",
)


def test_every_change_is_in_the_image(daemon: LiveDaemon, client: str, name: str) -> None:
    run = daemon.client(client)
    run(
        *("create", "--name", name, "-e", "KEPT=yes", "-e", "COLOUR=blue", "--label", "mine=0"),
        *("-p", "0:8080", "-v", "/vol", "-m", "64m", "--hostname", "box"),
        *("busybox", "sleep", "1"),
    )
    flags = [word for change in CHANGES for word in ("--change", change)]
    committed = run("commit", "-a", "A. Uthor", "-m", "why so", *flags, name, name).stdout.strip()
    found = image(daemon, name)
    assert found["Id"] == committed
    assert (found["Author"], found["Comment"]) == ("A. Uthor", "why so")
    config = found["Config"]
    assert config["Cmd"] == ["httpd", "-f"]
    assert config["Entrypoint"] == ["busybox"]
    assert {"KEPT=yes", "COLOUR=red", "SHAPE=round"} <= set(config["Env"])
    assert len([entry for entry in config["Env"] if entry.startswith("COLOUR=")]) == 1
    assert config["ExposedPorts"] == {"80/tcp": {}, "53/udp": {}, "8080/tcp": {}}
    assert config["Labels"] == {"mine": "0", "one": "1", "two words": "2"}
    assert config["OnBuild"] == ["RUN true"]
    assert config["StopSignal"] == "SIGINT"
    assert config["User"] == "1000:50"
    assert config["Volumes"] == {"/data": {}, "/vol": {}}
    assert config["WorkingDir"] == "/srv"
    assert config["Healthcheck"] == {
        "Test": ["CMD-SHELL", "test -e /ok"],
        "Interval": 3_000_000_000,
        "Retries": 2,
    }
    form = ("--no-trunc", "--format", "{{.CreatedBy}}: {{.Comment}}")
    history = run("history", *form, name).stdout.splitlines()
    assert history[0] == "sleep 1: why so"  # the container's command, not the image's
    for line in (
        "FROM busybox",
        "RUN true",
        "COPY a b",
        "ADD a b",
        "ARG x=1",
        'SHELL ["a"]',
        "NO x",
    ):
        refused = run("commit", "--change", line, name, check=False)
        word = line.partition(" ")[0]
        assert refused.returncode == 1
        assert f"{word} is not a valid change command" in refused.stderr, line
    refused = run("commit", "--change", "", name, check=False)
    assert "file with no instructions" in refused.stderr
    refused = run("commit", name, "sha256:" + "0" * 64, check=False)
    assert "refusing to create an ambiguous tag using digest algorithm as name" in refused.stderr


def test_the_layer_is_the_difference_and_no_volume(
    daemon: LiveDaemon, client: str, name: str
) -> None:
    run = daemon.client(client)
    script = (
        "rm /etc/group; rm -r /bin; mkdir /bin; echo new > /bin/new; echo v > /vol/inside;"
        "mkdir -p /deep/down; echo d > /deep/down/file; echo t > /t/inside"
    )
    flags = ("-v", "/vol", "--tmpfs", "/t")
    run("run", "--name", name, *flags, "busybox", "/bin/busybox", "sh", "-c", script)
    run("commit", name, name)
    layers = image(daemon, name)["RootFS"]["Layers"]
    assert len(layers) == len(image(daemon, "busybox")["RootFS"]["Layers"]) + 1
    again = f"{name}-again"
    run("create", "--name", again, name, "x")
    listed = run("export", again, text=False).stdout
    run("rm", again)
    names = tar_names(listed)
    assert {"bin/new", "deep/down/file"} <= names
    assert not {"etc/group", "bin/sh", "vol/inside", "t/inside"} & names


def tar_names(data: bytes) -> set[str]:
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return {entry.name.removeprefix("./") for entry in archive}


def test_nothing_changed_is_no_layer(daemon: LiveDaemon, client: str, name: str) -> None:
    run = daemon.client(client)
    run("create", "--name", name, "busybox", "echo", "same")
    run("commit", name, name)
    found = image(daemon, name)
    assert found["RootFS"]["Layers"] == image(daemon, "busybox")["RootFS"]["Layers"]
    assert run("run", "--rm", name).stdout == "same\n"


def test_a_running_container_is_paused_unless_it_shall_not_be(
    daemon: LiveDaemon, client: str, name: str
) -> None:
    run = daemon.client(client)
    run("run", "-d", "--name", name, "busybox", "sleep", "1000")
    since = f"{time.time():.6f}"
    run("commit", "--pause=false", name, f"{name}:first")
    run("commit", name, f"{name}:second")
    form = ("--format", "{{.Action}}", "--filter", f"container={name}")
    until = f"{time.time():.6f}"
    events = run("events", "--since", since, "--until", until, *form).stdout.split()
    assert events == ["commit", "pause", "commit", "unpause"]
    assert run("inspect", "--format", "{{.State.Status}}", name).stdout == "running\n"
    run("rmi", f"{name}:first", f"{name}:second")


def test_what_images_share_and_stem_from(daemon: LiveDaemon, client: str, name: str) -> None:
    run = daemon.client(client)
    run("create", "--name", name, "busybox", "true")
    run("commit", name, name)
    found = json.loads(run("system", "df", "-v", "--format", "{{json .}}").stdout)
    ids = run("history", "--no-trunc", "--format", "{{.ID}}", name).stdout.split()
    assert ids[1] == image(daemon, "busybox")["Id"]
    ours = next(one for one in found["Images"] if one["Repository"] == name)
    assert ours["SharedSize"].endswith("MB")
    assert ours["UniqueSize"] == "0B"
