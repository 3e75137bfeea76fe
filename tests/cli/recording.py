"""What a CLI asks of a daemon for a command line, and the fake daemon's answers to it."""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
from typing import Any

from tests.cli.cases import words_of
from tests.cli.fake_daemon import CONTAINER_ID, Answer, FakeDaemon, Request, error
from tests.patience import patient

INSPECTED: dict[str, Any] = {
    "Id": CONTAINER_ID,
    "Name": "/one",
    "State": {"Running": True, "Status": "running"},
    "Config": {"Tty": False, "OpenStdin": False, "Cmd": ["sh"]},
    "HostConfig": {"AutoRemove": False},
    "NetworkSettings": {"Ports": {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}]}},
}


def answer_anything(request: Request) -> Answer:
    """Whatever lets a client go on."""
    path, method = request.path, request.method
    known: dict[str, Any] = {
        "/containers/one/json": INSPECTED,
        "/containers/one/exec": {"Id": "e" * 64},
        f"/exec/{'e' * 64}/json": {"ExitCode": 0, "Running": False},
        "/info": {"ID": "x", "Swarm": {"ControlAvailable": False}, "OSType": "linux"},
        "/version": {"Version": "1", "ApiVersion": "1.50"},
        "/volumes": {"Volumes": [], "Warnings": None},
        "/volumes/create": {"Name": "v"},
        "/networks/create": {"Id": "n" * 64, "Warning": ""},
        "/containers/one/top": {"Titles": ["PID"], "Processes": [["1"]]},
        "/containers/one/update": {"Warnings": None},
        "/containers/one/wait": {"StatusCode": 0},
        "/commit": {"Id": "sha256:" + "c" * 64},
        "/build/prune": {"SpaceReclaimed": 0},
        "/system/df": {"LayersSize": 0},
    }
    lists = ("/images/json", "/containers/json", "/networks", "/containers/one/changes")
    if path in known and not (path == "/containers/one/exec" and method != "POST"):
        return Answer(201 if path == "/containers/one/exec" else 200, known[path])
    if path in lists or path.endswith("/history") or (method == "DELETE" and "/images" in path):
        return Answer(document=[])
    if path.endswith(("/logs", "/attach")) or path.startswith(("/images/create", "/events")):
        return Answer(chunks=[])
    if path.endswith("/push") or path == "/images/load":
        return Answer(chunks=[], headers={"Content-Type": "application/json"})
    if path.startswith("/exec/"):
        detached = bool(request.body) and request.document.get("Detach")
        return Answer(200) if detached else Answer(hijack=b"")
    if path.endswith("/prune"):
        return Answer(document={"SpaceReclaimed": 0})
    if path.endswith(("/get", "/export")):
        return Answer(body=b"tar")
    if path.endswith("/json") and not path.startswith("/images/busybox"):
        return error(404, "No such object")
    if method == "GET":
        return Answer(document={"Id": "x", "Name": "x", "Volumes": []})
    return Answer(204)


def requests_of(program: list[str], line: str, directory: str) -> list[Request]:
    """Runs `program` with the command line against a fake daemon."""
    os.makedirs(directory, exist_ok=True)
    with tarfile.open(os.path.join(directory, "archive.tar"), "w"):
        pass
    with FakeDaemon() as daemon:
        known = dict(daemon.routes)

        def route(request: Request) -> Answer:
            found = known.get(f"{request.method} {request.path}")
            return found if isinstance(found, Answer) else answer_anything(request)

        daemon.answer = route  # type: ignore[method-assign]
        subprocess.run(
            [*program, "-H", daemon.host, *words_of(line, directory)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=patient(60),
            cwd=directory,
            env={"PATH": os.environ["PATH"], "HOME": directory},
            check=False,
        )
        return [each for each in daemon.requests if each.path != "/_ping"]


def flat(document: Any, prefix: str = "") -> dict[str, Any]:
    """A document as one level: `HostConfig.Memory`. Lists and empty objects stay whole."""
    found: dict[str, Any] = {}
    for key, value in document.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict) and value and "/" not in key:
            found |= flat(value, f"{name}.")
        else:
            found[name] = value
    return found


def summary(request: Request, directory: str) -> dict[str, Any]:
    """A request in the form in which golden ones are kept."""
    body: Any = None
    if request.body and request.headers.get("Content-Type") == "application/json":
        body = flat(request.document)
        for name in ("Env", "HostConfig.Binds"):
            if isinstance(body.get(name), list):
                body[name].sort()  # the Go client has them in a map
    told = {
        "request": f"{request.method} {request.path}",
        "query": dict(sorted(request.query.items())),
        "body": body,
    }
    found: dict[str, Any] = json.loads(json.dumps(told).replace(directory, "{tmp}"))
    return found


def beyond(body: dict[str, Any], plain: dict[str, Any]) -> dict[str, Any]:
    """What a create body says that the plainest does not; what it lacks is "(absent)"."""
    changed = {key: value for key, value in body.items() if plain.get(key, "(absent)") != value}
    return changed | {key: "(absent)" for key in plain if key not in body}
