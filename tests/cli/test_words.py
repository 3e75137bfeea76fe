"""What one hears of a wrong command line, and its exit code: Docker's (golden ones: record.py)."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.cli.cases import WORDS, words_of
from tests.cli.fake_daemon import FakeDaemon
from tests.cli.record import SAID
from tests.cli.test_requests import TIFFIN

with open(SAID, encoding="utf-8") as file:
    GOLDEN = json.load(file)["lines"]


@pytest.mark.parametrize("line", WORDS)
def test_a_wrong_command_line_is_refused_in_dockers_words(line: str, tmp_path: Path) -> None:
    with FakeDaemon() as daemon:
        done = subprocess.run(
            [*TIFFIN, "-H", daemon.host, *words_of(line, str(tmp_path))],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
            check=False,
        )

    expected = GOLDEN[line]
    ours = {"code": done.returncode, "stdout": done.stdout, "stderr": done.stderr}
    for stream in ("stdout", "stderr"):
        ours[stream] = str(ours[stream]).replace("tiffin", "docker").replace(str(tmp_path), "{tmp}")
    assert ours == expected
