#!/usr/bin/env python3
"""Write docs/security.md from the tests in tests/threats: what is tried, what defends, who says.

script/make_security.py            writes the file
script/make_security.py --check    fails if the file is not what would be written

Each of those tests says in its docstring what is tried, "Defence:" what keeps it from succeeding,
and "Seen to fail:" how the test is known to be able to fail.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "docs" / "security.md"
TESTS = ROOT / "tests" / "threats"

HEAD = """# Security

Made by `script/make_security.py` from the tests in `tests/threats`; a test fails when it is stale.

A container is a hostile program with a kernel that it shares with us. An image, an archive, a
Dockerfile, a registry's answer and a request are texts by somebody who may mean harm. What follows
says what has been done to engines like this one, what keeps it from being done to us, and which
test shows it. Each attack is tried twice: on tiffin as it is, and with the defence taken away (or
on a double that has none), where it must succeed: so the test is known to be able to fail.

## Rules that hold throughout

1. A path inside a root is resolved by the kernel (`openat2`, inside the root, no magic links), held
   as a descriptor and used through it; never checked first and opened afterwards.
2. The `/proc` that is written to is one that we mounted or opened ourselves before the container's
   files had a say; nothing is mounted over or inside it.
3. Nothing of the host goes along: descriptors are closed, twice; the environment is the plan's.
4. The engine's own program is not dumpable inside a container and is executed through a mount that
   cannot be written. It imports nothing there and reads the image's files by intention only.
5. Archives are unpacked in a jail: a chrooted child without a network, with a budget.
6. Size, digest and diff ID are verified before anything has a name.
7. Labels, annotations and names of images are data.
8. Credentials belong to one host.

## What is not defended against

- A container with the host's ids (`--privileged`, `--userns=host`, `--network=host`, `--pid=host`,
  `--ipc=host`) has one wall less: root inside is root outside, held by capabilities, the seccomp
  filter, masks and AppArmor or SELinux alone. `--privileged` has none.
- Where the kernel has SELinux, containers are labelled only if the daemon is told so
  (`selinux-enabled`).
- Docker's seccomp profile lets 32-bit programs make sockets by `socketcall`, whose arguments no
  filter can see: AF_ALG and AF_VSOCK are reachable that way on x86-64. So they are here.
- `CAP_NET_RAW` is among Docker's fourteen: containers on one bridge can forge each other's packets
  unless it is dropped.
- A container's writable layer has a limit only where `--storage-opt size=` asks for one, on a disk
  with project quotas: else it can fill the disk that the data root is on.
- A container has 65,536 ids. Owners beyond are nobody (65534) inside, and `chown` to them fails
  (EINVAL); with `--userns=host` it has all of the host's.
"""


@dataclass(frozen=True)
class Row:
    """One test's docstring."""

    key: str
    threat: str
    defence: str
    seen: str
    test: str


TITLES = {
    "test_own_program": "The engine's own program",
    "test_mounts": "Mounts",
    "test_copying": "Copying",
    "test_archives": "Layers and blobs",
    "test_documents": "Documents and archives of images",
    "test_builds": "Builds",
    "test_image_config": "What an image says of itself",
    "test_privileges": "Privileges, devices, kernel files",
    "test_system_calls": "System calls",
    "test_ids": "Ranges of ids",
    "test_limits": "Limits",
    "test_execs": "Processes that join a container",
    "test_exhaustion": "Exhaustion of the engine",
    "test_networks": "Networks",
    "test_injection": "Names and lines",
    "test_reach": "Who reaches the engine",
}


def rows(path: Path) -> Iterator[Row]:
    """Raises ValueError for a test of a threat that does not say what it should."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        key = _threat(node)
        if key and isinstance(node, ast.FunctionDef):
            text = ast.get_docstring(node) or ""
            found = re.fullmatch(r"(.+?)\n\nDefence: (.+?)\nSeen to fail: (.+)", text, re.DOTALL)
            if found is None:
                raise ValueError(f"{path.name}::{node.name} does not say threat and defence")
            threat, defence, seen = (" ".join(part.split()) for part in found.groups())
            yield Row(key, threat, defence, seen, f"{path.stem}.py::{node.name}")


def _threat(node: ast.stmt) -> str:
    for decorator in getattr(node, "decorator_list", []):
        if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "pytest.mark.threat":
            return str(ast.literal_eval(decorator.args[0]))
    return ""


def document() -> str:
    parts = [HEAD]
    for name, title in TITLES.items():
        path = TESTS / f"{name}.py"
        lines = [
            f"| {_cell(row.threat)} | {_cell(row.defence)} | `{row.test}`: {_cell(row.seen)} |"
            for row in rows(path)
        ]
        head = ["| Threat | Defence | Test, and how it was seen to fail |", "|---|---|---|"]
        parts.append("\n".join([f"\n## {title}", "", *head, *lines, ""]))
    return "".join(parts)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def main() -> int:
    text = document()
    if "--check" in sys.argv:
        return 0 if TARGET.read_text(encoding="utf-8") == text else 1
    TARGET.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
