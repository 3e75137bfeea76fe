"""200 MB of log lines written and read back, against dockerd: `python -m bench.logs [--write]`.

Needs root, Debian's docker.io, the docker CLI and curl.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.engines import Engine
from bench.measure import Row, Unix, call, paired
from bench.report import report

BYTES = 200_000_000
LINE = "2026-01-01 12:00:00.{0:06d} INFO server.http: GET /index.html?page={0} 200 in 12 ms\n"


@contextmanager
def lines() -> Iterator[str]:
    """A file of them."""
    with tempfile.TemporaryDirectory(prefix="tfnb") as directory:
        path = Path(directory, "lines")
        piece = "".join(LINE.format(number) for number in range(10_000)).encode()
        with path.open("wb") as file:
            for _ in range(BYTES // len(piece)):
                file.write(piece)
        yield str(path)


def created(engine: Engine, path: str) -> str:
    """A container that will say all of it. Neither engine has to rotate."""
    body = {
        "Image": "busybox",
        "Cmd": ["cat", "/lines"],
        "HostConfig": {
            "Binds": [f"{path}:/lines:ro"],
            "LogConfig": {"Type": "json-file", "Config": {"max-size": "1g"}},
        },
    }
    answer = call(Unix(engine.socket), "POST", "/v1.41/containers/create", json.dumps(body))
    return str(json.loads(answer)["Id"])


def write(engine: Engine, container: str) -> None:
    call(Unix(engine.socket), "POST", f"/v1.41/containers/{container}/start")
    call(Unix(engine.socket), "POST", f"/v1.41/containers/{container}/wait")


def writer(engine: Engine, path: str) -> Callable[[], None]:
    """Each time a new container, so that every log begins empty."""

    def act() -> None:
        container = created(engine, path)
        write(engine, container)
        call(Unix(engine.socket), "DELETE", f"/v1.41/containers/{container}")

    return act


def by_curl(engine: Engine, container: str, query: str) -> Callable[[], None]:
    url = f"http://d/v1.41/containers/{container}/logs?stdout=1&stderr=1{query}"
    return lambda: _quiet(["curl", "-s", "--unix-socket", engine.socket, url])


def by_docker(engine: Engine, container: str) -> Callable[[], None]:
    return lambda: _quiet(engine.docker("logs", container))


def _quiet(argv: list[str]) -> None:
    subprocess.run(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)


def logs(ours: Engine, theirs: Engine, runs: int) -> Iterator[Row]:
    with lines() as path:
        mine, peer = writer(ours, path), writer(theirs, path)
        yield paired("200 MB of log lines written", mine, peer, 1 / 2, runs=runs)
        kept = [(engine, created(engine, path)) for engine in (ours, theirs)]
        for engine, container in kept:
            write(engine, container)
    for what, query in (("", ""), (", with times", "&timestamps=1")):
        mine, peer = (by_curl(*each, query) for each in kept)
        yield paired(f"read back by the API{what}", mine, peer, 1 / 5, runs=runs)
    mine, peer = (by_docker(*each) for each in kept)
    yield paired("read back by `docker logs`, our daemon / dockerd", mine, peer, 1 / 2, runs=runs)
    for engine, container in kept:
        call(Unix(engine.socket), "DELETE", f"/v1.41/containers/{container}")


def main() -> int:
    return report(__doc__, "logs", {"logs": logs}, runs=3)


if __name__ == "__main__":
    sys.exit(main())
