from __future__ import annotations

import re
from typing import Any

import pytest

from tiffin.core.container import HostConfig, PortBinding, RestartPolicy, Ulimit
from tiffin.core.image import ContainerConfig, Healthcheck
from tiffin.errors import InvalidArgument
from tiffin.runtime.discards import adapt
from tiffin.runtime.facts import HostFacts
from tiffin.runtime.resources import parse_list
from tiffin.runtime.spec import validate

FACTS = HostFacts(
    controllers=frozenset({"memory", "cpu", "cpuset", "pids", "devices", "freezer"}),
    cpus=2,
    cpuset_cpus="0-1",
)
BARE = HostFacts(controllers=frozenset(), swap_accounted=False)
MB = 1024 * 1024


def warnings(asked: HostConfig, facts: HostFacts) -> list[str]:
    return adapt(asked, facts)[1]


def host(**fields: object) -> HostConfig:
    return HostConfig(**fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (host(memory=5 * MB), "Minimum memory limit allowed is 6MB"),
        (host(memory=-1), "Minimum memory limit allowed is 6MB"),
        (
            host(memory=64 * MB, memory_swap=32 * MB),
            "Minimum memoryswap limit should be larger than memory limit, see usage",
        ),
        (
            host(memory_swap=32 * MB),
            "You should always set the Memory limit when using Memoryswap limit, see usage",
        ),
        (host(memory_reservation=1), "Minimum memory reservation allowed is 6MB"),
        (
            host(memory=8 * MB, memory_reservation=9 * MB),
            "Minimum memory limit can not be less than memory reservation limit, see usage",
        ),
        (
            host(nano_cpus=3_000_000_000),
            "Range of CPUs is from 0.01 to 2.00, as there are only 2 CPUs available",
        ),
        (
            host(nano_cpus=-1),
            "Range of CPUs is from 0.01 to 2.00, as there are only 2 CPUs available",
        ),
        (
            host(nano_cpus=1, cpu_quota=5000),
            "Conflicting options: Nano CPUs and CPU Quota cannot both be set",
        ),
        (
            host(cpu_period=1),
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)",
        ),
        (host(cpuset_cpus="1-0"), "Invalid value 1-0 for cpuset cpus: invalid format: 1-0"),
        (host(cpuset_mems=","), "Invalid value , for cpuset mems: invalid format: ,"),
        (host(extra_hosts=("x",)), 'bad format for add-host: "x"'),
        (host(extra_hosts=(":1.1.1.1",)), 'bad format for add-host: ":1.1.1.1"'),
        (host(extra_hosts=("x:y",)), 'invalid IP address in add-host: "y"'),
        (host(dns=("x",)), "invalid IP address: x"),
        (host(dns_search=("a b",)), 'invalid DNS search domain: "a b"'),
        (
            host(restart_policy=RestartPolicy("", 1)),
            "invalid restart policy: maximum retry count can only be used with 'on-failure'",
        ),
        (host(cpu_quota=1), "CPU cfs quota can not be less than 1ms (i.e. 1000)"),
        (host(cpu_shares=-1), "invalid CPU shares (-1): value must be a positive integer"),
        (host(cpuset_cpus="5"), "Requested CPUs are not available - requested 5, available: 0-1"),
        (host(cpuset_cpus="x"), "Invalid value x for cpuset cpus: invalid format: x"),
        (host(cap_add=("foo",)), 'invalid CapAdd: unknown capability: "CAP_FOO"'),
        (host(cap_drop=("foo",)), 'invalid CapDrop: unknown capability: "CAP_FOO"'),
        (host(ipc_mode="x"), "invalid IPC mode: x"),
        (host(pid_mode="x"), "invalid PID mode: x"),
        (host(uts_mode="x"), "invalid UTS mode: x"),
        (host(shm_size=-1), "SHM size can not be less than 0"),
        (
            host(oom_score_adj=1001),
            "Invalid value 1001, range for oom score adj is [-1000, 1000]",
        ),
        (host(ulimits=(Ulimit("nope", 1, 1),)), "invalid ulimit type: nope"),
        (
            host(ulimits=(Ulimit("nofile", 2, 1),)),
            "ulimit soft limit must be less than or equal to hard limit: 2 > 1",
        ),
        (
            host(ulimits=(Ulimit("nofile", -1, 1),)),
            (
                "ulimit soft limit must be less than or equal to hard limit: "
                "soft: -1 (unlimited), hard: 1"
            ),
        ),
        (
            host(auto_remove=True, restart_policy=RestartPolicy("always")),
            "can't create 'AutoRemove' container with restart policy",
        ),
        (
            host(restart_policy=RestartPolicy("always", 3)),
            "invalid restart policy: maximum retry count can only be used with 'on-failure'",
        ),
        (
            host(restart_policy=RestartPolicy("sometimes")),
            (
                "invalid restart policy: unknown policy 'sometimes'; use one of "
                "'no', 'always', 'on-failure', or 'unless-stopped'"
            ),
        ),
        (
            host(sysctls={"kernel.panic": "1"}),
            'sysctl "kernel.panic" is not in a separate kernel namespace',
        ),
        (
            host(network_mode="host", sysctls={"net.core.somaxconn": "1"}),
            'sysctl "net.core.somaxconn" not allowed in host network namespace',
        ),
        (host(sysctls={"net/../kernel/panic": "1"}), "invalid sysctl: 'net/../kernel/panic'"),
        (host(tmpfs={"run": ""}), "invalid mount path: 'run' mount path must be absolute"),
        (
            host(network_mode="container:x", port_bindings={"1/tcp": ()}),
            "conflicting options: port publishing and the container type network mode",
        ),
        (
            host(network_mode="container:"),
            "invalid network mode: invalid container format container:<name|id>",
        ),
    ],
)
def test_what_cannot_be_is_refused_in_dockers_words(asked: HostConfig, message: str) -> None:
    with pytest.raises(InvalidArgument) as failure:
        validate(ContainerConfig(), asked, FACTS)

    assert failure.value.message == message


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            ContainerConfig(working_dir="x"),
            "the working directory 'x' is invalid, it needs to be an absolute path",
        ),
        (ContainerConfig(stop_signal="SIGNOPE"), "Invalid signal: SIGNOPE"),
        (ContainerConfig(env=("=x",)), "invalid environment variable: =x"),
        (
            ContainerConfig(healthcheck=Healthcheck(interval=5)),
            "Interval in Healthcheck cannot be less than 1ms",
        ),
        (ContainerConfig(hostname="a\n1.2.3.4 b"), r"invalid hostname: 'a\n1.2.3.4 b'"),
        (
            ContainerConfig(hostname="a" * 65),
            f'hostname "{"a" * 65}" is too long (maximum 64 bytes)',
        ),
    ],
)
def test_a_config_that_cannot_run_is_refused(config: ContainerConfig, message: str) -> None:
    with pytest.raises(InvalidArgument) as failure:
        validate(config, HostConfig(), FACTS)

    assert failure.value.message == message


