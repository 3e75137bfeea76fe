"""Requests whose answers are recorded from a real dockerd and asked again of tiffin.

A step is a request with a name; `save` keeps a field of the answer for later paths ("{web}");
"{now}" is the moment of asking.
Steps of one journey run in order on one engine that has busybox:latest and nothing else. Containers
use the network "none", so that the recording engine needs no bridge.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Step:
    name: str
    method: str
    path: str
    body: Any = None
    content_type: str | None = "application/json"
    save: Mapping[str, str] = field(default_factory=dict)  # placeholder -> key in the answer
    versioned: bool = True
    shape_only: bool = False  # the values are the machine's
    events: bool = False  # each one counts: what happened, and what is told of it


HOST = {"NetworkMode": "none"}
SLEEP = {"Image": "busybox", "Cmd": ["sleep", "300"], "HostConfig": HOST, "StopSignal": "SIGKILL"}


def _context(**files: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    return out.getvalue()


def _run(**changes: Any) -> dict[str, Any]:
    return {"Image": "busybox", "HostConfig": HOST, **changes}


SYSTEM = [
    Step("ping", "GET", "/_ping"),
    Step("ping by HEAD", "HEAD", "/_ping"),
    Step("version", "GET", "/version", shape_only=True),
    Step("info", "GET", "/info", shape_only=True),
    Step("unknown route", "GET", "/nowhere"),
    Step("unknown method", "PUT", "/containers/json"),
    Step("unknown method of a known path", "DELETE", "/info"),
    Step("too new", "GET", "/v1.99/info", versioned=False),
    Step("too old", "GET", "/v1.2/info", versioned=False),
    Step("no version", "GET", "/_ping", versioned=False),
    Step("events that ended", "GET", "/events?since=1&until=2"),
    Step("events backwards", "GET", "/events?since=20&until=10"),
    Step("events with a bad time", "GET", "/events?since=noon"),
    Step("disk use", "GET", "/system/df"),
    Step("swarm", "GET", "/swarm"),
    Step("nodes", "GET", "/nodes"),
    Step("services", "GET", "/services"),
    Step("tasks", "GET", "/tasks"),
    Step("secrets", "GET", "/secrets"),
    Step("configs", "GET", "/configs"),
    Step("leave the swarm", "POST", "/swarm/leave"),
    Step("plugins", "GET", "/plugins"),
    Step("no such plugin", "GET", "/plugins/nono/json"),
]

IMAGES = [
    Step("list", "GET", "/images/json"),
    Step("list by reference", "GET", '/images/json?filters={"reference":["busy*"]}'),
    Step("list by another reference", "GET", '/images/json?filters={"reference":["nono"]}'),
    Step("list with an unknown filter", "GET", '/images/json?filters={"x":["y"]}'),
    Step("list with a bad filter", "GET", "/images/json?filters=x"),
    Step("list with a bad boolean", "GET", '/images/json?filters={"dangling":["perhaps"]}'),
    Step("inspect", "GET", "/images/busybox/json"),
    Step("inspect by tag", "GET", "/images/busybox:latest/json"),
    Step("inspect a missing one", "GET", "/images/nono/json"),
    Step("inspect a missing tag", "GET", "/images/busybox:nono/json"),
    Step("inspect nothing", "GET", "/images//json"),
    Step("inspect a bad name", "GET", "/images/NO/json"),
    Step("history", "GET", "/images/busybox/history"),
    Step("history of a missing one", "GET", "/images/nono/history"),
    Step("tag", "POST", "/images/busybox/tag?repo=mine&tag=one"),
    Step("tag with a bad name", "POST", "/images/busybox/tag?repo=MINE"),
    Step("tag with a bad tag", "POST", "/images/busybox/tag?repo=mine&tag=-x"),
    Step("tag a missing one", "POST", "/images/nono/tag?repo=mine"),
    Step("remove a tag", "DELETE", "/images/mine:one"),
    Step("remove a missing one", "DELETE", "/images/nono"),
    Step("save a missing one", "GET", "/images/nono/get"),
    Step("push a missing one", "POST", "/images/127.0.0.1:1/nono/push"),
    Step("pull with a bad name", "POST", "/images/create?fromImage=BAD&tag=x"),
    Step("pull from nobody", "POST", "/images/create?fromImage=127.0.0.1:1/nono&tag=x"),
    Step("load garbage", "POST", "/images/load", b"garbage", "application/x-tar"),
    Step("prune", "POST", "/images/prune"),
    Step("prune with an unknown filter", "POST", '/images/prune?filters={"x":["y"]}'),
    Step("import", "POST", "/images/create?fromSrc=-&repo=imported&tag=one", _context(a="b"), None),
    Step("inspect the import", "GET", "/images/imported:one/json"),
    Step("remove the import", "DELETE", "/images/imported:one"),
]

CONTAINERS = [
    Step("create without a type", "POST", "/containers/create", b"{}", None),
    Step("create from nothing", "POST", "/containers/create", b""),
    Step("create from an empty object", "POST", "/containers/create", {}),
    Step("create from garbage", "POST", "/containers/create", b"{"),
    Step("create with a wrong type", "POST", "/containers/create", {"Image": "busybox", "Tty": 3}),
    Step("create from a missing image", "POST", "/containers/create", {"Image": "nono"}),
    Step("create from a bad image", "POST", "/containers/create", {"Image": "NO"}),
    Step("create with a bad name", "POST", "/containers/create?name=a/b", SLEEP),
    Step("create with a short name", "POST", "/containers/create?name=a", SLEEP),
    Step("create with a bad signal", "POST", "/containers/create", _run(StopSignal="SIGNONE")),
    Step("create with a bad working directory", "POST", "/containers/create", _run(WorkingDir="x")),
    Step("create with a bad env", "POST", "/containers/create", _run(Env=["=x"])),
    Step(
        "create with a bad restart policy",
        "POST",
        "/containers/create",
        _run(HostConfig={**HOST, "RestartPolicy": {"Name": "perhaps"}}),
    ),
    Step(
        "create with little memory",
        "POST",
        "/containers/create",
        _run(HostConfig={**HOST, "Memory": 1}),
    ),
    Step(
        "create with a relative bind",
        "POST",
        "/containers/create",
        _run(HostConfig={**HOST, "Binds": ["/tmp:relative"]}),
    ),
    Step(
        "create with a missing mount source",
        "POST",
        "/containers/create",
        _run(HostConfig={**HOST, "Mounts": [{"Type": "bind", "Source": "/no/no", "Target": "/x"}]}),
    ),
    Step("create", "POST", "/containers/create?name=golden", SLEEP, save={"web": "Id"}),
    Step("create with a taken name", "POST", "/containers/create?name=golden", SLEEP),
    Step("inspect a created one", "GET", "/containers/{web}/json"),
    Step("inspect by name", "GET", "/containers/golden/json?size=1"),
    Step("inspect a missing one", "GET", "/containers/nono/json"),
    Step("list running ones, none", "GET", "/containers/json"),
    Step("list all", "GET", "/containers/json?all=1&size=1"),
    Step("list with an unknown filter", "GET", '/containers/json?filters={"x":["y"]}'),
    Step("list with a bad status", "GET", '/containers/json?filters={"status":["odd"]}'),
    Step("list with a bad limit", "GET", "/containers/json?limit=many"),
    Step("kill a created one", "POST", "/containers/golden/kill"),
    Step("stop a created one", "POST", "/containers/golden/stop"),
    Step("pause a created one", "POST", "/containers/golden/pause"),
    Step("exec in a created one", "POST", "/containers/golden/exec", {"Cmd": ["true"]}),
    Step("start with a host config", "POST", "/containers/golden/start", {"Binds": ["/a:/b"]}),
    Step("start", "POST", "/containers/golden/start", {}),
    Step("start again", "POST", "/containers/golden/start"),
    Step("start a missing one", "POST", "/containers/nono/start"),
    Step("inspect a running one", "GET", "/containers/golden/json"),
    Step("list running ones", "GET", "/containers/json"),
    Step("list by label", "GET", '/containers/json?filters={"label":["no=no"]}'),
    Step("list by name", "GET", '/containers/json?filters={"name":{"gold":true}}'),
    Step("top", "GET", "/containers/golden/top"),
    Step("top of a missing one", "GET", "/containers/nono/top"),
    Step("logs", "GET", "/containers/golden/logs?stdout=1"),
    Step("logs of no stream", "GET", "/containers/golden/logs"),
    Step("logs of a missing one", "GET", "/containers/nono/logs?stdout=1"),
    Step("changes", "GET", "/containers/golden/changes"),
    Step("rename to nothing", "POST", "/containers/golden/rename?name="),
    Step("rename to the same", "POST", "/containers/golden/rename?name=golden"),
    Step("rename to a bad name", "POST", "/containers/golden/rename?name=a/b"),
    Step("rename a missing one", "POST", "/containers/nono/rename?name=other"),
    Step("remove a running one", "DELETE", "/containers/golden"),
    Step("kill with a bad signal", "POST", "/containers/golden/kill?signal=NONE"),
    Step("kill a missing one", "POST", "/containers/nono/kill"),
    Step("resize a missing one", "POST", "/containers/nono/resize?h=1&w=1"),
    Step("resize without a size", "POST", "/containers/golden/resize"),
    Step("wait for a missing one", "POST", "/containers/nono/wait"),
    Step("attach to a missing one", "POST", "/containers/nono/attach?stream=1&stdout=1"),
    Step("exec without a command", "POST", "/containers/golden/exec", {"Cmd": []}),
    Step("exec in a missing one", "POST", "/containers/nono/exec", {"Cmd": ["true"]}),
    Step(
        "exec",
        "POST",
        "/containers/golden/exec",
        {"Cmd": ["sleep", "0"], "AttachStdout": True},
        save={"exec": "Id"},
    ),
    Step("inspect the exec", "GET", "/exec/{exec}/json"),
    Step("start the exec", "POST", "/exec/{exec}/start", {"Detach": True}),
    Step("start the exec again", "POST", "/exec/{exec}/start", {"Detach": True}),
    Step("inspect a missing exec", "GET", "/exec/nono/json"),
    Step("start a missing exec", "POST", "/exec/nono/start", {"Detach": True}),
    Step("resize a missing exec", "POST", "/exec/nono/resize?h=1&w=1"),
    Step("pause", "POST", "/containers/golden/pause"),
    Step("list a paused one", "GET", "/containers/json"),
    Step("pause again", "POST", "/containers/golden/pause"),
    Step("exec in a paused one", "POST", "/containers/golden/exec", {"Cmd": ["true"]}),
    Step("start a paused one", "POST", "/containers/golden/start"),
    Step("remove a paused one", "DELETE", "/containers/golden"),
    Step("unpause", "POST", "/containers/golden/unpause"),
    Step("unpause again", "POST", "/containers/golden/unpause"),
    Step("look at a path", "HEAD", "/containers/golden/archive?path=/etc/passwd"),
    Step("look at a missing path", "HEAD", "/containers/golden/archive?path=/no/no"),
    Step("copy out a missing path", "GET", "/containers/golden/archive?path=/no/no"),
    Step("copy out without a path", "GET", "/containers/golden/archive"),
    Step("copy into a missing path", "PUT", "/containers/golden/archive?path=/no", b"", None),
    Step(
        "copy into a file",
        "PUT",
        "/containers/golden/archive?path=/etc/passwd",
        _context(a="b"),
        "application/x-tar",
    ),
    Step("stop", "POST", "/containers/golden/stop?t=1"),
    Step("stop again", "POST", "/containers/golden/stop"),
    Step("stop a missing one", "POST", "/containers/nono/stop"),
    Step("inspect a stopped one", "GET", "/containers/golden/json"),
    Step("list a stopped one", "GET", "/containers/json?all=1"),
    Step("wait for a stopped one", "POST", "/containers/golden/wait"),
    Step("kill a stopped one", "POST", "/containers/golden/kill"),
    Step("pause a stopped one", "POST", "/containers/golden/pause"),
    Step("unpause a stopped one", "POST", "/containers/golden/unpause"),
    Step("top of a stopped one", "GET", "/containers/golden/top"),
    Step("exec in a stopped one", "POST", "/containers/golden/exec", {"Cmd": ["true"]}),
    Step("resize a stopped one", "POST", "/containers/golden/resize?h=1&w=1"),
    Step("restart", "POST", "/containers/golden/restart?t=0"),
    Step("restart a missing one", "POST", "/containers/nono/restart"),
    Step("remove the image in use", "DELETE", "/images/busybox"),
    Step("remove by force", "DELETE", "/containers/golden?force=1&v=1"),
    Step("remove a missing one", "DELETE", "/containers/nono"),
    Step("remove a link of a missing one", "DELETE", "/containers/nono?link=1"),
    Step(
        "create with a mount of two kinds",
        "POST",
        "/containers/create",
        _run(HostConfig={**HOST, "Binds": ["/tmp:/x:nocopy"]}),
    ),
    Step(
        "create with a read-only anonymous volume",
        "POST",
        "/containers/create",
        _run(HostConfig={**HOST, "Mounts": [{"Type": "volume", "Target": "/x", "ReadOnly": True}]}),
    ),
    Step(
        "create with a bad host port",
        "POST",
        "/containers/create",
        _run(HostConfig={**HOST, "PortBindings": {"80/tcp": [{"HostPort": "-1"}]}}),
    ),
    Step(
        "create with a bad port",
        "POST",
        "/containers/create",
        _run(HostConfig={**HOST, "PortBindings": {"x/tcp": [{}]}}),
    ),
    Step("create one that cannot start", "POST", "/containers/create?name=bad", _run(Cmd=["/no"])),
    Step("start a missing command", "POST", "/containers/bad/start"),
    Step("inspect one that did not start", "GET", "/containers/bad/json"),
    Step("remove it", "DELETE", "/containers/bad"),
    Step("create a directory's", "POST", "/containers/create?name=bad", _run(Cmd=["/etc"])),
    Step("start a directory", "POST", "/containers/bad/start"),
    Step("commit it", "POST", "/commit?container=bad&repo=committed&comment=c&author=a"),
    Step("commit a missing one", "POST", "/commit?container=nono"),
    Step("commit to a bad name", "POST", "/commit?container=bad&repo=BAD"),
    Step("inspect the commit", "GET", "/images/committed/json"),
    Step("remove the commit", "DELETE", "/images/committed"),
    Step("prune", "POST", "/containers/prune"),
    Step("prune with an unknown filter", "POST", '/containers/prune?filters={"x":["y"]}'),
]

VOLUMES = [
    Step("list none", "GET", "/volumes"),
    Step("create", "POST", "/volumes/create", {"Name": "golden", "Labels": {"a": "b"}}),
    Step("create again", "POST", "/volumes/create", {"Name": "golden"}),
    Step("create an anonymous one", "POST", "/volumes/create", {}, save={"nameless": "Name"}),
    Step("create with a bad name", "POST", "/volumes/create", {"Name": "a/b"}),
    Step("create with a bad driver", "POST", "/volumes/create", {"Name": "x1", "Driver": "no"}),
    Step(
        "create with a bad option",
        "POST",
        "/volumes/create",
        {"Name": "x2", "DriverOpts": {"no": "no"}},
    ),
    Step("create without a type", "POST", "/volumes/create", b"{}", None),
    Step("inspect", "GET", "/volumes/golden"),
    Step("inspect a missing one", "GET", "/volumes/nono"),
    Step("list", "GET", '/volumes?filters={"name":["golden"]}'),
    Step("list by label", "GET", '/volumes?filters={"label":["a=b"]}'),
    Step("list with an unknown filter", "GET", '/volumes?filters={"x":["y"]}'),
    Step(
        "use it",
        "POST",
        "/containers/create?name=user",
        _run(HostConfig={**HOST, "Binds": ["golden:/data:ro"]}),
    ),
    Step("inspect the user", "GET", "/containers/user/json"),
    Step("remove one in use", "DELETE", "/volumes/golden"),
    Step("remove the user", "DELETE", "/containers/user"),
    Step("remove", "DELETE", "/volumes/golden"),
    Step("remove a missing one", "DELETE", "/volumes/golden"),
    Step("remove a missing one by force", "DELETE", "/volumes/golden?force=1"),
    Step("prune", "POST", "/volumes/prune"),
    Step("prune with an unknown filter", "POST", '/volumes/prune?filters={"x":["y"]}'),
]

NETWORKS = [
    Step("list by name", "GET", '/networks?filters={"name":["none"]}'),
    Step("list with an unknown filter", "GET", '/networks?filters={"x":["y"]}'),
    Step("inspect", "GET", "/networks/none"),
    Step("inspect a missing one", "GET", "/networks/nono"),
    Step("remove a predefined one", "DELETE", "/networks/none"),
    Step("remove a missing one", "DELETE", "/networks/nono"),
    Step("create a predefined one", "POST", "/networks/create", {"Name": "host"}),
    Step("create without a name", "POST", "/networks/create", {"Name": ""}),
    Step("create without a type", "POST", "/networks/create", b"{}", None),
    Step("connect to a missing one", "POST", "/networks/nono/connect", {"Container": "x"}),
    Step("connect a missing container", "POST", "/networks/none/connect", {"Container": "nono"}),
    Step("disconnect a missing one", "POST", "/networks/none/disconnect", {"Container": "nono"}),
    Step("prune", "POST", "/networks/prune"),
]

BUILDS = [
    Step("build nothing", "POST", "/build", b"", "application/x-tar"),
    Step("build garbage", "POST", "/build", b"garbage", "application/x-tar"),
    Step("build without a Dockerfile", "POST", "/build", _context(a="b"), "application/x-tar"),
    Step(
        "build an unknown instruction",
        "POST",
        "/build",
        _context(Dockerfile="FROM busybox\nFRUM x\n"),
        "application/x-tar",
    ),
    Step(
        "build an empty Dockerfile",
        "POST",
        "/build",
        _context(Dockerfile="# nothing\n"),
        "application/x-tar",
    ),
    Step(
        "build with a bad tag",
        "POST",
        "/build?t=BAD",
        _context(Dockerfile="FROM busybox\n"),
        "application/x-tar",
    ),
    Step(
        "build with bad arguments",
        "POST",
        "/build?buildargs=x",
        _context(Dockerfile="FROM busybox\n"),
        "application/x-tar",
    ),
    Step(
        "build what copies nothing",
        "POST",
        "/build",
        _context(Dockerfile="FROM busybox\nCOPY no /no\n"),
        "application/x-tar",
    ),
    Step(
        "build what fails",
        "POST",
        "/build?networkmode=none&rm=1",
        _context(Dockerfile="FROM busybox\nRUN exit 3\n"),
        "application/x-tar",
    ),
    Step(
        "build",
        "POST",
        "/build?t=built:one&networkmode=none&rm=1",
        _context(Dockerfile='FROM busybox\nENV A=b\nCOPY a /a\nCMD ["cat", "/a"]\n', a="hello\n"),
        "application/x-tar",
    ),
    Step("inspect what was built", "GET", "/images/built:one/json"),
    Step("its history", "GET", "/images/built:one/history"),
    Step("remove what was built", "DELETE", "/images/built:one"),
    Step("prune the cache", "POST", "/build/prune"),
]

_WITH_VOLUME = {**HOST, "Binds": ["watched:/data"]}


def _events(name: str, **filters: list[str]) -> Step:
    chosen = json.dumps(filters).replace(" ", "")
    return Step(name, "GET", f"/events?since=1&until={{now}}&filters={chosen}", events=True)


EVENTS = [
    Step(
        "create a first",
        "POST",
        "/containers/create?name=first",
        {**SLEEP, "HostConfig": _WITH_VOLUME},
    ),
    Step("look into it", "HEAD", "/containers/first/archive?path=/data"),
    Step("copy out of it", "GET", "/containers/first/archive?path=/etc/passwd", shape_only=True),
    Step("start it", "POST", "/containers/first/start"),
    Step(
        "copy into it",
        "PUT",
        "/containers/first/archive?path=/data",
        _context(a="b"),
        "application/x-tar",
    ),
    Step("copy out what is not there", "GET", "/containers/first/archive?path=/no"),
    Step("kill it", "POST", "/containers/first/kill"),
    Step("wait for it", "POST", "/containers/first/wait"),
    Step("remove it", "DELETE", "/containers/first"),
    Step("remove its volume", "DELETE", "/volumes/watched"),
    _events("events of volumes", type=["volume"], event=["mount", "unmount", "destroy"]),
    _events("events of networks", type=["network"]),
    Step("create", "POST", "/containers/create?name=golden", {**SLEEP, "Labels": {"a": "b"}}),
    Step("start", "POST", "/containers/golden/start"),
    Step("exec", "POST", "/containers/golden/exec", {"Cmd": ["true"]}),
    Step("exec with arguments", "POST", "/containers/golden/exec", {"Cmd": ["sh", "-c", "true"]}),
    Step("resize", "POST", "/containers/golden/resize?h=10&w=20"),
    Step("top", "GET", "/containers/golden/top"),
    Step("look at a path", "HEAD", "/containers/golden/archive?path=/etc/passwd"),
    Step("copy out", "GET", "/containers/golden/archive?path=/etc/passwd", shape_only=True),
    Step(
        "copy in",
        "PUT",
        "/containers/golden/archive?path=/tmp",
        _context(a="b"),
        "application/x-tar",
    ),
    Step("rename", "POST", "/containers/golden/rename?name=renamed"),
    Step("update", "POST", "/containers/renamed/update", {"CpuShares": 512}),
    Step("pause", "POST", "/containers/renamed/pause"),
    Step("unpause", "POST", "/containers/renamed/unpause"),
    Step("commit", "POST", "/commit?container=renamed&repo=watched&comment=c", {}),
    _events("events of a commit", event=["pause", "tag", "commit", "unpause"], label=["a=b"]),
    Step("kill", "POST", "/containers/renamed/kill?signal=SIGCONT"),
    Step("restart", "POST", "/containers/renamed/restart?t=5"),
    Step("stop", "POST", "/containers/renamed/stop?t=5"),
    Step("remove", "DELETE", "/containers/renamed"),
    Step("prune containers", "POST", "/containers/prune"),
    _events("events of containers", type=["container"], label=["a=b"]),
    _events("events of one container", container=["renamed"], event=["destroy", "create"]),
    _events("events of prunes", event=["prune"]),
    Step("tag", "POST", "/images/watched/tag?repo=watched&tag=again"),
    Step("remove a name", "DELETE", "/images/watched:again"),
    Step("remove the image", "DELETE", "/images/watched"),
    _events("events of images", type=["image"], event=["tag", "untag", "delete"]),
    _events("events of an image by its name", image=["busybox"], event=["start"]),
    _events("events of nothing", type=["daemon"]),
]

JOURNEYS = {
    "events": EVENTS,
    "system": SYSTEM,
    "images": IMAGES,
    "containers": CONTAINERS,
    "volumes": VOLUMES,
    "networks": NETWORKS,
    "builds": BUILDS,
}
