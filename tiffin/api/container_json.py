"""Containers as the Engine API shows them: list, inspect, Docker's overlapping booleans of state.

Pure: a record and a moment in, JSON-ready values out. Fields that tiffin has no use for hold the
values that Docker gives them by default.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec

from tiffin.api.versions import Version
from tiffin.core.container import Container, Endpoint, Health, HostConfig, Mount, State, Status
from tiffin.core.humanize import human_duration
from tiffin.core.image import ContainerConfig
from tiffin.core.timestamps import rfc3339
from tiffin.core.verdict import Verdict

DEFAULT_RUNTIME = "tiffin"
DEFAULT_SHM_BYTES = 64 * 1024 * 1024

_MASKED = (
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
)
_READ_ONLY = (
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
)

# Accepted, and of no consequence, as in Docker.
INERT_HOST_FIELDS = frozenset({"Cgroup", "ContainerIDFile"})

# Null where the request did not give them, even if only as empty.
NULLABLE_HOST_FIELDS = frozenset(
    (
        *("Binds", "VolumesFrom", "CapAdd", "CapDrop", "Dns", "DnsOptions", "DnsSearch"),
        *("ExtraHosts", "GroupAdd", "SecurityOpt", "Links", "PortBindings", "Ulimits"),
        *("Devices", "DeviceCgroupRules", "DeviceRequests", "BlkioWeightDevice"),
        *("BlkioDeviceReadBps", "BlkioDeviceWriteBps"),
        *("BlkioDeviceReadIOps", "BlkioDeviceWriteIOps"),
    )
)
_OMIT_WHEN_EMPTY = (
    "Mounts",
    "Tmpfs",
    "Sysctls",
    "Annotations",
    "Init",
    "StorageOpt",
    "KernelMemory",
    "KernelMemoryTCP",
)
_CONFIG_OMIT_WHEN_EMPTY = (
    "ExposedPorts",
    "Healthcheck",
    "ArgsEscaped",
    "NetworkDisabled",
    "MacAddress",
    "StopSignal",
    "StopTimeout",
    "Shell",
)
_CONTAINER_ONLY_CONFIG = (
    "Hostname",
    "Domainname",
    "AttachStdin",
    "AttachStdout",
    "AttachStderr",
    "Tty",
    "OpenStdin",
    "StdinOnce",
    "Image",
    "NetworkDisabled",
    "MacAddress",
    "StopTimeout",
)

Sizes = tuple[int, int]  # of the writable layer, of the whole root file system; bytes


def inspect_json(
    container: Container,
    version: Version,
    *,
    directory: str,
    log_path: str,
    exec_ids: list[str],
    driver: str = "overlay2",
    sizes: Sizes | None = None,
    apparmor_profile: str = "",
    links: list[str] | None = None,
) -> dict[str, Any]:
    """GET /containers/{id}/json. `directory` holds its hosts, hostname, resolv.conf.

    `driver`: how its layers lie on one another. `links`: those of it that lead somewhere,
    "/db:/web/alias".
    """
    argv = container.argv
    value: dict[str, Any] = {
        "Id": container.id,
        "Created": rfc3339(container.created_ns),
        "Path": argv[0] if argv else "",
        "Args": list(argv[1:]),
        "State": state_json(container.state),
        "Image": container.image_id,
        "ResolvConfPath": _path(container, directory, "resolv.conf"),
        "HostnamePath": _path(container, directory, "hostname"),
        "HostsPath": _path(container, directory, "hosts"),
        "LogPath": log_path if _is_told_of(container) else "",
        "Name": "/" + container.name,
        "RestartCount": container.state.restart_count,
        "Driver": driver,
        "Platform": container.platform or "linux",
        "MountLabel": container.labels.mount,
        "ProcessLabel": container.labels.process,
        "AppArmorProfile": apparmor_profile,
        "ExecIDs": exec_ids or None,
        "HostConfig": host_config_json(container.host_config, container.given_empty),
        "GraphDriver": {"Name": driver, "Data": {}},
        "Mounts": [mount_json(mount) for mount in container.mounts],
        "Config": config_json(container.config),
        "NetworkSettings": network_settings_json(container, version),
    }
    value["HostConfig"]["Links"] = links or None
    if sizes is not None:
        value["SizeRw"], value["SizeRootFs"] = sizes
    return value


def _is_told_of(container: Container) -> bool:
    """Whether its log is one that others may read: Docker names the file of no other driver."""
    return container.state.started_ns > 0 and container.host_config.log_config.type != "local"


def _path(container: Container, directory: str, name: str) -> str:
    """Of a file that its first start makes."""
    return os.path.join(directory, name) if container.state.started_ns else ""


def summary_json(
    container: Container,
    version: Version,
    now_ns: int,
    *,
    image: str,
    sizes: Sizes | None = None,
    given_names: Sequence[str] = (),
) -> dict[str, Any]:
    """One of GET /containers/json. `image`: the reference, or the id where that names another.

    `given_names` are from those that link it.
    """
    host: dict[str, Any] = {"NetworkMode": _network_mode(container.host_config.network_mode)}
    if container.host_config.annotations and not version.before("1.46"):
        host["Annotations"] = container.host_config.annotations
    value: dict[str, Any] = {
        "Id": container.id,
        "Names": ["/" + container.name, *given_names],
        "Image": image,
        "ImageID": container.image_id,
        "Command": command_text(container.argv),
        "Created": container.created_ns // 1_000_000_000,
        "Ports": port_list(container),
        "Labels": container.config.labels or {},
        "State": container.state.status.value,
        "Status": status_text(container.state, now_ns),
        "HostConfig": host,
        "NetworkSettings": {"Networks": _networks(container, version)},
        "Mounts": [mount_json(mount) for mount in container.mounts],
    }
    if not version.before("1.52"):
        health = container.state.health or Health("none")
        value["Health"] = {"Status": health.status, "FailingStreak": health.failing_streak}
    if container.state.verdict is not None:
        value["Verdict"] = verdict_json(container.state.verdict)
    if sizes is not None:
        value["SizeRw"], value["SizeRootFs"] = sizes
    return value


def state_json(state: State) -> dict[str, Any]:
    status = state.status
    value: dict[str, Any] = {
        "Status": status.value,
        # Docker counts a container between two tries of its restart policy as running.
        "Running": status in (Status.RUNNING, Status.PAUSED, Status.RESTARTING),
        "Paused": status is Status.PAUSED,
        "Restarting": status is Status.RESTARTING,
        "OOMKilled": state.oom_killed,
        "Dead": status is Status.DEAD,
        "Pid": state.pid,
        "ExitCode": state.exit_code,
        "Error": state.error,
        "StartedAt": rfc3339(state.started_ns),
        "FinishedAt": rfc3339(state.finished_ns),
    }
    if state.health is not None:
        value["Health"] = health_json(state.health)
    if state.verdict is not None:
        value["Verdict"] = verdict_json(state.verdict)
    return value


def verdict_json(verdict: Verdict) -> dict[str, str]:
    """Beyond Docker: other clients skip a field that they do not know."""
    return {
        "Cause": verdict.cause.value,
        "By": verdict.by.value,
        "Signal": verdict.signal,
        "Verb": verdict.verb,
        "Text": verdict.text,
    }


def health_json(health: Health) -> dict[str, Any]:
    return {
        "Status": health.status,
        "FailingStreak": health.failing_streak,
        "Log": [
            {
                "Start": rfc3339(probe.start_ns),
                "End": rfc3339(probe.end_ns),
                "ExitCode": probe.exit_code,
                "Output": probe.output,
            }
            for probe in health.log
        ],
    }


def status_text(state: State, now_ns: int) -> str:
    """The STATUS column of `docker ps`."""
    up = human_duration((now_ns - state.started_ns) / 1e9)
    ago = human_duration((now_ns - state.finished_ns) / 1e9)
    if state.status is Status.EXITED and not state.finished_ns:
        return "Created" if not state.started_ns else ""
    return {
        Status.CREATED: "Created",
        Status.RUNNING: f"Up {up}" + _health_text(state.health),
        Status.PAUSED: f"Up {up} (Paused)",
        Status.RESTARTING: f"Restarting ({state.exit_code}) {ago} ago",
        Status.REMOVING: "Removal In Progress",
        Status.EXITED: f"Exited ({state.exit_code}) {ago} ago",
        Status.DEAD: "Dead",
    }[state.status]


def _health_text(health: Health | None) -> str:
    if health is None:
        return ""
    return " (health: starting)" if health.status == "starting" else f" ({health.status})"


def command_text(argv: tuple[str, ...]) -> str:
    return " ".join(
        f"'{word}'" if " " in word and place else word for place, word in enumerate(argv)
    )


def config_json(config: ContainerConfig) -> dict[str, Any]:
    value: dict[str, Any] = msgspec.to_builtins(config)
    for name in _CONFIG_OMIT_WHEN_EMPTY:
        given = value[name] == 0 or (name == "Healthcheck" and value[name] is not None)
        if value[name] is False or not (value[name] or given):
            del value[name]
    value["Labels"] = value["Labels"] or {}
    return value


def image_config_json(config: ContainerConfig | None, version: Version) -> dict[str, Any]:
    """An image's config: from 1.50 without what only a container has."""
    value = config_json(config or ContainerConfig())
    if not version.before("1.50"):
        for name in _CONTAINER_ONLY_CONFIG:
            value.pop(name, None)
    return value


