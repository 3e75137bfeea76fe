"""A container's own events, with the attributes that each of them has."""

from __future__ import annotations

from tiffin.core.container import Container
from tiffin.engine.events import Events


def container_attributes(container: Container) -> dict[str, str]:
    return {
        "image": container.image_reference,
        "name": container.name,
        **(container.config.labels or {}),
    }


def emit_container(events: Events, container: Container, action: str, **attributes: str) -> None:
    events.emit("container", action, container.id, container_attributes(container) | attributes)
