"""Containers after their start, against a real dockerd: `python -m bench.containers [--write]`.

Exec, stop, rm, commit, cp. Needs root, Debian's docker.io, crun and the docker CLI.
"""

from __future__ import annotations

import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.crun import bare_execs
from bench.engines import Engine
from bench.measure import Row, Unix, call, command, paired
from bench.report import report

NAME = "bench"
STOPPED = "bench-stopped"
BIG_BYTES = 1 << 30
PIECE = 1 << 20
CRUN_ALLOWANCE_MS = 10  # for the way there and back that a bare runtime does not have


def quiet(argv: list[str]) -> None:
    subprocess.run(argv, stdout=subprocess.DEVNULL, check=True)


def start(engine: Engine, *words: str) -> None:
    quiet(engine.docker("run", "-d", "--name", NAME, "busybox", *words))


def remove(engine: Engine) -> None:
    quiet(engine.docker("rm", "-f", NAME))


def both(ours: Engine, theirs: Engine, action: Callable[[Engine], None]) -> None:
    for engine in (ours, theirs):
        action(engine)


def execs(ours: Engine, theirs: Engine, runs: int) -> Iterator[Row]:
    """Of a command line's time most is its own: what is ours is seen in more rounds."""
    runs *= 3
    both(ours, theirs, lambda engine: start(engine, "sleep", "100000"))
    flags = ("exec", NAME, "true")
    peer = command(theirs, theirs.docker(*flags))
    mine, by_docker = command(ours, ours.tiffin(*flags)), command(ours, ours.docker(*flags))
    yield paired("`tiffin exec` / `docker exec`", mine, peer, 1 / 3, runs=runs)
    yield paired("`docker exec`, our daemon / dockerd", by_docker, peer, 1 / 3, runs=runs)
    yield paired("API exec, to its end", exec_by_api(ours), exec_by_api(theirs), 1 / 3, runs=runs)
    with bare_execs() as crun:
        row = paired("", exec_by_api(ours), crun, 1, runs=runs)
        what = f"API exec, to its end / bare `crun exec` and {CRUN_ALLOWANCE_MS} ms"
        yield row._replace(what=what, theirs=row.theirs + CRUN_ALLOWANCE_MS)
    both(ours, theirs, remove)


def exec_by_api(engine: Engine) -> Callable[[], None]:
    connection = Unix(engine.socket)
    wish = json.dumps({"Cmd": ["true"], "AttachStdout": True})

    def run() -> None:
        made = json.loads(call(connection, "POST", f"/containers/{NAME}/exec", wish))["Id"]
        with socket.socket(socket.AF_UNIX) as stream:
            stream.connect(engine.socket)
            head = f"POST /exec/{made}/start HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\n"
            head += "Upgrade: tcp\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
            stream.sendall(head.encode())
            while stream.recv(1 << 16):
                pass
        call(connection, "GET", f"/exec/{made}/json")

    return run


class Prepared:
    """An API call on a container that each round has a new one of, made outside the time."""

    def __init__(self, engine: Engine, prepare: list[tuple[str, str]], method: str, path: str):
        self._engine = engine
        self._connection = Unix(engine.socket)
        self._prepare, self._method, self._path = prepare, method, path

    def ready(self) -> Callable[[], None]:
        body = json.dumps({"Image": "busybox", "Cmd": ["sh", "-c", WAITING]})
        made = json.loads(call(self._connection, "POST", "/containers/create", body))["Id"]
        for method, path in self._prepare:
            call(self._connection, method, f"/containers/{made}{path}")

        def act() -> None:
            call(self._connection, self._method, f"/containers/{made}{self._path}")

        def clean() -> None:
            if self._method != "DELETE":
                call(self._connection, "DELETE", f"/containers/{made}?force=1")

        self.clean = clean
        return act


WAITING = "trap 'exit 0' TERM; while :; do sleep 1000 & wait; done"  # ends at once when asked


