"""What a request may ask of memory, processors and disks: refused, discarded, or in the plan."""

from __future__ import annotations

import pytest

from tiffin.core.container import DeviceRequest, HostConfig, ThrottleDevice, WeightDevice
from tiffin.core.image import ContainerConfig
from tiffin.errors import InvalidArgument
from tiffin.runtime import limits
from tiffin.runtime.discards import adapt
from tiffin.runtime.facts import HostFacts
from tiffin.runtime.resources import check_resources
from tiffin.runtime.spec import validate

MB = 1024 * 1024
EVERYTHING = frozenset(
    "swappiness oom-kill-disable kernel-tcp cpu-realtime blkio-weight blkio-weight-device "
    "blkio-read-bps blkio-write-bps blkio-read-iops blkio-write-iops".split()
)
V1 = HostFacts(
    cgroup_version=1,
    controllers=frozenset({"memory", "cpu", "cpuset", "pids", "blkio"}),
    features=EVERYTHING,
)
V2 = HostFacts(
    cgroup_version=2,
    controllers=frozenset({"memory", "cpu", "cpuset", "pids", "io"}),
    features=frozenset(name for name in EVERYTHING if name.startswith("blkio")),
)
BARE = HostFacts(controllers=frozenset(), swap_accounted=False)
DISK = "/dev/sda"
NUMBERS = {DISK: (8, 0)}


