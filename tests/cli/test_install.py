"""`system install` writes units that systemd takes, and nothing else; uninstall takes them away."""

from __future__ import annotations

import configparser
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.cli.test_requests import TIFFIN


def tiffin(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*TIFFIN, *words], capture_output=True, text=True, check=False)


def unit(path: Path) -> configparser.RawConfigParser:
    found = configparser.RawConfigParser(strict=False)
    found.optionxform = str  # type: ignore[assignment,method-assign]
    found.read_string(path.read_text())
    return found


def test_two_units_are_written_and_told(tmp_path: Path) -> None:
    words = ("--directory", str(tmp_path), "--socket", "/run/x/d.sock", "--group", "adm")
    done = tiffin("system", "install", *words, "--", "--data-root", "/srv/a 100%", "-D")
    assert done.returncode == 0, done.stderr
    paths = [tmp_path / "tiffin.service", tmp_path / "tiffin.socket"]
    assert done.stdout.split() == [str(path) for path in paths]
    assert sorted(os.listdir(tmp_path)) == ["tiffin.service", "tiffin.socket"]
    service, listener = map(unit, paths)
    command = service["Service"]["ExecStart"]
    assert command.endswith(" daemon -H fd:// --data-root '/srv/a 100%%' -D")
    assert command.startswith(("/", "'/"))
    assert service["Service"]["Type"] == "notify"
    assert service["Service"]["KillMode"] == "process"
    assert service["Unit"]["Requires"] == "tiffin.socket"
    assert listener["Socket"]["ListenStream"] == "/run/x/d.sock"
    assert listener["Socket"]["SocketGroup"] == "adm"


def test_a_file_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    mine = tmp_path / "tiffin.service"
    mine.write_text("[Service]\n")
    for verb in ("install", "uninstall"):
        done = tiffin("system", verb, "--directory", str(tmp_path))
        assert done.returncode == 1
        assert "was not written by tiffin" in done.stderr
        assert mine.read_text() == "[Service]\n"
        assert os.listdir(tmp_path) == ["tiffin.service"]
    assert tiffin("system", "install", "--force", "--directory", str(tmp_path)).returncode == 0
    assert "[Install]" in mine.read_text()


def test_what_was_installed_can_be_installed_again_and_taken_away(tmp_path: Path) -> None:
    words = ("--directory", str(tmp_path))
    for _ in range(2):
        assert tiffin("system", "install", *words).returncode == 0
    done = tiffin("system", "uninstall", *words)
    assert len(done.stdout.split()) == 2
    assert os.listdir(tmp_path) == []
    again = tiffin("system", "uninstall", *words)
    assert (again.returncode, again.stdout) == (0, "")
    assert again.stderr == f"nothing to remove in {tmp_path}\n"


def test_a_directory_that_is_not_there_is_named() -> None:
    done = tiffin("system", "install", "--directory", "/no/such")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "cannot write /no/such/tiffin.service: no such file or directory\n"


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd-analyze here")
def test_systemd_has_nothing_to_say_against_them(tmp_path: Path) -> None:
    tiffin("system", "install", "--directory", str(tmp_path))
    units = [str(tmp_path / "tiffin.service"), str(tmp_path / "tiffin.socket")]
    done = subprocess.run(
        ["systemd-analyze", "verify", *units], capture_output=True, text=True, check=False
    )
    assert "tiffin" not in done.stderr
