"""What is known of the host when a container is planned. Values only; runtime.host reads them."""

from __future__ import annotations

import msgspec

from tiffin.core.selinux import Policy
from tiffin.runtime import capabilities
from tiffin.runtime.devices import Node


class HostFacts(msgspec.Struct, frozen=True):
    """What the host offers; read once, by runtime.host.read_facts."""

    cgroup_version: int = 2  # 0: none mounted
    controllers: frozenset[str] = frozenset()
    cgroup_hierarchies: tuple[tuple[str, tuple[str, ...]], ...] = ()  # v1: base name, controllers
    cgroup_root: str = "tiffin"  # cgroups of containers without --cgroup-parent lie below
    user_namespaces: bool = True  # user namespaces with idmapped mounts work
    cgroup_namespaces: bool = True
    capabilities: tuple[str, ...] = capabilities.KNOWN  # that the engine itself can give
    seccomp: bool = True
    apparmor: bool = False
    apparmor_profile: str = ""  # the default one, if the kernel knows it
    apparmor_refusal: str = ""  # why it does not
    selinux: bool = False  # in the kernel
    labels: Policy | None = None  # the policy's own; None: containers are not labelled
    swap_accounted: bool = True
    features: frozenset[str] = frozenset()  # of its cgroups: see runtime.host
    cpus: int = 1
    cpuset_cpus: str = "0"
    cpuset_mems: str = "0"
    memory_bytes: int = 0
    architecture: str = "x86_64"  # uname's
    kernel: tuple[int, int] = (6, 1)
    kcore: bool = False  # /proc/kcore is there
    thermal_paths: tuple[str, ...] = ()  # masked too, where they are

    @property
    def last_capability(self) -> int:
        return max(map(capabilities.NUMBERS.__getitem__, self.capabilities), default=-1)


class Observed(msgspec.Struct, frozen=True):
    """What had to be looked up on the host for one workload."""

    devices: tuple[Node, ...] = ()
    owners: frozenset[int] = frozenset()  # ids that own bind sources
    numbers: dict[str, tuple[int, int]] = {}  # major and minor of devices whose use is limited
