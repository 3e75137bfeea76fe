"""Events on the wire, and the filters of GET /events."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tiffin.api.versions import Version
from tiffin.core.filters import Filters
from tiffin.engine.events import Event

_OBJECTS = (
    "config",
    "container",
    "daemon",
    "network",
    "node",
    "plugin",
    "secret",
    "service",
    "volume",
)
_HAVE_STATUS = ("container", "image")


def event_json(event: Event, version: Version) -> dict[str, Any]:
    """Up to 1.51 containers' and images' events repeat themselves at the top level."""
    value: dict[str, Any] = {}
    if version.before("1.52") and event.type in _HAVE_STATUS:
        repeated = {
            "status": event.action,
            "id": event.actor_id,
            "from": event.attributes.get("image", ""),
        }
        value = {name: text for name, text in repeated.items() if text}
    return value | {
        "Type": event.type,
        "Action": event.action,
        "Actor": {"ID": event.actor_id, "Attributes": dict(sorted(event.attributes.items()))},
        "scope": event.scope,
        "time": event.time_ns // 1_000_000_000,
        "timeNano": event.time_ns,
    }


def event_matcher(filters: Filters) -> Callable[[Event], bool]:
    def matches(event: Event) -> bool:
        return (
            _matches_action(filters, event)
            and filters.exact("type", event.type)
            and filters.exact("scope", event.scope)
            and filters.labels(event.attributes)
            and all(_matches_object(filters, kind, event) for kind in _OBJECTS)
            and _matches_image(filters, event)
        )

    return matches


def _matches_action(filters: Filters, event: Event) -> bool:
    """ "exec_start" also means "exec_start: sh -c ls"."""
    return filters.exact("event", event.action, event.action.partition(":")[0])


def _matches_object(filters: Filters, kind: str, event: Event) -> bool:
    """By name, or by a prefix of the id; events of other objects match none."""
    if kind not in filters:
        return True
    if event.type != kind:
        return False
    return filters.prefix(kind, event.actor_id) or filters.prefix(
        kind, event.attributes.get("name", "")
    )


def _matches_image(filters: Filters, event: Event) -> bool:
    if "image" not in filters:
        return True
    if event.type not in _HAVE_STATUS:
        return False
    name = event.attributes.get("name" if event.type == "image" else "image", "")
    return filters.exact("image", event.actor_id, name, _without_tag(name))


def _without_tag(name: str) -> str:
    head, colon, tag = name.rpartition(":")
    return head if colon and "/" not in tag else name
