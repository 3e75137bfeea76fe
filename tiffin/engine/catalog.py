"""The containers that exist: records in memory, the same rows on disk, a lock for each.

Reading takes no lock and touches no disk, so `ps` answers whatever else is going on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

import msgspec

from tiffin.core.container import Container, State, Status
from tiffin.engine.locks import Locks, NamedLock
from tiffin.errors import Conflict, InvalidArgument, NotFound
from tiffin.kernel.workers import Workers
from tiffin.storage.database import Database

_P = ParamSpec("_P")
_R = TypeVar("_R")


class Rows:
    """The one thread that owns the database."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._thread = Workers(1, "database")

    async def run(self, query: Callable[_P, _R], *args: _P.args, **kwargs: _P.kwargs) -> _R:
        # A cancelled client does not cut a write in two: the thread finishes what it began.
        return await self._thread.run(query, *args, **kwargs)

    def close(self) -> None:
        self._thread.close()


class Catalog:
    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._by_id: dict[str, Container] = {}
        self._id_by_name: dict[str, str] = {}
        self._with_links: set[str] = set()
        self._locks = Locks("container")

    async def load(self) -> None:
        for container in await self._rows.run(self._rows.database.containers):
            self._show(container)
            self._id_by_name[container.name] = container.id

    def _show(self, container: Container) -> None:
        self._by_id[container.id] = container
        if container.links:
            self._with_links.add(container.id)
        else:
            self._with_links.discard(container.id)

    def all(self) -> list[Container]:
        """Newest first."""
        return sorted(self._by_id.values(), key=lambda c: c.created_ns, reverse=True)

    def names(self) -> dict[str, str]:
        return self._id_by_name

    def find_id(self, container_id: str) -> Container | None:
        return self._by_id.get(container_id)

    def get(self, reference: str) -> Container:
        """By id, name ("web/db" too, of one that web links), or unique prefix of an id.

        Raises NotFound; InvalidArgument if ambiguous.
        """
        bare = reference.removeprefix("/")
        named = self._id_by_name.get(bare) or self._linked_id(bare)
        exact = self._by_id.get(bare) or self._by_id.get(named)
        if exact is not None:
            return exact
        matches = [cid for cid in self._by_id if bare and cid.startswith(bare)]
        if len(matches) > 1:
            raise InvalidArgument(f"multiple IDs found with provided prefix: {bare}")
        if not matches:
            raise NotFound(f"No such container: {reference}")
        return self._by_id[matches[0]]

    def _linked_id(self, name: str) -> str:
        parent, _, alias = name.partition("/")
        container = self._by_id.get(self._id_by_name.get(parent, "")) if alias else None
        links = container.links if container is not None else ()
        return next((link.container_id for link in links if link.alias == alias), "")

    def lock(self, container_id: str) -> NamedLock:
        return self._locks.of(container_id)

    async def settled(self, reference: str) -> Container:
        """The container with no change under way: who sees its output may be ahead of its start."""
        container = self.get(reference)
        async with self.lock(container.id):
            return self.get(container.id)

    def claim_name(self, name: str, container_id: str) -> None:
        """Take the name in memory before anything is made. Raises Conflict in Docker's words."""
        holder = self._id_by_name.setdefault(name, container_id)
        if holder != container_id:
            raise Conflict(
                f'Conflict. The container name "/{name}" is already in use by container '
                f'"{holder}". You have to remove (or rename) that container to be able to '
                "reuse that name."
            )

    def release_name(self, name: str, container_id: str) -> None:
        if self._id_by_name.get(name) == container_id:
            del self._id_by_name[name]

    async def put(self, container: Container) -> Container:
        """Row first, then memory: what a reader sees has been kept."""
        await self._rows.run(self._rows.database.put_container, container)
        self._show(container)
        self._id_by_name[container.name] = container.id
        return container

    async def put_state(self, container: Container, state: State) -> Container:
        return await self.put(msgspec.structs.replace(container, state=state))

    def show_state(self, container: Container, state: State) -> Container:
        """In memory alone, where the row is about to go or may come late."""
        container = msgspec.structs.replace(container, state=state)
        self._by_id[container.id] = container
        return container

    async def delete(self, container: Container) -> None:
        await self._rows.run(self._rows.database.delete_container, container.id)
        self._by_id.pop(container.id, None)
        self._with_links.discard(container.id)
        self.release_name(container.name, container.id)

    def with_links(self) -> list[Container]:
        """Those that link others: few, however many there are."""
        return [self._by_id[container_id] for container_id in self._with_links]

    def live(self) -> list[Container]:
        return [
            container
            for container in self._by_id.values()
            if container.state.status in (Status.RUNNING, Status.PAUSED)
        ]