def host_config_json(host: HostConfig, given_empty: Collection[str] = ()) -> dict[str, Any]:
    value: dict[str, Any] = msgspec.to_builtins(host)
    for name in NULLABLE_HOST_FIELDS.difference(given_empty):
        value[name] = value[name] or None
    if _is_unlabelled(host):
        value["SecurityOpt"] = [*(value["SecurityOpt"] or ()), "label=disable"]
    for name in _OMIT_WHEN_EMPTY:
        if not value[name] and value[name] is not False:
            del value[name]
    _fill_host_defaults(value)
    return value


def _is_unlabelled(host: HostConfig) -> bool:
    """Docker writes down that who shares so much with the host has no label of its own."""
    if any(option.partition("=")[0] == "label" for option in host.security_opt):
        return False
    return host.privileged or "host" in (host.ipc_mode, host.pid_mode)


def _fill_host_defaults(value: dict[str, Any]) -> None:
    """What Docker writes where the user left a choice open."""
    value["Runtime"] = value["Runtime"] or DEFAULT_RUNTIME
    value["ShmSize"] = value["ShmSize"] or DEFAULT_SHM_BYTES
    value["IpcMode"] = value["IpcMode"] or "private"
    value["CgroupnsMode"] = value["CgroupnsMode"] or "private"
    value["NetworkMode"] = _network_mode(value["NetworkMode"])
    value["RestartPolicy"]["Name"] = value["RestartPolicy"]["Name"] or "no"
    value["LogConfig"]["Type"] = value["LogConfig"]["Type"] or "json-file"
    if value["MaskedPaths"] is None:
        value["MaskedPaths"] = [] if value["Privileged"] else list(_MASKED)
    if value["ReadonlyPaths"] is None:
        value["ReadonlyPaths"] = [] if value["Privileged"] else list(_READ_ONLY)