def test_a_usual_request_passes_without_warnings() -> None:
    asked = host(
        memory=64 * MB,
        nano_cpus=500_000_000,
        pids_limit=100,
        cap_add=("NET_ADMIN",),
        ulimits=(Ulimit("nofile", 1024, 2048), Ulimit("core", -1, -1)),
        sysctls={"net.core.somaxconn": "1024", "kernel.msgmax": "1"},
        restart_policy=RestartPolicy("on-failure", 3),
    )

    validate(ContainerConfig(hostname="web", stop_signal="SIGQUIT"), asked, FACTS)

    assert warnings(asked, FACTS) == []


def test_limits_that_this_host_cannot_keep_are_told() -> None:
    asked = host(memory=64 * MB, memory_reservation=6 * MB, pids_limit=5, cpu_shares=2)

    told = warnings(asked, BARE)

    assert [line.partition(" or the")[0] for line in told] == [
        "Your kernel does not support memory limit capabilities",
        "Your kernel does not support memory soft limit capabilities",
        "Your kernel does not support PIDs limit capabilities",
        "Your kernel does not support CPU shares",
    ]


def test_memory_without_swap_accounting_is_told() -> None:
    facts = HostFacts(controllers=frozenset({"memory"}), swap_accounted=False)

    assert warnings(host(memory=64 * MB), facts) == [
        (
            "Your kernel does not support swap limit capabilities or the cgroup is not mounted. "
            "Memory limited without swap."
        )
    ]


def test_ports_on_the_hosts_network_are_told() -> None:
    asked = host(network_mode="host", port_bindings={"80/tcp": (PortBinding(),)})

    assert warnings(asked, FACTS) == ["Published ports are discarded when using host network mode"]


def test_cpu_lists_are_read_as_the_kernel_writes_them() -> None:
    assert parse_list("0-2,5\n") == {0, 1, 2, 5}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("0 ", "invalid format: 0 "),
        (" ", "invalid format:  "),
        ("0,", "invalid format: 0,"),
        ("3-1", "invalid format: 3-1"),
        ("0-9999", "value of out range, maximum is 8192"),
    ],
)
def test_a_list_that_is_none_is_refused_in_dockers_words(text: str, words: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_list(text)
    assert str(caught.value) == words


@pytest.mark.parametrize(
    ("asked", "version", "lacking"),
    [
        ({}, 2, "the host's ids (--userns=host)"),
        ({"userns_mode": "host", "cgroupns_mode": "host"}, 2, "a cgroup namespace"),
        ({"userns_mode": "host"}, 1, "cgroup v2"),
    ],
)
def test_writable_cgroups_are_refused_where_they_would_be_none_or_the_hosts(
    asked: dict[str, Any], version: int, lacking: str
) -> None:
    facts = HostFacts(controllers=FACTS.controllers, cgroup_version=version)
    option = ("writable-cgroups=true",)
    with pytest.raises(InvalidArgument, match=re.escape(f"it needs {lacking}")):
        validate(ContainerConfig(cmd=("true",)), host(security_opt=option, **asked), facts)


def test_writable_cgroups_are_had_with_the_hosts_ids() -> None:
    facts = HostFacts(controllers=FACTS.controllers, cgroup_version=2)
    asked = host(security_opt=("writable-cgroups=true",), userns_mode="host")
    validate(ContainerConfig(cmd=("true",)), asked, facts)
