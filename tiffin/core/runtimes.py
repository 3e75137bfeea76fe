"""OCI runtimes by name: ours, those that are usually installed, and what an administrator adds."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

OWN = "tiffin"
# Found by name in $PATH, if they are installed.
USUAL = ("crun", "runc")
# What Docker calls runc since it is containerd that starts it.
_ALIASES = {"io.containerd.runc.v2": "runc"}


class RuntimeProgram(msgspec.Struct, frozen=True):
    """A program with runc's command line."""

    path: str
    arguments: tuple[str, ...] = ()


Programs = Mapping[str, RuntimeProgram]


def is_own(name: str) -> bool:
    return name in ("", OWN)


def find(name: str, programs: Programs) -> RuntimeProgram | None:
    """None for what is not there; to be asked only of what is not our own."""
    return programs.get(name) or programs.get(_ALIASES.get(name, ""))
