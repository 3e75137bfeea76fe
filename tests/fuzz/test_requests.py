"""Any request to any route is answered in known words; the daemon serves on."""

from __future__ import annotations

import json
import random
from typing import Any
from urllib.parse import quote

import pytest

from tests.api.conftest import Daemon
from tests.api.wire import Answer, UnixConnection
from tests.busybox import busybox_image_tar
from tiffin.api.server import routes

pytestmark = pytest.mark.root

ROUNDS = 3
NAMES = [
    "web", "nono", "a/b", "..", "sha256:" + "0" * 64, "\0", "busybox", "é", "x" * 300, "-", "@",
    "busybox@sha256:" + "1" * 64, "BAD", "0", "none", "bridge", " ", "a\nb",
]  # fmt: skip
VALUES = [
    "", "1", "0", "-1", "9" * 20, "x", "true", "{}", "[]", '{"a":["b"]}', '{"label":["a"]}', "\n",
    "../../etc", "é", "linux/amd64", "a:b:c", "null", "1e9", "/etc/passwd", "/", "busybox",
]  # fmt: skip
KEYS = (
    "all limit size filters since before name platform signal t stdout stderr tail until stream "
    "timestamps stdin logs detachKeys h w ps_args path force v link condition repo tag author "
    "comment pause changes container fromImage fromSrc dockerfile buildargs labels target q "
    "memory cpusetcpus networkmode extrahosts ulimits names type dangling scope"
).split()
HOSTS: list[dict[str, Any]] = [
    {"Memory": -5, "Binds": ["x:y:z:w"], "PortBindings": {"x": [{"HostPort": "y"}]}},
    {"Ulimits": [{"Name": "x"}], "Devices": [{}], "Sysctls": {"a": "b"}, "SecurityOpt": ["x"]},
    {"Tmpfs": {"rel": "x"}, "CapAdd": ["BAD"], "NetworkMode": "host", "PidMode": "x"},
    {"IpcMode": "y", "UsernsMode": "z", "LogConfig": {"Type": "x"}, "NetworkMode": "container:n"},
]
BODIES: list[Any] = [
    None, {}, [], "x", b"\xff\xfe", b"{", b"garbage" * 100, {"Cmd": ["true"]}, {"Name": "a b"},
    {"Name": "x", "Driver": "y"}, {"Container": "web"}, {"Detach": True, "ConsoleSize": [1]},
    {"Cmd": ["x"], "Env": ["="], "User": "\0", "WorkingDir": "rel"},
    {"username": "u", "password": "p", "serveraddress": "127.0.0.1:1"},
    {"Image": "busybox", "Cmd": ["true"], "HostConfig": {"NetworkMode": "none"}},
    *({"Image": "busybox", "HostConfig": host} for host in HOSTS),
]  # fmt: skip
# They go on until something happens, or ask the internet.
LASTING = ("/events", "/containers/{id}/wait", "/containers/{id}/attach", "/images/create", "/auth")


class Anything:
    def __getattr__(self, name: str) -> Anything:
        return self


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_any_request_is_answered_in_known_words(daemon: Daemon, seed: int) -> None:
    chance = random.Random(seed)
    image = busybox_image_tar()
    sleeper = {"Image": "busybox", "Cmd": ["sleep", "99"], "HostConfig": {"NetworkMode": "none"}}
    stand_in: Any = Anything()
    for route in routes(stand_in):
        if route.pattern in LASTING:
            continue
        if daemon.wire("GET", "/images/busybox/json").status == 404:
            daemon.wire("POST", "/images/load", image, content_type="application/x-tar")
        daemon.wire("POST", "/containers/create?name=web", sleeper | {"StopSignal": "SIGKILL"})
        path = _filled(route.pattern, chance)
        query = "&".join(
            f"{key}={quote(chance.choice(VALUES))}"
            for key in chance.sample(KEYS, chance.randint(0, 3))
        )
        if route.pattern.endswith("/stats"):  # "0" may well be the beginning of the container's id
            query = f"stream=0&{query}"
        body = chance.choice(BODIES) if route.method in ("POST", "PUT") else None
        answer = _ask(daemon.path, route.method, f"{path}?{query}", body)
        asked = f"{route.method} {path}?{query} {body!r:.200}"
        assert b"internal error" not in answer.body[:100], asked
        if answer.status == 500:
            assert answer.message, asked
    assert daemon.wire("GET", "/_ping").status == 200
    assert "Traceback" not in (daemon.root / "log").read_text(errors="replace")


def _filled(pattern: str, chance: random.Random) -> str:
    for placeholder in ("{id}", "{name}", "{name*}"):
        pattern = pattern.replace(placeholder, quote(chance.choice(NAMES), safe="/:@"))
    return pattern


def _ask(path: str, method: str, target: str, body: Any) -> Answer:
    data = body if isinstance(body, bytes | type(None)) else json.dumps(body).encode()
    connection = UnixConnection(path)
    try:
        connection.request(method, target, data, {"Content-Type": "application/json"})
        response = connection.getresponse()
        return Answer(response.status, {}, response.read(1_000_000))
    finally:
        connection.close()
