"""Every route of the API's description, asked of a real daemon: its status and its body's shape.

The descriptions are of 1.50 and 1.55; of older versions what holds for all: the same status, and an
error that is one.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.api.conftest import Daemon, load_busybox
from tests.api.described_calls import CALLS, Call
from tests.api.wire import Answer, Wire
from tests.unit.api.descriptions import description, problems_of
from tiffin.api.versions import parse_version

pytestmark = pytest.mark.root

DESCRIBED = ("1.50", "1.55")
OLDER = ("1.24", "1.41", "1.44", "1.47")
_ABSENT = re.compile("/(swarm|nodes|services|tasks|secrets|configs|plugins)")
_LINES = ("application/jsonl", "application/json-seq", "application/x-ndjson")
_SLEEP = {"Image": "busybox", "Cmd": ["sleep", "300"], "StopSignal": "SIGKILL", "Tty": True}
_FULL = _SLEEP | {
    "Labels": {"a": "b"},
    "ExposedPorts": {"80/tcp": {}},
    "Healthcheck": {"Test": ["CMD", "true"], "Interval": 10**12},
    "HostConfig": {
        "PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1"}]},
        "Mounts": [
            {"Type": "volume", "Source": "kept", "Target": "/kept"},
            {"Type": "tmpfs", "Target": "/swift"},
        ],
        "Memory": 64 << 20,
    },
}


class World:
    """A daemon with a container in each state."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.ids = {
            "running": self.create("running", _FULL),
            "exited": self.create("exited", {"Image": "busybox", "Cmd": ["touch", "/made"]}),
            "created": self.create("created", {"Image": "busybox"}),
        }
        self.start("running")
        self.start("exited")
        wire("POST", "/containers/exited/wait")
        self.ids["exec"] = wire("POST", "/containers/running/exec", {"Cmd": ["true"]}).json()["Id"]
        wire("POST", f"/exec/{self.ids['exec']}/start", {})

    def create(self, name: str, body: dict[str, Any]) -> str:
        answer = self.wire("POST", f"/containers/create?name={name}", body)
        assert answer.status == 201, answer.body
        return str(answer.json()["Id"])

    def start(self, name: str) -> None:
        answer = self.wire("POST", f"/containers/{name}/start")
        assert answer.status == 204, answer.body

    def ask(self, version: str, call: Call) -> Answer:
        places = self.ids | {"now": str(int(time.time()))}
        own = re.search(r"\{(fresh|busy)\}", call.target)
        if own:
            places[own[1]] = self.create("own", _SLEEP)
        if own and own[1] == "busy":
            self.start("own")
        target = re.sub(r"\{(\w+)\}", lambda found: places[found[1]], call.target)
        try:
            return self.wire(
                call.method,
                f"/v{version}{target}",
                call.body,
                content_type=call.kind,
                headers=call.headers,
            )
        finally:
            if own:
                self.wire("DELETE", f"/containers/{places[own[1]]}?force=1")


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    daemon = Daemon()
    try:
        load_busybox(daemon)
        yield World(daemon.wire)
    finally:
        daemon.close()


def _called() -> list[tuple[str, Call]]:
    versions = [parse_version(version) for version in (*OLDER, *DESCRIBED)]
    return [
        (str(version), call)
        for version in versions
        for call in CALLS
        if not version.before(call.since)
    ]


@pytest.mark.parametrize(("version", "call"), _called(), ids=str)
def test_an_answer_is_as_described(world: World, version: str, call: Call) -> None:
    answer = world.ask(version, call)

    assert answer.status == call.status, answer.body[:500]
    if answer.status >= 400:
        assert set(answer.json()) == {"message"}
    if version in DESCRIBED:
        assert _problems(version, call, answer) == []
    if call.path == "/containers/create" and answer.status == 201:
        world.wire("DELETE", f"/containers/{answer.json()['Id']}")


def _problems(version: str, call: Call, answer: Answer) -> list[str]:
    operation = description(version)["paths"][call.path][call.method.lower()]
    described = operation["responses"].get(answer.status)
    if described is None:
        return [] if answer.status >= 400 else [f"status {answer.status} is not described"]
    schema = described.get("schema")
    if schema is None or call.method == "HEAD":
        return []
    return [
        problem
        for document in _documents(answer)
        for problem in problems_of(version, schema, document)
    ]


def _documents(answer: Answer) -> list[Any]:
    """The JSON values of an answer: none of a tar or a log."""
    kind = answer.headers.get("content-type", "").partition(";")[0]
    if kind in _LINES:
        return [json.loads(line) for line in re.split(rb"[\n\x1e]+", answer.body) if line]
    return answer.lines() if kind == "application/json" else []


@pytest.mark.parametrize("version", DESCRIBED)
def test_every_described_route_is_called(version: str) -> None:
    called = {(call.method, call.path) for call in CALLS}
    described = {
        (method.upper(), path)
        for path, methods in description(version)["paths"].items()
        for method in methods
        if not _ABSENT.match(path)
    }

    assert described - called == set()


@pytest.mark.parametrize("version", DESCRIBED)
def test_what_a_host_alone_has_not_is_refused_in_words(world: World, version: str) -> None:
    for path, methods in description(version)["paths"].items():
        for method in methods if _ABSENT.match(path) else ():
            target = re.sub(r"\{\w+\}", "nono", path)
            answer = world.wire(method.upper(), f"/v{version}{target}", {})
            if (method, path) == ("get", "/plugins"):
                assert answer.json() == []
            else:
                assert answer.status in (404, 501, 503), (method, path, answer.body)
                assert answer.message
