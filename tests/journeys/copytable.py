"""The rules of `cp` as a table: what is at the source × what is at the destination × how each is
written. One container, in which every cell has a directory of its own, and the same outside.

`python -m tests.journeys.copytable SOCKET` asks a real dockerd through the real client and writes
golden_cp.json, with which both clients and our daemon are compared.
"""

from __future__ import annotations

import io
import itertools
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

GOLDEN = Path(__file__).with_name("golden_cp.json")
CONTAINER = "copytable"

SOURCES = ("file", "dir", "to-file", "to-dir", "broken", "missing")
TARGETS = ("file", "dir", "to-file", "to-dir", "broken", "missing", "no-parent")
SUFFIXES = ("", "/", "/.")
WAYS = ("in", "out")
_DAEMON = "Error response from daemon"

Run = Callable[..., "subprocess.CompletedProcess[str]"]


class Cell(NamedTuple):
    way: str
    source: str
    source_suffix: str
    target: str
    target_suffix: str
    follow: bool

    def __str__(self) -> str:
        flag = " -L" if self.follow else ""
        return (
            f"{self.way}{flag} {self.source}{self.source_suffix} {self.target}{self.target_suffix}"
        )


def cells(*, everything: bool) -> Iterator[Cell]:
    """All of them, or those that tell most: one of a kind where the writing does not matter."""
    for way, source, target in itertools.product(WAYS, SOURCES, TARGETS):
        for first, second in itertools.product(SUFFIXES, SUFFIXES):
            for follow in (False, True):
                plain = not (first or second or follow) and source not in ("broken", "missing")
                plain = plain and target != "broken"
                if everything or plain or _tells(source, target, first, second, follow=follow):
                    yield Cell(way, source, first, target, second, follow)


def _tells(source: str, target: str, first: str, second: str, *, follow: bool) -> bool:
    if follow:
        return source.startswith("to-") and target == "dir" and not second
    if second:
        return source in ("file", "dir") and target in ("to-dir", "missing") and not first
    return source in ("dir", "to-dir") and target in ("dir", "missing")


def contents() -> Iterator[tuple[str, str, str]]:
    """What a cell's directory holds: path, kind, content or target."""
    for side in ("s", "t"):
        yield side, "dir", ""
        yield f"{side}/file", "file", f"{side} file"
        yield f"{side}/dir", "dir", ""
        yield f"{side}/dir/{side}-inside", "file", f"{side} inside"
        yield f"{side}/to-file", "link", "file-of-link"
        yield f"{side}/file-of-link", "file", f"{side} linked file"
        yield f"{side}/to-dir", "link", "dir-of-link"
        yield f"{side}/dir-of-link", "dir", ""
        yield f"{side}/dir-of-link/{side}-linked", "file", f"{side} linked inside"
        yield f"{side}/broken", "link", "nowhere"


def archive_of(chosen: list[Cell]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:

        def put(path: str, kind: str, content: str) -> None:
            entry = tarfile.TarInfo(path)
            entry.mode = 0o755 if kind == "dir" else 0o644
            if kind == "link":
                entry.type, entry.linkname = tarfile.SYMTYPE, content
                archive.addfile(entry)
            elif kind == "dir":
                entry.type = tarfile.DIRTYPE
                archive.addfile(entry)
            else:
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content.encode()))

        put("cells", "dir", "")
        for number in range(len(chosen)):
            put(f"cells/{number}", "dir", "")
            for path, kind, content in contents():
                put(f"cells/{number}/{path}", kind, content)
    return out.getvalue()


def names(cell: Cell) -> tuple[str, str]:
    target = "none/new" if cell.target == "no-parent" else cell.target
    return (
        f"s/{cell.source}{cell.source_suffix}",
        f"t/{target}{cell.target_suffix}",
    )


