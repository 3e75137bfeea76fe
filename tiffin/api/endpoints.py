"""Endpoint settings in a request: what a client may ask of a container's place on a network."""

from __future__ import annotations

import ipaddress
import re
from typing import Any

import msgspec

from tiffin.api import gowords
from tiffin.api.decode import decode, find_key
from tiffin.errors import InvalidArgument, Unsupported

# What a client sends back from `inspect`, and what means nothing in a request.
_OUTPUT = frozenset(
    "networkid endpointid gateway ipaddress ipprefixlen ipv6gateway globalipv6address "
    "globalipv6prefixlen dnsnames".split()
)
_SYSCTLS = "com.docker.network.endpoint.sysctls"
_SYSCTL = re.compile(
    r"(?P<before>net\.(ipv4|ipv6|mpls)\.[^.=]+)\.(IFNAME|ifname)\.(?P<after>[^=]+)"
)
_MAC = re.compile(r"[0-9a-fA-F]{2}([:-][0-9a-fA-F]{2}){5}")
_ONLY_INTERFACE = "eth0"  # the one link of a container on the default bridge


class EndpointIPAMConfig(msgspec.Struct, frozen=True):
    ipv4: str = msgspec.field(name="IPv4Address", default="")
    ipv6: str = msgspec.field(name="IPv6Address", default="")
    link_local: tuple[str, ...] = msgspec.field(name="LinkLocalIPs", default=())


class EndpointSettings(msgspec.Struct, frozen=True, rename="pascal"):
    ipam_config: EndpointIPAMConfig | None = msgspec.field(name="IPAMConfig", default=None)
    links: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    mac_address: str = ""
    driver_opts: dict[str, str] = {}
    gw_priority: int = 0


def read_endpoints(document: Any) -> dict[str, EndpointSettings]:
    """NetworkingConfig.EndpointsConfig."""
    endpoints = find_key(_object(document, "NetworkingConfig"), "EndpointsConfig")
    place = "NetworkingConfig.EndpointsConfig"
    named = _object(endpoints, place, "map[string]*network.EndpointSettings")
    for name, value in named.items():
        if value is None:
            raise InvalidArgument(
                "invalid endpoint settings:\n"
                f"invalid config for network {name}: EndpointsConfig is nil"
            )
    return {name: read_endpoint(value, place) for name, value in named.items()}


def _object(document: Any, place: str, kind: str = "network.NetworkingConfig") -> dict[str, Any]:
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise InvalidArgument(gowords.no_object(document, place, kind))
    return document


def read_endpoint(document: Any, place: str = "EndpointConfig") -> EndpointSettings:
    document = _object(document, place, "network.EndpointSettings")
    wanted = {key: value for key, value in document.items() if key.lower() not in _OUTPUT}
    settings = decode(wanted, EndpointSettings, prefix=place)
    asked = settings.ipam_config or EndpointIPAMConfig()
    if asked.ipv4 or asked.ipv6:
        raise InvalidArgument(
            "invalid endpoint settings:\n"
            "user-specified IP address is supported on user-defined networks only"
        )
    if settings.links:
        raise Unsupported("EndpointSettings.Links is not supported by tiffin")
    check_mac_address(settings.mac_address)
    return settings


def link_local_of(settings: EndpointSettings) -> tuple[str, ...]:
    """Raises InvalidArgument in Docker's words."""
    wanted = settings.ipam_config.link_local if settings.ipam_config else ()
    for text in wanted:
        try:
            address = ipaddress.ip_address(text)
        except ValueError as error:
            raise InvalidArgument(
                f"invalid endpoint settings:\ninvalid link-local IP address: {text}"
            ) from error
        if not address.is_link_local:
            raise InvalidArgument(f"invalid link local IP address: {text}")
        if address.version == 6 and address.scope_id is not None:
            raise InvalidArgument(f"invalid link local IP address: {text}")
    return tuple(dict.fromkeys(wanted))


def check_mac_address(text: str) -> None:
    if text and not _MAC.fullmatch(text):
        raise InvalidArgument(f"invalid MAC address: {text}")


def check_endpoint(settings: EndpointSettings) -> None:
    """What only a user-defined network can give. Raises InvalidArgument."""
    if settings.aliases:
        raise InvalidArgument(
            "invalid endpoint settings:\n"
            "network-scoped aliases are only supported for user-defined networks"
        )


def interface_sysctls(settings: EndpointSettings) -> dict[str, str]:
    """Those of the endpoint's own interface, by their names in the container."""
    found = {}
    for entry in filter(None, settings.driver_opts.get(_SYSCTLS, "").split(",")):
        name, equals, value = entry.partition("=")
        match = _SYSCTL.fullmatch(name)
        if match is None or not equals:
            raise InvalidArgument(
                "invalid endpoint settings:\n"
                f"unrecognised network interface sysctl '{entry}'; represent "
                "'net.X.Y.ethN.Z=V' as 'net.X.Y.IFNAME.Z=V', 'X' must be 'ipv4', 'ipv6' or 'mpls'"
            )
        found[f"{match['before']}.{_ONLY_INTERFACE}.{match['after']}"] = value
    return found
