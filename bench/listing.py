"""Looking at many containers, against a real dockerd: `python -m bench.listing [--write]`.

List and inspect of 1,000 stopped containers, and whether ten times as many take ten times as long.
Needs root, Debian's docker.io and the docker CLI.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator

from bench.engines import Engine
from bench.measure import Row, Unix, call, command, paired
from bench.report import report

MANY = 1000
FEW = MANY // 10
BODY = {"Image": "busybox", "Cmd": ["true"], "HostConfig": {"NetworkMode": "none"}}
LIST = "/containers/json?all=1"


def create(engine: Engine, first: int, count: int) -> None:
    """Stopped ones: that they never ran makes no difference to a list."""
    connection = Unix(engine.socket)
    for number in range(first, first + count):
        body = json.dumps(BODY | {"Labels": {"number": str(number)}})
        call(connection, "POST", f"/containers/create?name=many-{number}", body)


def asking(engine: Engine, *paths: str) -> Callable[[], None]:
    connection = Unix(engine.socket)

    def ask() -> None:
        for path in paths:
            call(connection, "GET", path)

    return ask


def lists(ours: Engine, theirs: Engine, runs: int) -> Iterator[Row]:
    for engine in (ours, theirs):
        create(engine, 0, FEW)
    mine, peer = asking(ours, LIST), asking(theirs, LIST)
    yield paired(f"list of {FEW}", mine, peer, 1.0, runs=runs)
    for engine in (ours, theirs):
        create(engine, FEW, MANY - FEW)
    yield paired(f"list of {MANY}", mine, peer, 1.0, runs=runs)
    tenth = asking(ours, *[f"{LIST}&limit={FEW}"] * 10)
    yield paired(f"our list of {MANY} / ten of ours of {FEW}", mine, tenth, 1.2, runs=runs)
    labels = f'{LIST}&filters={{"label":["number=7"]}}'
    yield paired(
        f"list of one of {MANY}, by label",
        asking(ours, labels),
        asking(theirs, labels),
        1.0,
        runs=runs,
    )


def inspects(ours: Engine, theirs: Engine, runs: int) -> Iterator[Row]:
    paths = [f"/containers/many-{number}/json" for number in range(MANY)]
    yield paired(
        f"inspect of {MANY}, one after the other",
        asking(ours, *paths),
        asking(theirs, *paths),
        1.0,
        runs=max(3, runs // 3),
    )


def clients(ours: Engine, theirs: Engine, runs: int) -> Iterator[Row]:
    peer = command(theirs, theirs.docker("ps", "-a"))
    for name, argv in (
        ("`tiffin ps -a` / `docker ps -a`", ours.tiffin("ps", "-a")),
        ("`docker ps -a`, our daemon / dockerd", ours.docker("ps", "-a")),
    ):
        yield paired(f"{name}, {MANY}", command(ours, argv), peer, 1.0, runs=runs)
    names = [f"many-{number}" for number in range(MANY)]
    yield paired(
        f"`tiffin inspect` / `docker inspect` of {MANY} in one command",
        command(ours, ours.tiffin("inspect", *names)),
        command(theirs, theirs.docker("inspect", *names)),
        1.0,
        runs=max(3, runs // 3),
    )


# In this order: the first makes what the others look at.
PARTS = {"lists": lists, "inspects": inspects, "clients": clients}


def main() -> int:
    return report(__doc__, "listing", PARTS)


if __name__ == "__main__":
    sys.exit(main())
