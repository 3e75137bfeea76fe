"""A thousand cycles of run, exec, failed start and removal: what is there before and after?

    sudo python -m bench.cycles [CYCLES]

Prints a table; exit code 1 if anything is left, or the daemon's memory has grown by more than a
tenth. The test suite makes a few of the same cycles (tests/journeys/test_leaks.py).
"""

from __future__ import annotations

import json
import sys
import time

from tests.cycles import counts, cycles, memory_kilobytes, threads
from tests.live import LiveDaemon

WARM_UP = 100
SETTLE_SECONDS = 5.0
MEMORY, THREADS = "memory, KB", "threads"
MOST_THREADS = 64  # they are pooled, and a pool fills as it is needed


def measure(daemon: LiveDaemon) -> dict[str, int]:
    time.sleep(SETTLE_SECONDS)
    return {**counts(daemon), THREADS: threads(daemon), MEMORY: memory_kilobytes(daemon)}


def is_as_before(name: str, before: int, after: int) -> bool:
    if name == THREADS:
        return after <= MOST_THREADS
    return after <= before * (1.1 if name == MEMORY else 1)


def main(number: int) -> int:
    with LiveDaemon() as daemon:
        daemon.load_busybox()
        cycles(daemon, WARM_UP)
        before = measure(daemon)
        began = time.monotonic()
        cycles(daemon, number)
        seconds = time.monotonic() - began
        after = measure(daemon)
        finished = daemon.tiffin("system", "check", "--format", "json", check=False)
    findings = json.loads(finished.stdout)["Findings"]
    bad = [name for name in before if not is_as_before(name, before[name], after[name])]
    sys.stdout.write(f"{number} cycles in {seconds:.0f} s\n{'':26}before    after\n")
    for name, value in before.items():
        mark = "  <--" if name in bad else ""
        sys.stdout.write(f"{name:24}{value:8}{after[name]:9}{mark}\n")
    for found in findings:
        sys.stdout.write(f"{found['Kind']} {found['Subject']}: {found['Problem']}\n")
    return 1 if bad or findings else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000))
