"""Record tests/api/golden/*.json from a real dockerd (Debian's docker.io).

It runs privately, as root:

python -m tests.api.record_golden [journey]...
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.api.replay import run
from tests.api.scenario import JOURNEYS
from tests.api.wire import Wire
from tests.busybox import busybox_image_tar

GOLDEN = Path(__file__).with_name("golden")


@contextmanager
def dockerd() -> Iterator[Wire]:
    """A dockerd that touches nothing outside one temporary directory."""
    root = Path(tempfile.mkdtemp(prefix="golden"))
    path = f"{root}/docker.sock"
    options = f"--data-root {root}/data --exec-root {root}/exec -H unix://{path}"
    options += f" --pidfile {root}/pid --bridge none --iptables=false --ip6tables=false"
    with open(root / "log", "wb") as log:
        daemon = subprocess.Popen(["dockerd", *options.split()], stdout=log, stderr=log)
        try:
            wire = Wire(path)
            _await(wire, daemon, root / "log")
            yield wire
        finally:
            daemon.send_signal(signal.SIGTERM)
            daemon.wait(60)
            shutil.rmtree(root, ignore_errors=True)


def _await(wire: Wire, daemon: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and daemon.poll() is None:
        try:
            if wire("GET", "/_ping").status == 200:
                return
        except OSError:
            time.sleep(0.1)
    raise SystemExit(f"dockerd does not serve:\n{log.read_text()[-2000:]}")


def main(names: list[str]) -> None:
    for name in names or JOURNEYS:
        with dockerd() as wire:
            wire.timeout = 120
            wire("POST", "/images/load", busybox_image_tar(), content_type="application/x-tar")
            about = wire("GET", "/version").json()
            wire.version = f"v{about['ApiVersion']}"
            document = {
                "recorded_from": f"dockerd {about['Version']} (API {about['ApiVersion']})",
                "version": about["ApiVersion"],
                "answers": run(wire, JOURNEYS[name]),
            }
        text = json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False)
        (GOLDEN / f"{name}.json").write_text(text + "\n", encoding="utf-8")
        print(f"{name}: {len(document['answers'])} answers")


if __name__ == "__main__":
    main(sys.argv[1:])
