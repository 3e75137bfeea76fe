"""The daemon's pid file: of one living daemon, and of nobody else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tiffin.daemon import pid_file
from tiffin.errors import EngineFailure


def test_a_pid_file_of_a_stranger_does_not_stop_the_daemon(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    path.write_text("1\n")  # init lives, and is no tiffin daemon
    with pid_file(str(path)):
        assert path.read_text() == f"{os.getpid()}\n"
    assert not path.exists()


def test_a_pid_file_of_a_living_daemon_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "pid"
    path.write_text(f"{os.getppid()}\n")
    monkeypatch.setattr("tiffin.daemon._is_daemon", lambda pid: pid == os.getppid())
    with pytest.raises(EngineFailure, match="is still running"), pid_file(str(path)):
        pass
