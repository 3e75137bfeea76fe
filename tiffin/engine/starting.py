"""What a start takes, step by step: what was acquired is given back when a later step fails."""

from __future__ import annotations

import time
from contextlib import AsyncExitStack

import msgspec

from tiffin.core import health, lifecycle
from tiffin.core.container import Container, IdRange
from tiffin.core.signals import parse_signal
from tiffin.core.workload import Workload
from tiffin.engine import runrecord
from tiffin.engine.attachments import Attachments, Guest
from tiffin.engine.catalog import Catalog
from tiffin.engine.clients import Clients
from tiffin.engine.donors import donors
from tiffin.engine.idranges import IdRanges
from tiffin.engine.labelling import label_sources
from tiffin.engine.linking import linked, linking
from tiffin.engine.logtargets import LogTargets
from tiffin.engine.mounting import mounted_images
from tiffin.engine.ports import ContainerRuntime
from tiffin.engine.volumemounts import VolumeMounts
from tiffin.errors import Conflict
from tiffin.kernel import failpoints
from tiffin.storage.snapshots import SnapshotStore


class Starting:
    def __init__(
        self,
        catalog: Catalog,
        runtime: ContainerRuntime,
        snapshots: SnapshotStore,
        attachments: Attachments,
        id_ranges: IdRanges,
        log_targets: LogTargets,
        clients: Clients,
        volume_mounts: VolumeMounts,
    ) -> None:
        self._catalog = catalog
        self._runtime = runtime
        self._snapshots = snapshots
        self._attachments = attachments
        self._id_ranges = id_ranges
        self._log_targets = log_targets
        self._clients = clients
        self._volume_mounts = volume_mounts

    async def bring_up(self, container: Container) -> Container:
        """Under the container's lock. What fails leaves nothing behind but what it raises."""
        async with AsyncExitStack() as undo:
            id_range, join_pids = self._namespaces(container)
            if id_range is not None:
                undo.callback(self._id_ranges.release, container.id)
            links = linked(container, self._catalog)
            attached = await self._attachments.prepare(
                Guest.of(container)._replace(linked_hosts=links.hosts),
                self._network_owner(container),
            )
            undo.push_async_callback(self._attachments.release, container.id)
            undo.callback(attached.close)
            await self._volume_mounts.take(container)
            undo.push_async_callback(self._volume_mounts.give_back, container.id)
            await label_sources(container, attached.etc_files.values())
            failpoints.reach("start-reserved")
            workload = Workload(
                id=container.id,
                config=links.passed_to(container.config),
                host_config=container.host_config,
                rootfs=self._snapshots.overlay(container.snapshot),
                hostname=attached.hostname,
                mounts=container.mounts,
                images=mounted_images(container, self._snapshots),
                id_range=id_range,
                etc_files=attached.etc_files,
                join_pids=join_pids,
                log=await self._log_targets.open(container),
                labels=container.labels,
                stop_signal=parse_signal(container.config.stop_signal or "SIGTERM"),
            )
            undo.push_async_callback(self._runtime.remove, container.id)
            held = [*attached.held, *self._id_ranges.claims_of(container.id)]
            created = await self._runtime.create(workload, hold=held)
            self._id_ranges.handed_over(container.id)
            failpoints.reach("start-created")
            undo.callback(self._clients.take_back, container.id)
            await self._clients.join_early(container.id)
            await self._attachments.connect(container.id, attached, created.pid)
            failpoints.reach("start-connected")
            state = lifecycle.started(
                container.state, created, time.time_ns(), self._id_ranges.boot_id
            )
            state = msgspec.structs.replace(
                state,
                id_range=id_range,
                endpoints=attached.endpoints,
                ports=attached.ports,
                health=health.at_start(container.config, container.state.health),
            )
            await self._runtime.start(container.id, record=runrecord.written(state))
            failpoints.reach("start-executed")
            attached.close()
            container = await self._catalog.put_state(container, state)
            failpoints.reach("start-recorded")
            undo.pop_all()
        await self._clients.started(container)
        for parent, alias, address in linking(container, self._catalog):
            await self._attachments.move(parent.id, alias, address)
        return container

    def _namespaces(self, container: Container) -> tuple[IdRange | None, dict[str, int]]:
        joined = donors(container.host_config, self._catalog.get)
        join_pids = {kind: donor.state.pid for kind, donor in joined.items()}
        if joined:
            # Namespaces belong to the user namespace that made them: who joins them joins that too.
            donor = next(iter(joined.values()))
            if donor.state.id_range is not None:
                join_pids["user"] = donor.state.pid
                # It may go on when the other has ended.
                self._id_ranges.join(container.id, donor.state.id_range)
            return donor.state.id_range, join_pids
        if not self._id_ranges.wanted(container.host_config):
            return None, join_pids
        return self._id_ranges.acquire(container.id), join_pids

    def _network_owner(self, container: Container) -> Guest | None:
        """Whose network namespace it joins, at the end of a chain of such joins."""
        owner, seen = container, {container.id}
        while owner.host_config.network_mode.startswith("container:"):
            owner = self._catalog.get(owner.host_config.network_mode.removeprefix("container:"))
            if owner.id in seen:  # names can be given anew, so a chain of joins can become a ring
                raise Conflict(f"cannot join own network: container {container.id}")
            seen.add(owner.id)
        return Guest.of(owner) if owner is not container else None
