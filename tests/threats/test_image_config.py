"""What an image says of itself: users, groups, labels, volumes, and the files that say so."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from tests.kernel.runtime_bench import Bench
from tests.threats.arena import outcome
from tests.unit.runtime.test_spec import V1, workload
from tiffin.core.container import HostConfig
from tiffin.core.image import ContainerConfig
from tiffin.core.merge import merge
from tiffin.engine import mounting
from tiffin.errors import CannotStart
from tiffin.runtime.spec import plan
from tiffin.storage.snapshots import SnapshotStore

pytestmark = pytest.mark.root

HANGS_SECONDS = 3.0  # of something that never ends: how long it is watched


def passwd(bench: Bench, text: str) -> None:
    Path(f"{bench.image}/etc/passwd").write_text(text, encoding="utf-8")


@pytest.mark.threat("image-users")
@pytest.mark.parametrize("by_exec", [False, True])
def test_a_passwd_that_is_a_pipe_holds_nobody_up(by_exec: bool) -> None:
    """/etc/passwd of an image is a fifo, a device or endless (CVE-2024-9676): who reads it hangs,
    and the engine with it.

    Defence: opened without blocking, regular files only, up to 16 MiB (users.read_database).
    Seen to fail: read as any file is, the start does not come to an end.
    """

    async def attack(bench: Bench, patience: float | None) -> bool:
        box = bench.workload("sleep", "1000") if by_exec else bench.workload("true")
        if by_exec:  # who made it one is the container itself
            await bench.start(box)
            script = "rm /etc/passwd; mkfifo /etc/passwd"
            _, peer = await bench.exec(box, "sh", "-c", script, exec_id="e0")
            assert peer is not None
            await peer.read()
        else:
            os.unlink(f"{bench.image}/etc/passwd")
            os.mkfifo(f"{bench.image}/etc/passwd")
        try:
            async with asyncio.timeout(patience):
                await (bench.exec(box, "true") if by_exec else bench.start(box))
        except TimeoutError:
            return False
        return (await bench.ended(box, "e1" if by_exec else "")).exit_code == 0

    assert outcome(lambda bench: attack(bench, None)) is True
    assert outcome(lambda bench: attack(bench, HANGS_SECONDS), without="databases") is False


@pytest.mark.threat("image-users")
@pytest.mark.parametrize("number", [2**32, 2**31])
def test_a_user_that_overflows_is_not_root(number: int) -> None:
    """USER 4294967296 is 0 in 32 bits (CVE-2024-40635, CVE-2026-47262).

    Defence: ids above 2147483647 are refused, wherever they come from.
    Seen to fail: with numbers cut to 32 bits the program runs as root.
    """

    async def attack(bench: Bench) -> str:
        passwd(bench, f"evil:x:{number}:{number}:::\n")
        try:
            return await bench.shell("id -u", user="evil")
        except CannotStart as error:
            return error.message

    assert "uids and gids must be in range 0-2147483647" in outcome(attack)
    weak = outcome(attack, without="id_range")
    assert weak == "0\n" if number % 2**32 == 0 else "range" not in weak


@pytest.mark.threat("image-users")
def test_the_primary_group_is_a_supplementary_one_too() -> None:
    """A file that a group may not read is read by who can leave the group (CVE-2022-36109,
    CVE-2022-2995).

    Defence: setgroups with the primary group among them.
    Seen to fail: with the group left out of the list it is not shown.
    """

    async def attack(bench: Bench) -> bool:
        seen = await bench.shell("grep ^Groups /proc/self/status", user="33:4711")
        return "4711" in seen.split()

    assert outcome(attack) is True
    assert outcome(attack, without="groups") is False


LABELS = {
    "io.containers.capabilities": "ALL",
    "privileged": "true",
    "org.opencontainers.image.ref.name": "x",
    "run": "docker run --privileged -v /:/host",
    "com.docker.compose.project": "x",
}


@pytest.mark.threat("inert-labels")
def test_labels_of_an_image_configure_nothing() -> None:
    """An engine that takes settings from labels or annotations takes them from whoever made the
    image (CVE-2026-53488).

    Defence: no code reads them: the plan of a container is the same with and without.
    Seen to fail: with the labels as annotations, which OCI runtimes obey, the plans differ.
    """
    plain, labelled = ContainerConfig(cmd=("true",)), ContainerConfig(cmd=("true",), labels=LABELS)
    without = plan(workload(merge(ContainerConfig(), plain)), V1)
    config = merge(ContainerConfig(), labelled)

    assert config.labels == LABELS
    assert plan(workload(config), V1) == without
    obeyed = HostConfig(annotations=dict(config.labels))
    assert plan(workload(config, obeyed), V1) != without


class OneTree:
    """A store with one image, which is a directory."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @contextlib.contextmanager
    def mounted(self, snapshot: str, *, read_only: bool) -> Iterator[int]:
        fd = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            yield fd
        finally:
            os.close(fd)


@pytest.mark.threat("volumes")
def test_a_volume_is_filled_from_the_image_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """VOLUME at a link to /etc of the host: what is copied into the new volume is the host's
    (CVE-2022-23648).

    Defence: the volume's path is resolved inside the image by the kernel.
    Seen to fail: resolved as a path, the host's secret is in the volume.
    """
    image, host = tmp_path / "image", tmp_path / "host"
    for directory in (image, host):
        directory.mkdir()
    (host / "secret").write_text("s")
    (image / "data").symlink_to(host)
    store = cast(SnapshotStore, OneTree(image))

    def filled() -> list[str]:
        volume = tmp_path / f"volume-{len(list(tmp_path.iterdir()))}"
        volume.mkdir()
        mounting.fill_volume(store, "", "/data", str(volume))
        return os.listdir(volume)

    assert filled() == []

    def by_path(root: int, path: str, flags: int) -> int:
        return os.open(path.lstrip("/"), flags, dir_fd=root)

    monkeypatch.setattr(mounting.rootpath, "open_in", by_path)
    assert filled() == ["secret"]


@pytest.mark.threat("volumes")
def test_a_volume_that_holds_something_is_left_as_it_is(tmp_path: Path) -> None:
    """A full volume that is filled again gets files and modes that its owner did not choose
    (CVE-2020-1726).

    Defence: only an empty one is filled.
    Seen to fail: the same volume, empty, gets the image's file.
    """
    image = tmp_path / "image"
    (image / "data").mkdir(parents=True)
    (image / "data" / "new").write_text("")
    store = cast(SnapshotStore, OneTree(image))
    full, empty = tmp_path / "full", tmp_path / "empty"
    for volume in (full, empty):
        volume.mkdir()
    (full / "own").write_text("")

    for volume in (full, empty):
        mounting.fill_volume(store, "", "/data", str(volume))

    assert (os.listdir(full), os.listdir(empty)) == (["own"], ["new"])
