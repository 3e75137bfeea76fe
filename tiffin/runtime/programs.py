"""OCI runtimes that this host has, and what a plan needs to be one of theirs."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from typing import Any

from tiffin.core.runtimes import USUAL, Programs, RuntimeProgram, find
from tiffin.errors import InvalidArgument
from tiffin.kernel import cgroup


def installed(added: Programs) -> dict[str, RuntimeProgram]:
    """Those of the usual runtimes that are here, and what was added."""
    found = {name: RuntimeProgram(path) for name in USUAL if (path := shutil.which(name))}
    return {**found, **added}


def hire(
    config: dict[str, Any], name: str, programs: Programs, layout: cgroup.Layout
) -> dict[str, Any]:
    """The plan for a runtime of the host's, which puts it in all of the host's hierarchies."""
    program = find(name, programs)
    path = shutil.which(program.path) if program is not None else None
    if program is None or path is None:
        raise InvalidArgument(f"unknown or invalid runtime name: {name}")
    ours = config["tiffin"]
    ours["runtime"] = {"name": name, "path": path, "args": list(program.arguments)}
    controllers = (*ours["cgroup"]["controllers"], *layout.controllers)
    ours["cgroup"]["controllers"] = list(dict.fromkeys(controllers))
    return config


def remove_named(path: str, points: Sequence[str]) -> None:
    """A cgroup in hierarchies without a controller (systemd's): only other runtimes make it.

    `points` is kernel.cgroup.named().
    """
    for point in points:
        try:
            os.rmdir(f"{point}/{path.strip('/')}")
        except OSError:
            continue
