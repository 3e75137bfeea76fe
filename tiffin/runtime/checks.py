"""What cannot be run here, told at creation: errors in Docker's words. PURE."""

from __future__ import annotations

from posixpath import normpath

from tiffin.core.container import HostConfig, RestartPolicy, Ulimit
from tiffin.core.health import probe_command
from tiffin.core.idrange import has_hosts_ids
from tiffin.core.image import ContainerConfig, Healthcheck
from tiffin.core.lifecycle import ON_UNHEALTHY
from tiffin.core.merge import check_environment
from tiffin.core.network import HOST_GATEWAY, hosts_line, resolv_conf
from tiffin.core.signals import parse_signal
from tiffin.core.storageopts import size_limit
from tiffin.errors import InvalidArgument
from tiffin.runtime import capabilities, devices, seccomp_profile
from tiffin.runtime.facts import HostFacts
from tiffin.runtime.resources import check_resources
from tiffin.runtime.security import parse_security_options
from tiffin.runtime.tmpfs import tmpfs_options

MAX_HOSTNAME = 64  # HOST_NAME_MAX
_MILLISECOND_NS = 1_000_000

_RLIMITS = frozenset(
    {"core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice"}
    | {"nofile", "nproc", "rss", "rtprio", "rttime", "sigpending", "stack"}
)
_IPC_SYSCTLS = frozenset(
    {"kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shmall"}
    | {"kernel.shmmax", "kernel.shmmni", "kernel.shm_rmid_forced"}
)


def validate(config: ContainerConfig, host_config: HostConfig, facts: HostFacts) -> None:
    """A request, before it is merged with its image. Raises InvalidArgument for what cannot be."""
    _check_config(config)
    _check_restart(host_config)
    _check_security(host_config, facts)
    check_resources(host_config, facts)
    _check_modes(config, host_config)
    _check_limits(host_config)
    _check_paths(host_config)
    _check_sysctls(host_config)
    _check_network(config, host_config)
    _check_names(host_config)


def validate_merged(config: ContainerConfig, host_config: HostConfig) -> None:
    """What has come from the image too. Raises InvalidArgument."""
    _check_config(config)
    if host_config.restart_policy.name == ON_UNHEALTHY and not probe_command(config):
        raise InvalidArgument(f"restart policy '{ON_UNHEALTHY}' needs a health check")


# --- errors ---------------------------------------------------------------------------------------


def _check_config(config: ContainerConfig) -> None:
    if config.working_dir and not config.working_dir.startswith("/"):
        raise InvalidArgument(
            f"the working directory '{config.working_dir}' is invalid, "
            "it needs to be an absolute path"
        )
    if config.stop_signal:
        parse_signal(config.stop_signal)
    check_environment(config.env or ())
    _check_healthcheck(config.healthcheck)
    _check_hostname("hostname", config.hostname)
    _check_hostname("domain name", config.domainname)
    for text in (config.user, config.working_dir, *(config.entrypoint or ()), *(config.cmd or ())):
        if "\0" in text:
            raise InvalidArgument(f"invalid argument: {text!r}: contains a nul byte")


def _check_hostname(what: str, name: str) -> None:
    if len(name.encode(errors="replace")) > MAX_HOSTNAME:
        raise InvalidArgument(f'{what} "{name}" is too long (maximum {MAX_HOSTNAME} bytes)')
    if any(character.isspace() or not character.isprintable() for character in name):
        # It goes into /etc/hosts: a line break would add an entry.
        raise InvalidArgument(f"invalid {what}: {name!r}")


def _check_healthcheck(check: Healthcheck | None) -> None:
    if check is None:
        return
    times = {
        "Interval": check.interval,
        "Timeout": check.timeout,
        "StartPeriod": check.start_period,
        "StartInterval": check.start_interval,
    }
    for name, value in times.items():
        if value != 0 and value < _MILLISECOND_NS:
            raise InvalidArgument(f"{name} in Healthcheck cannot be less than 1ms")
    if check.retries < 0:
        raise InvalidArgument("Retries in Healthcheck cannot be negative")


