"""Every route of the API's description that a host without swarm and plugins has, called.

`target` may hold {running}, {exited}, {created}, {exec}, {fresh} (a container of this call's own,
created) and {busy} (one that runs); `path` is the description's.
"""

from __future__ import annotations

import base64
import io
import json
import shutil
import tarfile
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

TAR = "application/x-tar"


@dataclass(frozen=True)
class Call:
    method: str
    path: str
    target: str
    status: int = 200
    body: Any = None
    kind: str = "application/json"
    since: str = "1.24"
    headers: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.method} {self.target} {self.status}"


def _filters(**values: list[str]) -> str:
    return quote(json.dumps(values))


def tar_of(**files: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    return out.getvalue()


_ONE = "/containers/{id}"
_EXEC = {"Cmd": ["true"], "AttachStdout": True}
_NO_MATCH = _filters(label=["nobody.has=this"])
_AUTH = base64.urlsafe_b64encode(b"{}").decode()
_FILE = tar_of(a="a")
# Nobody listens there: a registry that cannot be reached.
_NOWHERE = "127.0.0.1:1/app"


def _get(path: str, target: str = "", status: int = 200, **more: Any) -> Call:
    return Call("GET", path, target or path, status, **more)


def _post(path: str, target: str = "", status: int = 200, body: Any = None, **more: Any) -> Call:
    return Call("POST", path, target or path, status, body, **more)


def _missing(method: str, path: str, query: str = "", body: Any = None, **more: Any) -> Call:
    target = path.replace("{id}", "nono").replace("{name}", "nono") + query
    return Call(method, path, target, 404, body, **more)


SYSTEM = [
    Call("HEAD", "/_ping", "/_ping"),
    _get("/_ping"),
    _get("/version"),
    _get("/info"),
    _get("/system/df"),
    _get("/system/df", "/system/df?type=container&type=volume", since="1.42"),
    _get("/system/df", "/system/df?verbose=1"),
    _get("/events", "/events?since=1&until=9999"),
    _get("/events", "/events?since=1&until={now}"),
    _get("/events", "/events?since=20&until=10", 400),
    _post("/auth", status=500, body={"serveraddress": "127.0.0.1:1", "username": "x"}),
    _post("/session", status=404),
]

CONTAINERS = [
    _get("/containers/json"),
    _get("/containers/json", "/containers/json?all=1&size=1"),
    _get("/containers/json", "/containers/json?filters=" + _filters(nono=["x"]), 400),
    _post("/containers/create", status=201, body={"Image": "busybox"}),
    _post("/containers/create", status=400, body={"Image": ""}),
    _post("/containers/create", status=404, body={"Image": "nono"}),
    _post("/containers/create", "/containers/create?name=running", 409, {"Image": "busybox"}),
    _get(_ONE + "/json", "/containers/{running}/json?size=1"),
    _get(_ONE + "/json", "/containers/{exited}/json"),
    _get(_ONE + "/json", "/containers/{created}/json"),
    _missing("GET", _ONE + "/json"),
    _get(_ONE + "/top", "/containers/{running}/top"),
    *([_get(_ONE + "/top", "/containers/{running}/top?ps_args=aux")] if shutil.which("ps") else []),
    _missing("GET", _ONE + "/top"),
    _get(_ONE + "/logs", "/containers/{exited}/logs?stdout=1"),
    _missing("GET", _ONE + "/logs", "?stdout=1"),
    _get(_ONE + "/changes", "/containers/{exited}/changes"),
    _missing("GET", _ONE + "/changes"),
    _get(_ONE + "/export", "/containers/{exited}/export"),
    _missing("GET", _ONE + "/export"),
    _get(_ONE + "/stats", "/containers/{running}/stats?stream=0&one-shot=1"),
    _get(_ONE + "/stats", "/containers/{running}/stats?stream=0"),
    _get(_ONE + "/stats", "/containers/{exited}/stats?stream=0"),
    _missing("GET", _ONE + "/stats"),
    _post(_ONE + "/start", "/containers/{fresh}/start", 204),
    _post(_ONE + "/start", "/containers/{running}/start", 304),
    _missing("POST", _ONE + "/start"),
    _post(_ONE + "/stop", "/containers/{busy}/stop", 204),
    _post(_ONE + "/stop", "/containers/{exited}/stop", 304),
    _missing("POST", _ONE + "/stop"),
    _post(_ONE + "/restart", "/containers/{busy}/restart", 204),
    _missing("POST", _ONE + "/restart"),
    _post(_ONE + "/kill", "/containers/{busy}/kill", 204),
    _post(_ONE + "/kill", "/containers/{exited}/kill", 409),
    _missing("POST", _ONE + "/kill"),
    _post(_ONE + "/pause", "/containers/{busy}/pause", 204),
    _missing("POST", _ONE + "/pause"),
    _missing("POST", _ONE + "/unpause"),
    _post(_ONE + "/rename", "/containers/{fresh}/rename?name=renamed", 204),
    _post(_ONE + "/rename", "/containers/{fresh}/rename?name=running", 409),
    _missing("POST", _ONE + "/rename", "?name=other"),
    _post(_ONE + "/update", "/containers/{fresh}/update", body={"CpuShares": 512}),
    _missing("POST", _ONE + "/update", body={"CpuShares": 512}),
    _post(_ONE + "/resize", "/containers/{running}/resize?h=24&w=80"),
    _missing("POST", _ONE + "/resize", "?h=24&w=80"),
    _post(_ONE + "/wait", "/containers/{exited}/wait"),
    _post(_ONE + "/wait", "/containers/{exited}/wait?condition=never", 400, since="1.30"),
    _missing("POST", _ONE + "/wait"),
    _post(_ONE + "/attach", "/containers/{exited}/attach?logs=1&stdout=1"),
    _post(_ONE + "/attach", "/containers/{exited}/attach?detachKeys=nono-keys", 400),
    _missing("POST", _ONE + "/attach"),
    _get(_ONE + "/attach/ws", "/containers/{exited}/attach/ws", 400),
    _missing("GET", _ONE + "/attach/ws"),
    Call("HEAD", _ONE + "/archive", "/containers/{exited}/archive?path=/etc"),
    _get(_ONE + "/archive", "/containers/{exited}/archive?path=/etc/passwd"),
    _get(_ONE + "/archive", "/containers/{exited}/archive", 400),
    _get(_ONE + "/archive", "/containers/{exited}/archive?path=/nono", 404),
    Call(
        "PUT", _ONE + "/archive", "/containers/{fresh}/archive?path=/tmp", 200, tar_of(a="a"), TAR
    ),
    Call("PUT", _ONE + "/archive", "/containers/{fresh}/archive?path=/n", 404, _FILE, TAR),
    Call("PUT", _ONE + "/archive", "/containers/{fresh}/archive?path=/tmp", 400, b"no tar", TAR),
    Call("DELETE", _ONE, "/containers/{fresh}", 204),
    Call("DELETE", _ONE, "/containers/{running}", 409),
    _missing("DELETE", _ONE),
    _post("/containers/prune", "/containers/prune?filters=" + _NO_MATCH, since="1.25"),
    _post("/commit", "/commit?container={exited}&repo=committed", 201, {}),
    _post("/commit", "/commit?container=nono", 404, {}),
]

EXECS = [
    _post(_ONE + "/exec", "/containers/{running}/exec", 201, _EXEC),
    _post(_ONE + "/exec", "/containers/{exited}/exec", 409, _EXEC),
    _missing("POST", _ONE + "/exec", body=_EXEC),
    _post("/exec/{id}/start", "/exec/{exec}/start", 409, {"Detach": True}),
    _missing("POST", "/exec/{id}/start", body={"Detach": True}),
    _post("/exec/{id}/resize", "/exec/{exec}/resize", 400),
    _missing("POST", "/exec/{id}/resize", "?h=24&w=80"),
    _get("/exec/{id}/json", "/exec/{exec}/json"),
    _missing("GET", "/exec/{id}/json"),
]

IMAGES = [
    _get("/images/json"),
    _get("/images/json", "/images/json?all=1&digests=1&shared-size=1&manifests=1"),
    _get("/images/{name}/json", "/images/busybox/json"),
    _missing("GET", "/images/{name}/json"),
    _get("/images/{name}/history", "/images/busybox/history"),
    _missing("GET", "/images/{name}/history"),
    _get("/images/{name}/get", "/images/busybox/get"),
    _get("/images/get", "/images/get?names=busybox"),
    _get("/images/{name}/attestations", "/images/busybox/attestations", since="1.55"),
    _get("/images/search", '/images/search?term=busybox&filters={"is-automated":["true"]}'),
    _post("/images/{name}/tag", "/images/busybox/tag?repo=tagged&tag=once", 201),
    _post("/images/{name}/tag", "/images/busybox/tag?repo=NOT%20GOOD", 400),
    _missing("POST", "/images/{name}/tag", "?repo=tagged"),
    Call("DELETE", "/images/{name}", "/images/tagged:once"),
    _missing("DELETE", "/images/{name}"),
    Call("DELETE", "/images/{name}", "/images/busybox", 409),
    _post("/images/prune", "/images/prune?filters=" + _NO_MATCH, since="1.25"),
    _post("/images/create", f"/images/create?fromImage={_NOWHERE}&tag=1", 500),
    _post("/images/{name}/push", f"/images/{_NOWHERE}/push", headers={"X-Registry-Auth": _AUTH}),
    _post("/images/load", "/images/load?quiet=1", body=tar_of(x="no image"), kind=TAR),
    _get("/distribution/{name}/json", f"/distribution/{_NOWHERE}/json", 500, since="1.30"),
    _post("/build", "/build?t=built", body=tar_of(Dockerfile="FROM busybox\nENV a=b"), kind=TAR),
    _post("/build", "/build", 400, b"no tar", kind=TAR),
    _post("/build/prune", since="1.31"),
]

PLACES = [
    _get("/volumes"),
    _post("/volumes/create", status=201, body={"Name": "data", "Labels": {"a": "b"}}),
    _get("/volumes/{name}", "/volumes/data"),
    _missing("GET", "/volumes/{name}"),
    _missing("PUT", "/volumes/{name}", "?version=1", {}, since="1.42"),
    _missing("DELETE", "/volumes/{name}"),
    _post("/volumes/prune", "/volumes/prune?filters=" + _NO_MATCH, since="1.25"),
    _get("/networks"),
    _get("/networks/{id}", "/networks/bridge"),
    _missing("GET", "/networks/{id}"),
    _post("/networks/create", status=400, body={"Name": ""}),
    Call("DELETE", "/networks/{id}", "/networks/bridge", 403),
    _missing("DELETE", "/networks/{id}"),
    _post("/networks/prune", "/networks/prune?filters=" + _NO_MATCH, since="1.25"),
    _post("/networks/{id}/connect", "/networks/bridge/connect", 404, {"Container": "nono"}),
    _post("/networks/{id}/disconnect", "/networks/bridge/disconnect", 404, {"Container": "nono"}),
]

CALLS = [*SYSTEM, *CONTAINERS, *EXECS, *IMAGES, *PLACES]
