"""Tables, templates, JSON and contexts say what Docker's CLI says (golden ones: record.py)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.record import SHOWN
from tests.cli.sessions import SESSIONS, run_session
from tests.cli.test_requests import TIFFIN

with open(SHOWN, encoding="utf-8") as file:
    GOLDEN = json.load(file)


@pytest.fixture(scope="module", params=sorted(SESSIONS))
def session(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    name = str(request.param)
    directory: Path = tmp_path_factory.mktemp("session")
    return GOLDEN[name], run_session(TIFFIN, name, str(directory))


def test_a_session_says_what_dockers_cli_says(session: Any) -> None:
    expected, ours = session
    differences = {line: ours[line] for line in expected if ours[line] != expected[line]}
    wanted = {line: expected[line] for line in differences}
    assert differences == wanted
