"""A bench's command line and its table: parts of rows, printed, and with --write kept in docs/."""

from __future__ import annotations

import argparse
import compileall
import platform
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from datetime import date

from bench.engines import CHECKOUT, Engine, dockerd, tiffin
from bench.measure import Row

Part = Callable[[Engine, Engine, int], Iterator[Row]]


def report(about: str | None, name: str, parts: Mapping[str, Part], *, runs: int = 15) -> int:
    """Measure the parts on both engines, which have busybox; `name` is the table's in the page."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--runs", type=int, default=runs)
    parser.add_argument("--only", choices=parts, default="", help="one part of it")
    parser.add_argument("--write", action="store_true", help="record it in docs/performance.md")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # nothing is left then
    sys.path.insert(0, str(CHECKOUT))
    from tests.busybox import busybox_image_tar  # noqa: PLC0415 - the tests' image serves here too

    compileall.compile_dir(CHECKOUT / "tiffin", quiet=1)  # as pip does where it installs
    rows: list[Row] = []
    with tiffin() as ours, dockerd() as theirs:
        for engine in (ours, theirs):
            subprocess.run(
                engine.docker("load"), input=busybox_image_tar(), check=True, capture_output=True
            )
        for part, measure in parts.items():
            if options.only in ("", part):
                rows += measure(ours, theirs, options.runs)
    text = table(rows)
    print(text)
    if options.write:
        record(name, text)
    return 0


def table(rows: list[Row]) -> str:
    lines = [
        "| what | tiffin | peer | ratio | at most |",
        "|---|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {row.what} | {row.ours:.1f} {row.unit} | {row.theirs:.1f} {row.unit} "
        f"| {row.ratio:.3f}{'' if row.ratio <= row.target else ' **over**'} | {row.target:.3f} |"
        for row in rows
    ]
    return "\n".join(lines)


def record(name: str, text: str) -> None:
    """Between two marks of that name in the page."""
    page = CHECKOUT / "docs" / "performance.md"
    mark = f"<!-- table: {name} -->"
    before, found, rest = page.read_text().partition(mark)
    _, _, after = rest.partition(mark)
    if not found:
        raise SystemExit(f"{page} has no place for the table {name}")
    stamp = f"{date.today()}, Linux {platform.release()}, Python {platform.python_version()}"
    page.write_text(f"{before}{mark}\n{stamp}\n\n{text}\n{mark}{after}")