def _check_restart(host: HostConfig) -> None:
    policy = host.restart_policy
    if host.auto_remove and policy.name not in ("", "no"):
        raise InvalidArgument("can't create 'AutoRemove' container with restart policy")
    _check_restart_policy(policy)


def _check_restart_policy(policy: RestartPolicy) -> None:
    count = policy.maximum_retry_count
    if policy.name in ("always", "unless-stopped", "no", ""):
        if count:
            negative = " and cannot be negative" if count < 0 else ""
            raise InvalidArgument(
                "invalid restart policy: maximum retry count can only be used with "
                f"'on-failure'{negative}"
            )
    elif policy.name in ("on-failure", ON_UNHEALTHY):
        if count < 0:
            raise InvalidArgument("invalid restart policy: maximum retry count cannot be negative")
    else:
        raise InvalidArgument(
            f"invalid restart policy: unknown policy '{policy.name}'; use one of "
            "'no', 'always', 'on-failure', or 'unless-stopped'"
        )


def _check_security(host: HostConfig, facts: HostFacts) -> None:
    capabilities.normalise(host.cap_add, facts.capabilities, "CapAdd")
    capabilities.normalise(host.cap_drop, facts.capabilities, "CapDrop")
    security = parse_security_options(host.security_opt, facts_of=facts)
    asked = security.seccomp not in ("", "unconfined")
    if asked and not facts.seccomp:
        raise InvalidArgument(
            "seccomp is not enabled in your kernel, cannot run a custom seccomp profile"
        )
    if asked:
        seccomp_profile.check(security.seccomp)
    if security.writable_cgroups and not host.privileged:  # who has them anyway
        _check_writable_cgroups(host, facts)
    for rule in host.device_cgroup_rules:
        devices.parse_rule(rule)
    for mapping in host.devices:
        access = mapping.cgroup_permissions
        if access.strip("rwm") or len(set(access)) != len(access):
            raise InvalidArgument(f"invalid device mode: {access}")


def _check_writable_cgroups(host: HostConfig, facts: HostFacts) -> None:
    lacking = [
        words
        for there, words in (
            (facts.cgroup_version == 2, "cgroup v2"),
            (host.cgroupns_mode != "host", "a cgroup namespace of the container's (--cgroupns)"),
            # The kernel lets root of another user namespace write to none of the host's cgroups.
            (has_hosts_ids(host), "the host's ids (--userns=host)"),
        )
        if not there
    ]
    if lacking:
        raise InvalidArgument(
            f"invalid --security-opt writable-cgroups=true: it needs {' and '.join(lacking)}"
        )


def _check_modes(config: ContainerConfig, host: HostConfig) -> None:
    ipc = ("", "none", "host", "private", "shareable")
    if host.ipc_mode not in ipc and not _names_container(host.ipc_mode):
        raise InvalidArgument(f"invalid IPC mode: {host.ipc_mode}")
    if host.pid_mode not in ("", "host") and not _names_container(host.pid_mode):
        raise InvalidArgument(f"invalid PID mode: {host.pid_mode}")
    if host.uts_mode not in ("", "host"):
        raise InvalidArgument(f"invalid UTS mode: {host.uts_mode}")
    if host.userns_mode not in ("", "host"):
        raise InvalidArgument("invalid user namespace mode")
    if host.cgroupns_mode not in ("", "private", "host"):
        raise InvalidArgument(f"invalid cgroup namespace mode: {host.cgroupns_mode}")
    if host.uts_mode == "host" and config.hostname:
        raise InvalidArgument("conflicting options: hostname and the UTS mode")


def _names_container(mode: str) -> bool:
    kind, colon, name = mode.partition(":")
    return kind == "container" and bool(colon) and bool(name)


def _check_limits(host: HostConfig) -> None:
    if host.shm_size < 0:
        raise InvalidArgument("SHM size can not be less than 0")
    if not all(0 <= number < 1 << 16 for number in host.console_size):
        raise InvalidArgument(f"invalid ConsoleSize: {list(host.console_size)}")
    if not -1000 <= host.oom_score_adj <= 1000:
        raise InvalidArgument(
            f"Invalid value {host.oom_score_adj}, range for oom score adj is [-1000, 1000]"
        )
    size_limit(host.storage_opt)
    for limit in host.ulimits:
        _check_ulimit(limit)
    if "" in host.annotations:
        raise InvalidArgument(
            "invalid Annotations: the empty string is not permitted as an annotation key"
        )


