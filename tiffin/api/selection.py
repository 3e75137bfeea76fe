"""Which containers GET /containers/json shows: filters, `all`, `limit`."""

from __future__ import annotations

from collections.abc import Iterable
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
        self._statuses = filters.choices("status", [status.value for status in Status])
        self._exit_codes = filters.integers("exited")
        self._health = filters.choices("health", _HEALTH)
        self._everything = everything or bool(self._statuses)

    async def choose(
        self, containers: Iterable[Container], limit: int, before: str, since: str
    ) -> list[Container]:
        """In the order given (newest first). `limit` counts stopped ones too, as in Docker."""
        images = await self._ancestors()
        newest = self._moment(self._filters.single("before") or before)
        oldest = self._moment(self._filters.single("since") or since)
        everything = self._everything or limit > 0 or bool(newest or oldest)
        chosen = (
            container
            for container in containers
            if (everything or container.state.status in _LIVE)
            and (not newest or container.created_ns < newest)
            and (not oldest or container.created_ns > oldest)
            and (images is None or container.image_id in images)
            and self._matches(container)
        )
        return list(islice(chosen, limit if limit > 0 else None))

    def _moment(self, reference: str) -> int:
        return self._engine.containers.get(reference).created_ns if reference else 0

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
            and filters.pattern("id", container.id)
            and filters.labels(container.config.labels)
            and filters.exact("status", container.state.status.value)
            and (not self._exit_codes or self._exited_with(container))
            and (not self._health or _health(container) in self._health)
            and not filters.boolean("is-task", default=False)
            and self._matches_volume(container)
            and self._matches_network(container)
            and self._matches_port("expose", _exposed(container))
            and self._matches_port("publish", _published(container))
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
        for endpoint in container.state.endpoints:
            names += [endpoint.network_name, endpoint.network_id]
        return self._filters.exact("network", *names)

    def _matches_port(self, key: str, ports: set[str]) -> bool:
        wanted = self._filters.get(key)
        return not wanted or any(port in ports for text in wanted for port in port_range(text))


def _stands_on(layers: tuple[str, ...], lower: tuple[str, ...]) -> bool:
    return 0 < len(lower) < len(layers) and layers[: len(lower)] == lower


def port_range(text: str) -> list[str]:
    """ "8000-8002/udp" as "8000/udp", "8001/udp", "8002/udp". Raises InvalidArgument."""
    numbers, _, protocol = text.partition("/")
    first, _, last = numbers.partition("-")
    try:
        low, high = int(first), int(last or first)
    except ValueError as error:
        raise InvalidArgument(f"invalid port: {text}") from error
    if not 0 < low <= high < 65536:
        raise InvalidArgument(f"invalid port: {text}")
    return [f"{number}/{protocol or 'tcp'}" for number in range(low, high + 1)]


def _exposed(container: Container) -> set[str]:
    return {
        name if "/" in name else name + "/tcp" for name in container.config.exposed_ports or {}
    } | {f"{port.container_port}/{port.protocol}" for port in container.state.ports}


def _published(container: Container) -> set[str]:
    return {f"{port.host_port}/{port.protocol}" for port in container.state.ports}


def _health(container: Container) -> str:
    return container.state.health.status if container.state.health else "none"
