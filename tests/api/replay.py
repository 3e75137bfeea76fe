"""Run a journey of scenario.py on an engine; answers come normalised, for comparison."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from tests.api.scenario import Step
from tests.api.wire import Answer, Wire

_REPLACEMENTS = (
    (re.compile(r"sha256:[0-9a-f]{64}"), "sha256:<digest>"),
    (re.compile(r"\b[0-9a-f]{64}\b"), "<id>"),
    (re.compile(r"\b(?=[0-9a-f]*[a-f])(?=[0-9a-f]*[0-9])[0-9a-f]{12}\b"), "<short id>"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)"), "<time>"),
    (re.compile(r"/tmp/(golden|tfn)[a-z0-9_]+"), "<root>"),
    (re.compile(r"dial tcp .*"), "<dialling failed>"),
)
_KEPT_TIMES = {"0001-01-01T00:00:00Z"}


def run(wire: Wire, steps: Iterable[Step]) -> dict[str, Any]:
    """Step name -> {"status", "type", "body"}."""
    saved: dict[str, str] = {}
    answers = {}
    for step in steps:
        path = step.path
        for name, value in {**saved, "now": str(int(time.time()) + 1)}.items():
            path = path.replace("{" + name + "}", value)
        asked = Wire(wire.path, wire.version if step.versioned else "", wire.timeout)
        answer = asked(
            step.method,
            quote(path, safe="/?=&:,{}%+-"),
            step.body,
            content_type=step.content_type,
        )
        answers[step.name] = {**normal(answer), **_events(step, answer)}
        if step.shape_only:
            answers[step.name]["body"] = shape(answers[step.name]["body"])
        if answer.status < 300:
            saved |= {name: answer.json()[key] for name, key in step.save.items()}
    return answers


def _events(step: Step, answer: Answer) -> dict[str, Any]:
    """Each as its type, its action and the names of its attributes."""
    if not step.events or answer.status != 200:
        return {}
    return {
        "body": [
            " ".join([event["Type"], event["Action"], *sorted(event["Actor"]["Attributes"])])
            for event in answer.lines()
        ]
    }


def normal(answer: Answer) -> dict[str, Any]:
    kind = answer.headers.get("content-type", "")
    return {"status": answer.status, "type": kind.partition(";")[0], "body": _body(answer, kind)}


def _body(answer: Answer, kind: str) -> Any:
    text = answer.body.decode("utf-8", "replace")
    if "json" not in kind:
        return clean(text)
    try:
        return clean(json.loads(text))
    except ValueError:
        return clean([json.loads(line) for line in text.splitlines() if line.strip()])


def clean(value: Any) -> Any:
    if isinstance(value, dict):
        return {clean(key): clean(item) for key, item in value.items()}
    if isinstance(value, list):
        return [clean(item) for item in value]
    if isinstance(value, str) and value not in _KEPT_TIMES:
        for pattern, replacement in _REPLACEMENTS:
            value = pattern.sub(replacement, value)
    return value


def shape(value: Any) -> Any:
    """Types in the place of values."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return None if value is None else f"<{type(value).__name__}>"
