"""Other limits and another restart policy for a container that exists: what may change, and when.

Zero and "" in an update mean "as it is": a limit is changed, not lifted (pids -1 lifts that one).
"""

from __future__ import annotations

import msgspec

from tiffin.core.container import HostConfig, RestartPolicy, ThrottleDevice, WeightDevice
from tiffin.errors import Conflict


class Update(msgspec.Struct, frozen=True):
    """The fields of HostConfig that `docker update` changes, under the same names."""

    memory: int = 0
    memory_swap: int = 0
    memory_reservation: int = 0
    nano_cpus: int = 0
    cpu_shares: int = 0
    cpu_period: int = 0
    cpu_quota: int = 0
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    cpu_realtime_period: int = 0
    cpu_realtime_runtime: int = 0
    blkio_weight: int = 0
    blkio_weight_device: tuple[WeightDevice, ...] = ()
    blkio_device_read_bps: tuple[ThrottleDevice, ...] = ()
    blkio_device_write_bps: tuple[ThrottleDevice, ...] = ()
    blkio_device_read_iops: tuple[ThrottleDevice, ...] = ()
    blkio_device_write_iops: tuple[ThrottleDevice, ...] = ()
    pids_limit: int | None = None
    restart_policy: RestartPolicy = RestartPolicy()

    @classmethod
    def of(cls, host: HostConfig) -> Update:
        """What of a host config an update would change."""
        return cls(*(getattr(host, name) for name in cls.__struct_fields__))

    def alone(self) -> HostConfig:
        """A host config of nothing else: what the warnings are about."""
        return HostConfig(**{name: getattr(self, name) for name in self.__struct_fields__})

    def checkable(self) -> HostConfig:
        """What can be wrong whatever the container is. Swap may go with the memory it has."""
        alone = self.alone()
        return alone if self.memory else msgspec.structs.replace(alone, memory_swap=0)


def updated(host: HostConfig, update: Update) -> HostConfig:
    """The host config afterwards. Raises Conflict in Docker's words."""
    _check_conflicts(host, update)
    given = {
        name: value
        for name, value in msgspec.structs.asdict(update).items()
        if name not in ("restart_policy", "pids_limit") and value
    }
    if update.pids_limit is not None:
        given["pids_limit"] = update.pids_limit if update.pids_limit > 0 else -1
    policy = update.restart_policy
    if policy.name:
        if host.auto_remove and policy.name != "no":
            raise Conflict(
                "Restart policy cannot be updated because AutoRemove is enabled for the container"
            )
        given["restart_policy"] = policy
    return msgspec.structs.replace(host, **given)


def _check_conflicts(host: HostConfig, update: Update) -> None:
    for asked, there, what, holder in (
        (update.nano_cpus, host.cpu_period, "Nano CPUs", "CPU Period"),
        (update.nano_cpus, host.cpu_quota, "Nano CPUs", "CPU Quota"),
        (update.cpu_period, host.nano_cpus, "CPU Period", "NanoCPUs"),
        (update.cpu_quota, host.nano_cpus, "CPU Quota", "NanoCPUs"),
    ):
        if asked > 0 and there > 0:
            raise Conflict(
                f"Conflicting options: {what} cannot be updated as {holder} has already been set"
            )
    # Docker writes the default down at creation: as much swap as memory.
    swap = host.memory_swap or host.memory * 2
    if 0 <= swap < update.memory and update.memory_swap == 0:
        raise Conflict(
            "Memory limit should be smaller than already set memoryswap limit, "
            "update the memoryswap at the same time"
        )
