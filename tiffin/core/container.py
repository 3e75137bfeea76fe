"""Containers as records: what was asked for and the last known state.

JSON names are the Engine API's. Times are integers, nanoseconds since the epoch; 0 is "never".
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from tiffin.core.image import ContainerConfig
from tiffin.core.selinux import Labels
from tiffin.core.verdict import Asked, Verdict
from tiffin.core.volumeoptions import FileSystem


class Status(StrEnum):
    CREATED = "created"
    RUNNING = "running"
    PAUSED = "paused"
    RESTARTING = "restarting"
    REMOVING = "removing"
    EXITED = "exited"
    DEAD = "dead"


class PortBinding(msgspec.Struct, frozen=True, rename="pascal"):
    """Docker's PortBinding. `host_port`: "" asks for any free one, "8000-8010" for one of these."""

    host_ip: str = ""
    host_port: str = ""


class RestartPolicy(msgspec.Struct, frozen=True, rename="pascal"):
    name: str = ""
    maximum_retry_count: int = 0


class LogConfig(msgspec.Struct, frozen=True, rename="pascal"):
    type: str = ""
    config: dict[str, str] = {}


class Ulimit(msgspec.Struct, frozen=True, rename="pascal"):
    name: str = ""
    soft: int = 0
    hard: int = 0


class DeviceMapping(msgspec.Struct, frozen=True, rename="pascal"):
    path_on_host: str = ""
    path_in_container: str = ""
    cgroup_permissions: str = ""


class WeightDevice(msgspec.Struct, frozen=True, rename="pascal"):
    path: str = ""
    weight: int = 0


class ThrottleDevice(msgspec.Struct, frozen=True, rename="pascal"):
    """A device's limit: bytes or operations a second."""

    path: str = ""
    rate: int = 0


class DeviceRequest(msgspec.Struct, frozen=True, rename="pascal"):
    """What `--gpus` asks a device driver for; none is registered here."""

    driver: str = ""
    count: int = 0
    device_ids: tuple[str, ...] = msgspec.field(name="DeviceIDs", default=())
    capabilities: tuple[tuple[str, ...], ...] = ()
    options: dict[str, str] = {}


class BindOptions(msgspec.Struct, frozen=True, omit_defaults=True, rename="pascal"):
    propagation: str = ""
    non_recursive: bool = False
    create_mountpoint: bool = False
    read_only_non_recursive: bool = False
    read_only_force_recursive: bool = False


class Driver(msgspec.Struct, frozen=True, omit_defaults=True, rename="pascal"):
    name: str = ""
    options: dict[str, str] = {}


class VolumeOptions(msgspec.Struct, frozen=True, omit_defaults=True, rename="pascal"):
    no_copy: bool = False
    labels: dict[str, str] = {}
    subpath: str = ""
    driver_config: Driver | None = None


class ImageOptions(msgspec.Struct, frozen=True, omit_defaults=True, rename="pascal"):
    subpath: str = ""


class TmpfsOptions(msgspec.Struct, frozen=True, omit_defaults=True, rename="pascal"):
    size_bytes: int = 0
    mode: int = 0
    options: tuple[tuple[str, ...], ...] = ()  # ("noexec",)


class ClusterOptions(msgspec.Struct, frozen=True):
    """Of swarm's volumes; nothing is in it."""


class MountRequest(msgspec.Struct, frozen=True, omit_defaults=True, rename="pascal"):
    """One entry of HostConfig.Mounts: what the user asked for (`--mount`)."""

    type: str = ""  # bind, volume, tmpfs, image
    source: str = ""
    target: str = ""
    read_only: bool = False
    consistency: str = ""
    bind_options: BindOptions | None = None
    volume_options: VolumeOptions | None = None
    image_options: ImageOptions | None = None
    tmpfs_options: TmpfsOptions | None = None
    cluster_options: ClusterOptions | None = None


