"""SELinux labels of containers: chosen at create, put on what is mounted at start."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterable

from tiffin.core import selinux
from tiffin.core.container import Container, HostConfig, Mount
from tiffin.core.selinux import Labels
from tiffin.engine.catalog import Catalog
from tiffin.errors import CannotStart, InvalidArgument
from tiffin.kernel import selinux as kernel
from tiffin.runtime import spec

# Of the host itself: nobody means to give these to a container for good.
_NEVER = frozenset(
    (
        *("/", "/bin", "/boot", "/dev", "/etc", "/home", "/lib", "/lib64", "/media", "/opt"),
        *("/etc/passwd", "/etc/pki", "/etc/shadow", "/proc", "/root", "/run", "/sbin", "/srv"),
        *("/sys", "/tmp", "/usr", "/var", "/var/lib", "/var/log"),
    )
)


class Labelling:
    def __init__(self, catalog: Catalog, facts: spec.HostFacts) -> None:
        self._catalog = catalog
        self._facts = facts
        self._given: set[str] = set()  # levels that no record has yet

    def choose(self, host: HostConfig) -> Labels:
        """For a container to be. Raises InvalidArgument."""
        if self._facts.labels is None:
            return Labels()
        options = spec.label_options(host, self._facts) or self._of_others(host)
        level = selinux.free_level(self._taken(), secrets.randbelow)
        self._given.add(level)
        return selinux.choose(self._facts.labels, options, level)

    def _taken(self) -> set[str]:
        recorded = {selinux.level_of(one.labels.mount) for one in self._catalog.all()}
        self._given -= recorded
        return recorded | self._given

    def _of_others(self, host: HostConfig) -> tuple[str, ...]:
        """Who shares processes or memory with others must be labelled as they are."""
        if host.privileged or "host" in (host.ipc_mode, host.pid_mode):
            return (selinux.DISABLE,)
        joined = {
            self._catalog.get(mode.removeprefix("container:")).labels.process
            for mode in (host.ipc_mode, host.pid_mode)
            if mode.startswith("container:")
        }
        if len(joined) > 1:
            raise InvalidArgument("--ipc and --pid containers SELinux labels aren't the same")
        return selinux.options_of(joined.pop()) if joined else ()


def label_layers(directory: str, facts: spec.HostFacts) -> None:
    """Have all layers readable by containers: what is made in a labelled directory has its label.

    Through an overlay the kernel also asks whether the files below may be mapped. Once; a label
    of that type, by the policy's own rules or an earlier daemon, is left as it is. Raises OSError.
    """
    wanted = facts.labels.layers if facts.labels is not None else ""
    if wanted and selinux.type_of(kernel.label_of(directory)) != selinux.type_of(wanted):
        kernel.relabel(directory, wanted)


async def label_sources(container: Container, etc_files: Iterable[str]) -> None:
    """What a start mounts of the host and is the container's to use. Raises CannotStart."""
    label = container.labels.mount
    if label:
        await asyncio.to_thread(_label_sources, container.mounts, label, etc_files)


def _label_sources(mounts: tuple[Mount, ...], label: str, etc_files: Iterable[str]) -> None:
    for mount in mounts:
        words = mount.mode.split(",") if mount.type in ("bind", "volume") else ()
        if "Z" in words:
            _relabel(mount.host_path, label)
        elif "z" in words:
            _relabel(mount.host_path, selinux.shared(label))
    for path in etc_files:
        _relabel(path, label)


def _relabel(path: str, label: str) -> None:
    what = f"label {path}"
    if path in _NEVER:
        words = f"SELinux relabeling of {path} is not allowed"
        raise CannotStart(
            f"error setting label on mount source '{path}': {words}",
            operation=what,
            asked_wrong=True,
        )
    try:
        kernel.relabel(path, label)
    except OSError as error:
        words = (error.strerror or "").lower()
        raise CannotStart(
            f"error setting label on mount source '{path}': failed to set file label: {words}",
            operation=what,
            errno=error.errno or 0,
        ) from error
