"""The everyday journey against a real dockerd: `python -m bench.everyday [--only PART] [--write]`.

Needs root, Debian's docker.io and the docker CLI. Prints the table; --write puts it into
docs/performance.md.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.engines import CHECKOUT, Engine, remove_containers
from bench.measure import (
    Row,
    Unix,
    call,
    command,
    in_group,
    paired,
    paired_cpu,
    proportional_memory,
)
from bench.report import report

IDLE = 50
BODY = json.dumps({"Image": "busybox", "Cmd": ["true"]})


def life_by_api(connection: Unix) -> None:
    created = json.loads(call(connection, "POST", "/containers/create", BODY))["Id"]
    call(connection, "POST", f"/containers/{created}/start")
    call(connection, "POST", f"/containers/{created}/wait")
    call(connection, "DELETE", f"/containers/{created}")


def starts(ours: Engine, theirs: Engine, runs: int) -> Iterator[Row]:
    flags = ("run", "--rm", "busybox", "true")
    mine, both, peer = (
        command(ours, ours.tiffin(*flags)),
        command(ours, ours.docker(*flags)),
        command(theirs, theirs.docker(*flags)),
    )
    yield paired("`tiffin run --rm busybox true` / dockerd", mine, peer, 1 / 5, runs=runs)
    accounted = (
        command(ours, ours.tiffin(*flags), accounted=True),
        command(theirs, theirs.docker(*flags), accounted=True),
    )
    yield paired_cpu("the same, CPU time of everything", (ours, theirs), accounted, 1 / 5)
    yield paired(
        "`docker run --rm busybox true`, our daemon / dockerd", both, peer, 1 / 4, runs=runs
    )
    mine_api, peer_api = Unix(ours.socket), Unix(theirs.socket)
    yield paired(
        "API create + start + wait + delete",
        lambda: life_by_api(mine_api),
        lambda: life_by_api(peer_api),
        1 / 6,
        runs=runs,
    )


def clients(ours: Engine, theirs: Engine, runs: int) -> Iterator[Row]:
    for verb, target in (("version", 1.5), ("ps", 2.0)):
        yield paired(
            f"`tiffin {verb}` / `docker {verb}`",
            command(ours, ours.tiffin(verb)),
            command(theirs, theirs.docker(verb)),
            target,
            runs=runs * 2,
        )


def builds(ours: Engine, theirs: Engine, runs: int) -> Iterator[Row]:
    """A fully cached rebuild of the example, by each engine's own client."""
    with example() as context:
        flags = ("build", "-t", "getting-started", "--build-arg", "BASE=busybox", context)
        mine = command(ours, ours.tiffin(*flags))
        peer = command(theirs, ["env", "DOCKER_BUILDKIT=0", *theirs.docker(*flags)])
        yield paired("cached rebuild of the example", mine, peer, 0.7, runs=runs)


@contextmanager
def example() -> Iterator[str]:
    """The example on busybox: its RUN asks for python, which this base lacks."""
    with tempfile.TemporaryDirectory(prefix="tfnb") as context:
        source = CHECKOUT / "examples" / "getting-started"
        subprocess.run(["cp", "-r", f"{source}/.", context], check=True)
        dockerfile = Path(context, "Dockerfile")
        lines = dockerfile.read_text().splitlines()
        kept = ["RUN mkdir -p /data" if line.startswith("RUN ") else line for line in lines]
        dockerfile.write_text("\n".join(kept) + "\n")
        yield context


def memory(ours: Engine, theirs: Engine, _runs: int) -> Iterator[Row]:
    idle = [proportional_memory(in_group(engine.cpu.own)) for engine in (ours, theirs)]
    yield Row("idle daemon, PSS", idle[0], idle[1], "MB", 1.0)
    busy = []
    for engine in (ours, theirs):
        for _ in range(IDLE):
            argv = engine.docker("run", "-d", "busybox", "sleep", "1000")
            subprocess.run(argv, stdout=subprocess.DEVNULL, check=True)
        busy.append(proportional_memory(in_group(engine.cpu.own)) / IDLE)
    yield Row(f"per idle container of {IDLE}, daemon included, PSS", busy[0], busy[1], "MB", 0.5)
    for engine in (ours, theirs):
        remove_containers(engine)


PARTS = {"memory": memory, "starts": starts, "clients": clients, "builds": builds}


def main() -> int:
    return report(__doc__, "everyday", PARTS)


if __name__ == "__main__":
    sys.exit(main())
