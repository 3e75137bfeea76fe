"""The body of POST /containers/create: read leniently, refused precisely.

Every field of Docker's HostConfig is obeyed, inert, or refused by name; none is dropped silently.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from tiffin.api.container_json import UNSUPPORTED_HOST_FIELDS
from tiffin.api.decode import decode, find_key
from tiffin.api.versions import Version
from tiffin.core.container import HostConfig
from tiffin.core.image import ContainerConfig
from tiffin.core.update import Update
from tiffin.errors import InvalidArgument, Unsupported

_REFUSED = {name.lower(): name for name in UNSUPPORTED_HOST_FIELDS}
_INT64 = 2**63 - 1
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")

# Endpoint settings that a client sends back from `inspect`, and that mean nothing in a request.
_ENDPOINT_OUTPUT = frozenset(
    "networkid endpointid gateway ipaddress ipprefixlen ipv6gateway globalipv6address "
    "globalipv6prefixlen dnsnames".split()
)


class CreateRequest(msgspec.Struct, frozen=True):
    config: ContainerConfig
    host_config: HostConfig
    warnings: tuple[str, ...] = ()


class EndpointSettings(msgspec.Struct, frozen=True, rename="pascal"):
    """What a client may ask of a container's place on a network."""

    ipam_config: dict[str, Any] | None = msgspec.field(name="IPAMConfig", default=None)
    links: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    mac_address: str = ""
    driver_opts: dict[str, str] = {}
    gw_priority: int = 0


def read_create(document: dict[str, Any], version: Version) -> CreateRequest:
    """Raises InvalidArgument, and Unsupported with the field's name."""
    if not document:
        raise InvalidArgument("config cannot be empty in order to create a container")
    config = decode(document, ContainerConfig)
    host = read_host_config(find_key(document, "HostConfig"))
    endpoints = read_endpoints(find_key(document, "NetworkingConfig"))
    _check_plain(config, host)
    host, mac_address = _place(host, endpoints, version)
    if mac_address and not config.mac_address:
        config = msgspec.structs.replace(config, mac_address=mac_address)
    return CreateRequest(config, host)


def _check_plain(config: ContainerConfig, host: HostConfig) -> None:
    """What becomes a line of /etc/hosts or resolv.conf is one line."""
    texts = {
        "hostname": (config.hostname, config.domainname),
        "extra host": host.extra_hosts,
        "DNS server": host.dns,
        "DNS option": host.dns_options,
        "DNS search domain": host.dns_search,
    }
    for what, values in texts.items():
        for value in values:
            if _CONTROL.search(value):
                raise InvalidArgument(f"invalid {what}: {value!r} has a control character")


def read_host_config(document: Any) -> HostConfig:
    if document is None:
        return HostConfig()
    if not isinstance(document, dict):
        raise InvalidArgument("invalid JSON: HostConfig is no object")
    for key, value in document.items():
        _check_host_field(key, value)
    host = decode(document, HostConfig, "$.HostConfig")
    _check_numbers(host)
    swappiness = host.memory_swappiness
    return msgspec.structs.replace(
        host,
        memory_swappiness=None if swappiness == -1 else swappiness,
        # The docker CLI always writes a 0, which must leave our default in force; -1 lifts it.
        pids_limit=None if host.pids_limit == 0 else host.pids_limit,
    )


def _check_numbers(host: HostConfig) -> None:
    """As Go: what does not fit 64 bits is no number of these."""
    for field in msgspec.structs.fields(HostConfig):
        value = getattr(host, field.name)
        if isinstance(value, int) and not -_INT64 - 1 <= value <= _INT64:
            raise InvalidArgument(
                f"invalid JSON: cannot unmarshal number {value} into "
                f"HostConfig.{field.encode_name} of type int64"
            )


def read_update(document: dict[str, Any]) -> Update:
    """The body of POST /containers/{id}/update. What cannot change later is ignored, as by Docker.

    Raises InvalidArgument, and Unsupported with the field's name.
    """
    changeable = {name.replace("_", "") for name in Update.__struct_fields__}
    wanted = {}
    for key, value in document.items():
        if key.lower() in changeable:
            wanted[key] = value
        else:
            _check_host_field(key, value)
    return Update.of(decode(wanted, HostConfig))


def _check_host_field(key: str, value: Any) -> None:
    name = _REFUSED.get(key.lower())
    if name is None:
        return  # obeyed, inert, or not Docker's either: as Go, ignore it
    if value and value not in UNSUPPORTED_HOST_FIELDS[name]:
        raise Unsupported(f"HostConfig.{name} is not supported by tiffin")


def read_endpoints(document: Any) -> dict[str, EndpointSettings]:
    """NetworkingConfig.EndpointsConfig."""
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise InvalidArgument("invalid JSON: NetworkingConfig is no object")
    endpoints = find_key(document, "EndpointsConfig")
    if endpoints is None:
        return {}
    if not isinstance(endpoints, dict):
        raise InvalidArgument("invalid JSON: NetworkingConfig.EndpointsConfig is no object")
    return {name: read_endpoint(value) for name, value in endpoints.items()}


def read_endpoint(document: Any) -> EndpointSettings:
    if document is None:
        return EndpointSettings()
    if not isinstance(document, dict):
        raise InvalidArgument("invalid JSON: endpoint settings are no object")
    wanted = {key: value for key, value in document.items() if key.lower() not in _ENDPOINT_OUTPUT}
    settings = decode(wanted, EndpointSettings, "$.EndpointsConfig")
    if any((settings.ipam_config or {}).values()):
        raise InvalidArgument(
            "user specified IP address is supported on user defined networks only"
        )
    if settings.links:
        raise Unsupported("EndpointSettings.Links is not supported by tiffin")
    return settings


def _place(
    host: HostConfig, endpoints: dict[str, EndpointSettings], version: Version
) -> tuple[HostConfig, str]:
    """The host config with the endpoint's network, and the MAC address that it asks for."""
    if len(endpoints) > 1:
        if version.before("1.44"):
            raise InvalidArgument(
                "Container cannot be connected to network endpoints: "
                + ", ".join(sorted(endpoints))
            )
        raise Unsupported("a container on several networks is not supported by tiffin")
    if not endpoints:
        return host, ""
    ((name, settings),) = endpoints.items()
    mode = host.network_mode
    if mode in ("", "default") and name not in ("default", ""):
        host = msgspec.structs.replace(host, network_mode=name)
    return host, settings.mac_address
