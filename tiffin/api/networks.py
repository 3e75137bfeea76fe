"""Routes of networks."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import msgspec

from tiffin.api.decode import decode, find_key, read_json
from tiffin.api.endpoints import read_endpoint
from tiffin.api.messages import NO_CONTENT, Answer, Request, json_response
from tiffin.api.router import Route
from tiffin.api.versions import Version
from tiffin.core.filters import Filters, parse_filters
from tiffin.core.network import PREDEFINED, Network
from tiffin.core.timestamps import rfc3339
from tiffin.errors import Forbidden, InvalidArgument, Unsupported

if TYPE_CHECKING:
    from tiffin.engine.engine import Engine

_LIST_FILTERS = ("dangling", "driver", "id", "label", "label!", "name", "scope", "type")
_NO_OWN = "predefined networks only"
_PRUNE_FILTERS = ("label", "label!", "until")


class NetworkRequest(msgspec.Struct, frozen=True, rename="pascal"):
    """The body of POST /networks/create, as far as tiffin looks."""

    name: str = ""
    driver: str = ""


class MembershipRequest(msgspec.Struct, frozen=True, rename="pascal"):
    """The body of connect and disconnect."""

    container: str = ""
    force: bool = False
    endpoint_config: dict[str, Any] | None = None


class NetworkRoutes:
    def __init__(self, engine: Engine) -> None:
        self._networks = engine.networks
        self._containers = engine.containers
        self._events = engine.events

    def routes(self) -> list[Route]:
        return [
            Route("GET", "/networks", self.listing),
            Route("POST", "/networks/create", self.create, limits=_NO_OWN),
            Route("POST", "/networks/prune", self.prune),
            Route("GET", "/networks/", self.listing),
            Route("GET", "/networks/{id}", self.inspect),
            Route("DELETE", "/networks/{id}", self.remove),
            Route("POST", "/networks/{id}/connect", self.connect, limits=_NO_OWN),
            Route("POST", "/networks/{id}/disconnect", self.disconnect, limits=_NO_OWN),
        ]

    async def listing(self, request: Request) -> Answer:
        """Since 1.28 without the containers, as Docker."""
        filters = parse_filters(request.query.get("filters")).check(*_LIST_FILTERS)
        with_containers = request.version.before("1.28")
        return json_response(
            [
                self._inspect(network, request.version, containers=with_containers)
                for network in self._networks.list()
                if self._matches(network, filters)
            ]
        )

    def _matches(self, network: Network, filters: Filters) -> bool:
        kind = "builtin" if network.name in PREDEFINED else "custom"
        # A predefined network is never dangling.
        unused = kind == "custom" and not self._members(network)
        return (
            filters.pattern("name", network.name)
            and filters.pattern("id", network.id)
            and filters.exact("driver", network.driver)
            and filters.exact("scope", "local")
            and filters.exact("type", kind)
            and filters.labels(network.labels)
            and filters.boolean("dangling", default=unused) == unused
        )

    async def inspect(self, request: Request) -> Answer:
        scope = request.query.get("scope")
        if scope not in ("", "local", "swarm", "global"):
            raise InvalidArgument(f"invalid scope: {scope}")
        network = self._networks.get(request.parameters["id"])
        return json_response(self._inspect(network, request.version, containers=True))

    def _inspect(self, network: Network, version: Version, *, containers: bool) -> dict[str, Any]:
        value = network_json(network, version)
        if containers:
            value["Containers"] = self._members(network)
        elif version.before("1.52"):
            value["Containers"] = {}
        return value

    def _members(self, network: Network) -> dict[str, Any]:
        """The containers that run on it, by id."""
        return {
            container.id: {
                "Name": container.name,
                "EndpointID": endpoint.endpoint_id,
                "MacAddress": endpoint.mac_address,
                "IPv4Address": (
                    f"{endpoint.address}/{endpoint.prefix_length}" if endpoint.address else ""
                ),
                "IPv6Address": "",
            }
            for container in self._containers.list()
            for endpoint in container.state.endpoints
            if endpoint.network_id == network.id and endpoint.endpoint_id
        }

    async def create(self, request: Request) -> Answer:
        wanted = decode(await read_json(request, "network.CreateRequest"), NetworkRequest)
        if not wanted.name.strip():
            raise InvalidArgument("invalid name: name is empty")
        self._networks.create(wanted.name, wanted.driver)
        raise Unsupported("user-defined networks are not supported yet")

    async def remove(self, request: Request) -> Answer:
        self._networks.remove(request.parameters["id"])
        return NO_CONTENT

    async def prune(self, request: Request) -> Answer:
        filters = parse_filters(request.query.get("filters")).check(*_PRUNE_FILTERS)
        filters.until_ns(time.time_ns())
        deleted = list(self._networks.prune())
        self._events.emit("network", "prune", "", {"reclaimed": "0"})
        return json_response({"NetworksDeleted": deleted or None})

    async def connect(self, request: Request) -> Answer:
        """So far only what is so already: a container on one of the predefined networks."""
        document = await read_json(request, "network.ConnectOptions")
        wanted = decode(document, MembershipRequest)
        read_endpoint(find_key(document, "EndpointConfig"))
        network, container = self._membership(request, wanted)
        if network.name == self._network_of(container):
            name = self._containers.get(container).name
            raise Forbidden(f"endpoint with name {name} already exists in network {network.name}")
        raise Unsupported("connecting a container to a further network is not supported yet")

    async def disconnect(self, request: Request) -> Answer:
        wanted = decode(await read_json(request, "network.DisconnectOptions"), MembershipRequest)
        network, container = self._membership(request, wanted)
        if network.name == "host":
            raise Forbidden(
                "container cannot be disconnected from host network or connected to host network"
            )
        if network.name != self._network_of(container):
            raise Forbidden(
                f"container {wanted.container} is not connected to network {network.name}"
            )
        raise Unsupported("disconnecting a container from its network is not supported yet")

    def _membership(self, request: Request, wanted: MembershipRequest) -> tuple[Network, str]:
        if not wanted.container.strip():
            raise InvalidArgument("invalid container: value is empty")
        container = self._containers.get(wanted.container)  # asked for first, as by Docker
        return self._networks.get(request.parameters["id"]), container.id

    def _network_of(self, container_id: str) -> str:
        mode = self._containers.get(container_id).host_config.network_mode
        return "bridge" if mode in ("", "default") else mode


def network_json(network: Network, version: Version) -> dict[str, Any]:
    pools = [{"Subnet": network.subnet, "Gateway": network.gateway}] if network.subnet else []
    value: dict[str, Any] = {
        "Name": network.name,
        "Id": network.id,
        "Created": rfc3339(network.created_ns),
        "Scope": "local",
        "Driver": network.driver,
        "EnableIPv6": False,
        "IPAM": {"Driver": "default", "Options": None, "Config": pools},
        "Internal": network.internal,
        "Attachable": False,
        "Ingress": False,
        "ConfigFrom": {"Network": ""},
        "ConfigOnly": False,
        "Options": network.options,
        "Labels": network.labels,
    }
    if not version.before("1.47"):
        value["EnableIPv4"] = True
    return value
