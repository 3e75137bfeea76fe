"""Links in use: which containers they name, and what a start and an exec get of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from tiffin.core import links
from tiffin.core.container import Container, HostConfig, Link
from tiffin.core.image import ContainerConfig
from tiffin.core.lifecycle import LIVE
from tiffin.core.merge import merge_environment
from tiffin.engine.catalog import Catalog
from tiffin.errors import Conflict, InvalidArgument, NotFound

_ON_HOST = (
    "conflicting options: host type networking can't be used with links. "
    "This would result in undefined behavior"
)


class Linked(NamedTuple):
    """What a container gets of those that it links."""

    hosts: tuple[str, ...] = ()
    environment: tuple[str, ...] = ()

    def passed_to(self, config: ContainerConfig) -> ContainerConfig:
        """With the variables, unless the container has its own of that name."""
        if not self.environment:
            return config
        env = merge_environment(self.environment, config.env or ())
        return msgspec.structs.replace(config, env=env)


def resolve_links(host: HostConfig, catalog: Catalog) -> tuple[Link, ...]:
    """Links by id, so that a rename does not break them. Raises InvalidArgument."""
    found: dict[str, Link] = {}
    for text in host.links:
        name, alias = links.parse_link(text)
        child = _owner_of_network(_get(name, catalog), catalog)
        if child.host_config.network_mode == "host":
            raise InvalidArgument(_ON_HOST)
        found[alias] = Link(child.id, alias)
    return tuple(found.values())


def _get(name: str, catalog: Catalog) -> Container:
    try:
        return catalog.get(name)
    except NotFound as error:
        # 404 would have the client look for the image.
        words = f"could not get container for {name}: {error.message}"
        raise InvalidArgument(words) from error


def _owner_of_network(container: Container, catalog: Catalog) -> Container:
    seen = {container.id}
    while container.host_config.network_mode.startswith("container:"):
        container = _get(container.host_config.network_mode.partition(":")[2], catalog)
        if container.id in seen:  # a ring: names can be given anew
            break
        seen.add(container.id)
    return container


def linked(container: Container, catalog: Catalog) -> Linked:
    """For a start. Raises Conflict for one that does not run, or not on the default bridge."""
    hosts, environment = [], []
    for link in container.links:
        child = catalog.find_id(link.container_id)
        if child is None or child.state.status not in LIVE:
            name = child.name if child is not None else _name_of(link, container)
            raise Conflict(
                f"Cannot link to a non running container: /{name} AS /{container.name}/{link.alias}"
            )
        address = _address(child)
        if not address:
            raise Conflict(
                f"Cannot link to /{child.name}, as it does not belong to the default network"
            )
        hosts.append(links.hosts_line(child, link.alias, address))
        environment += links.environment(child, link.alias, address, container.name)
    return Linked(tuple(hosts), tuple(environment))


def _name_of(link: Link, container: Container) -> str:
    """Of one that is gone, as it was named when the link was made."""
    texts = map(links.parse_link, container.host_config.links)
    return next((name for name, alias in texts if alias == link.alias), link.container_id)


def needed(container: Container) -> list[str]:
    """Ids of those that must run before it can: linked ones, those whose namespaces it joins."""
    host = container.host_config
    modes = (host.network_mode, host.pid_mode, host.ipc_mode)
    joined = [mode.partition(":")[2] for mode in modes if mode.startswith("container:")]
    return [*(link.container_id for link in container.links), *joined]


def linked_environment(container: Container, catalog: Catalog) -> tuple[str, ...]:
    """For an exec: the variables of those that run now."""
    found: list[str] = []
    for link in container.links:
        child = catalog.find_id(link.container_id)
        if child is not None and (address := _address(child)):
            found += links.environment(child, link.alias, address, container.name)
    return tuple(found)


def _address(container: Container) -> str:
    if container.state.status not in LIVE:
        return ""
    return next((end.address for end in container.state.endpoints if end.address), "")


def linking(child: Container, catalog: Catalog) -> Iterator[tuple[Container, str, str]]:
    """(container, alias, address) of the running ones that link `child`, which has just started."""
    address = _address(child)
    for container in catalog.with_links():
        for link in container.links if container.state.status in LIVE else ():
            if link.container_id == child.id and address:
                yield container, link.alias, address


def given_names(catalog: Catalog) -> dict[str, list[str]]:
    """The names that containers have from those that link them, by id: "/web/db"."""
    found: dict[str, list[str]] = {}
    for container in catalog.all():
        for link in container.links:
            found.setdefault(link.container_id, []).append(f"/{container.name}/{link.alias}")
    return found


def without_link(reference: str, catalog: Catalog) -> Container:
    """The container of "web/db" without its link "db". Raises Conflict, NotFound."""
    catalog.get(reference)
    name, _, alias = reference.removeprefix("/").rpartition("/")
    if not name:
        raise Conflict("Conflict, cannot remove the default link name of the container")
    container = catalog.get(name)
    kept = tuple(link for link in container.links if link.alias != alias)
    texts = tuple(
        text for text in container.host_config.links if links.parse_link(text)[1] != alias
    )
    host = msgspec.structs.replace(container.host_config, links=texts)
    return msgspec.structs.replace(container, links=kept, host_config=host)


def shown_links(container: Container, catalog: Catalog) -> list[str]:
    """HostConfig.Links as `inspect` shows them: by the names that the containers have now."""
    shown = []
    for link in container.links:
        child = catalog.find_id(link.container_id)
        if child is not None:
            shown.append(f"/{child.name}:/{container.name}/{link.alias}")
    return sorted(shown)