def _host_name(field: str) -> str:
    special = {
        "oom_kill_disable": "OomKillDisable",
        "dns": "Dns",
        "dns_options": "DnsOptions",
        "dns_search": "DnsSearch",
        "nano_cpus": "NanoCpus",
        "uts_mode": "UTSMode",
        "container_id_file": "ContainerIDFile",
        "blkio_device_read_iops": "BlkioDeviceReadIOps",
        "blkio_device_write_iops": "BlkioDeviceWriteIOps",
        "kernel_memory_tcp": "KernelMemoryTCP",
        "io_maximum_iops": "IOMaximumIOps",
        "io_maximum_bandwidth": "IOMaximumBandwidth",
    }
    return special.get(field) or "".join(part.capitalize() for part in field.split("_"))


class HostConfig(msgspec.Struct, frozen=True, rename=_host_name):
    """How it runs on this host: the fields of Docker's HostConfig. Sizes are bytes."""

    binds: tuple[str, ...] = ()
    mounts: tuple[MountRequest, ...] = ()
    tmpfs: dict[str, str] = {}
    volumes_from: tuple[str, ...] = ()
    network_mode: str = "default"  # default, bridge, none, host, container:<id>
    port_bindings: dict[str, tuple[PortBinding, ...]] = {}  # {"3000/tcp": [...]}
    publish_all_ports: bool = False
    dns: tuple[str, ...] = ()
    dns_options: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    extra_hosts: tuple[str, ...] = ()
    restart_policy: RestartPolicy = RestartPolicy()
    auto_remove: bool = False
    log_config: LogConfig = LogConfig()
    privileged: bool = False
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    group_add: tuple[str, ...] = ()
    security_opt: tuple[str, ...] = ()
    readonly_rootfs: bool = False
    userns_mode: str = ""  # "" or host
    pid_mode: str = ""
    ipc_mode: str = ""
    uts_mode: str = ""
    cgroupns_mode: str = ""
    # Kept and shown: the file is the client's to write, and nothing has ever come of such a cgroup.
    container_id_file: str = ""
    cgroup: str = ""
    cgroup_parent: str = ""
    masked_paths: tuple[str, ...] | None = None
    readonly_paths: tuple[str, ...] | None = None
    sysctls: dict[str, str] = {}
    devices: tuple[DeviceMapping, ...] = ()
    device_cgroup_rules: tuple[str, ...] = ()
    init: bool | None = None
    runtime: str = ""
    shm_size: int = 0
    ulimits: tuple[Ulimit, ...] = ()
    oom_score_adj: int = 0
    memory: int = 0
    memory_swap: int = 0
    memory_reservation: int = 0
    memory_swappiness: int | None = None
    oom_kill_disable: bool | None = None
    kernel_memory: int = 0
    kernel_memory_tcp: int = 0
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
    annotations: dict[str, str] = {}
    console_size: tuple[int, int] = (0, 0)  # rows and columns that a terminal starts with
    volume_driver: str = ""
    storage_opt: dict[str, str] = {}  # {"size": "10G"}
    links: tuple[str, ...] = ()  # "container:alias", on the default bridge
    device_requests: tuple[DeviceRequest, ...] = ()
    isolation: str = ""
    # Windows has these; here they are refused or discarded with a warning.
    cpu_count: int = 0
    cpu_percent: int = 0
    io_maximum_iops: int = 0
    io_maximum_bandwidth: int = 0


class Mount(msgspec.Struct, frozen=True, rename="pascal"):
    """One resolved mount, as `inspect` shows it. `source` is a host path ("" for tmpfs)."""

    type: str  # bind, volume, tmpfs, image
    source: str
    destination: str
    name: str = ""  # of a volume or an image
    driver: str = ""
    mode: str = ""  # the option words as given: "ro", "z"
    rw: bool = msgspec.field(name="RW", default=True)
    propagation: str = ""
    non_recursive: bool = False
    subpath: str = ""
    read_only_below: bool = True  # of a bind that is read-only: all mounts below it too
    make_source: bool = False  # of a bind: a directory, at each start that finds nothing there
    options: str = ""  # a tmpfs's: "size=65536,mode=700"
    snapshot: str = ""  # an image's: the id of the active snapshot that is mounted
    device: str = ""  # of a volume that is a directory of the host: that one
    # Of a volume: what is mounted on its directory while it is used.
    filesystem: FileSystem | None = None

    @property
    def host_path(self) -> str:
        """What is mounted: `source` is what is shown of it."""
        return self.device or self.source


