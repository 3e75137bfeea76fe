"""What a daemon gives to containers that do not say otherwise. Pure.

It is written into the container's record when it is created: a container keeps what it was made
with, whatever the daemon is told later.
"""

from __future__ import annotations

import msgspec

from tiffin.core.container import HostConfig, LogConfig, Ulimit


class ContainerDefaults(msgspec.Struct, frozen=True):
    """Empty: the engine's own. `seccomp`: a profile's text, or `unconfined`."""

    cgroup_parent: str = ""
    cgroupns_mode: str = ""
    ipc_mode: str = ""
    shm_size: int = 0
    ulimits: tuple[Ulimit, ...] = ()
    runtime: str = ""
    init: bool = False
    log_config: LogConfig = LogConfig()
    no_new_privileges: bool = False
    seccomp: str = ""


def with_defaults(host: HostConfig, defaults: ContainerDefaults) -> HostConfig:
    """`host` where it speaks, `defaults` where it is silent; ulimits merge by name."""
    if defaults == ContainerDefaults():
        return host
    named = {limit.name for limit in host.ulimits}
    return msgspec.structs.replace(
        host,
        cgroup_parent=host.cgroup_parent or defaults.cgroup_parent,
        cgroupns_mode=host.cgroupns_mode or _cgroupns_mode(host, defaults),
        ipc_mode=host.ipc_mode or defaults.ipc_mode,
        shm_size=host.shm_size or defaults.shm_size,
        ulimits=host.ulimits + tuple(each for each in defaults.ulimits if each.name not in named),
        runtime=host.runtime or defaults.runtime,
        init=defaults.init or None if host.init is None else host.init,
        log_config=_log_config(host.log_config, defaults.log_config),
        security_opt=host.security_opt + _security_opt(host, defaults),
    )


def _cgroupns_mode(host: HostConfig, defaults: ContainerDefaults) -> str:
    """A privileged container keeps the engine's own choice, as Docker has it."""
    return "" if host.privileged else defaults.cgroupns_mode


def _log_config(asked: LogConfig, default: LogConfig) -> LogConfig:
    """Options belong to a driver: the default's go along only with the default's driver."""
    ours = default.type or "json-file"
    if asked.type and asked.type != ours:
        return asked
    return LogConfig(asked.type or default.type, {**default.config, **asked.config})


def _security_opt(host: HostConfig, defaults: ContainerDefaults) -> tuple[str, ...]:
    given = {option.replace(":", "=", 1).partition("=")[0] for option in host.security_opt}
    added: list[str] = []
    if defaults.no_new_privileges and "no-new-privileges" not in given:
        added.append("no-new-privileges")
    if defaults.seccomp and "seccomp" not in given and not host.privileged:
        added.append(f"seccomp={defaults.seccomp}")
    return tuple(added)
