"""The engine: every subsystem opened once over one DATA_ROOT, and the doors to them.

    engine = await Engine.open(Settings(data_root="/srv/tiffin", exec_root="/run/mine"))
    container, _ = await engine.containers.create("web", config, host_config)

The daemon runs one; so may any program.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import AsyncExitStack, suppress
from functools import cached_property
from typing import TYPE_CHECKING

import msgspec

from tiffin.core.container import Container
from tiffin.engine.attachments import Attachments, HostNames
from tiffin.engine.catalog import Catalog, Rows
from tiffin.engine.containers import Containers
from tiffin.engine.events import Events
from tiffin.engine.health import ExecProbes, HealthChecks
from tiffin.engine.idclaims import IdClaims
from tiffin.engine.idranges import IdRanges
from tiffin.engine.images import Images
from tiffin.engine.labelling import label_layers
from tiffin.engine.mounting import Mounting
from tiffin.engine.networks import Networks
from tiffin.engine.processes import Processes
from tiffin.engine.publishing import Publisher
from tiffin.engine.settings import Settings
from tiffin.engine.stepnetwork import AttachedSteps
from tiffin.engine.storagefacts import StorageFacts, read_storage
from tiffin.engine.supervisor import Supervisor
from tiffin.engine.system import HostInfo, read_host
from tiffin.engine.unhealthy import UnhealthyRestarts
from tiffin.engine.upkeep.check import Check
from tiffin.engine.upkeep.running import RunningState
from tiffin.engine.upkeep.stored import StoredState
from tiffin.engine.volumes import Volumes
from tiffin.kernel.syscalls import boot_id
from tiffin.network.bridge import Bridge
from tiffin.registry.client import RegistryClient
from tiffin.runtime.client import Runtime
from tiffin.storage.store import Storage

if TYPE_CHECKING:
    from tiffin.engine.builds import Builds

# Settings that a running engine takes over.
_RELOADED = (
    "insecure_registries",
    "registry_mirrors",
    "downloads",
    "uploads",
    "download_attempts",
    "labels",
    "debug",
    "runtimes",
)
_RELOADED_DEFAULTS = ("cgroupns_mode", "ipc_mode", "runtime", "shm_size")


class Engine:
    """Made by `open`; `close` leaves containers running and everything else put away."""

    settings: Settings
    host: HostInfo
    events: Events
    containers: Containers
    processes: Processes
    images: Images
    networks: Networks
    volumes: Volumes
    runtime: Runtime
    check: Check
    storage_facts: StorageFacts

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.host = read_host()
        self.events = Events()
        self._closing = AsyncExitStack()

    @classmethod
    async def open(cls, settings: Settings) -> Engine:
        """Recover what a crash left. Raises EngineFailure when another engine has the data root."""
        engine = cls(settings)
        try:
            await engine._open()
        except BaseException:
            await engine._closing.aclose()
            raise
        return engine

    async def _open(self) -> None:
        settings = self.settings
        os.makedirs(settings.data_root, 0o710, exist_ok=True)
        # Before any thread starts: the zygote is exec'ed from a process with nothing to inherit.
        self.runtime = Runtime(
            settings.exec_root,
            settings.cgroup_name,
            probe_directory=settings.data_root,
            others=settings.runtimes,
            labelled=settings.selinux,
        )
        self._closing.push_async_callback(self.runtime.close)
        self.runtime.launch()
        # While it gets ready.
        storage = await asyncio.to_thread(Storage.open, settings.data_root)
        self._closing.callback(storage.close)
        await self.runtime.open()
        layers = os.path.join(settings.data_root, "snapshots")
        await asyncio.to_thread(label_layers, layers, self.runtime.facts)
        self._storage = storage
        self.storage_facts = read_storage(
            settings.data_root, overlay=storage.snapshots.uses_overlay
        )
        rows = Rows(storage.database)
        self._closing.callback(rows.close)
        await self._assemble(storage, rows)

    async def _assemble(self, storage: Storage, rows: Rows) -> None:
        settings, events = self.settings, self.events
        directory = os.path.join(settings.data_root, "containers")
        self._containers_directory = directory
        os.makedirs(directory, 0o710, exist_ok=True)
        catalog = Catalog(rows)
        await catalog.load()
        self._catalog = catalog
        bridge = Bridge(
            settings.bridge_name, settings.bridge_address, settings.table_name, settings.mtu
        )
        await bridge.open()
        self._bridge = bridge
        self._closing.push_async_callback(self._close_bridge)
        self.networks = Networks(
            bridge.subnet,
            bridge.gateway,
            bridge=bridge.name,
            mtu=bridge.mtu,
            seed=settings.data_root,
        )
        attachments = Attachments(bridge, self.networks, _host_names(settings), directory)
        id_ranges = IdRanges(
            available=self.runtime.facts.user_namespaces,
            subordinate_ids=_subordinate_ids(),
            boot_id=boot_id(),
            claims=IdClaims(),
        )
        snapshots = storage.snapshots
        supervisor = Supervisor(
            catalog, self.runtime, snapshots, attachments, id_ranges, events, directory
        )
        self._supervisor = supervisor
        self._closing.push_async_callback(supervisor.close)
        self.volumes = Volumes(
            rows, settings.data_root, events, self._volume_users, supervisor.volume_mounts
        )
        registry = RegistryClient()
        self._registry = registry
        self._closing.push_async_callback(registry.aclose)
        self.images = Images(storage, registry, events, self._image_users)
        self.processes = Processes(catalog, self.runtime, supervisor, events)
        publisher = Publisher(bridge, self.runtime)
        self._publisher = publisher
        self.containers = Containers(
            catalog,
            supervisor,
            self.processes,
            self.images,
            Mounting(catalog, self.volumes, snapshots, self.images, supervisor.volume_mounts),
            self.networks,
            self.runtime,
            snapshots,
            events,
            self.runtime.facts,
            directory,
            publisher,
        )
        self.containers.defaults = settings.defaults
        self._configure_transfers()
        probes = ExecProbes(self.processes, self.runtime)
        self._health = HealthChecks(catalog, events, probes.run)
        self._closing.push_async_callback(self._health.close)
        self._unhealthy = UnhealthyRestarts(catalog, events, supervisor.ending.unhealthy)
        self._closing.push_async_callback(self._unhealthy.close)
        self._attachments, self._id_ranges = attachments, id_ranges
        self.check = self._make_check(rows, attachments, id_ranges)
        await self._recover()

    @cached_property
    def builds(self) -> Builds:
        """Made when it is first needed: its code takes a sixth of the daemon's start to load."""
        from tiffin.engine.builds import Builds  # noqa: PLC0415

        builds = Builds(
            self._storage,
            self.images,
            self.runtime,
            AttachedSteps(self._attachments),
            self.events,
            self._id_ranges,
        )
        self._closing.push_async_callback(builds.close)
        return builds

    def _configure_transfers(self) -> None:
        settings = self.settings
        self._registry.configure(
            settings.insecure_registries, settings.registry_mirrors, settings.download_attempts
        )
        self.images.transfer(downloads=settings.downloads, uploads=settings.uploads)

    def reload(self, settings: Settings, told: dict[str, str]) -> None:
        """Go on with what of `settings` may change while it runs, and tell so.

        `told` is what the event's attributes say besides.
        """
        changed = {field: getattr(settings, field) for field in _RELOADED}
        changed["defaults"] = msgspec.structs.replace(
            self.settings.defaults,
            **{field: getattr(settings.defaults, field) for field in _RELOADED_DEFAULTS},
        )
        self.settings = msgspec.structs.replace(self.settings, **changed)
        self.containers.defaults = self.settings.defaults
        self.runtime.install(self.settings.runtimes)
        self._configure_transfers()
        attributes = {"name": self.host.hostname, **told}
        self.events.emit("daemon", "reload", self.settings.engine_id, attributes)

    async def _recover(self) -> None:
        done = await self._supervisor.recoveries.all()
        await self._publisher.recover(self._catalog.live())
        self._health.resume()
        await self.check.start(done)
        self._supervisor.restarts.with_daemon()
        self._unhealthy.resume()

    def _make_check(self, rows: Rows, attachments: Attachments, id_ranges: IdRanges) -> Check:
        roots = (os.path.join(self.settings.data_root, "snapshots"), self.settings.exec_root)
        running = RunningState(
            self._catalog,
            self._supervisor.recoveries,
            self.runtime,
            attachments,
            id_ranges,
            self._bridge,
            roots,
        )
        stored = StoredState(
            self._catalog,
            rows,
            self._storage,
            self.images,
            self.volumes,
            lambda key: self.runtime.tracks(key) or key in attachments.held(),
        )
        return Check(running, stored)

    def _image_users(self, image_id: str) -> list[Container]:
        return [c for c in self._catalog.all() if c.image_id == image_id]

    def _volume_users(self, name: str) -> list[Container]:
        return [
            c
            for c in self._catalog.all()
            if any(m.type == "volume" and m.name == name for m in c.mounts)
        ]

    async def _close_bridge(self) -> None:
        await self._bridge.close(keep=bool(self._catalog.live()))

    async def serving(self) -> None:
        """Clients can ask from now on: those that shims kept waiting for that are let go."""
        await self.runtime.serving()

    def running(self) -> list[Container]:
        """Those whose processes are there, paused ones too."""
        return self._catalog.live()

    async def close(self) -> None:
        self.events.close()
        await self._closing.aclose()


def _host_names(settings: Settings) -> HostNames:
    return HostNames(
        settings.dns, settings.dns_search, settings.dns_options, settings.publish_address
    )


def _subordinate_ids() -> str:
    text = ""
    for path in ("/etc/subuid", "/etc/subgid"):
        with suppress(OSError), open(path, encoding="utf-8", errors="replace") as file:
            text += file.read() + "\n"
    return text
