"""Starts against dockerd, podman and bare crun: `python -m bench.starts [--only PART] [--write]`.

Needs root, Debian's docker.io, podman, crun and the docker CLI.
"""

from __future__ import annotations

import json
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from bench.crun import bare_runs
from bench.engines import Engine, dockerd, run_directory, tiffin, work_directory
from bench.everyday import BODY, life_by_api
from bench.measure import Row, Unix, call, command, paired
from bench.namespaces import NETWORK, entered
from bench.report import report

TOGETHER = 50
THOUSAND = 1000
STOPPED = 1000
IDLE_BODY = json.dumps({"Image": "busybox", "Cmd": ["sleep", "100000"]})
PODMAN_LIMITS = ("--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024")  # it may raise none
WEB = ["busybox", "httpd", "-f", "-p", "80", "-h", "/etc"]


def one(ours: Engine, theirs: Engine, runs: int) -> Iterator[Row]:
    flags = ("run", "--rm", "busybox", "true")
    mine = command(ours, ours.tiffin(*flags))
    peer = command(theirs, theirs.docker(*flags))
    yield paired("`tiffin run --rm busybox true` / dockerd", mine, peer, 1 / 8, runs=runs)
    with bare_runs() as crun:

        def thrice_crun_and_an_interpreter() -> None:
            subprocess.run([sys.executable, "-I", "-S", "-c", ""], check=True)
            for _ in range(3):
                crun()

        yield paired(
            "the same / 3 bare `crun run` and a start of Python",
            mine,
            thrice_crun_and_an_interpreter,
            1.0,
            runs=runs,
        )
    both = command(ours, ours.docker(*flags))
    yield paired("`docker run --rm`, our daemon / dockerd", both, peer, 1 / 8, runs=runs)
    mine_api, peer_api = Unix(ours.socket), Unix(theirs.socket)
    yield paired(
        "API create + start + wait + delete / dockerd",
        lambda: life_by_api(mine_api),
        lambda: life_by_api(peer_api),
        1 / 15,
        runs=runs,
    )


def served(ours: Engine, theirs: Engine, runs: int) -> Iterator[Row]:
    """From the command to the first byte through the published port."""
    yield paired(
        "`run -dp` to the first byte / dockerd",
        lambda: first_byte(ours, ours.tiffin),
        lambda: first_byte(theirs, theirs.docker),
        1 / 8,
        runs=runs,
    )
    for engine in (ours, theirs):
        remove_all(engine)


def first_byte(engine: Engine, client: Callable[..., list[str]]) -> None:
    argv = client("run", "-d", "-p", "127.0.0.1:8099:80", "--name", "web", *WEB)
    subprocess.run(argv, stdout=subprocess.DEVNULL, check=True)
    with entered(engine.namespace, NETWORK):
        for _ in range(10_000):
            try:
                with socket.create_connection(("127.0.0.1", 8099), timeout=5) as connection:
                    connection.sendall(b"GET /passwd HTTP/1.0\r\n\r\n")
                    if connection.recv(1):
                        break
            except OSError:
                time.sleep(0.0005)
    subprocess.run(engine.docker("rm", "-f", "web"), stdout=subprocess.DEVNULL, check=True)


def together(ours: Engine, theirs: Engine, _runs: int) -> Iterator[Row]:
    """Create and start 50 at a time, by as many clients."""
    pairs = [(starts_together(ours), starts_together(theirs)) for _ in range(3)]
    mine = statistics.median(pair[0] for pair in pairs)
    peer = statistics.median(pair[1] for pair in pairs)
    yield Row(f"{TOGETHER} starts at a time / dockerd", mine, peer, "ms", 1 / 10)
    with podman() as run:
        mine = starts_together(ours)
        started = time.perf_counter()
        with ThreadPoolExecutor(TOGETHER) as pool:
            list(
                pool.map(
                    lambda _: run("run", "-d", *PODMAN_LIMITS, "busybox", "sleep", "100000"),
                    range(TOGETHER),
                )
            )
        peer = (time.perf_counter() - started) * 1000
        run("rm", "-f", "-t", "0", "-a")
    yield Row(f"{TOGETHER} starts at a time / podman", mine, peer, "ms", 1 / 5)


