"""What we answer has the shape that the API's own description gives it."""

from __future__ import annotations

import pytest

from tests.unit.api.descriptions import check_answer
from tests.unit.api.kitchen import EXITED_ID, RUNNING_ID, FakeEngine, ask

VERSIONS = ["1.50", "1.55"]
ANSWERS = [
    ("GET", "/version", "/version", 200),
    ("GET", "/info", "/info", 200),
    ("GET", "/system/df", "/system/df", 200),
    ("GET", "/containers/json?all=1&size=1", "/containers/json", 200),
    ("GET", f"/containers/{RUNNING_ID}/json?size=1", "/containers/{id}/json", 200),
    ("GET", f"/containers/{EXITED_ID}/json", "/containers/{id}/json", 200),
    ("GET", "/containers/nono/json", "/containers/{id}/json", 404),
    ("GET", "/images/json", "/images/json", 200),
    ("GET", "/images/busybox/json", "/images/{name}/json", 200),
    ("GET", "/images/busybox/history", "/images/{name}/history", 200),
    ("GET", "/volumes", "/volumes", 200),
    ("GET", "/volumes/data", "/volumes/{name}", 200),
    ("POST", "/volumes/prune", "/volumes/prune", 200),
    ("GET", "/networks", "/networks", 200),
    ("GET", "/networks/bridge", "/networks/{id}", 200),
    ("POST", "/networks/prune", "/networks/prune", 200),
    ("GET", "/exec/e1/json", "/exec/{id}/json", 200),
    ("GET", "/swarm", "/swarm", 503),
    ("GET", "/plugins", "/plugins", 200),
]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("method", "target", "path", "status"), ANSWERS)
def test_an_answer_has_the_described_shape(
    version: str, method: str, target: str, path: str, status: int
) -> None:
    said = ask(FakeEngine(), method, f"/v{version}{target}")
    assert said.status == status, said.body
    check_answer(version, method, path, status, said.json())


@pytest.mark.parametrize("version", VERSIONS)
def test_a_created_container_is_answered_as_described(version: str) -> None:
    said = ask(FakeEngine(), "POST", f"/v{version}/containers/create", {"Image": "busybox"})
    assert said.status == 201
    check_answer(version, "POST", "/containers/create", 201, said.json())
