"""The shape of config.json: types alone, checked before anybody relies on them. PURE.

Keys that are not here are ignored, as the specification says. A shape is a type, a list of one
shape, a dict of key to shape, or `Each` for a map whose keys are free.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class InvalidBundle(ValueError):
    """The bundle or what it asks for cannot be. The message is for the user."""


class Each:
    """A map of any keys, all of whose values have one shape."""

    __slots__ = ("shape",)

    def __init__(self, shape: object) -> None:
        self.shape = shape


_WORDS = [str]
_NUMBERS = [int]
_ID_MAP = [{"containerID": int, "hostID": int, "size": int}]
_HOOKS = [{"path": str, "args": _WORDS, "env": _WORDS, "timeout": int}]
_RATES = [{"major": int, "minor": int, "rate": int}]

HOOK_KINDS = (
    "prestart",
    "createRuntime",
    "createContainer",
    "startContainer",
    "poststart",
    "poststop",
)

RESOURCES = {
    "devices": [{"allow": bool, "type": str, "major": int, "minor": int, "access": str}],
    "memory": {
        "limit": int,
        "reservation": int,
        "swap": int,
        "kernel": int,
        "kernelTCP": int,
        "swappiness": int,
        "disableOOMKiller": bool,
        "useHierarchy": bool,
        "checkBeforeUpdate": bool,
    },
    "cpu": {
        "shares": int,
        "quota": int,
        "burst": int,
        "period": int,
        "realtimeRuntime": int,
        "realtimePeriod": int,
        "cpus": str,
        "mems": str,
        "idle": int,
    },
    "pids": {"limit": int},
    "blockIO": {
        "weight": int,
        "leafWeight": int,
        "weightDevice": [{"major": int, "minor": int, "weight": int, "leafWeight": int}],
        "throttleReadBpsDevice": _RATES,
        "throttleWriteBpsDevice": _RATES,
        "throttleReadIOPSDevice": _RATES,
        "throttleWriteIOPSDevice": _RATES,
    },
    "hugepageLimits": [{"pageSize": str, "limit": int}],
    "network": {"classID": int, "priorities": [{"name": str, "priority": int}]},
    "rdma": Each({"hcaHandles": int, "hcaObjects": int}),
    "unified": Each(str),
}

PROCESS = {
    "terminal": bool,
    "consoleSize": {"height": int, "width": int},
    "user": {"uid": int, "gid": int, "umask": int, "additionalGids": _NUMBERS},
    "args": _WORDS,
    "env": _WORDS,
    "cwd": str,
    "capabilities": {
        "bounding": _WORDS,
        "effective": _WORDS,
        "inheritable": _WORDS,
        "permitted": _WORDS,
        "ambient": _WORDS,
    },
    "rlimits": [{"type": str, "soft": int, "hard": int}],
    "noNewPrivileges": bool,
    "apparmorProfile": str,
    "selinuxLabel": str,
    "oomScoreAdj": int,
    "ioPriority": {"class": str, "priority": int},
    "scheduler": {
        "policy": str,
        "nice": int,
        "priority": int,
        "flags": _WORDS,
        "runtime": int,
        "deadline": int,
        "period": int,
    },
    "execCPUAffinity": {"initial": str, "final": str},
}

_LINUX = {
    "uidMappings": _ID_MAP,
    "gidMappings": _ID_MAP,
    "sysctl": Each(str),
    "resources": RESOURCES,
    "cgroupsPath": str,
    "namespaces": [{"type": str, "path": str}],
    "devices": [
        {
            "path": str,
            "type": str,
            "major": int,
            "minor": int,
            "fileMode": int,
            "uid": int,
            "gid": int,
        }
    ],
    "seccomp": {
        "defaultAction": str,
        "defaultErrnoRet": int,
        "architectures": _WORDS,
        "flags": _WORDS,
        "listenerPath": str,
        "listenerMetadata": str,
        "syscalls": [
            {
                "names": _WORDS,
                "action": str,
                "errnoRet": int,
                "args": [{"index": int, "value": int, "valueTwo": int, "op": str}],
            }
        ],
    },
    "rootfsPropagation": str,
    "maskedPaths": _WORDS,
    "readonlyPaths": _WORDS,
    "mountLabel": str,
    "personality": {"domain": str, "flags": _WORDS},
    "timeOffsets": Each({"secs": int, "nanosecs": int}),
}

CONFIG = {
    "ociVersion": str,
    "process": PROCESS,
    "root": {"path": str, "readonly": bool},
    "hostname": str,
    "domainname": str,
    "mounts": [
        {
            "destination": str,
            "type": str,
            "source": str,
            "options": _WORDS,
            "uidMappings": _ID_MAP,
            "gidMappings": _ID_MAP,
        }
    ],
    "hooks": dict.fromkeys(HOOK_KINDS, _HOOKS),
    "annotations": Each(str),
    "linux": _LINUX,
}

_NAMES: dict[object, str] = {str: "a string", int: "an integer", bool: "true or false"}


def check(value: Any, shape: Any, path: str = "") -> None:
    """Raises InvalidBundle, which names the place. null is the same as not there."""
    if value is None:
        return
    if isinstance(shape, type):
        if type(value) is not shape:
            raise _wrong(path, _NAMES[shape])
    elif isinstance(shape, list):
        if not isinstance(value, list):
            raise _wrong(path, "an array")
        for number, item in enumerate(value):
            if item is None:
                raise _wrong(f"{path}[{number}]", "a value")
            check(item, shape[0], f"{path}[{number}]")
    else:
        if not isinstance(value, dict):
            raise _wrong(path, "an object")
        for key, item in value.items():
            below = shape.shape if isinstance(shape, Each) else shape.get(key)
            if below is not None:
                check(item, below, f"{path}.{key}" if path else key)


def _wrong(path: str, wanted: str) -> InvalidBundle:
    return InvalidBundle(f"invalid config: {path or 'the document'} must be {wanted}")
