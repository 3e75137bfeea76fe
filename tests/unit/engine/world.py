"""A supervisor and everything around it on fakes, and scenes that are played in it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tests.fakes.links import FakeLinks
from tests.fakes.runtime import FakeRuntime
from tiffin.core.container import (
    Container,
    HostConfig,
    State,
    Status,
)
from tiffin.core.image import ContainerConfig
from tiffin.core.workload import Overlay
from tiffin.engine.attachments import Attachments, HostNames
from tiffin.engine.catalog import Catalog, Rows
from tiffin.engine.events import Event, Events
from tiffin.engine.idranges import IdRanges
from tiffin.engine.networks import Networks
from tiffin.engine.supervisor import Supervisor
from tiffin.storage.database import Database

ID = "ab" * 32


class World:
    """A supervisor and everything around it, without a kernel."""

    def __init__(self, directory: Path) -> None:
        self.runtime = FakeRuntime()
        self.links = FakeLinks()
        self.events = Events()
        self.database = Database(str(directory / "tiffin.db"))
        self.rows = Rows(self.database)
        self.catalog = Catalog(self.rows)
        networks = Networks("10.1.0.0/24", "10.1.0.1")
        self.attachments = Attachments(self.links, networks, HostNames(), str(directory))
        self.id_ranges = IdRanges(available=True, subordinate_ids="", boot_id="boot")
        self.directory = directory
        self.supervisor = self.make_supervisor()

    def make_supervisor(self) -> Supervisor:
        snapshots: Any = SimpleNamespace(overlay=lambda active: Overlay((), f"/u/{active}", "/w"))
        return Supervisor(
            self.catalog,
            self.runtime,
            snapshots,
            self.attachments,
            self.id_ranges,
            self.events,
            str(self.directory),
        )

    async def add(
        self, host: HostConfig | None = None, *, name: str = "web", key: str = ID, **config: Any
    ) -> Container:
        return await self.catalog.put(
            Container(
                id=key,
                name=name,
                created_ns=1,
                image_id="sha256:1",
                image_reference="busybox",
                platform="linux",
                config=ContainerConfig(cmd=("true",), **config),
                host_config=host or HostConfig(),
                snapshot="1",
            )
        )

    def state(self) -> State:
        return self.catalog.get(ID).state

    async def settled(self, status: Status) -> None:
        """Until the container has this status: each change emits an event or ends a task."""
        while self.state().status is not status:
            await asyncio.sleep(0)

    def actions(self) -> list[str]:
        return [event.action for event in self._kept() if event.type == "container"]

    def told(self) -> list[tuple[str, str, str]]:
        return [(event.type, event.action, event.actor_id) for event in self._kept()]

    def _kept(self) -> list[Event]:
        return list(self.events._kept)

    async def new_daemon(self) -> None:
        """One that knows only the rows, over what the last one has left; it has not looked yet."""
        self.runtime._callbacks.clear()
        await self.supervisor.close()
        self.catalog = Catalog(self.rows)
        await self.catalog.load()
        self.supervisor = self.make_supervisor()

    def close(self) -> None:
        self.rows.close()
        self.database.close()


Scene = Callable[[World], Awaitable[None]]
Play = Callable[[Scene], None]
