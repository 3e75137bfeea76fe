"""Where an engine lives and what it is told: paths, names, addresses. Plain values."""

from __future__ import annotations

import hashlib
import os

import msgspec

from tiffin.core.defaults import ContainerDefaults
from tiffin.core.runtimes import RuntimeProgram

DEFAULT_DATA_ROOT = "/var/lib/tiffin"
DEFAULT_EXEC_ROOT = "/run/tiffin"


class Settings(msgspec.Struct, frozen=True):
    data_root: str = DEFAULT_DATA_ROOT
    exec_root: str = DEFAULT_EXEC_ROOT
    bridge_address: str = ""  # gateway and prefix, "172.17.0.1/16"; "" chooses one that is free
    mtu: int = 0  # 0 takes what the way out can carry
    publish_address: str = ""  # where ports are published that name no address; "" is all
    dns: tuple[str, ...] = ()
    dns_options: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    insecure_registries: tuple[str, ...] = ()
    registry_mirrors: tuple[str, ...] = ()
    downloads: int = 3  # layers at a time
    uploads: int = 5
    download_attempts: int = 5
    labels: tuple[str, ...] = ()
    debug: bool = False
    defaults: ContainerDefaults = ContainerDefaults()
    runtimes: dict[str, RuntimeProgram] = {}
    selinux: bool = False  # containers are labelled, where the kernel has it

    @property
    def engine_id(self) -> str:
        """Stable for a data root on a machine, and no secret."""
        return hashlib.sha256(f"tiffin\0{os.path.realpath(self.data_root)}".encode()).hexdigest()[
            :32
        ]

    @property
    def suffix(self) -> str:
        """Tells this engine's bridge, table and cgroups from another's; "" for the default."""
        if self.data_root == DEFAULT_DATA_ROOT:
            return ""
        return hashlib.sha256(os.path.realpath(self.data_root).encode()).hexdigest()[:6]

    @property
    def bridge_name(self) -> str:
        return f"tiffin-{self.suffix}" if self.suffix else "tiffin0"

    @property
    def table_name(self) -> str:
        return f"tiffin-{self.suffix}" if self.suffix else "tiffin"

    @property
    def cgroup_name(self) -> str:
        return f"tiffin-{self.suffix}" if self.suffix else "tiffin"