def host(**fields: object) -> HostConfig:
    return HostConfig(**fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (host(memory_swappiness=101), "Invalid value: 101, valid memory swappiness range is 0-100"),
        (host(memory_swappiness=-2), "Invalid value: -2, valid memory swappiness range is 0-100"),
        (host(kernel_memory=MB), "Minimum kernel memory limit allowed is 4MB"),
        (host(blkio_weight=9), "Range of blkio weight is from 10 to 1000"),
        (
            host(blkio_weight_device=(WeightDevice(DISK, 1001),)),
            "Range of blkio weight is from 10 to 1000",
        ),
        (
            host(blkio_device_read_bps=(ThrottleDevice("sda", 1),)),
            "invalid device path: 'sda'",
        ),
        (
            host(blkio_device_write_iops=(ThrottleDevice(DISK, -1),)),
            "invalid rate for device /dev/sda: -1",
        ),
        (
            host(cpu_realtime_period=1000, cpu_realtime_runtime=2000),
            "cpu real-time runtime cannot be higher than cpu real-time period",
        ),
        (
            host(cpu_realtime_runtime=-1),
            "cpu real-time period and runtime cannot be negative",
        ),
        (host(isolation="hyperv"), "invalid isolation (hyperv): linux only supports 'default'"),
        (
            host(io_maximum_iops=1),
            "invalid option: QoS maximum IOPs configuration is not supported on linux",
        ),
        (
            host(io_maximum_bandwidth=1),
            "invalid option: QoS maximum bandwidth configuration is not supported on linux",
        ),
        (
            host(device_requests=(DeviceRequest(count=-1, capabilities=(("gpu",),)),)),
            'could not select device driver "" with capabilities: [[gpu]]',
        ),
        (
            host(device_requests=(DeviceRequest("cdi", device_ids=("vendor.com/x=all",)),)),
            'could not select device driver "cdi" with capabilities: []',
        ),
    ],
)
def test_what_cannot_be_right_is_refused_in_dockers_words(asked: HostConfig, message: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        validate(ContainerConfig(), asked, V1)
    assert caught.value.message == message


def test_realtime_is_refused_where_the_kernel_has_none() -> None:
    with pytest.raises(InvalidArgument, match="does not support CPU real-time scheduler"):
        check_resources(host(cpu_realtime_runtime=1000), V2)


@pytest.mark.parametrize("isolation", ["", "default", "DEFAULT"])
def test_the_default_isolation_is_fine(isolation: str) -> None:
    check_resources(host(isolation=isolation), V1)


DISCARDED = [
    (host(memory=64 * MB), "memory limit capabilities", host(memory_swap=-1)),
    (host(memory_swappiness=10), "memory swappiness capabilities", host()),
    (host(oom_kill_disable=True), "OomKillDisable discarded", host()),
    (host(kernel_memory=64 * MB), "kernel memory limit capabilities", host()),
    (host(kernel_memory_tcp=64 * MB), "kernel memory TCP limit capabilities", host()),
    (host(cpu_shares=4), "CPU shares", host()),
    (host(cpu_quota=4000), "CPU period/quota discarded", host()),
    (host(cpu_percent=4), "linux does not support CPU percent", host()),
    (host(cpu_count=4), "linux does not support CPU count", host()),
    (host(cpuset_cpus="0"), "Cpuset discarded", host()),
    (host(pids_limit=3), "PIDs limit discarded", host()),
    (host(blkio_weight=300), "Block I/O weight or the cgroup", host()),
    (
        host(blkio_weight_device=(WeightDevice(DISK, 20),)),
        "Block I/O weight_device or the cgroup is not mounted. Weight-device discarded.",
        host(),
    ),
    (
        host(blkio_device_read_bps=(ThrottleDevice(DISK, 20),)),
        (
            "BPS Block I/O read limit or the cgroup is not mounted. "
            "Block I/O BPS read limit discarded."
        ),
        host(),
    ),
    (
        host(blkio_device_write_iops=(ThrottleDevice(DISK, 20),)),
        (
            "IOPS Block write limit or the cgroup is not mounted. "
            "Block I/O IOPS write limit discarded."
        ),
        host(),
    ),
]


@pytest.mark.parametrize(("asked", "words", "kept"), DISCARDED)
def test_what_the_kernel_lacks_is_discarded_with_a_warning(
    asked: HostConfig, words: str, kept: HostConfig
) -> None:
    adapted, warnings = adapt(asked, BARE)
    assert adapted == kept
    assert len(warnings) == 1
    assert words in warnings[0]


def test_an_oom_killer_that_stays_is_no_news_where_it_cannot_go() -> None:
    assert adapt(host(oom_kill_disable=False), V2) == (host(), [])


def test_a_container_without_oom_killer_and_limit_is_warned_of() -> None:
    asked = host(oom_kill_disable=True)
    adapted, warnings = adapt(asked, V1)
    assert adapted == asked
    assert warnings == [
        (
            "OOM killer is disabled for the container, but no memory limit is set, this can result "
            "in the system running out of resources."
        )
    ]


def test_swappiness_and_the_oom_killer_are_v1s() -> None:
    asked = host(memory=64 * MB, memory_swappiness=0, oom_kill_disable=True)
    assert limits.resources(asked, V1)["memory"] == {
        "limit": 64 * MB,
        "swap": 128 * MB,
        "swappiness": 0,
        "disableOOMKiller": True,
    }
    assert limits.resources(asked, V2)["memory"] == {"limit": 64 * MB, "swap": 128 * MB}


def test_any_negative_swap_is_no_limit_of_swap() -> None:
    asked = host(memory=64 * MB, memory_swap=-2)
    assert limits.resources(asked, V1)["memory"] == {"limit": 64 * MB, "swap": -1}


def test_realtime_is_planned_with_its_controller() -> None:
    asked = host(cpu_realtime_period=1_000_000, cpu_realtime_runtime=5000)
    cpu = limits.resources(asked, V1)["cpu"]
    assert cpu == {"realtimePeriod": 1_000_000, "realtimeRuntime": 5000}
    assert "cpu" in limits.controllers(asked, V1)


@pytest.mark.parametrize("facts", [V1, V2])
def test_limits_of_disks_are_planned_by_number(facts: HostFacts) -> None:
    asked = host(
        blkio_weight=300,
        blkio_weight_device=(WeightDevice(DISK, 20),),
        blkio_device_read_bps=(ThrottleDevice(DISK, 1000),),
        blkio_device_write_iops=(ThrottleDevice(DISK, 7),),
    )
    assert limits.limited_devices(asked) == [DISK, DISK, DISK]
    assert limits.resources(asked, facts, numbers=NUMBERS)["blockIO"] == {
        "weight": 300,
        "weightDevice": [{"major": 8, "minor": 0, "weight": 20}],
        "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 1000}],
        "throttleWriteIOPSDevice": [{"major": 8, "minor": 0, "rate": 7}],
    }
    assert "blkio" in limits.controllers(asked, facts)


def test_who_limits_no_disk_is_not_counted_by_disk_on_v1() -> None:
    assert "blkio" not in limits.controllers(host(memory=64 * MB), V1)
