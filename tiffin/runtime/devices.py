"""Device nodes of a container's /dev, and what its processes may open: PURE, but for `find`.

The allow-list decides: a node that an image brings, or that somebody makes, opens nothing that is
not on it. Access is OCI's r, w, m (make a node).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from typing import Any

from tiffin.core.container import HostConfig
from tiffin.errors import CannotStart, InvalidArgument

Rule = dict[str, Any]  # linux.resources.devices[]
Node = dict[str, Any]  # linux.devices[]

_ROOT_DEVICES = ((1, 3, "null"), (1, 5, "zero"), (1, 7, "full"), (1, 8, "random"))
_MORE_DEVICES = ((1, 9, "urandom"), (5, 0, "tty"))


def _node(path: str, kind: str, number: tuple[int, int], mode: int, owner: tuple[int, int]) -> Node:
    return {
        "path": path,
        "type": kind,
        "major": number[0],
        "minor": number[1],
        "fileMode": mode,
        "uid": owner[0],
        "gid": owner[1],
    }


DEFAULT_NODES: tuple[Node, ...] = tuple(
    _node(f"/dev/{name}", "c", (major, minor), 0o666, (0, 0))
    for major, minor, name in _ROOT_DEVICES + _MORE_DEVICES
)

# Target, link: what the OCI runtime config asks for beside the nodes.
DEFAULT_LINKS = (
    ("/proc/self/fd", "/dev/fd"),
    ("/proc/self/fd/0", "/dev/stdin"),
    ("/proc/self/fd/1", "/dev/stdout"),
    ("/proc/self/fd/2", "/dev/stderr"),
    ("pts/ptmx", "/dev/ptmx"),
)
CORE_LINK = ("/proc/kcore", "/dev/core")  # where the kernel has it


def _allow(kind: str, major: int, minor: int, access: str) -> Rule:
    return {"allow": True, "type": kind, "major": major, "minor": minor, "access": access}


DENY_ALL: Rule = {"allow": False, "access": "rwm"}
ALLOW_ALL: Rule = {"allow": True, "access": "rwm"}

# A node may be made of anything (an image's mknod in a RUN works as in Docker), opened only below.
DEFAULT_RULES: tuple[Rule, ...] = (
    DENY_ALL,
    _allow("c", -1, -1, "m"),
    _allow("b", -1, -1, "m"),
    *(_allow("c", node["major"], node["minor"], "rwm") for node in DEFAULT_NODES),
    _allow("c", 5, 1, "rwm"),  # console
    _allow("c", 5, 2, "rwm"),  # ptmx
    _allow("c", 136, -1, "rwm"),  # pts/*
)


def rules(host_config: HostConfig, nodes: Iterable[Node]) -> list[Rule]:
    """The allow-list. `nodes` are those that `find` found."""
    if host_config.privileged:
        return [ALLOW_ALL]
    asked = [
        _allow(node["type"], node["major"], node["minor"], node.get("access") or "rwm")
        for node in nodes
    ]
    return [*DEFAULT_RULES, *asked, *map(parse_rule, host_config.device_cgroup_rules)]


def parse_rule(text: str) -> Rule:
    """`c 42:* rmw` of --device-cgroup-rule."""
    wrong = InvalidArgument(f"invalid device cgroup rule format: '{text}'")
    parts = text.split(" ")
    if len(parts) != 3 or parts[0] not in ("a", "b", "c"):
        raise wrong
    numbers = parts[1].split(":")
    if len(numbers) != 2 or not all(n == "*" or (n.isascii() and n.isdigit()) for n in numbers):
        raise wrong
    if not 1 <= len(parts[2]) <= 3 or parts[2].strip("rwm"):
        raise wrong
    major, minor = (-1 if number == "*" else int(number) for number in numbers)
    return _allow(parts[0], major, minor, parts[2])


# --- what the host has (not pure) -----------------------------------------------------------------


def find(host_config: HostConfig) -> tuple[Node, ...]:
    """The host's nodes for --device and --privileged; those have an `access` beside OCI's fields.

    Raises CannotStart in Docker's words where one is not there or is no device.
    """
    found = _all_of_host() if host_config.privileged else []
    for mapping in host_config.devices:
        target = mapping.path_in_container or mapping.path_on_host
        if host_config.privileged and target == mapping.path_on_host:
            continue
        found += _at(mapping.path_on_host, target, mapping.cgroup_permissions or "rwm")
    return tuple(found)


def _at(path: str, target: str, access: str) -> list[Node]:
    try:
        status = os.stat(path)
    except OSError as error:
        raise _missing(path, error.strerror or str(error)) from error
    if not stat.S_ISDIR(status.st_mode):
        node = _described(target, status)
        if node is None:
            raise _missing(path, "not a device node")
        return [{**node, "access": access}]
    real = os.path.realpath(path)
    nodes = [{**node, "access": access} for node in _below(real, target)]
    if not nodes:
        raise _missing(path, "not a device node")
    return nodes


def _missing(path: str, why: str) -> CannotStart:
    return CannotStart(
        f'error gathering device information while adding custom device "{path}": {why.lower()}',
        operation=f"find device {path}",
        asked_wrong=True,
    )


def _below(directory: str, target: str) -> list[Node]:
    nodes = []
    for parent, _, names in os.walk(directory):
        for name in sorted(names):
            path = f"{parent}/{name}"
            try:
                status = os.lstat(path)
            except OSError:
                continue
            if node := _described(target + path[len(directory) :], status):
                nodes.append(node)
    return nodes


def numbers(paths: Iterable[str]) -> dict[str, tuple[int, int]]:
    """Major and minor of each. Raises InvalidArgument for what is no device of this host."""
    found = {}
    for path in paths:
        try:
            status = os.stat(path)
        except OSError as error:
            why = (error.strerror or str(error)).lower()
            raise InvalidArgument(f"stat {path}: {why}") from error
        if not (stat.S_ISBLK(status.st_mode) or stat.S_ISCHR(status.st_mode)):
            raise InvalidArgument(f"stat {path}: not a device node")
        found[path] = os.major(status.st_rdev), os.minor(status.st_rdev)
    return found


# Of the host's /dev a privileged container has its own of these.
_OWN = ("pts", "shm", "fd", "mqueue", ".lxc", ".lxd-mounts", ".udev", "console", "ptmx")


def _all_of_host() -> list[Node]:
    own = tuple(f"/dev/{name}" for name in _OWN)
    return [
        {**node, "access": "rwm"}
        for node in _below("/dev", "/dev")
        if not any(node["path"] == path or node["path"].startswith(path + "/") for path in own)
    ]


def _described(path: str, status: os.stat_result) -> Node | None:
    if stat.S_ISCHR(status.st_mode):
        kind = "c"
    elif stat.S_ISBLK(status.st_mode):
        kind = "b"
    else:
        return None
    mode = stat.S_IMODE(status.st_mode)
    number = os.major(status.st_rdev), os.minor(status.st_rdev)
    return _node(path, kind, number, mode, (status.st_uid, status.st_gid))