def mount_json(mount: Mount) -> dict[str, Any]:
    value: dict[str, Any] = {"Type": mount.type}
    if mount.name:
        value["Name"] = mount.name
    value |= {"Source": mount.source, "Destination": mount.destination}
    if mount.driver:
        value["Driver"] = mount.driver
    return value | {"Mode": mount.mode, "RW": mount.rw, "Propagation": mount.propagation}


# Networks.

_BARE_NETWORKS = {"": "bridge", "default": "bridge"}


def _network_mode(mode: str) -> str:
    """What it stands for, as Docker tells it since 26."""
    return _BARE_NETWORKS.get(mode, mode)


def network_settings_json(container: Container, version: Version) -> dict[str, Any]:
    state = container.state
    live = state.status in (Status.RUNNING, Status.PAUSED)
    value: dict[str, Any] = {
        "SandboxID": container.id if live else "",
        "SandboxKey": f"/proc/{state.pid}/ns/net" if live and state.pid else "",
        "Ports": ports_json(container) if live else {},
    }
    if version.before("1.52"):
        value = {"Bridge": "", **value, **_legacy_network_fields(container)}
    value["Networks"] = _networks(container, version)
    return value


def _legacy_network_fields(container: Container) -> dict[str, Any]:
    """The address on the default bridge, at the top level as before there were networks."""
    on_bridge = next(
        (end for end in container.state.endpoints if end.network_name == "bridge"),
        Endpoint("", ""),
    )
    return {
        "HairpinMode": False,
        "LinkLocalIPv6Address": "",
        "LinkLocalIPv6PrefixLen": 0,
        "SecondaryIPAddresses": None,
        "SecondaryIPv6Addresses": None,
        "EndpointID": on_bridge.endpoint_id,
        "Gateway": on_bridge.gateway,
        "GlobalIPv6Address": "",
        "GlobalIPv6PrefixLen": 0,
        "IPAddress": on_bridge.address,
        "IPPrefixLen": on_bridge.prefix_length,
        "IPv6Gateway": "",
        "MacAddress": on_bridge.mac_address,
    }


