"""A kill at any step of a load leaves rubbish that is swept, never a name for half an image."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.busybox import busybox_image_id, busybox_image_tar
from tests.imagebench import Bench

pytestmark = pytest.mark.root

CHECKOUT = Path(__file__).resolve().parents[2]
_LOAD = """
import sys
from tests.busybox import busybox_image_tar
from tests.imagebench import Bench
Bench(root=sys.argv[1]).load(busybox_image_tar())
"""


@pytest.mark.parametrize(
    "point",
    [
        "blob-written:1",
        "blob-renamed:1",
        "blob-renamed:2",
        "layer-unpacked:1",
        "snapshots-synced:1",
        "image-row-written:1",
    ],
)
def test_a_killed_load_can_be_repeated(short_tmp: str, point: str) -> None:
    environment = os.environ | {"TIFFIN_FAIL_AT": point, "PYTHONPATH": str(CHECKOUT)}
    command = [sys.executable, "-c", _LOAD, short_tmp]
    killed = subprocess.run(command, env=environment, capture_output=True, check=False)

    with Bench(root=short_tmp) as bench:
        bench.run(bench.images.sweep())
        assert killed.returncode == 137, killed.stderr.decode()
        assert bench.storage.database.tags() == {}
        assert bench.is_bare() or point.startswith("image-row")
        bench.load(busybox_image_tar())
        assert bench.run(bench.images.get("busybox")).id == busybox_image_id()
        assert "bin/busybox" in bench.files("busybox")
