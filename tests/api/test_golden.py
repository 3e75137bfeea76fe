"""The same requests as a real dockerd was asked: the same status codes, words and shapes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.api import deviations
from tests.api.conftest import Daemon
from tests.api.replay import run
from tests.api.scenario import JOURNEYS

pytestmark = pytest.mark.root

GOLDEN = Path(__file__).with_name("golden")


@pytest.mark.parametrize("journey", JOURNEYS)
def test_a_journey_is_answered_as_the_recorded_dockerd_answered_it(
    daemon: Daemon, journey: str
) -> None:
    document = json.loads((GOLDEN / f"{journey}.json").read_text(encoding="utf-8"))
    daemon.wire.version = f"v{document['version']}"
    ours = run(daemon.wire, JOURNEYS[journey])
    daemon.wire.version = ""
    problems = [
        f"{step}: {problem}"
        for step, recorded in document["answers"].items()
        for problem in differences(journey, step, recorded, ours[step])
    ] + [
        f"{step.name}: {ours[step.name]['body']}, recorded {recorded}"
        for step in JOURNEYS[journey]
        if step.events
        and (recorded := document["answers"][step.name]["body"])
        != [deviations.as_recorded(event) for event in ours[step.name]["body"]]
    ]
    assert not problems, "\n".join([*problems, daemon.log])


def differences(
    journey: str, step: str, recorded: dict[str, Any], ours: dict[str, Any]
) -> Iterator[str]:
    status, _ = deviations.STATUS.get((journey, step), (recorded["status"], ""))
    if ours["status"] != status:
        yield f"status {ours['status']}, recorded {status}: {ours['body']!r:.300}"
        return
    if status != recorded["status"] or (journey, step) in deviations.WORDS:
        return
    if recorded["status"] >= 400:
        if words(ours["body"]) != words(recorded["body"]):
            yield f"says {words(ours['body'])!r}, recorded {words(recorded['body'])!r}"
        return
    yield from shape_differences(recorded["body"], ours["body"], "$")


def words(body: Any) -> str:
    """Newer Dockers begin their messages with a small letter."""
    text = (body["message"] if isinstance(body, dict) else str(body)).strip()
    return text[:1].lower() + text[1:]


def shape_differences(recorded: Any, ours: Any, at: str) -> Iterator[str]:
    """Every field that was recorded is there, with the same type; null fits all."""
    if recorded is None or ours is None:
        return
    if isinstance(recorded, dict) and isinstance(ours, dict):
        for name, value in recorded.items():
            if name in ours:
                yield from shape_differences(value, ours[name], f"{at}.{name}")
            elif name not in deviations.SHAPE and "<" not in name:
                yield f"{at}.{name} is missing"
    elif isinstance(recorded, list) and isinstance(ours, list):
        if recorded and ours:
            yield from shape_differences(recorded[0], ours[0], f"{at}[]")
    elif type(recorded) is not type(ours):
        yield f"{at} is {ours!r}, recorded {recorded!r}"
