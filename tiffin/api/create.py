"""The body of POST /containers/create: read leniently, refused precisely.

Every field of Docker's HostConfig is obeyed, inert, or refused by name; none is dropped silently.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from tiffin.api import create_versions
from tiffin.api.container_json import UNSUPPORTED_HOST_FIELDS
from tiffin.api.decode import decode, find_key
from tiffin.api.endpoints import (
    EndpointSettings,
    check_endpoint,
    interface_sysctls,
    read_endpoints,
)
from tiffin.api.versions import Version
from tiffin.core.container import HostConfig
from tiffin.core.image import ContainerConfig
from tiffin.core.update import Update
from tiffin.errors import InvalidArgument, Unsupported

_REFUSED = {name.lower(): name for name in UNSUPPORTED_HOST_FIELDS}
_INT64 = 2**63 - 1
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class CreateRequest(msgspec.Struct, frozen=True):
    config: ContainerConfig
    host_config: HostConfig
    warnings: tuple[str, ...] = ()
    shallow_read_only: bool = False  # mounts below a read-only bind stay writable


def read_create(document: dict[str, Any], version: Version) -> CreateRequest:
    """Raises InvalidArgument, and Unsupported with the field's name."""
    if not document:
        raise InvalidArgument("config cannot be empty in order to create a container")
    config = decode(document, ContainerConfig)
    host = read_host_config(find_key(document, "HostConfig"))
    endpoints = read_endpoints(find_key(document, "NetworkingConfig"))
    _check_plain(config, host)
    host, endpoint = _placed(create_versions.host_of(host, version), endpoints, version)
    mac_address, warnings = create_versions.mac_address_of(
        config.mac_address, host, endpoint, version
    )
    config = msgspec.structs.replace(
        create_versions.config_of(config, version), mac_address=mac_address
    )
    warnings += create_versions.volume_driver_warnings(host, version)
    shallow = create_versions.read_only_is_shallow(version)
    return CreateRequest(config, host, tuple(warnings), shallow_read_only=shallow)


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
    host = decode(_with_console_of_two(document), HostConfig, "$.HostConfig")
    _check_numbers(host)
    swappiness = host.memory_swappiness
    return msgspec.structs.replace(
        host,
        memory_swappiness=None if swappiness == -1 else swappiness,
        # The docker CLI always writes a 0, which must leave our default in force; -1 lifts it.
        pids_limit=None if host.pids_limit == 0 else host.pids_limit,
    )


def _with_console_of_two(document: dict[str, Any]) -> dict[str, Any]:
    """Go fills an array that is too short with zeroes and drops what is too much."""
    size = find_key(document, "ConsoleSize")
    if not isinstance(size, list) or len(size) == 2:
        return document
    others = {key: value for key, value in document.items() if key.lower() != "consolesize"}
    return {**others, "ConsoleSize": [*size, 0, 0][:2]}


def _check_numbers(host: HostConfig) -> None:
    """As Go: what does not fit 64 bits is no number of these."""
    for field in msgspec.structs.fields(HostConfig):
        value = getattr(host, field.name)
        if isinstance(value, int) and not -_INT64 - 1 <= value <= _INT64:
            raise _does_not_fit(value, field.encode_name, "int64")
    if not 0 <= host.blkio_weight < 1 << 16:
        raise _does_not_fit(host.blkio_weight, "BlkioWeight", "uint16")


def _does_not_fit(value: int, name: str, kind: str) -> InvalidArgument:
    return InvalidArgument(
        f"invalid JSON: json: cannot unmarshal number {value} into Go struct field "
        f"HostConfig.{name} of type {kind}"
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


def _placed(
    host: HostConfig, endpoints: dict[str, EndpointSettings], version: Version
) -> tuple[HostConfig, EndpointSettings | None]:
    """The host config with the endpoint's network, and the endpoint."""
    if len(endpoints) > 1:
        if version.before("1.44"):
            raise InvalidArgument(
                "Container cannot be created with multiple network endpoints: "
                + ", ".join(sorted(endpoints))
            )
        raise Unsupported("a container on several networks is not supported by tiffin")
    if not endpoints:
        return host, None
    ((name, settings),) = endpoints.items()
    check_endpoint(settings)
    mode = host.network_mode
    if mode in ("", "default") and name not in ("default", ""):
        host = msgspec.structs.replace(host, network_mode=name)
    sysctls = {**host.sysctls, **interface_sysctls(settings)}
    return msgspec.structs.replace(host, sysctls=sysctls), settings