def in_turn(what: str, ours: Prepared, theirs: Prepared, target: float, runs: int) -> Row:
    samples: tuple[list[float], list[float]] = ([], [])
    for number in range(runs + 1):
        for prepared, times in zip((ours, theirs), samples, strict=True):
            act = prepared.ready()
            time.sleep(0.2)  # what a start leaves behind itself is not part of the end
            started = time.perf_counter()
            act()
            if number:
                times.append((time.perf_counter() - started) * 1000)
            prepared.clean()
    return Row(what, statistics.median(samples[0]), statistics.median(samples[1]), "ms", target)


def ends(ours: Engine, theirs: Engine, runs: int) -> Iterator[Row]:
    started = [("POST", "/start")]
    for what, prepare, method, path in (
        ("stop of one that ends when asked", started, "POST", "/stop"),
        ("kill", started, "POST", "/kill"),
        ("rm of one that has ended", [*started, ("POST", "/kill")], "DELETE", ""),
        ("rm -f of one that runs", started, "DELETE", "?force=1"),
    ):
        pair = [Prepared(engine, prepare, method, path) for engine in (ours, theirs)]
        yield in_turn(f"API {what}", *pair, 1 / 3, runs)


def big(ours: Engine, theirs: Engine, runs: int) -> Iterator[Row]:
    """One gigabyte that does not compress, in a container's layer."""
    rounds = max(runs // 5, 2)
    with tempfile.TemporaryDirectory(prefix="tfnb") as work:
        source = Path(work, "big")
        with source.open("wb") as file:
            for _ in range(BIG_BYTES // PIECE):
                file.write(os.urandom(PIECE))
        both(ours, theirs, lambda engine: start(engine, "sleep", "100000"))
        yield from copies("in", (str(source), f"{NAME}:/big"), ours, theirs, rounds)
        yield from copies("out", (f"{NAME}:/big", f"{work}/out"), ours, theirs, rounds)
        Path(work, "out").unlink()
        for engine in (ours, theirs):
            quiet(engine.docker("create", "--name", STOPPED, "busybox", "true"))
        inward = (str(source), f"{STOPPED}:/big")
        yield from copies("into one that does not run", inward, ours, theirs, rounds)
        for engine in (ours, theirs):
            quiet(engine.docker("rm", STOPPED))
        yield on_the_disk("commit of 1 GB, and rmi", commit(ours), commit(theirs), rounds)
        both(ours, theirs, remove)


def copies(
    where: str, paths: tuple[str, str], ours: Engine, theirs: Engine, rounds: int
) -> Iterator[Row]:
    words = ("cp", "-q", *paths)
    peer = command(theirs, theirs.docker(*words))
    what = f"cp` of 1 GB {where}"
    yield on_the_disk(f"`tiffin {what}", command(ours, ours.tiffin(*words)), peer, rounds)
    by_docker = command(ours, ours.docker(*words))
    yield on_the_disk(f"`docker {what}, our daemon", by_docker, peer, rounds)


def on_the_disk(
    what: str, ours: Callable[[], object], theirs: Callable[[], object], rounds: int
) -> Row:
    """What one has left to be written the other need not wait for.

    What earlier rows have left in the page cache goes first: a virtual machine gets memory that it
    has not used for long at a third of the speed.
    """
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text("1", encoding="ascii")
    return paired(what, ours, theirs, 1, runs=rounds, settle=os.sync)


def commit(engine: Engine) -> Callable[[], None]:
    # Another file each time: the same layer again would be found to be there.
    serial = iter(range(1_000_000))

    def run() -> None:
        quiet(engine.docker("exec", NAME, "sh", "-c", f"echo {next(serial)} > /serial"))
        quiet(engine.docker("commit", NAME, "committed"))
        quiet(engine.docker("rmi", "committed"))

    return run


PARTS = {"execs": execs, "ends": ends, "big": big}


if __name__ == "__main__":
    sys.exit(report(__doc__, "containers", PARTS))