def run_all(run: Run, workplace: Path, chosen: list[Cell]) -> dict[str, list[object]]:
    """What each cell came to: exit code, words, and the tree of its destination.

    `run` runs a client, with `data` for its standard input; CONTAINER exists, from busybox.
    """
    packed = archive_of(chosen)
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        # Debian 12's Python has no filters yet; newer ones ask for the choice.
        archive.extraction_filter = lambda member, _: member
        archive.extractall(workplace)
    run("cp", "-", f"{CONTAINER}:/", data=packed)

    def one(number: int, cell: Cell) -> tuple[Cell, int, str]:
        inside, outside = f"{CONTAINER}:/cells/{number}/", f"{workplace}/cells/{number}/"
        source, target = names(cell)
        first, second = (outside, inside) if cell.way == "in" else (inside, outside)
        flags = ["-L"] if cell.follow else []
        done = run("cp", *flags, first + source, second + target, check=False)
        words = str(done.stderr).replace(str(workplace), "LOCAL").replace(f"/cells/{number}/", "/")
        said = [line for line in words.splitlines() if not line.startswith("time=")]
        if said and said[0].startswith(_DAEMON):  # whose words have paths of its own in them
            said = [_DAEMON]
        return cell, done.returncode, "\n".join(said)

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(one, range(len(chosen)), chosen))
    found = trees(run, workplace, chosen)
    return {str(cell): [code, words, found[at]] for at, (cell, code, words) in enumerate(answers)}


def trees(run: Run, workplace: Path, chosen: list[Cell]) -> list[list[str]]:
    data = run("cp", f"{CONTAINER}:/cells", "-", binary=True).stdout
    inside: dict[int, list[str]] = {}
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:  # type: ignore[arg-type]
        for entry in archive:
            parts = entry.name.split("/")
            if len(parts) > 3 and parts[2] == "t":
                content = ""
                if entry.isfile():
                    source = archive.extractfile(entry)
                    content = source.read().decode() if source else ""
                line = _line("/".join(parts[3:]), entry.isdir(), entry.linkname, content)
                inside.setdefault(int(parts[1]), []).append(line)
    found = []
    for number, cell in enumerate(chosen):
        lines = inside.get(number, [])
        if cell.way == "out":
            lines = list(_listed(workplace / "cells" / str(number) / "t"))
        found.append(sorted(set(lines) - _untouched()))
    return found


def _listed(top: Path) -> Iterator[str]:
    for folder, directories, files in os.walk(top):
        for name in (*directories, *files):
            path = Path(folder, name)
            link = os.readlink(path) if path.is_symlink() else ""
            is_file = path.is_file() and not link
            content = path.read_text() if is_file else ""
            yield _line(str(path.relative_to(top)), path.is_dir() and not link, link, content)


def _line(path: str, is_directory: bool, link: str, content: str) -> str:
    if is_directory:
        return f"{path}/"
    return f"{path} -> {link}" if link else f"{path}: {content}"


def _untouched() -> set[str]:
    return {
        _line(path[2:], kind == "dir", content if kind == "link" else "", content)
        for path, kind, content in contents()
        if path.startswith("t/")
    }


def client_of(argv: list[str]) -> Run:
    def run(
        *arguments: str, check: bool = True, binary: bool = False, data: bytes = b""
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run([*argv, *arguments], input=data, capture_output=True, check=False)
        if check and done.returncode:
            raise AssertionError(done.stderr.decode())
        out = done.stdout if binary else done.stdout.decode()
        return subprocess.CompletedProcess(done.args, done.returncode, out, done.stderr.decode())  # type: ignore[arg-type]

    return run


def main() -> None:
    run = client_of(["docker", "-H", f"unix://{sys.argv[1]}"])
    run("create", "--name", CONTAINER, "busybox", "true")
    with tempfile.TemporaryDirectory() as workplace:
        found = run_all(run, Path(workplace), list(cells(everything=False)))
    run("rm", CONTAINER)
    lines = [f" {json.dumps(cell)}: {json.dumps(answer)}" for cell, answer in found.items()]
    GOLDEN.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
