"""Containers as things: create, find, change, rename, look at, remove.

Their life (start, stop, exit) is the supervisor's; the verbs here delegate to it so that a caller
has one door. `streams` and `files` are what flows out of them and what is in them.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress

import msgspec

from tiffin.core import lifecycle
from tiffin.core.container import Container, HostConfig, Status
from tiffin.core.defaults import ContainerDefaults, with_defaults
from tiffin.core.image import ContainerConfig
from tiffin.core.labels import check_labels
from tiffin.core.lifecycle import Action
from tiffin.core.merge import merge
from tiffin.core.ports import requested_ports
from tiffin.core.publishing import Publishing
from tiffin.core.storageopts import size_limit
from tiffin.core.update import Update, updated
from tiffin.core.workload import ExitAnswer
from tiffin.engine.attachments import network_of
from tiffin.engine.catalog import Catalog
from tiffin.engine.containerevents import emit_container
from tiffin.engine.containerfiles import ContainerFiles
from tiffin.engine.containerstreams import ContainerStreams
from tiffin.engine.events import Events
from tiffin.engine.images import Images
from tiffin.engine.labelling import Labelling
from tiffin.engine.linking import given_names, resolve_links, shown_links, without_link
from tiffin.engine.logtargets import check_log
from tiffin.engine.mounting import Mounting
from tiffin.engine.naming import new_id, new_name
from tiffin.engine.networks import Networks
from tiffin.engine.ports import ContainerRuntime
from tiffin.engine.processes import Processes
from tiffin.engine.psprogram import ask_ps
from tiffin.engine.publishing import Publisher
from tiffin.engine.settling import settle, settle_update
from tiffin.engine.statistics import Gauges
from tiffin.engine.supervisor import Supervisor
from tiffin.engine.top import Table, process_table
from tiffin.engine.waiting import ExitResult
from tiffin.engine.workingdir import cleaned, ensure_working_dir
from tiffin.errors import (
    Conflict,
    EngineFailure,
    InvalidArgument,
    NotFound,
    TiffinError,
)
from tiffin.kernel import failpoints, trees
from tiffin.kernel.ownthread import may_hang
from tiffin.kernel.workers import in_thread
from tiffin.runtime import spec
from tiffin.runtime.devices import numbers
from tiffin.runtime.limits import limited_devices
from tiffin.storage.snapshots import SnapshotStore

# In the body of Containers the word `list` is its method.
ContainerList = list[Container]
Pids = list[int]
Names = list[str]


class Containers:
    def __init__(
        self,
        catalog: Catalog,
        supervisor: Supervisor,
        processes: Processes,
        images: Images,
        mounting: Mounting,
        networks: Networks,
        runtime: ContainerRuntime,
        snapshots: SnapshotStore,
        events: Events,
        facts: spec.HostFacts,
        directory: str,
        publisher: Publisher,
    ) -> None:
        self._catalog = catalog
        self._supervisor = supervisor
        self._processes = processes
        self._images = images
        self._mounting = mounting
        self._networks = networks
        self._runtime = runtime
        self._snapshots = snapshots
        self._events = events
        self._facts = facts
        self._labelling = Labelling(catalog, facts)
        self._directory = directory
        self._publisher = publisher
        self.streams = ContainerStreams(catalog, supervisor, runtime, events, directory)
        self.files = ContainerFiles(
            catalog, supervisor, images, runtime, snapshots, events, directory
        )
        self.gauges = Gauges(catalog, runtime)
        self.defaults = ContainerDefaults()  # the daemon's, for whom the request says nothing
        supervisor.exits.remove = self._auto_remove

    # -- finding -----------------------------------------------------------------------------

    def list(self) -> ContainerList:
        """All, newest first."""
        return self._catalog.all()

    def get(self, reference: str) -> Container:
        return self._catalog.get(reference)

    async def settled(self, reference: str) -> Container:
        """As it is once an end that is known of is in the record."""
        await self._supervisor.exits.recorded(self.get(reference).id)
        return self.get(reference)

    def execs(self, container: Container) -> Names:
        return self._processes.of(container.id)

    def apparmor_profile(self, container: Container) -> str:
        """What it runs under; "" where nothing confines it."""
        return spec.apparmor_profile(container.host_config, self._facts)

    async def sizes(self, container: Container) -> tuple[int, int]:
        """(bytes of the writable layer, bytes of it and the image together)."""
        own = await asyncio.to_thread(self._snapshots.usage, container.snapshot)
        try:
            image = await self._images.get(container.image_id)
        except NotFound:
            return own, own
        return own, own + image.size

    # -- create ------------------------------------------------------------------------------

    async def create(
        self,
        name: str | None,
        config: ContainerConfig,
        host_config: HostConfig,
        *,
        shallow_read_only: bool = False,
        link_local: tuple[str, ...] = (),
        given_empty: tuple[str, ...] = (),
    ) -> tuple[Container, Names]:
        """All but the processes. Raises InvalidArgument, NotFound (image), Conflict (name).

        `shallow_read_only`: mounts below a read-only bind stay writable. `link_local`: addresses
        that its interface has besides its own. `given_empty`: fields of the host config.
        """
        host_config = with_defaults(host_config, self.defaults)
        self._check(config, host_config)
        check_labels(config.labels)
        spec.validate(config, host_config, self._facts)
        image = await self._images.get(config.image)
        merged = merge(config, image.config.config)
        merged = msgspec.structs.replace(merged, working_dir=cleaned(merged.working_dir))
        if not ((merged.entrypoint or ()) + (merged.cmd or ())):
            raise InvalidArgument("no command specified")
        spec.validate_merged(merged, host_config)
        numbers(limited_devices(host_config))
        host_config, warnings = settle(host_config, self._facts, self._catalog)
        labels = self._labelling.choose(host_config)
        links = resolve_links(host_config, self._catalog)
        wanted = await self._mounting.check(
            merged, host_config, shallow_read_only=shallow_read_only
        )
        container_id = new_id()
        chosen = lifecycle.check_name(name) if name else new_name(self._catalog.names())
        self._catalog.claim_name(chosen, container_id)
        async with AsyncExitStack() as undo:
            undo.callback(self._catalog.release_name, chosen, container_id)
            chain = image.chain_id
            snapshot = await in_thread(self._snapshots.prepare, chain, furnished=True)
            undo.push_async_callback(asyncio.to_thread, self._snapshots.remove, snapshot)
            if limit := size_limit(host_config.storage_opt):
                await asyncio.to_thread(self._snapshots.limit, snapshot, limit)
            failpoints.reach("create-snapshot")
            if merged.working_dir.strip("/"):
                await in_thread(ensure_working_dir, self._snapshots, snapshot, merged.working_dir)
            mounts = await self._mounting.resolve(wanted, host_config, snapshot, undo, container_id)
            failpoints.reach("create-mounts")
            container = Container(
                id=container_id,
                name=chosen,
                created_ns=time.time_ns(),
                image_id=image.id,
                image_reference=config.image,
                platform="linux",
                config=msgspec.structs.replace(
                    merged, hostname=self._hostname(merged, host_config, container_id)
                ),
                host_config=host_config,
                snapshot=snapshot,
                mounts=mounts,
                links=links,
                labels=labels,
                link_local=link_local,
                given_empty=given_empty,
            )
            container = await self._catalog.put(container)
            failpoints.reach("create-row")
            undo.pop_all()
        self._emit(container, "create")
        return container, warnings

    def _check(self, config: ContainerConfig, host: HostConfig) -> None:
        if not config.image:
            raise InvalidArgument("no image specified")
        check_log(host.log_config)
        requested_ports(config, host)
        if not self._runtime.knows(host.runtime):
            raise InvalidArgument(f"unknown or invalid runtime name: {host.runtime}")

    @staticmethod
    def _hostname(config: ContainerConfig, host: HostConfig, container_id: str) -> str:
        if config.hostname or host.uts_mode == "host":
            return config.hostname
        if network_of(host) == "host":
            return os.uname().nodename
        return container_id[:12]

    # -- life (the supervisor's) -------------------------------------------------------------

    async def start(self, reference: str) -> None:
        await self._supervisor.start(reference)

    async def stop(
        self, reference: str, *, signal: str | None = None, timeout: int | None = None
    ) -> None:
        await self._supervisor.stop(reference, signal=signal, timeout=timeout)

    async def restart(
        self, reference: str, *, signal: str | None = None, timeout: int | None = None
    ) -> None:
        await self._supervisor.restart(reference, signal=signal, timeout=timeout)

    async def kill(self, reference: str, signal: str = "SIGKILL") -> None:
        await self._supervisor.kill(reference, signal)

    async def pause(self, reference: str) -> None:
        await self._supervisor.pause(reference)

    async def unpause(self, reference: str) -> None:
        await self._supervisor.unpause(reference)

    def wait(self, reference: str, condition: str = "") -> asyncio.Future[ExitResult]:
        return self._supervisor.clients.wait(reference, condition)

    async def answer_exit(
        self,
        container_id: str,
        exited: asyncio.Future[ExitResult],
        connection: int,
        answer: ExitAnswer,
    ) -> None:
        """Let a client outlive this daemon: the shim tells it what `exited` (of wait) was to tell.

        `connection` is not the caller's any more.
        """
        await self._supervisor.clients.answer_exit(container_id, exited, connection, answer)

    async def update(
        self, reference: str, wanted: Update, publishing: Publishing | None = None
    ) -> Names:
        """Change limits and ports, of a running container at once, and the policy: warnings."""
        spec.validate(ContainerConfig(), wanted.checkable(), self._facts)
        wanted, warnings = settle_update(wanted, self._facts)
        container = self._catalog.get(reference)
        async with self._catalog.lock(container.id), AsyncExitStack() as undo:
            container = self._catalog.get(container.id)
            try:
                container = await self._update(container, wanted, publishing, undo)
            except (Conflict, InvalidArgument, EngineFailure) as error:
                words = f"Cannot update container {container.id}: {error.message}"
                raise type(error)(words) from error
        self._emit(container, "update")
        return warnings

    async def _update(
        self,
        container: Container,
        wanted: Update,
        publishing: Publishing | None,
        undo: AsyncExitStack,
    ) -> Container:
        if container.state.status in (Status.REMOVING, Status.DEAD):
            raise Conflict('container is marked for removal and cannot be "update"')
        if publishing:
            container = await self._publisher.change(container, publishing, undo)
        host = updated(container.host_config, wanted)
        # A reservation is compared with a limit only where both are asked for, as in Docker.
        apart = msgspec.structs.replace(host, memory_reservation=0)
        spec.validate(ContainerConfig(), apart, self._facts)
        spec.validate_merged(container.config, host)
        if container.state.status in lifecycle.LIVE and wanted != Update():
            await self._runtime.limit(container.id, host)
        # Who ended meanwhile waits for the lock: its record is still the one we have.
        container = await self._catalog.put(msgspec.structs.replace(container, host_config=host))
        undo.pop_all()
        return container

    # -- links -------------------------------------------------------------------------------

    def given_names(self) -> dict[str, Names]:
        """The names that containers have from those that link them, by id: "/web/db"."""
        return given_names(self._catalog)

    def shown_links(self, container: Container) -> Names:
        return shown_links(container, self._catalog)

    async def unlink(self, reference: str) -> None:
        """Forget the link that "web/db" names. Raises Conflict, NotFound."""
        container = without_link(reference, self._catalog)
        async with self._catalog.lock(container.id):
            await self._catalog.put(without_link(reference, self._catalog))

    # -- names and removal -------------------------------------------------------------------

    async def rename(self, reference: str, name: str) -> None:
        if not name:
            raise InvalidArgument("Neither old nor new names may be empty")
        container = self._catalog.get(reference)
        chosen = lifecycle.check_name(name)
        async with self._catalog.lock(container.id):
            container = self._catalog.get(container.id)
            if chosen == container.name:
                raise InvalidArgument("Renaming a container with the same name as its current name")
            self._catalog.claim_name(chosen, container.id)
            old = container.name
            failpoints.reach("rename-claimed")
            try:
                container = await self._catalog.put(msgspec.structs.replace(container, name=chosen))
            except BaseException:
                self._catalog.release_name(chosen, container.id)
                raise
            failpoints.reach("rename-row")
            self._catalog.release_name(old, container.id)
        self._emit(container, "rename", oldName="/" + old)

    async def remove(self, reference: str, *, force: bool = False, volumes: bool = False) -> None:
        """Raises Conflict when it runs and `force` is not given."""
        container = self._catalog.get(reference)
        if not force:
            await self._remove_whole(container, volumes=volumes)
            return
        try:
            await self._end_and_remove(container, volumes=volumes)
        except NotFound:
            if not container.host_config.auto_remove:
                raise  # else its end has removed it

    async def _end_and_remove(self, container: Container, *, volumes: bool) -> None:
        for last in (False, False, True):
            await self._supervisor.ending.for_removal(container.id)
            try:
                await self._remove_whole(container, volumes=volumes)
            except Conflict:
                if last:
                    raise
            else:
                return  # else somebody has started it in between

    async def _remove_whole(self, container: Container, *, volumes: bool) -> None:
        # A client that goes away does not leave half a removal behind.
        await asyncio.shield(self._remove(container.id, volumes=volumes))

    async def _remove(self, container_id: str, *, volumes: bool) -> None:
        async with self._catalog.lock(container_id):
            container = self._catalog.get(container_id)
            lifecycle.transition(container, Action.REMOVE)
            await self._take_apart(container, volumes=volumes)

    async def _take_apart(self, container: Container, *, volumes: bool) -> None:
        if not volumes:
            await self._mounting.keep_anonymous(container)
        # The row goes first: a crash then leaves files without one, which the next start sweeps.
        await self._catalog.delete(container)
        failpoints.reach("remove-row-deleted")
        with suppress(TiffinError):  # the next check finds it
            await self._runtime.remove(container.id)
        failpoints.reach("remove-run-directory")
        self._supervisor.tasks.finish(self._clean_up(container))
        self._processes.container_removed(container.id)
        if volumes:
            await self._mounting.remove_anonymous(container)
        failpoints.reach("remove-volumes")
        await self._supervisor.removed(container)
        self._emit(container, "destroy")

    async def _clean_up(self, container: Container) -> None:
        """Files, then the layers that `rmi -f` left to this container alone."""
        await asyncio.to_thread(self._drop_files, container)
        failpoints.reach("remove-files")
        if not await self._images.exists(container.image_id):
            await self._images.sweep()

    def _drop_files(self, container: Container) -> None:
        with suppress(NotFound):  # a removal that was cut short got this far
            self._snapshots.remove(container.snapshot)
        self._mounting.drop_images(container)
        trees.remove(os.path.join(self._directory, container.id))

    async def _auto_remove(self, container_id: str) -> None:
        await self.remove(container_id, volumes=True)

    async def prune(self, matches: Callable[[Container], bool]) -> tuple[Names, int]:
        """Remove what does not run and matches; ids and bytes given back."""
        removed, reclaimed = [], 0
        for container in self.list():
            if container.state.status not in (Status.CREATED, Status.EXITED, Status.DEAD):
                continue
            if not matches(container):
                continue
            size = await asyncio.to_thread(self._snapshots.usage, container.snapshot)
            try:
                await self.remove(container.id)
            except (Conflict, NotFound):
                continue  # started or removed meanwhile
            removed.append(container.id)
            reclaimed += size
        self._events.emit("container", "prune", "", {"reclaimed": str(reclaimed)})
        return removed, reclaimed

    # -- looking inside ----------------------------------------------------------------------

    async def pids(self, reference: str) -> Pids:
        container = self._catalog.get(reference)
        lifecycle.check_live(container)
        return await self._runtime.pids(container.id)

    async def top(self, reference: str, ps_arguments: str = "") -> Table:
        """As `ps -ef` shows it, without a ps; with other options as the host's ps does."""
        pids = await self.pids(reference)
        container = self._catalog.get(reference)
        self._emit(container, "top")
        ids = container.state.id_range
        if ps_arguments.strip() in ("", "-ef", "-e -f"):
            return await may_hang(process_table, pids, ids)
        return await may_hang(ask_ps, pids, ps_arguments, ids)

    def _emit(self, container: Container, action: str, **more: str) -> None:
        emit_container(self._events, container, action, **more)
