"""The daemon's defaults for containers: where the request is silent, and nowhere else."""

from __future__ import annotations

from tiffin.core.container import HostConfig, LogConfig, Ulimit
from tiffin.core.defaults import ContainerDefaults, with_defaults

DEFAULTS = ContainerDefaults(
    cgroup_parent="/p",
    cgroupns_mode="host",
    ipc_mode="shareable",
    shm_size=5,
    ulimits=(Ulimit("nofile", 1, 2), Ulimit("core", 3, 4)),
    init=True,
    log_config=LogConfig("json-file", {"max-size": "1m", "max-file": "2"}),
    no_new_privileges=True,
    seccomp="{}",
)


def test_silence_is_filled() -> None:
    found = with_defaults(HostConfig(), DEFAULTS)
    assert (found.cgroup_parent, found.cgroupns_mode, found.ipc_mode) == ("/p", "host", "shareable")
    assert (found.shm_size, found.init, found.ulimits) == (5, True, DEFAULTS.ulimits)
    assert found.log_config == DEFAULTS.log_config
    assert found.security_opt == ("no-new-privileges", "seccomp={}")


def test_the_request_wins() -> None:
    asked = HostConfig(
        cgroup_parent="/q",
        cgroupns_mode="private",
        ipc_mode="private",
        shm_size=6,
        ulimits=(Ulimit("nofile", 9, 9),),
        init=False,
        log_config=LogConfig("json-file", {"max-size": "2m"}),
        security_opt=("no-new-privileges=false", "seccomp:unconfined"),
    )
    found = with_defaults(asked, DEFAULTS)
    assert found.ulimits == (Ulimit("nofile", 9, 9), Ulimit("core", 3, 4))
    assert found.log_config == LogConfig("json-file", {"max-size": "2m", "max-file": "2"})
    assert (found.cgroup_parent, found.cgroupns_mode, found.ipc_mode) == (
        "/q",
        "private",
        "private",
    )
    assert (found.shm_size, found.init, found.security_opt) == (6, False, asked.security_opt)


def test_options_of_one_log_driver_are_not_anothers() -> None:
    asked = HostConfig(log_config=LogConfig("none", {}))
    assert with_defaults(asked, DEFAULTS).log_config == LogConfig("none", {})


def test_a_privileged_container_is_not_confined_by_default() -> None:
    found = with_defaults(HostConfig(privileged=True), DEFAULTS)
    assert found.security_opt == ("no-new-privileges",)
    assert found.cgroupns_mode == ""


def test_no_defaults_change_nothing() -> None:
    asked = HostConfig(memory=5)
    assert with_defaults(asked, ContainerDefaults()) is asked
