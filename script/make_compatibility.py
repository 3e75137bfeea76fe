#!/usr/bin/env python3
"""Write docs/compatibility.md from the tables in the code: routes of the API, commands of the CLI.

script/make_compatibility.py            writes the file
script/make_compatibility.py --check    fails if the file is not what would be written
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "script")]

import outside_judges  # noqa: E402 - beside this file

from tiffin.api import container_json, refusals  # noqa: E402
from tiffin.api.framing import MAX_HEAD_BYTES  # noqa: E402
from tiffin.api.router import Route  # noqa: E402
from tiffin.api.server import routes  # noqa: E402
from tiffin.api.versions import NEWEST, OLDEST  # noqa: E402

TARGET = ROOT / "docs" / "compatibility.md"
# In the API's description, and 404 "page not found" here: BuildKit's own connection.
ABSENT = (("POST", "/session"),)

HEAD = f"""# Compatibility

Made by `script/make_compatibility.py` from the tables in the code; a test fails when it is stale.

## Engine API

Versions {OLDEST} to {NEWEST} are spoken; a request without a version gets {NEWEST}. What is
unknown is 404 `page not found`, as in Docker. The head of a request may have
{MAX_HEAD_BYTES >> 10} KiB.

| Method | Path | Since | Answer |
|---|---|---|---|
"""

FIELDS = """
### Fields of HostConfig

All are obeyed. Accepted and of no consequence, as in Docker: {inert}.

Discarded with Docker's warning: `CpuCount`, `CpuPercent`, `KernelMemory`, and each limit that the
kernel lacks. The local volume driver's options (`type`, `o`, `device`, `size`) are obeyed as far as
the kernel can: before Linux 6.3 a tmpfs of the host maps no ids, and its owners are nobody inside.
Ports are published on IPv4 alone (Docker adds `[::]`); IPv6 addresses and SCTP are refused by name.
Mounts of type `cluster` and `npipe` are refused by name. Without a `PidsLimit` a container that is
not privileged may have 4096 processes and threads; -1 lifts that, and `inspect` says so.
"""

ABSENT_HEAD = """

### What Docker's command line has and ours has not

A test walks the help of the docker CLI: every other command and flag is accepted.

| Command | Because |
|---|---|
"""

SIGNALS = """
### What a signal does otherwise

| Command | Docker's | Ours |
|---|---|---|
| `exec`, by SIGINT or SIGTERM | ends with 0 | ends with 130 or 143: what it started goes on |
| `start -a`, by one that the program ignores | ends with 0 | waits for the end, as `run` does |
| `system dial-stdio` | ends with 0 | ends with 130 or 143 |
"""


class Anything:
    """Stands in for an engine where only the table of routes is wanted."""

    def __getattr__(self, name: str) -> Anything:
        return self


def api_rows() -> list[str]:
    stand_in: Any = Anything()
    rows = sorted(routes(stand_in), key=lambda route: (plain(route.pattern), route.method))
    return [
        f"| {route.method} | `{plain(route.pattern)}` | {route.since} | {answer_of(route)} |"
        for route in rows
    ] + [f"| {method} | `{path}` |  | absent |" for method, path in ABSENT]


def plain(pattern: str) -> str:
    return pattern.replace("*}", "}")


def answer_of(route: Route) -> str:
    if getattr(route.handler, "__module__", "") != refusals.__name__:
        words = ["yes", "ends with its client" if route.dies_with_client else "", route.limits]
        return "; ".join(word for word in words if word)
    return {
        "no_plugins": "an empty list",
        "no_swarm": "refused: no swarm mode",
    }.get(route.handler.__name__, "refused as by a Docker outside a swarm, without plugins")


def fields() -> str:
    def names(found: Any) -> str:
        return ", ".join(f"`{name}`" for name in sorted(found))

    return FIELDS.format(
        inert=names(container_json.INERT_HOST_FIELDS),
    )


def cli_rows() -> list[str]:
    """The CLI's own table says what it has; each command says its usage."""
    commands: dict[str, tuple[str, str]] = importlib.import_module("tiffin.cli.main").COMMANDS
    rows = []
    for words, (module, name) in sorted(commands.items()):
        command = getattr(importlib.import_module(f"tiffin.cli.{module}"), name)
        rows.append(f"| `tiffin {words}` | {summary(command)} |")
    return rows


def absent_rows() -> list[str]:
    absent: dict[str, str] = importlib.import_module("tiffin.cli.absent").ABSENT
    return [f"| `docker {name}` | {why} |" for name, why in sorted(absent.items())]


def summary(command: Any) -> str:
    text = str(getattr(command, "summary", "") or getattr(command, "about", ""))
    return text.replace("|", "\\|")


def document() -> str:
    parts = [HEAD + "\n".join(api_rows()) + "\n", fields()]
    rows = cli_rows()
    parts.append("\n## Command line\n\n| Command | What it does |\n|---|---|\n" + "\n".join(rows))
    parts.append(ABSENT_HEAD + "\n".join(absent_rows()))
    return "".join(parts) + "\n" + SIGNALS + outside_judges.section()


def main(arguments: list[str]) -> int:
    wanted = document()
    if arguments == ["--check"]:
        if TARGET.read_text(encoding="utf-8") == wanted:
            return 0
        sys.stderr.write(f"{TARGET} is stale: run script/make_compatibility.py\n")
        return 1
    TARGET.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
