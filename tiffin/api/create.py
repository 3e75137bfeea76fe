"""The body of POST /containers/create: read leniently, refused precisely.

Every field of Docker's HostConfig is obeyed, or inert as in Docker; none is dropped silently.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from tiffin.api import create_versions, gowords
from tiffin.api.container_json import NULLABLE_HOST_FIELDS
from tiffin.api.decode import decode, find_key, known_fields
from tiffin.api.endpoints import (
    EndpointSettings,
    check_endpoint,
    interface_sysctls,
    link_local_of,
    read_endpoints,
)
from tiffin.api.versions import NEWEST, Version
from tiffin.core.container import HostConfig
from tiffin.core.image import ContainerConfig
from tiffin.core.update import Update
from tiffin.errors import InvalidArgument, Unsupported

_NULLABLE = {name.lower(): name for name in NULLABLE_HOST_FIELDS}
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class CreateRequest(msgspec.Struct, frozen=True):
    config: ContainerConfig
    host_config: HostConfig
    warnings: tuple[str, ...] = ()
    shallow_read_only: bool = False  # mounts below a read-only bind stay writable
    link_local: tuple[str, ...] = ()  # addresses of its interface besides its own
    given_empty: tuple[str, ...] = ()  # lists and maps of the host config


class _Misplaced(msgspec.Struct, frozen=True):
    """docker-py says beside the host config which runtime is wanted."""

    runtime: str = ""


def read_create(document: dict[str, Any], version: Version) -> CreateRequest:
    """Raises InvalidArgument, and Unsupported with the field's name."""
    if not _says_of(document, ContainerConfig):
        raise InvalidArgument("config cannot be empty in order to create a container")
    config = decode(document, ContainerConfig)
    host_document = find_key(document, "HostConfig")
    host = read_host_config(host_document)
    runtime = host.runtime or decode(document, _Misplaced).runtime
    host = msgspec.structs.replace(host, runtime=runtime)
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
    link_local = () if endpoint is None else link_local_of(endpoint)
    empty = tuple(_given_empty(host_document or {}))
    return CreateRequest(config, host, tuple(warnings), shallow, link_local, empty)


def _given_empty(document: dict[str, Any]) -> Iterator[str]:
    """The host config's lists and maps that are there, with nothing in them."""
    for key, value in document.items():
        if isinstance(value, list | dict) and not value and (name := _NULLABLE.get(key.lower())):
            yield name


def _says_of(document: dict[str, Any], kind: type[msgspec.Struct]) -> bool:
    """Whether any of its keys is a field of `kind`."""
    known = known_fields(kind)
    return any(key.lower() in known for key in document)


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
        words = gowords.no_object(document, "HostConfig", "container.HostConfig")
        raise InvalidArgument(words)
    host = decode(document, HostConfig, prefix="HostConfig")
    swappiness = host.memory_swappiness
    return msgspec.structs.replace(
        host,
        memory_swappiness=None if swappiness == -1 else swappiness,
        # The docker CLI always writes a 0, which must leave our default in force; -1 lifts it.
        pids_limit=None if host.pids_limit == 0 else host.pids_limit,
    )


def read_update(document: dict[str, Any], version: Version = NEWEST) -> Update:
    """The body of POST /containers/{id}/update. What cannot change later is ignored, as by Docker.

    Raises InvalidArgument.
    """
    changeable = {name.replace("_", "") for name in Update.__struct_fields__}
    wanted = {key: value for key, value in document.items() if key.lower() in changeable}
    update = Update.of(decode(wanted, HostConfig, root="UpdateConfig"))
    return msgspec.structs.replace(update, pids_limit=None) if version.before("1.40") else update


def read_config(document: dict[str, Any]) -> ContainerConfig | None:
    """The body of POST /commit: a config as it may be said at a create. None: there is none."""
    read_host_config(find_key(document, "HostConfig"))
    return decode(document, ContainerConfig) if document else None


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
    if mode in ("", "default") and name not in ("default", "bridge", ""):
        host = msgspec.structs.replace(host, network_mode=name)
    sysctls = {**host.sysctls, **interface_sysctls(settings)}
    return msgspec.structs.replace(host, sysctls=sysctls), settings
