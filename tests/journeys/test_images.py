"""Images, as users make, move and remove them, through both command lines."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.live import LiveDaemon
from tests.registry_server import RegistryServer, registry_fixture  # noqa: F401

pytestmark = pytest.mark.root

DOCKERFILE = """\
FROM busybox
ENV GREETING=hello
WORKDIR /app
RUN echo built > made && echo step output
COPY greet.sh .
LABEL kind=greeter
CMD ["sh", "greet.sh"]
"""


@pytest.fixture
def context(tmp_path: Path) -> Path:
    (tmp_path / "Dockerfile").write_text(DOCKERFILE)
    (tmp_path / "greet.sh").write_text("echo $GREETING world; cat made\n")
    return tmp_path


def test_a_build_runs_and_a_rebuild_redoes_only_what_changed(
    daemon: LiveDaemon, client: str, context: Path
) -> None:
    run = daemon.client(client)
    tag = f"greeter-{client}"
    first = run("build", "--no-cache", "-t", tag, str(context))
    assert "\nstep output\n" in first.stdout
    assert f"Successfully tagged {tag}:latest" in first.stdout
    assert run("run", "--rm", tag).stdout == "hello world\nbuilt\n"

    second = run("build", "-t", tag, str(context))
    assert second.stdout.count("Using cache") == 6
    assert "\nstep output\n" not in second.stdout

    (context / "greet.sh").write_text("echo $GREETING again\n")
    third = run("build", "-t", tag, str(context))
    assert third.stdout.count("Using cache") == 3
    assert run("run", "--rm", tag).stdout == "hello again\n"
    run("rmi", tag)


def test_a_broken_build_names_file_and_line_and_leaves_nothing(
    daemon: LiveDaemon, client: str, context: Path
) -> None:
    run = daemon.client(client)
    before = run("images", "-aq").stdout
    (context / "Dockerfile").write_text("FROM busybox\nRUNN true\n")
    unknown = run("build", str(context), check=False)
    assert unknown.returncode == 1
    assert "line 2" in unknown.stderr
    assert "unknown instruction: RUNN" in unknown.stderr

    (context / "Dockerfile").write_text("FROM busybox\nRUN exit 3\n")
    failed = run("build", str(context), check=False)
    assert failed.returncode != 0
    assert "returned a non-zero code: 3" in failed.stderr
    assert run("images", "-aq").stdout == before
    assert run("ps", "-aq").stdout == ""


def test_from_alone_is_the_base_itself_under_another_name(daemon: LiveDaemon, client: str) -> None:
    run = daemon.client(client)
    base = run("inspect", "-f", "{{.Id}}", "busybox").stdout
    run("build", "-t", f"same-{client}", "-", input="FROM busybox AS one\nFROM one\n")
    assert run("inspect", "-f", "{{.Id}}", f"same-{client}").stdout == base
    run("rmi", f"same-{client}")


def test_stages_and_targets(daemon: LiveDaemon, client: str, context: Path) -> None:
    run = daemon.client(client)
    (context / "Dockerfile").write_text(
        "FROM busybox AS made\nRUN echo made > /made\n"
        "FROM made AS other\nRUN echo other > /other\n"
        "FROM busybox\nCOPY --from=made /made /copied\nCMD cat /copied\n"
    )
    run("build", "-t", f"staged-{client}", str(context))
    assert run("run", "--rm", f"staged-{client}").stdout == "made\n"
    run("build", "--target", "other", "-t", f"other-{client}", str(context))
    assert run("run", "--rm", f"other-{client}", "cat", "/other").stdout == "other\n"
    run("rmi", f"staged-{client}", f"other-{client}")


def test_push_remove_pull_and_run(
    daemon: LiveDaemon, client: str, registry: RegistryServer
) -> None:
    run = daemon.client(client)
    name = f"{registry.address}/shipped-{client}:v1"
    image = run("inspect", "-f", "{{.Id}}", "busybox").stdout
    run("tag", "busybox", name)
    pushed = run("push", name)
    assert "v1: digest: sha256:" in pushed.stdout
    again = run("push", name)
    assert "Layer already exists" in again.stdout
    run("rmi", name)
    assert run("inspect", name, check=False).returncode == 1
    assert "Downloaded newer image" in run("pull", name).stdout
    assert "Image is up to date" in run("pull", name).stdout
    assert run("inspect", "-f", "{{.Id}}", name).stdout == image
    assert run("run", "--rm", name, "echo", "ran").stdout == "ran\n"
    run("rmi", name)


def test_a_registry_that_is_dead_or_lacks_the_image_is_named(
    daemon: LiveDaemon, client: str, registry: RegistryServer
) -> None:
    run = daemon.client(client)
    dead = run("pull", "127.0.0.1:1/x", check=False)
    assert dead.returncode == 1
    assert "connection refused" in dead.stderr
    missing = run("pull", f"{registry.address}/nothing:here", check=False)
    assert missing.returncode == 1
    assert "not found" in missing.stderr


def test_save_remove_and_load_keep_the_id(daemon: LiveDaemon, client: str, tmp_path: Path) -> None:
    run = daemon.client(client)
    run("tag", "busybox", f"kept-{client}:1")
    image = run("inspect", "-f", "{{.Id}}", "busybox").stdout
    archive = tmp_path / "image.tar"
    run("save", "-o", str(archive), f"kept-{client}:1")
    run("rmi", f"kept-{client}:1")
    assert f"Loaded image: kept-{client}:1" in run("load", "-i", str(archive)).stdout
    assert run("inspect", "-f", "{{.Id}}", f"kept-{client}:1").stdout == image
    run("rmi", f"kept-{client}:1")


def test_import_makes_an_image_of_a_tar(daemon: LiveDaemon, client: str, tmp_path: Path) -> None:
    from tests.busybox import busybox_tar  # noqa: PLC0415 - used here alone

    run = daemon.client(client)
    archive = tmp_path / "root.tar"
    archive.write_bytes(busybox_tar())
    run("import", "--change", "CMD echo imported", str(archive), f"imported-{client}")
    assert run("run", "--rm", f"imported-{client}").stdout == "imported\n"
    run("rmi", f"imported-{client}")


def test_commit_turns_a_containers_state_into_an_image(daemon: LiveDaemon, client: str) -> None:
    run = daemon.client(client)
    name = f"changed-{client}"
    run("run", "--name", name, "busybox", "sh", "-c", "echo new > /new; rm /etc/group")
    assert {"A /new", "D /etc/group"} <= set(run("diff", name).stdout.splitlines())
    run("commit", "-c", "CMD cat /new", name, f"committed-{client}")
    assert run("run", "--rm", f"committed-{client}").stdout == "new\n"
    gone = run("run", "--rm", f"committed-{client}", "ls", "/etc/group", check=False)
    assert gone.returncode == 1
    run("rm", name)
    run("rmi", f"committed-{client}")


def test_an_image_in_use_is_not_removed(daemon: LiveDaemon, client: str) -> None:
    run = daemon.client(client)
    run("tag", "busybox", f"used-{client}")
    container = run("run", "-d", f"used-{client}", "sleep", "1000").stdout.strip()
    run("rmi", "busybox:latest", check=False)
    refused = run("rmi", f"used-{client}", check=False)
    assert refused.returncode == 1
    assert "conflict: unable to remove repository reference" in refused.stderr
    run("rm", "-f", container)
    run("tag", f"used-{client}", "busybox")
    run("rmi", f"used-{client}")


def test_history_tells_the_steps(daemon: LiveDaemon, client: str, context: Path) -> None:
    run = daemon.client(client)
    run("build", "-t", f"told-{client}", str(context))
    lines = run("history", "--no-trunc", "--format", "{{json .}}", f"told-{client}").stdout
    steps = [json.loads(line)["CreatedBy"] for line in lines.splitlines()]
    assert any("greet.sh" in step for step in steps)
    assert any("echo built" in step for step in steps)
    run("rmi", f"told-{client}")
