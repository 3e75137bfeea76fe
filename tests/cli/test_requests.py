"""Our CLI asks a daemon what Docker's asks it, request by request (golden ones: record.py)."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import pytest

from tests.cli.cases import command_lines
from tests.cli.fake_daemon import CONTAINER_ID
from tests.cli.record import CREATE, REQUESTS, requests_for
from tests.cli.recording import beyond

MAIN = os.path.join(os.path.dirname(__file__), "..", "..", "tiffin", "__main__.py")
TIFFIN = [sys.executable, "-I", "-S", os.path.abspath(MAIN)]

with open(REQUESTS, encoding="utf-8") as file:
    GOLDEN = json.load(file)


def left_out(line: str, request: dict[str, Any]) -> bool:
    """What Docker's CLI asks and ours need not."""
    asked = request["request"]
    return (
        # Nobody waits for a container in the background.
        (asked.endswith("/wait") and (" -d" in line or " -itd" in line))
        # exec's first answer says as well that there is no such container.
        or (asked == "GET /containers/one/json" and line.startswith(("exec", "logs")))
        # Ingress networks are a swarm's.
        or (asked == "GET /networks/n" and line.startswith("network rm"))
    )


def comparable(line: str, request: dict[str, Any]) -> dict[str, Any]:
    """The same request in the same words: by name for by id, no filters for empty ones."""
    asked = request["request"].replace(CONTAINER_ID + "/logs", "one/logs")
    query = {name: value for name, value in request["query"].items() if value != ""}
    keep = query if asked.startswith("POST /build/prune") else request["query"]
    return {**request, "request": asked, "query": keep}


@pytest.mark.parametrize("line", command_lines())
def test_a_command_line_asks_what_dockers_cli_asks(line: str) -> None:
    expected = [
        comparable(line, each) for each in GOLDEN["lines"][line] if not left_out(line, each)
    ]

    asked = requests_for(TIFFIN, line)

    for each in asked:
        if each["request"] == CREATE:
            each["body"] = beyond(each["body"], GOLDEN["plain"])
    assert [each for each in asked if not left_out(line, each)] == expected