AFTER_REMOVALS_SECONDS = 3.0  # what is still under way of fifty, whichever engine's they were


def starts_together(engine: Engine) -> float:
    connections = [Unix(engine.socket) for _ in range(TOGETHER)]
    time.sleep(AFTER_REMOVALS_SECONDS)
    started = time.perf_counter()
    with ThreadPoolExecutor(TOGETHER) as pool:
        list(pool.map(start, connections))
    spent = (time.perf_counter() - started) * 1000
    remove_all(engine)
    return spent


def start(connection: Unix) -> None:
    created = json.loads(call(connection, "POST", "/containers/create", IDLE_BODY))["Id"]
    call(connection, "POST", f"/containers/{created}/start")


def many(_ours: Engine, _theirs: Engine, _runs: int) -> Iterator[Row]:
    """A daemon of its own with room for a thousand addresses."""
    with tiffin("", "--bip", "10.98.0.1/16") as engine:
        load_busybox(engine)
        connection = Unix(engine.socket)
        times = []
        for _ in range(THOUSAND):
            started = time.perf_counter()
            start(connection)
            times.append((time.perf_counter() - started) * 1000)
        first, last = statistics.median(times[10:60]), statistics.median(times[-50:])
        yield Row(f"the last of {THOUSAND} starts / the first", last, first, "ms", 1.5)
        remove_all(engine)


def daemons(_ours: Engine, _theirs: Engine, _runs: int) -> Iterator[Row]:
    """From exec to the first answer, with nothing and with a thousand stopped containers."""
    with work_directory() as mine, work_directory() as peer:
        for what, number in (("with nothing", 0), (f"with {STOPPED} stopped containers", STOPPED)):
            for opened, directory in ((tiffin, mine), (dockerd, peer)):
                with opened(directory) as engine:  # the first start of a data root makes it
                    fill(engine, number)
            times: tuple[list[float], list[float]] = ([], [])
            for _ in range(5):
                for index, (opened, directory) in enumerate(((tiffin, mine), (dockerd, peer))):
                    with opened(directory) as engine:
                        times[index].append(engine.start_ms)
            yield Row(
                f"daemon's start to its first answer, {what} / dockerd",
                statistics.median(times[0]),
                statistics.median(times[1]),
                "ms",
                0.7,
            )


def fill(engine: Engine, number: int) -> None:
    if number:
        load_busybox(engine)
    connection = Unix(engine.socket)
    for _ in range(number):
        call(connection, "POST", "/containers/create", BODY)


def load_busybox(engine: Engine) -> None:
    from tests.busybox import busybox_image_tar  # noqa: PLC0415 - the tests' image serves here too

    subprocess.run(
        engine.docker("load"), input=busybox_image_tar(), check=True, capture_output=True
    )


def remove_all(engine: Engine) -> None:
    connection = Unix(engine.socket)
    found = json.loads(call(connection, "GET", "/containers/json?all=1"))
    for container in found:
        call(connection, "DELETE", f"/containers/{container['Id']}?force=1")


@contextmanager
def podman() -> Iterator[Callable[..., None]]:
    from tests.busybox import busybox_image_tar  # noqa: PLC0415

    with work_directory() as work, run_directory(work) as memory:
        flags = ["--root", f"{work}/root", "--runroot", f"{memory}/run"]
        flags += ["--tmpdir", f"{memory}/tmp", "--runtime=runc", "--cgroup-manager=cgroupfs"]

        def run(*arguments: str) -> None:
            subprocess.run(["podman", *flags, *arguments], check=True, capture_output=True)

        subprocess.run(
            ["podman", *flags, "load"], input=busybox_image_tar(), check=True, capture_output=True
        )
        yield run
        subprocess.run(
            ["podman", *flags, "system", "reset", "-f"], check=False, capture_output=True
        )


PARTS = {"one": one, "served": served, "together": together, "many": many, "daemons": daemons}


def main() -> int:
    return report(__doc__, "starts", PARTS)


if __name__ == "__main__":
    sys.exit(main())
