"""The everyday journey against a real dockerd: `python -m bench.everyday [--only PART] [--write]`.

Needs root, Debian's docker.io and the docker CLI. Prints the table; --write puts it into
docs/performance.md.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

from bench.engines import CHECKOUT, Engine, dockerd, tiffin
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

IDLE = 50
BODY = json.dumps({"Image": "busybox", "Cmd": ["true"]})
MARK = "<!-- table: everyday -->"


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
    yield paired_cpu("the same, CPU time of everything", (ours, theirs), (mine, peer), 1 / 5)
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
        ids = subprocess.run(engine.docker("ps", "-aq"), capture_output=True, text=True, check=True)
        subprocess.run(
            engine.docker("rm", "-f", *ids.stdout.split()), stdout=subprocess.DEVNULL, check=True
        )


PARTS = {"memory": memory, "starts": starts, "clients": clients, "builds": builds}


def table(rows: list[Row]) -> str:
    lines = [
        "| what | tiffin | dockerd | ratio | at most |",
        "|---|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {row.what} | {row.ours:.1f} {row.unit} | {row.theirs:.1f} {row.unit} "
        f"| {row.ratio:.3f}{'' if row.ratio <= row.target else ' **over**'} | {row.target:.3f} |"
        for row in rows
    ]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--only", choices=PARTS, default="", help="one part of it")
    parser.add_argument("--write", action="store_true", help="record it in docs/performance.md")
    options = parser.parse_args()
    sys.path.insert(0, str(CHECKOUT))
    from tests.busybox import busybox_image_tar  # noqa: PLC0415 - the tests' image serves here too

    rows: list[Row] = []
    with tiffin() as ours, dockerd() as theirs:
        for engine in (ours, theirs):
            subprocess.run(
                engine.docker("load"), input=busybox_image_tar(), check=True, capture_output=True
            )
        for name, part in PARTS.items():
            if options.only in ("", name):
                rows += part(ours, theirs, options.runs)
    text = table(rows)
    print(text)
    if options.write:
        record(text)
    return 0


def record(text: str) -> None:
    page = CHECKOUT / "docs" / "performance.md"
    before, _, rest = page.read_text().partition(MARK)
    _, _, after = rest.partition(MARK)
    stamp = f"{date.today()}, Linux {platform.release()}, Python {platform.python_version()}"
    page.write_text(f"{before}{MARK}\n{stamp}\n\n{text}\n{MARK}{after}")


if __name__ == "__main__":
    sys.exit(main())
