"""Where tiffin answers otherwise than the recorded dockerd 20.10, and why.

STATUS: another status code. WORDS: another message; "*" for a step stands for all of a journey.
SHAPE: fields that the recorded answer has and ours has not.
"""

from __future__ import annotations

NEWER_400 = "a client's fault is 400 since Docker 23; it was 500"
NEWER_WORDS = "the words of Docker 28"

STATUS: dict[tuple[str, str], tuple[int, str]] = {
    ("system", "events with a bad time"): (400, NEWER_400),
    ("images", "list with a bad filter"): (400, NEWER_400),
    ("images", "tag with a bad name"): (400, NEWER_400),
    ("images", "tag with a bad tag"): (400, NEWER_400),
    ("images", "push a missing one"): (200, "a missing X-Registry-Auth is none, as in Docker 28"),
    ("containers", "create from nothing"): (400, NEWER_400),
    ("containers", "create from garbage"): (400, NEWER_400),
    ("containers", "create with a wrong type"): (400, NEWER_400),
    ("containers", "create with a relative bind"): (400, NEWER_400),
    ("containers", "list with a bad limit"): (400, NEWER_400),
    ("containers", "create with a mount of two kinds"): (400, NEWER_400),
    ("containers", "unpause again"): (409, "a wrong state is 409 since Docker 23; it was 500"),
    ("containers", "unpause a stopped one"): (409, "a wrong state is 409 since Docker 23"),
    ("containers", "commit to a bad name"): (400, NEWER_400),
    ("containers", "copy into a file"): (400, NEWER_400),
    ("networks", "create without a name"): (400, NEWER_400),
    ("builds", "build garbage"): (400, NEWER_400),
    ("builds", "build with a bad tag"): (400, NEWER_400),
}

WORDS: dict[tuple[str, str], str] = {
    ("system", "too new"): "our newest version is another",
    ("system", "too old"): "our oldest version is another, and the answer is JSON",
    ("system", "events with a bad time"): NEWER_WORDS,
    ("images", "list with a bad filter"): NEWER_WORDS,
    ("images", "inspect a missing one"): NEWER_WORDS,
    ("images", "inspect a missing tag"): NEWER_WORDS,
    ("images", "inspect a bad name"): NEWER_WORDS,
    ("images", "push a missing one"): NEWER_WORDS,
    ("images", "pull with a bad name"): NEWER_WORDS,
    ("containers", "create from a bad image"): NEWER_WORDS,
    ("containers", "kill a created one"): NEWER_WORDS,
    ("containers", "kill a stopped one"): NEWER_WORDS,
    ("containers", "kill with a bad signal"): NEWER_WORDS,
    ("containers", "list with a bad status"): NEWER_WORDS,
    ("containers", "remove a paused one"): NEWER_WORDS,
    ("containers", "remove a running one"): NEWER_WORDS,
    ("containers", "resize without a size"): NEWER_WORDS,
    ("containers", "resize a stopped one"): "says why: it is stopped",
    ("containers", "start the exec again"): "running or run already: a matter of a moment",
    ("volumes", "create with a bad driver"): "the name of the volume is not told",
    ("images", "pull from nobody"): "the cause is told in Python's words",
    ("images", "load garbage"): "an archive that is none is said to be none",
    ("images", "save a missing one"): NEWER_WORDS,
    ("containers", "create without a type"): NEWER_WORDS,
    ("containers", "create from nothing"): NEWER_WORDS,
    ("containers", "create with a bad restart policy"): NEWER_WORDS,
    ("containers", "create from garbage"): "the JSON decoder's words",
    ("containers", "create with a wrong type"): "the JSON decoder's words",
    ("containers", "copy out without a path"): "a misspelling in 20.10",
    (
        "containers",
        "attach to a missing one",
    ): "a refusal before the hijack is JSON since Docker 23",
    ("containers", "start a missing command"): "no runc between",
    ("containers", "start a directory"): "no runc between",
    ("volumes", "create without a type"): NEWER_WORDS,
    ("networks", "create without a type"): NEWER_WORDS,
    ("networks", "create without a name"): NEWER_WORDS,
    ("builds", "build with bad arguments"): "the JSON decoder's words",
    ("builds", "build an empty Dockerfile"): "file and line are told",
    ("builds", "build an unknown instruction"): "file and line are told",
    ("builds", "build garbage"): NEWER_WORDS,
}

# Path in the answer (list places as []), for any step.
SHAPE: dict[str, str] = {
    "AllowNondistributableArtifactsCIDRs": "gone since Docker 28",
    "AllowNondistributableArtifactsHostnames": "gone since Docker 28",
    "Expected": "gone since Docker 28",
    "io.containerd.runc.v2": "a runtime of Docker's",
    "io.containerd.runtime.v1.linux": "a runtime of Docker's",
    "runc": "a runtime of Docker's",
    "BridgeNfIp6tables": "no iptables",
    "BridgeNfIptables": "no iptables",
    "ClusterAdvertise": "gone since Docker 23",
    "ClusterStore": "gone since Docker 23",
    "KernelMemory": "gone since Docker 23",
    "KernelMemoryTCP": "gone since Docker 23",
    "BuilderSize": "gone since 1.42",
    "DockerVersion": "only where the image's config has one",
    "LowerDir": "where layers lie is nobody's business",
    "MergedDir": "where layers lie is nobody's business",
    "UpperDir": "where layers lie is nobody's business",
    "WorkDir": "where layers lie is nobody's business",
}


def as_recorded(event: str) -> str:
    """Newer Dockers tell how long a container ran."""
    return event.replace(" execDuration", "")
