"""The section of docs/compatibility.md on clients' own test suites, kept by hand.

Each suite ran from its repository against our socket and against Debian's dockerd 20.10, in a
network namespace of its own without the internet; the images that it names were made of busybox and
served by a registry that is the mirror of Docker Hub.
"""

from __future__ import annotations

from typing import NamedTuple


class Judge(NamedTuple):
    suite: str
    what: str
    theirs: int  # tests that dockerd passes
    ours: int
    exceptions: tuple[str, ...]  # what dockerd passes and we do not, and why


JUDGES = (
    Judge(
        "docker-py 7.2.0 and 12 commits, `tests/integration`",
        "API 1.41; without networks, swarm and what belongs to it, plugins, credentials",
        221,
        217,
        (
            "5 tests make networks of their own: not there yet",
            "`test_build_with_cache_from`: `cache_from` adds to the local cache, as with BuildKit",
        ),
    ),
    Judge(
        "dockerode 5.0.1, `test`",
        "without swarm, plugins, checkpoints",
        103,
        96,
        (
            "4 tests make networks of their own: not there yet",
            "3 tests build with BuildKit: `RUN --mount`, and its session: refused or absent",
        ),
    ),
    Judge(
        "testcontainers-python 4.15.0, `tests/core`",
        "without Compose, Docker in Docker, and the modules of other projects",
        441,
        443,
        ("5 tests make networks of their own: not there yet",),
    ),
)

HEAD = """
## Outside judges

Clients' own test suites, against our socket and against Debian's dockerd 20.10 in the same way. Of
what dockerd passes there, we pass all but the exceptions. Where we pass more, dockerd has an error
that newer ones have not, or wants the internet or a kernel that was not there. A few tests read a
log or a state right after a start without waiting: now and then one of them is too early, or too
late, for a start and an end within milliseconds.

| Suite | dockerd passes | tiffin passes | Exceptions |
|---|---:|---:|---|
"""


def section() -> str:
    rows = [
        f"| {judge.suite} ({judge.what}) | {judge.theirs} | {judge.ours} "
        f"| {'; '.join(judge.exceptions)} |"
        for judge in JUDGES
    ]
    return HEAD + "\n".join(rows) + "\n"
