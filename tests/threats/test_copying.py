"""docker cp: paths that the container chose, and helpers that it would like to be."""

from __future__ import annotations

import asyncio
import gzip
import io
import os
import subprocess
import tarfile
from collections.abc import AsyncIterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from tests.imagebench import tar_of
from tests.kernel.runtime_bench import Bench
from tests.threats.arena import outcome
from tiffin.core.container import Container, HostConfig, Status
from tiffin.core.workload import Created
from tiffin.engine import copying
from tiffin.engine.copying import Copying
from tiffin.errors import TiffinError
from tiffin.storage import jail
from tiffin.storage.snapshots import SnapshotStore

pytestmark = pytest.mark.root

# Of a running one nothing is there, and nobody removes it.
SNAPSHOTS = SimpleNamespace(kept=lambda _: nullcontext())
COPYING = Copying(cast(SnapshotStore, SNAPSHOTS), "/nonexistent")
ROUNDS = 10


def running(created: Created) -> Container:
    state = SimpleNamespace(status=Status.RUNNING, pid=created.pid, start_ticks=created.start_ticks)
    return cast(
        Container,
        SimpleNamespace(
            id="box", name="box", state=state, host_config=HostConfig(), snapshot="", mounts=()
        ),
    )


async def chunks(data: bytes) -> AsyncIterator[bytes]:
    yield data


def by_path(root: int, path: str | bytes, flags: int, *_: object) -> int:
    """What a copier does that joins paths: links are followed as the host would."""
    return os.open(os.fsdecode(path).strip("/") or ".", flags, dir_fd=root)


@pytest.mark.threat("copy-paths")
def test_a_copy_into_a_link_stays_in_the_container(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """cp to a path that the container has made a link to the host (CVE-2018-15664,
    CVE-2026-41568, CVE-2026-42306).

    Defence: the container's root is held by descriptor, paths are resolved inside it by openat2.
    Seen to fail: with paths joined to the root, the file lies on the host.
    """

    async def attack(bench: Bench) -> bool:
        host = HostConfig(userns_mode="host")
        box = bench.workload("sleep", "1000", host=host)
        os.makedirs(bench.upper(box, ""), exist_ok=True)
        os.symlink(tmp_path, bench.upper(box, "/evil"))
        container = running(await bench.start(box))
        try:
            await COPYING.write(container, "/evil", chunks(tar_of({"pwned": b"x"})))
        except TiffinError:
            return False
        return (tmp_path / "pwned").exists()

    assert outcome(attack) is False
    monkeypatch.setattr(copying, "real_path_in", lambda _, path: os.fsencode(path))
    monkeypatch.setattr(copying.rootpath, "open_in", by_path)
    assert outcome(attack) is True


@pytest.mark.threat("copy-paths")
def test_a_copy_out_of_a_link_shows_nothing_of_the_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """cp from a path that the container has made a link to the host gives the host's files.

    Defence: as above, for reading.
    Seen to fail: with paths joined to the root, the host's file is in the archive.
    """
    (tmp_path / "secret").write_text("s")

    async def attack(bench: Bench) -> list[str]:
        box = bench.workload("sleep", "1000")
        os.symlink(tmp_path, bench.upper(box, "/evil"))
        container = running(await bench.start(box))
        try:
            _, archive = await COPYING.read(container, "/evil/")
            data = b"".join([chunk async for chunk in archive])
        except TiffinError:
            return []
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            return [os.path.basename(name) for name in tar.getnames()]

    assert "secret" not in outcome(attack)
    monkeypatch.setattr(copying.rootpath, "open_in", by_path)
    monkeypatch.setattr(
        copying.rootpath,
        "stat_in",
        lambda root, path, follow: os.stat(path.strip("/"), dir_fd=root),
    )
    assert "secret" in outcome(attack)


@pytest.mark.threat("copy-paths")
def test_a_link_that_is_turned_during_copies_leads_nowhere(tmp_path: Path) -> None:
    """A container that swaps a directory for a link all the time wins the race between check and
    use, sooner or later (CVE-2018-15664).

    Defence: there is nothing between: what was resolved is the descriptor that is used.
    Seen to fail: by the test of a link that stays, above; a race that is lost sometimes is no
    test.
    """
    script = (
        f"mkdir /real; ln -s {tmp_path} /link; mkdir /swap;"
        "while :; do mv /real /swap/now; mv /swap/now /real; mv /link /swap/now;"
        " mv /swap/now /link; mv /real /old; mv /link /real; mv /real /link; mv /old /real; done"
    )

    async def attack(bench: Bench) -> None:
        box = bench.workload("sh", "-c", script, host=HostConfig(userns_mode="host"))
        container = running(await bench.start(box))
        for _ in range(ROUNDS):
            try:
                await COPYING.write(container, "/real", chunks(tar_of({"pwned": b"x"})))
            except TiffinError:
                continue

    outcome(attack)
    assert os.listdir(tmp_path) == []


@pytest.mark.threat("copy-helpers")
def test_an_archive_is_unpacked_by_no_program_of_the_container(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A helper that enters the container and then runs gzip, or loads a library, runs the
    container's (CVE-2019-14271, CVE-2026-41567).

    Defence: decompression in the process; everything is loaded before the jail's root is entered.
    Seen to fail: a double that asks for gzip by name leaves the mark of the container's.
    """
    root, mark = tmp_path / "root", tmp_path / "mark"
    (root / "bin").mkdir(parents=True)
    for name in ("gzip", "gunzip", "unpigz", "zstd", "xz", "sh", "tar"):
        program = root / "bin" / name
        program.write_text(f"#!/bin/dash\necho {name} >> {mark}\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{root}/bin:{os.environ['PATH']}")
    packed = gzip.compress(tar_of({"file": b"x"}))
    directory = os.open(root, os.O_RDONLY | os.O_DIRECTORY)

    jail.unpack(io.BytesIO(packed), directory)
    os.close(directory)
    assert (root / "file").read_bytes() == b"x"
    assert not mark.exists()

    subprocess.run(["gzip", "-dc"], input=packed, check=True)
    assert mark.read_text() == "gzip\n"


def test_nothing_waits_for_a_container_that_has_gone() -> None:
    async def attack(bench: Bench) -> str:
        box = bench.workload("true")
        created = await bench.start(box)
        await bench.ended(box)
        try:
            async with asyncio.timeout(60):
                await COPYING.stat_path(running(created), "/etc")
        except TiffinError as error:
            return error.message
        return "found"

    assert "is not running" in outcome(attack)