class Endpoint(msgspec.Struct, frozen=True):
    """One container on one network. Empty strings where the container does not run."""

    network_id: str
    network_name: str
    endpoint_id: str = ""
    address: str = ""  # "172.17.0.2"
    prefix_length: int = 0
    gateway: str = ""
    mac_address: str = ""
    aliases: tuple[str, ...] = ()
    link_local: tuple[str, ...] = ()  # further addresses of its interface: "169.254.1.2"


class PublishedPort(msgspec.Struct, frozen=True):
    """A port binding in force, in numbers."""

    container_port: int
    protocol: str  # tcp, udp
    host_ip: str  # "0.0.0.0" or an address of the host
    host_port: int


class IdRange(msgspec.Struct, frozen=True):
    """The host ids that a container's ids 0..size-1 are. Same for users and groups."""

    start: int
    size: int = 65536


class Probe(msgspec.Struct, frozen=True):
    """One health check that was made. An exit code of -1: it could not be, or took too long."""

    start_ns: int
    end_ns: int
    exit_code: int
    output: str


class Health(msgspec.Struct, frozen=True):
    status: str  # starting, healthy, unhealthy
    failing_streak: int = 0
    log: tuple[Probe, ...] = ()  # the latest last
    was_healthy: bool = False  # at any time of this run


class State(msgspec.Struct, frozen=True):
    """What is known of the process, which pid and start_ticks (proc(5), stat 22) identify."""

    status: Status = Status.CREATED
    pid: int = 0
    start_ticks: int = 0
    boot_id: str = ""
    exit_code: int = 0
    error: str = ""
    oom_killed: bool = False
    started_ns: int = 0
    finished_ns: int = 0
    id_range: IdRange | None = None
    endpoints: tuple[Endpoint, ...] = ()
    ports: tuple[PublishedPort, ...] = ()
    stopped_by_user: bool = False  # somebody has sent this run a signal
    restart_cancelled: bool = False  # and it was one that asks to end
    restart_count: int = 0
    health: Health | None = None  # None: nobody checks it
    asked: Asked | None = None  # of this run; None: nothing
    verdict: Verdict | None = None  # on the last end


class Link(msgspec.Struct, frozen=True):
    """Another container by the name that this one has for it."""

    container_id: str
    alias: str


class Container(msgspec.Struct, frozen=True, weakref=True):
    """A container's record, as the database keeps it. Change one with msgspec.structs.replace."""

    id: str  # 64 hex digits
    name: str  # without the leading slash
    created_ns: int
    image_id: str  # "sha256:..."
    image_reference: str  # as the user wrote it
    platform: str  # "linux"
    config: ContainerConfig  # merged with the image's defaults
    host_config: HostConfig
    snapshot: str  # id of the active snapshot that is its writable layer
    mounts: tuple[Mount, ...] = ()
    state: State = State()
    links: tuple[Link, ...] = ()
    labels: Labels = Labels()
    link_local: tuple[str, ...] = ()  # addresses that its interface is to have besides its own
    # Fields of its host config that the request gave as empty, which `inspect` tells from none.
    given_empty: tuple[str, ...] = ()

    @property
    def short_id(self) -> str:
        return self.id[:12]

    @property
    def argv(self) -> tuple[str, ...]:
        return (self.config.entrypoint or ()) + (self.config.cmd or ())


class Volume(msgspec.Struct, frozen=True):
    name: str
    created_ns: int
    mountpoint: str
    labels: dict[str, str] = {}
    options: dict[str, str] = {}
    driver: str = "local"
    anonymous: bool = False
    # Whose end is its end: of a container that is being made or removed with its volumes. Cleared
    # before a container goes without them. Of this boot alone: power takes containers' rows along.
    made_for: str = ""
    made_in: str = ""  # the boot
