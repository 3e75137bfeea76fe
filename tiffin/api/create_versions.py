"""What a create request meant in older API versions, and may no longer say in newer ones.

A client gets what its version promised: fields that it cannot know of are dropped, defaults are
those of its time, and what has moved since is moved or refused in Docker's words.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from tiffin.api.endpoints import check_mac_address
from tiffin.api.versions import Version
from tiffin.core.container import HostConfig, MountRequest
from tiffin.core.image import ContainerConfig
from tiffin.errors import InvalidArgument

if TYPE_CHECKING:
    from tiffin.api.endpoints import EndpointSettings

replace = msgspec.structs.replace

_TYPED_OPTIONS = (
    ("volume_options", "volume", "VolumeOptions"),
    ("bind_options", "bind", "BindOptions"),
    ("tmpfs_options", "tmpfs", "TmpfsOptions"),
)
_INTERFACE_SYSCTL = re.compile(r"net\.[^.]*\.[^.]*\.eth[^.]*\.")


def host_of(host: HostConfig, version: Version) -> HostConfig:
    """Raises InvalidArgument for what the version does not know."""
    if version.before("1.25"):  # its clients remove it themselves
        host = replace(host, auto_remove=False)
    if version.before("1.40") and not host.ipc_mode:
        host = replace(host, ipc_mode="shareable")
    if version.before("1.42"):
        host = replace(host, console_size=(0, 0))
    if version.before("1.43"):
        host = replace(host, annotations={})
    _check_sysctls(host, version)
    return replace(host, mounts=tuple(_mount_of(mount, version) for mount in host.mounts))


def _mount_of(mount: MountRequest, version: Version) -> MountRequest:
    mount = _with_fitting_options(mount, version)
    bind, volume = mount.bind_options, mount.volume_options
    if bind is not None:
        if version.before("1.40"):
            bind = replace(bind, non_recursive=False)
        if version.before("1.42"):
            bind = replace(bind, create_mountpoint=False)
        if version.before("1.44") and bind.read_only_force_recursive:
            raise InvalidArgument("BindOptions.ReadOnlyForceRecursive needs API v1.44 or newer")
        mount = replace(mount, bind_options=bind)
    if version.before("1.45") and volume is not None and volume.subpath:
        raise InvalidArgument("VolumeOptions.Subpath needs API v1.45 or newer")
    if version.before("1.48") and mount.type == "image":
        raise InvalidArgument('Mount type "Image" needs API v1.48 or newer')
    return mount


def _with_fitting_options(mount: MountRequest, version: Version) -> MountRequest:
    for field, kind, name in _TYPED_OPTIONS:
        if mount.type == kind or getattr(mount, field) is None:
            continue
        if version.before("1.42"):
            if field != "bind_options":
                mount = replace(mount, **{field: None})
        else:
            raise InvalidArgument(f'{name} must not be specified on mount type "{mount.type}"')
    return mount


def _check_sysctls(host: HostConfig, version: Version) -> None:
    """Of one interface: an endpoint's driver option since 1.46, and nothing else from 1.48 on."""
    if version.before("1.48") or host.network_mode == "host":
        return
    for name in host.sysctls:
        if _INTERFACE_SYSCTL.match(name):
            raise InvalidArgument(
                f'interface specific sysctl setting "{name}" must be supplied using driver option '
                "'com.docker.network.endpoint.sysctls'"
            )


def config_of(config: ContainerConfig, version: Version) -> ContainerConfig:
    check = config.healthcheck
    if check is not None and version.before("1.44"):
        return replace(config, healthcheck=replace(check, start_interval=0))
    return config


def read_only_is_shallow(version: Version) -> bool:
    """Before 1.44 what is mounted below a read-only bind stayed writable."""
    return version.before("1.44")


def mac_address_of(
    asked: str, host: HostConfig, endpoint: EndpointSettings | None, version: Version
) -> tuple[str, list[str]]:
    """The address of the main network's link, and warnings. `asked`: the container-wide field."""
    check_mac_address(asked)
    own = endpoint.mac_address if endpoint is not None else ""
    bridged = host.network_mode in ("", "default", "bridge")
    if version.before("1.44"):
        if asked and not bridged:
            raise InvalidArgument("conflicting options: mac-address and the network mode")
        return asked, []
    if not asked:
        return own, []
    if not version.before("1.52"):
        raise InvalidArgument(
            "container-wide MAC address no longer supported; "
            "use endpoint-specific MAC address instead"
        )
    if bridged and own and own.lower() != asked.lower():
        raise InvalidArgument(
            "the container-wide MAC address must match the endpoint-specific MAC address "
            "for the main network, or be left empty"
        )
    return asked, [
        (
            "The container-wide MacAddress field is now deprecated. "
            "It should be specified in EndpointsConfig instead."
        )
    ]


def volume_driver_warnings(host: HostConfig, version: Version) -> list[str]:
    if not host.volume_driver or version.before("1.48"):
        return []
    for mount in host.mounts:
        options = mount.volume_options
        named = options and options.driver_config and options.driver_config.name
        if mount.type == "volume" and not named:
            return [
                (
                    "WARNING: the container-wide volume-driver configuration is ignored for "
                    "volumes specified via 'mount'. Use '--mount type=volume,"
                    "volume-driver=...' instead"
                )
            ]
    return []
