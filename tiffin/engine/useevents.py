"""Events of what a container uses while it runs: networks that it is on, volumes mounted in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tiffin.core.container import Container
from tiffin.engine.events import Events

_NETWORK_TYPES = {"host": "host", "none": "null"}


def emit_taken(events: Events, container: Container) -> None:
    """It is about to run."""
    _emit_networks(events, container, "connect")
    _emit_mounts(events, container)


def emit_given_back(events: Events, container: Container) -> None:
    """It has run; `container` is as it was then."""
    _emit_networks(events, container, "disconnect")
    _emit_unmounts(events, container)


@contextmanager
def volumes_mounted(events: Events, container: Container) -> Iterator[None]:
    """For who looks into its files. Docker tells of it, also where they are mounted already."""
    _emit_mounts(events, container)
    try:
        yield
    finally:
        _emit_unmounts(events, container)


def _emit_mounts(events: Events, container: Container) -> None:
    for mount in container.mounts:
        if mount.type == "volume":
            attributes = {
                "container": container.id,
                "destination": mount.destination,
                "driver": mount.driver or "local",
                "propagation": mount.propagation,
                "read/write": str(mount.rw).lower(),
            }
            events.emit("volume", "mount", mount.name, attributes)


def _emit_unmounts(events: Events, container: Container) -> None:
    for mount in container.mounts:
        if mount.type == "volume":
            attributes = {"container": container.id, "driver": mount.driver or "local"}
            events.emit("volume", "unmount", mount.name, attributes)


def _emit_networks(events: Events, container: Container, action: str) -> None:
    for endpoint in container.state.endpoints:
        name = endpoint.network_name
        attributes = {
            "container": container.id,
            "name": name,
            "type": _NETWORK_TYPES.get(name, "bridge"),
        }
        events.emit("network", action, endpoint.network_id, attributes)