def _check_ulimit(limit: Ulimit) -> None:
    if limit.name not in _RLIMITS:
        raise InvalidArgument(f"invalid ulimit type: {limit.name}")
    rule = "ulimit soft limit must be less than or equal to hard limit"
    if limit.hard < 0:
        return
    if limit.soft < 0:
        raise InvalidArgument(f"{rule}: soft: -1 (unlimited), hard: {limit.hard}")
    if limit.soft > limit.hard:
        raise InvalidArgument(f"{rule}: {limit.soft} > {limit.hard}")


def _check_paths(host: HostConfig) -> None:
    for destination, words in host.tmpfs.items():
        tmpfs_options(words)
        if not destination.startswith("/"):
            raise InvalidArgument(
                f"invalid mount path: '{destination}' mount path must be absolute"
            )
        if normpath(destination) in ("/", "//"):
            raise InvalidArgument("invalid specification: destination can't be '/'")
        if "\0" in destination:
            raise InvalidArgument(f"invalid mount path: {destination!r} contains a nul byte")
    if "\0" in host.cgroup_parent:
        raise InvalidArgument(f"invalid cgroup parent: {host.cgroup_parent!r}")


def _check_sysctls(host: HostConfig) -> None:
    """Only what belongs to a namespace of the container's own (runc's rules and words)."""
    own_ipc = host.ipc_mode in ("", "private", "shareable", "none")
    own_network = host.network_mode != "host"
    for name, value in host.sysctls.items():
        key = name.replace("/", ".")
        if "\0" in name + value or ".." in name or not name.isprintable():
            raise InvalidArgument(f"invalid sysctl: {name!r}")
        if key in _IPC_SYSCTLS or key.startswith("fs.mqueue."):
            allowed = own_ipc
        elif key.startswith("net."):
            allowed = own_network
        elif key == "kernel.domainname":
            allowed = host.uts_mode != "host"
        else:
            raise InvalidArgument(f'sysctl "{name}" is not in a separate kernel namespace')
        if not allowed:
            raise InvalidArgument(f'sysctl "{name}" not allowed in host {_kind(key)} namespace')


def _kind(key: str) -> str:
    if key.startswith("net."):
        return "network"
    return "UTS" if key == "kernel.domainname" else "ipc"


def _check_network(config: ContainerConfig, host: HostConfig) -> None:
    mode = host.network_mode
    if mode == "host" and host.links:
        raise InvalidArgument(
            "conflicting options: host type networking can't be used with links. "
            "This would result in undefined behavior"
        )
    if mode != "container" and not mode.startswith("container:"):
        return
    if not _names_container(mode):
        raise InvalidArgument("invalid network mode: invalid container format container:<name|id>")
    conflicts = (
        (config.hostname, "hostname and the network mode"),
        (
            host.links,
            (
                "container type network can't be used with links. "
                "This would result in undefined behavior"
            ),
        ),
        (host.dns, "dns and the network mode"),
        (host.extra_hosts, "custom host-to-IP mapping and the network mode"),
        (
            host.port_bindings or host.publish_all_ports,
            "port publishing and the container type network mode",
        ),
        (config.exposed_ports, "port exposing and the container type network mode"),
    )
    for given, what in conflicts:
        if given:
            raise InvalidArgument(f"conflicting options: {what}")


def _check_names(host: HostConfig) -> None:
    """What becomes of hosts and resolv.conf."""
    for entry in host.extra_hosts:
        name, colon, address = entry.partition(":")
        if not colon or not name:
            raise InvalidArgument(f'bad format for add-host: "{entry}"')
        if address != HOST_GATEWAY:
            hosts_line(entry)
    resolv_conf("", host.dns, host.dns_search, host.dns_options)
