"""Bare crun on a ready bundle, out of sight of the unified hierarchy, which it refuses here."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.engines import work_directory
from bench.namespaces import MOUNT, setns

_HIDE = "mount --make-rprivate /; umount /sys/fs/cgroup/unified 2>/dev/null; echo; read _"
Crun = Callable[..., None]


@contextmanager
def bare_runs() -> Iterator[Callable[[], None]]:
    """`crun run` of `true`, to its end."""
    with _bundle("true") as (bundle, crun):
        numbers = iter(range(1_000_000))

        def run() -> None:
            crun("run", "-b", bundle, f"bench-{os.getpid()}-{next(numbers)}")

        run()
        yield run


@contextmanager
def bare_execs() -> Iterator[Callable[[], None]]:
    """`crun exec` of `true` in a container that sleeps."""
    name = f"bench-{os.getpid()}"
    with _bundle("sleep", "100000") as (bundle, crun):
        crun("run", "-d", "-b", bundle, name)
        try:
            yield lambda: crun("exec", name, "true")
        finally:
            crun("delete", "-f", name)


@contextmanager
def _bundle(*argv: str) -> Iterator[tuple[str, Crun]]:
    from tests.busybox import busybox_rootfs  # noqa: PLC0415 - the tests' image serves here too

    with work_directory() as bundle:
        rootfs = Path(bundle, "rootfs")
        rootfs.mkdir()
        busybox_rootfs(str(rootfs))
        subprocess.run(["crun", "spec"], cwd=bundle, check=True)
        path = Path(bundle, "config.json")
        config = json.loads(path.read_text())
        config["process"] |= {"terminal": False, "args": list(argv)}
        path.write_text(json.dumps(config))
        keeper = subprocess.Popen(
            ["unshare", "-m", "sh", "-c", _HIDE], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert keeper.stdout is not None
        keeper.stdout.readline()
        fd = os.open(f"/proc/{keeper.pid}/ns/mnt", os.O_RDONLY)

        def crun(*words: str) -> None:
            subprocess.run(
                ["crun", "--cgroup-manager", "cgroupfs", *words],
                check=True,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                preexec_fn=lambda: setns(fd, MOUNT),
            )

        try:
            yield bundle, crun
        finally:
            os.close(fd)
            keeper.communicate(b"\n")