def _networks(container: Container, version: Version) -> dict[str, Any]:
    if container.config.network_disabled:
        return {}
    endpoints = container.state.endpoints or _planned_endpoints(container.host_config.network_mode)
    return {end.network_name: endpoint_json(end, container, version) for end in endpoints}


def _planned_endpoints(mode: str) -> tuple[Endpoint, ...]:
    if mode.startswith("container:"):
        return ()
    return (Endpoint("", _network_mode(mode)),)


def endpoint_json(endpoint: Endpoint, container: Container, version: Version) -> dict[str, Any]:
    aliases = list(endpoint.aliases)
    names = [container.name, *aliases, container.short_id] if aliases else None
    if version.before("1.45") and aliases:
        aliases.append(container.short_id)
    value: dict[str, Any] = {
        "IPAMConfig": {"LinkLocalIPs": list(own)} if (own := container.link_local) else None,
        "Links": None,
        "Aliases": aliases or None,
        "MacAddress": endpoint.mac_address,
        "DriverOpts": None,
        "NetworkID": endpoint.network_id,
        "EndpointID": endpoint.endpoint_id,
        "Gateway": endpoint.gateway,
        "IPAddress": endpoint.address,
        "IPPrefixLen": endpoint.prefix_length,
        "IPv6Gateway": "",
        "GlobalIPv6Address": "",
        "GlobalIPv6PrefixLen": 0,
    }
    if not version.before("1.44"):
        value["DNSNames"] = names
    if not version.before("1.48"):
        value["GwPriority"] = 0
    return value


def ports_json(container: Container) -> dict[str, list[dict[str, str]] | None]:
    """Exposed ports and where each is published: {"80/tcp": [{...}], "81/tcp": null}."""
    ports: dict[str, list[dict[str, str]] | None] = {
        name if "/" in name else name + "/tcp": None
        for name in container.config.exposed_ports or {}
    }
    for port in container.state.ports:
        name = f"{port.container_port}/{port.protocol}"
        bindings = ports.get(name) or []
        bindings.append({"HostIp": port.host_ip, "HostPort": str(port.host_port)})
        ports[name] = bindings
    return dict(sorted(ports.items()))


def port_list(container: Container) -> list[dict[str, Any]]:
    """The PORTS column of `docker ps`, as objects. Empty unless it runs."""
    if container.state.status not in (Status.RUNNING, Status.PAUSED):
        return []
    found: list[dict[str, Any]] = []
    for name, bindings in ports_json(container).items():
        number, _, protocol = name.partition("/")
        inside = {"PrivatePort": int(number.partition("-")[0] or 0), "Type": protocol}
        found += [
            {"IP": binding["HostIp"], "PublicPort": int(binding["HostPort"]), **inside}
            for binding in bindings or ()
        ] or [inside]
    return found


def change_json(path: str, kind: int) -> Mapping[str, Any]:
    return {"Path": path, "Kind": kind}
