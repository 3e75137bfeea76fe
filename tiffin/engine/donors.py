"""Whose namespaces a container joins (--network, --pid, --ipc container:X), and whether it may."""

from __future__ import annotations

from collections.abc import Callable

from tiffin.core.container import Container, HostConfig, Status
from tiffin.errors import Conflict, InvalidArgument


def donors(host: HostConfig, find: Callable[[str], Container]) -> dict[str, Container]:
    """By kind of namespace. Raises Conflict or InvalidArgument for who cannot be joined."""
    found: dict[str, Container] = {}
    modes = {"network": host.network_mode, "pid": host.pid_mode, "ipc": host.ipc_mode}
    for kind, mode in modes.items():
        if mode.startswith("container:"):
            found[kind] = _checked(kind, find(mode.removeprefix("container:")))
    _check_together(found)
    return found


def _checked(kind: str, donor: Container) -> Container:
    if donor.state.status is not Status.RUNNING:
        raise Conflict(f"cannot join {kind} of a non running container: {donor.id}")
    if kind == "ipc" and donor.host_config.ipc_mode in ("", "private", "none"):
        raise InvalidArgument(
            f"can't join IPC of container {donor.id}: non-shareable IPC "
            "(hint: use IpcMode:shareable for the donor container)"
        )
    return donor


def _check_together(found: dict[str, Container]) -> None:
    """The kernel lets nobody into namespaces of two user namespaces."""
    kinds = list(found)
    for kind in kinds[1:]:
        one, other = found[kinds[0]], found[kind]
        if one.state.id_range != other.state.id_range:
            raise Conflict(
                f"cannot join {kinds[0]} of container {one.id} and {kind} of container "
                f"{other.id}: they have user namespaces of their own"
            )
