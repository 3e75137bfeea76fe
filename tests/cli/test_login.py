"""Logins are kept where the user's configuration says: in itself, or by a program of the user's."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.fake_daemon import Answer, FakeDaemon
from tests.cli.test_requests import TIFFIN
from tests.patience import patient

HELPER = """#!/bin/sh
echo "$1" >>"$(dirname "$0")/verbs"
case $1 in
store) cat >"$(dirname "$0")/kept" ;;
get) cat "$(dirname "$0")/kept" ;;
erase) rm "$(dirname "$0")/kept" ;;
esac
"""


@pytest.fixture
def daemon() -> Iterator[FakeDaemon]:
    with FakeDaemon() as found:
        status = {"Status": "Login Succeeded", "IdentityToken": ""}
        found.routes["POST /auth"] = Answer(document=status)
        yield found


def run(
    program: list[str], daemon: FakeDaemon, home: Path, *words: str, said: str = ""
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*program, "-H", daemon.host, *words],
        input=said,
        capture_output=True,
        text=True,
        timeout=patient(60),
        env={"PATH": f"{home}:{os.environ['PATH']}", "DOCKER_CONFIG": str(home)},
        check=False,
    )


def log_in(program: list[str], daemon: FakeDaemon, home: Path) -> str:
    words = ("login", "-u", "me", "--password-stdin", "registry.test")
    done = run(program, daemon, home, *words, said="secret\n")
    assert done.returncode == 0, done.stderr
    return done.stderr


def document(home: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((home / "config.json").read_text())
    return found


def test_without_a_helper_it_is_in_the_configuration(
    program: list[str], daemon: FakeDaemon, tmp_path: Path
) -> None:
    words = log_in(program, daemon, tmp_path)

    auth = base64.b64encode(b"me:secret").decode()
    assert document(tmp_path)["auths"] == {"registry.test": {"auth": auth}}
    assert "unencrypted" in words


@pytest.mark.parametrize(
    "configured", [{"credsStore": "mine"}, {"credHelpers": {"registry.test": "mine"}}]
)
def test_with_a_helper_it_is_nowhere_else(
    program: list[str], daemon: FakeDaemon, tmp_path: Path, configured: dict[str, object]
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(configured))
    (tmp_path / "docker-credential-mine").write_text(HELPER)
    (tmp_path / "docker-credential-mine").chmod(0o755)

    words = log_in(program, daemon, tmp_path)

    kept = {"ServerURL": "registry.test", "Username": "me", "Secret": "secret"}
    assert json.loads((tmp_path / "kept").read_text()) == kept
    assert document(tmp_path)["auths"] == {"registry.test": {}}
    assert "unencrypted" not in words

    assert run(program, daemon, tmp_path, "logout", "registry.test").returncode == 0

    assert not (tmp_path / "kept").exists()
    assert not document(tmp_path).get("auths")


def test_a_helper_that_is_not_there_keeps_nothing(
    program: list[str], daemon: FakeDaemon, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"credsStore": "gone"}))

    words = ("login", "-u", "me", "--password-stdin", "registry.test")
    done = run(program, daemon, tmp_path, *words, said="secret\n")

    assert done.returncode == 1
    assert "Error saving credentials: " in done.stderr
    assert "auths" not in document(tmp_path)


def test_a_token_that_a_helper_has_is_used(daemon: FakeDaemon, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"credsStore": "mine"}))
    (tmp_path / "docker-credential-mine").write_text(HELPER)
    (tmp_path / "docker-credential-mine").chmod(0o755)
    token = {"ServerURL": "registry.test", "Username": "<token>", "Secret": "abc"}
    (tmp_path / "kept").write_text(json.dumps(token))

    done = run(TIFFIN, daemon, tmp_path, "login", "registry.test")

    assert done.returncode == 0
    assert daemon.asked("POST /auth").document == {
        "identitytoken": "abc",
        "serveraddress": "registry.test",
    }
