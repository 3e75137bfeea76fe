"""Where an engine lives and what it is told: paths, names, addresses. Plain values."""

from __future__ import annotations

import hashlib
import os

import msgspec

DEFAULT_DATA_ROOT = "/var/lib/tiffin"
DEFAULT_EXEC_ROOT = "/run/tiffin"


class Settings(msgspec.Struct, frozen=True):
    data_root: str = DEFAULT_DATA_ROOT
    exec_root: str = DEFAULT_EXEC_ROOT
    bridge_address: str = ""  # gateway and prefix, "172.17.0.1/16"; "" chooses one that is free
    dns: tuple[str, ...] = ()
    insecure_registries: tuple[str, ...] = ()
    registry_mirrors: tuple[str, ...] = ()

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
