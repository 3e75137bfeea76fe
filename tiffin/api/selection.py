"""Which containers GET /containers/json shows: filters, `all`, `limit`."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import TYPE_CHECKING

from tiffin.core.container import Container, Status
from tiffin.core.filters import Filters
from tiffin.errors import InvalidArgument, TiffinError

if TYPE_CHECKING:
    from tiffin.engine.engine import Engine

ACCEPTED = (
    "ancestor",
    "before",
    "expose",
    "exited",
    "health",
    "id",
    "isolation",
    "is-task",
    "label",
    "label!",
    "name",
    "network",
    "publish",
    "since",
    "status",
    "volume",
)
_HEALTH = ("none", "starting", "healthy", "unhealthy")
_LIVE = (Status.RUNNING, Status.PAUSED, Status.RESTARTING)


class ContainerSelection:
    def __init__(self, filters: Filters, engine: Engine, *, everything: bool) -> None:
        self._filters = filters.check(*ACCEPTED)
        self._engine = engine
        self._exit_codes = filters.integers("exited")
        self._statuses = filters.choices("status", [status.value for status in Status], "state")
        self._health = filters.choices("health", _HEALTH, "health")
        self._ports = {
            key: {port for text in filters.get(key) for port in port_range(text, key)}
            for key in ("expose", "publish")
        }
        self._everything = everything or bool(self._statuses)

    async def choose(self, containers: Sequence[Container], limit: int) -> list[Container]:
        """In the order given (newest first). `limit` counts stopped ones too, as in Docker."""
        newest, oldest = self._moment("before"), self._moment("since")
        images = await self._ancestors()
        ids = self._ids(containers)
        everything = self._everything or limit > 0
        chosen = (
            container
            for container in containers
            if (everything or container.state.status in _LIVE)
            and (not newest or container.created_ns < newest)
            and (not oldest or container.created_ns > oldest)
            and (images is None or container.image_id in images)
            and (ids is None or container.id in ids)
            and self._matches(container)
        )
        return list(islice(chosen, limit if limit > 0 else None))

    def _moment(self, key: str) -> int:
        if not self._filters.get(key):
            return 0
        return self._engine.containers.get(self._filters.single(key)).created_ns

    def _ids(self, containers: Sequence[Container]) -> set[str] | None:
        """Of those that the filter names, each by what no other's id begins with."""
        wanted = self._filters.get("id")
        if not wanted:
            return None
        named = [[one.id for one in containers if one.id.startswith(text)] for text in wanted]
        return {
            found[0] for text, found in zip(wanted, named, strict=True) if text and len(found) == 1
        }

    async def _ancestors(self) -> set[str] | None:
        """Ids of the images named, and of those with more layers on top of theirs."""
        if "ancestor" not in self._filters:
            return None
        found: dict[str, tuple[str, ...]] = {}
        for reference in self._filters.get("ancestor"):
            try:
                image = await self._engine.images.get(reference)
            except TiffinError:
                continue
            found[image.id] = image.config.rootfs.diff_ids
        descended = {
            image.id
            for image in (await self._engine.images.list() if found else ())
            if any(_stands_on(image.config.rootfs.diff_ids, layers) for layers in found.values())
        }
        return descended | set(found)

    def _matches(self, container: Container) -> bool:
        filters = self._filters
        return (
            filters.pattern("name", container.name, "/" + container.name)
            and filters.labels(container.config.labels)
            and filters.exact("status", container.state.status.value)
            and (not self._exit_codes or self._exited_with(container))
            and (not self._health or _health(container) in self._health)
            and not filters.boolean("is-task", default=False)
            and self._matches_volume(container)
            and self._matches_network(container)
            and self._matches_port(container)
        )

    def _exited_with(self, container: Container) -> bool:
        state = container.state
        return state.status is Status.EXITED and state.exit_code in self._exit_codes

    def _matches_volume(self, container: Container) -> bool:
        # What has no name, a bind, goes by what it binds.
        names = [
            name
            for mount in container.mounts
            for name in (mount.name or mount.source, mount.destination)
        ]
        return self._filters.exact("volume", *names)

    def _matches_network(self, container: Container) -> bool:
        names = [container.host_config.network_mode]
        if names[0] in ("", "default"):
            names = ["bridge"]
        ids = [end.network_id for end in container.state.endpoints]
        names += [end.network_name for end in container.state.endpoints]
        filters = self._filters
        return filters.exact("network", *names) or any(
            filters.prefix("network", network_id) for network_id in ids
        )

    def _matches_port(self, container: Container) -> bool:
        """One of either kind will do."""
        wanted = self._ports
        return not any(wanted.values()) or bool(
            wanted["expose"] & _exposed(container) or wanted["publish"] & _published(container)
        )


def _stands_on(layers: tuple[str, ...], lower: tuple[str, ...]) -> bool:
    return 0 < len(lower) < len(layers) and layers[: len(lower)] == lower


def port_range(text: str, key: str) -> list[str]:
    """ "8000-8002/udp" as "8000/udp", "8001/udp", "8002/udp". Raises InvalidArgument."""
    if ":" in text:
        raise InvalidArgument(f"filter for '{key}' should not contain ':': {text}")
    numbers, _, protocol = text.partition("/")
    first, dash, last = numbers.partition("-")
    about = f"error while looking up for {key} {text}"
    if not numbers:
        raise InvalidArgument(f"{about}: empty string specified for ports")
    for number in (first, last) if dash else (first,):
        why = _no_port(number)
        if why:
            raise InvalidArgument(f'{about}: strconv.ParseUint: parsing "{number}": {why}')
    low, high = int(first), int(last or first)
    if high < low:
        raise InvalidArgument(f"{about}: invalid range specified for port: {numbers}")
    return [f"{number}/{protocol or 'tcp'}" for number in range(low, high + 1)]


def _no_port(text: str) -> str:
    if not (text.isascii() and text.isdecimal()):
        return "invalid syntax"
    return "" if len(text) < 6 and int(text) < 65536 else "value out of range"


def _exposed(container: Container) -> set[str]:
    return {
        name if "/" in name else name + "/tcp" for name in container.config.exposed_ports or {}
    } | {f"{port.container_port}/{port.protocol}" for port in container.state.ports}


def _published(container: Container) -> set[str]:
    return {f"{port.host_port}/{port.protocol}" for port in container.state.ports}


def _health(container: Container) -> str:
    return container.state.health.status if container.state.health else "none"
