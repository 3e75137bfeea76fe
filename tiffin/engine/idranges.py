"""Which host ids each running container's ids are: one range apiece, given back when it ends."""

from __future__ import annotations

import os

from tiffin.core.container import HostConfig, IdRange
from tiffin.core.idrange import RangePool, has_hosts_ids, slot_of
from tiffin.engine.idclaims import IdClaims
from tiffin.errors import EngineFailure


class IdRanges:
    def __init__(
        self,
        *,
        available: bool,
        subordinate_ids: str,
        boot_id: str,
        claims: IdClaims | None = None,
    ) -> None:
        """`available`: user namespaces work here; `subordinate_ids`: text of /etc/subuid.

        Without `claims` the ranges are this engine's own affair.
        """
        self.available = available
        self.boot_id = boot_id
        self._pool = RangePool(subordinate_ids)
        self._claims = claims
        self._used: dict[str, IdRange] = {}
        self._held: dict[str, int] = {}  # claims that are no shim's yet
        self._others: set[IdRange] = set()  # found in use by other engines

    def wanted(self, host: HostConfig) -> bool:
        """Whether this container gets its own user namespace (the host's ids otherwise)."""
        return self.available and not has_hosts_ids(host)

    def acquire(self, container_id: str) -> IdRange:
        """Raises EngineFailure when every range is in use; OSError."""
        if container_id not in self._used:
            try:
                found = self._take(container_id)
            except EngineFailure:
                if not self._others:
                    raise
                for other in self._others:  # what was in use need not be any more
                    self._pool.give_back(other)
                self._others.clear()
                found = self._take(container_id)
            self._used[container_id] = found
        return self._used[container_id]

    def _take(self, container_id: str) -> IdRange:
        """The first that no engine has."""
        while True:
            found = self._pool.take()
            try:
                claim = self._claims.take(slot_of(found)) if self._claims is not None else None
            except OSError:
                self._pool.give_back(found)
                raise
            if claim is None:
                return found
            if claim >= 0:
                self._held[container_id] = claim
                return found
            self._others.add(found)

    def join(self, container_id: str, id_range: IdRange) -> None:
        """Have what another container has, and go on having it when that ends. Raises OSError."""
        if self._claims is not None:
            self._held[container_id] = self._claims.join(slot_of(id_range))
        self._hold(container_id, id_range)

    def keep(self, container_id: str, id_range: IdRange) -> None:
        """Of a container that runs already, and holds its claim itself."""
        self._hold(container_id, id_range)

    def _hold(self, container_id: str, id_range: IdRange) -> None:
        self._pool.hold(id_range)
        before = self._used.get(container_id)
        if before is not None:
            self._pool.give_back(before)
        self._used[container_id] = id_range

    def claims_of(self, container_id: str) -> list[int]:
        """Descriptors for the shim to hold."""
        return [self._held[container_id]] if container_id in self._held else []

    def handed_over(self, container_id: str) -> None:
        """The shim has them."""
        claim = self._held.pop(container_id, -1)
        if claim >= 0:
            os.close(claim)

    def held(self) -> set[str]:
        return set(self._used)

    def release(self, container_id: str) -> None:
        held = self._used.pop(container_id, None)
        if held is not None:
            self._pool.give_back(held)
        self.handed_over(container_id)
