"""The machine and the engine on it, truthfully: what `info` and `df` are made of."""

from __future__ import annotations

import os
import platform

import msgspec


class HostInfo(msgspec.Struct, frozen=True):
    kernel_version: str
    operating_system: str
    os_version: str
    architecture: str  # as uname says: x86_64
    goarch: str  # as images say: amd64
    cpus: int
    memory_bytes: int
    hostname: str


_GOARCH = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}


def read_host() -> HostInfo:
    names = os.uname()
    release = _os_release()
    return HostInfo(
        kernel_version=names.release,
        operating_system=release.get("PRETTY_NAME", "Linux"),
        os_version=release.get("VERSION_ID", ""),
        architecture=names.machine,
        goarch=_GOARCH.get(names.machine, names.machine),
        cpus=len(os.sched_getaffinity(0)),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        hostname=names.nodename,
    )


def _os_release() -> dict[str, str]:
    try:
        return platform.freedesktop_os_release()
    except OSError:
        return {}
