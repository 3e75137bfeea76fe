"""What `update` changes, and what Docker says of the rest."""

from __future__ import annotations

import pytest

from tiffin.api.create import read_update
from tiffin.core.container import HostConfig, RestartPolicy, ThrottleDevice
from tiffin.core.update import Update, updated
from tiffin.errors import Conflict

MIB = 1 << 20


def test_only_what_is_given_changes() -> None:
    host = HostConfig(memory=64 * MIB, cpu_shares=512, binds=("a:/a",))
    after = updated(host, Update(cpu_shares=256))
    assert after == HostConfig(memory=64 * MIB, cpu_shares=256, binds=("a:/a",))


def test_memory_may_grow_as_far_as_the_swap_that_was_set() -> None:
    host = HostConfig(memory=64 * MIB)
    assert updated(host, Update(memory=128 * MIB)).memory == 128 * MIB
    with pytest.raises(Conflict, match="update the memoryswap at the same time"):
        updated(host, Update(memory=129 * MIB))
    both = Update(memory=256 * MIB, memory_swap=-1)
    unlimited = updated(host, both)
    assert unlimited.memory_swap == -1
    assert updated(unlimited, Update(cpu_shares=2)).cpu_shares == 2
    assert updated(unlimited, Update(memory=512 * MIB)).memory == 512 * MIB


def test_a_limit_of_processes_is_lifted_by_minus_one() -> None:
    assert updated(HostConfig(pids_limit=5), Update(pids_limit=-1)).pids_limit == -1
    assert updated(HostConfig(pids_limit=5), Update()).pids_limit == 5


@pytest.mark.parametrize(
    ("host", "update", "words"),
    [
        (HostConfig(cpu_period=1000), Update(nano_cpus=1), "Nano CPUs .* CPU Period has already"),
        (HostConfig(cpu_quota=1000), Update(nano_cpus=1), "Nano CPUs .* CPU Quota has already"),
        (HostConfig(nano_cpus=1), Update(cpu_period=1000), "CPU Period .* NanoCPUs has already"),
        (HostConfig(nano_cpus=1), Update(cpu_quota=1000), "CPU Quota .* NanoCPUs has already"),
        (
            HostConfig(auto_remove=True),
            Update(restart_policy=RestartPolicy("always")),
            "because AutoRemove is enabled",
        ),
    ],
)
def test_a_conflict_is_refused(host: HostConfig, update: Update, words: str) -> None:
    with pytest.raises(Conflict, match=words):
        updated(host, update)


def test_a_body_is_read_as_go_writes_it() -> None:
    body = {
        "Memory": 64 * MIB,
        "CpuShares": 0,
        "Devices": None,
        "PidsLimit": -1,
        "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 2},
    }
    assert read_update(body) == Update(
        memory=64 * MIB, pids_limit=-1, restart_policy=RestartPolicy("on-failure", 2)
    )


def test_what_disks_are_used_may_change_too() -> None:
    body = {"BlkioWeight": 300, "BlkioDeviceReadBps": [{"Path": "/dev/sda", "Rate": 1024}]}
    assert read_update(body) == Update(
        blkio_weight=300, blkio_device_read_bps=(ThrottleDevice("/dev/sda", 1024),)
    )
