"""Which host ids each running container's ids are: one range apiece, given back when it ends."""

from __future__ import annotations

from tiffin.core.container import HostConfig, IdRange
from tiffin.core.idrange import allocate


class IdRanges:
    def __init__(self, *, available: bool, subordinate_ids: str, boot_id: str) -> None:
        """`available`: user namespaces work here; `subordinate_ids`: text of /etc/subuid."""
        self.available = available
        self.boot_id = boot_id
        self._subordinate_ids = subordinate_ids
        self._used: dict[str, IdRange] = {}

    def wanted(self, host: HostConfig) -> bool:
        """Whether this container gets its own user namespace (the host's ids otherwise)."""
        shares_host = "host" in (host.network_mode, host.pid_mode, host.ipc_mode, host.userns_mode)
        return self.available and not host.privileged and not shares_host

    def acquire(self, container_id: str) -> IdRange:
        """Raises EngineFailure when every range is in use."""
        if container_id not in self._used:
            self._used[container_id] = allocate(self._used.values(), self._subordinate_ids)
        return self._used[container_id]

    def keep(self, container_id: str, id_range: IdRange) -> None:
        self._used[container_id] = id_range

    def held(self) -> set[str]:
        return set(self._used)

    def release(self, container_id: str) -> None:
        self._used.pop(container_id, None)
