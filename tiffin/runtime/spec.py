"""From a workload to an OCI runtime config: every choice made, nothing done. PURE.

`plan(workload, facts, observed)` returns the config.json of runtime-spec 1.1, JSON-serialisable,
with one key more, "tiffin", for what OCI has no word for:

    {"version": 1,                                    # of this shape
     "id": "<container id>",
     "overlay": {"lower": [paths, top first], "upper": path, "work": path, "idmap": bool},
     "user": "name or id[:group]",                    # raw: init resolves it inside the image
     "groups": ["audio", "29"],                       # --group-add, raw
     "log": {"path", "kind", "max_size_bytes", …},  # core.workload.LogTarget
     "stdin": {"open": bool, "once": bool},
     "tty": bool, "init": bool, "stop_signal": 15,
     "cgroup": {"version": 1, "controllers": [..],    # for Cgroup(layout, cgroupsPath, controllers)
                "mounts": [["memory", ["memory"]]]},  # v1: [name below /sys/fs/cgroup, controllers]
     "links": [[target, link], ..],                   # symbolic links in /dev
     "seccomp": "<key>"}                              # same key, same filter: to cache its bytes

How the rest is to be read:

- `root.path` is "" (the overlay is the root); `process.user` is {uid 0, gid 0} until init resolves
  `tiffin.user`. HOME is not in `env` unless it was given: init adds it from passwd.
- `linux.namespaces`: an entry with `path` is joined, one without is new, a missing type is the
  host's. A new cgroup namespace is made after joining the cgroups.
- `mounts` are in the order to make them: defaults, then the user's, shallow ones first. The option
  "idmap" (or "ridmap": with everything below) says: map ids as `linux.uidMappings` do, where the
  file system can, else bind it as it is. A tmpfs with "idmap" is /dev: made in the host's user
  namespace, idmapped, bound. "rro" is read-only with everything below. A volume may have
  "tiffin": {"subpath": "a/b"}, to be resolved inside `source`, a bind "tiffin": {"make": true}: a
  `source` that is missing is made, a directory. /dev/shm of a joined container has
  "tiffin": {"pid": n}, in whose mount namespace it is. An image's mount has
  "tiffin": {"overlay": as above, "subpath"}. On v1 the type "cgroup" stands for a
  tmpfs and one mount a hierarchy.
- `linux.devices` are all nodes of /dev; `linux.resources` is for kernel.cgroup.Cgroup.create.
- `linux.seccomp` is what kernel.seccomp.compile_filter takes, or missing: unconfined.

What must be asked of the host first (`--device`, owners of bind sources) comes in as `Observed`,
made by runtime.host.observe.
"""

from __future__ import annotations

from collections.abc import Iterable
from posixpath import normpath
from typing import Any

from msgspec.structs import asdict

from tiffin.core import idrange
from tiffin.core.container import HostConfig, Mount, Ulimit
from tiffin.core.workload import Overlay, Workload
from tiffin.errors import InvalidArgument
from tiffin.runtime import apparmor, capabilities, devices, limits, paths, seccomp_profile
from tiffin.runtime.checks import validate, validate_merged
from tiffin.runtime.discards import adapt
from tiffin.runtime.facts import HostFacts, Observed
from tiffin.runtime.security import UNCONFINED, SecurityOptions, parse_security_options
from tiffin.runtime.tmpfs import tmpfs_options

__all__ = [
    "HostFacts",
    "Observed",
    "adapt",
    "apparmor_profile",
    "cgroups_path",
    "environment",
    "label_options",
    "plan",
    "validate",
    "validate_merged",
    "wants_host_users",
]

OCI_VERSION = "1.1.0"
SHAPE_VERSION = 1
DEFAULT_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
DEFAULT_SHM_SIZE = 64 * 1024 * 1024
RLIM_INFINITY = 2**64 - 1

Config = dict[str, Any]
OCIMount = dict[str, Any]
Map = tuple[tuple[int, int, int], ...]  # container id, host id, size


def plan(workload: Workload, facts: HostFacts, observed: Observed | None = None) -> Config:
    """The OCI runtime config. Raises InvalidArgument in Docker's words for what cannot be."""
    seen = observed or Observed()
    host = workload.host_config
    security = parse_security_options(host.security_opt, facts_of=facts)
    chosen = capabilities.choose(
        host.cap_add, host.cap_drop, facts.capabilities, privileged=host.privileged
    )
    id_map = _id_map(workload, seen)
    seccomp = seccomp_profile.choose(
        security.seccomp,
        frozenset(chosen),
        facts.architecture,
        facts.kernel,
        privileged=host.privileged,
    )
    config: Config = {
        "ociVersion": OCI_VERSION,
        "process": _process(workload, chosen, security)
        | _labels(_apparmor_profile(host, facts, security), workload.labels.process),
        "root": {"path": "", "readonly": host.readonly_rootfs},
        "hostname": "" if host.uts_mode == "host" else workload.hostname,
        "domainname": "" if host.uts_mode == "host" else workload.config.domainname,
        "mounts": _mounts(workload, facts, id_map, security),
        "linux": _linux(workload, facts, seen, id_map, security),
        "annotations": dict(host.annotations),
        "tiffin": _ours(workload, facts, mapped=bool(id_map)),
    }
    if seccomp is not None and facts.seccomp:
        config["linux"]["seccomp"] = seccomp.filter
        config["tiffin"]["seccomp"] = seccomp.key
    return config


def wants_host_users(host: HostConfig) -> bool:
    """True for what the kernel refuses, or Docker's users do not expect, in a user namespace."""
    modes = (host.userns_mode, host.network_mode, host.pid_mode, host.ipc_mode)
    return host.privileged or "host" in modes


# --- process --------------------------------------------------------------------------------------


def _process(workload: Workload, chosen: tuple[str, ...], security: SecurityOptions) -> Config:
    config, host = workload.config, workload.host_config
    args = [*(config.entrypoint or ()), *(config.cmd or ())]
    if not args:
        raise InvalidArgument("no command specified")
    rows, columns = host.console_size
    return {
        "terminal": config.tty,
        **({"consoleSize": {"height": rows, "width": columns}} if config.tty and rows else {}),
        "user": {"uid": 0, "gid": 0},
        "args": args,
        "env": environment(config.env or (), workload.hostname, tty=config.tty),
        "cwd": config.working_dir or "/",
        "capabilities": {
            "bounding": list(chosen),
            "effective": list(chosen),
            "permitted": list(chosen),
            "inheritable": [],  # a filled one gave file capabilities away (CVE-2022-24769)
            "ambient": [],
        },
        "rlimits": [_rlimit(limit) for limit in host.ulimits],
        "noNewPrivileges": security.no_new_privileges,
        "oomScoreAdj": host.oom_score_adj,
    }


def apparmor_profile(host: HostConfig, facts: HostFacts) -> str:
    """What the container runs under; "" is unconfined."""
    security = parse_security_options(host.security_opt, facts_of=facts)
    return _apparmor_profile(host, facts, security)


def _apparmor_profile(host: HostConfig, facts: HostFacts, security: SecurityOptions) -> str:
    asked = security.apparmor
    if asked == UNCONFINED:
        return ""
    if not asked or (asked in apparmor.ALIASES and facts.apparmor_profile):
        return "" if host.privileged and not asked else facts.apparmor_profile
    return asked


def label_options(host: HostConfig, facts: HostFacts) -> tuple[str, ...]:
    """What is asked of SELinux. Raises InvalidArgument."""
    return parse_security_options(host.security_opt, facts_of=facts).label


def _labels(profile: str, label: str) -> Config:
    found = {"apparmorProfile": profile, "selinuxLabel": label}
    return {key: value for key, value in found.items() if value}


def environment(env: Iterable[str], hostname: str, *, tty: bool) -> list[str]:
    """Docker's defaults, then the container's own: a later value takes the earlier one's place."""
    merged = {"PATH": DEFAULT_PATH, "HOSTNAME": f"HOSTNAME={hostname}"}
    if tty:
        merged["TERM"] = "TERM=xterm"
    for entry in env:
        key, equals, _ = entry.partition("=")
        if equals:
            merged[key] = entry
        else:
            merged.pop(key, None)  # "KEY" without "=" unsets
    return list(merged.values())


def _rlimit(limit: Ulimit) -> Config:
    soft, hard = (RLIM_INFINITY if value < 0 else value for value in (limit.soft, limit.hard))
    return {"type": f"RLIMIT_{limit.name.upper()}", "soft": soft, "hard": hard}


# --- mounts ---------------------------------------------------------------------------------------

_OWN_WHEN_READ_ONLY = frozenset({"/proc", "/dev/pts", "/dev/shm", "/dev/mqueue", "/dev"})


def _mounts(
    workload: Workload, facts: HostFacts, id_map: Map, security: SecurityOptions
) -> list[OCIMount]:
    host = workload.host_config
    theirs = _user_mounts(workload, id_map)
    taken = {mount["destination"] for mount in theirs}
    ours = [
        mount
        for mount in [
            *_default_mounts(host, facts, security, mapped=bool(id_map)),
            *_shared_memory(host, workload.join_pids.get("ipc", 0)),
        ]
        if mount["destination"] not in taken
        and not ("/dev" in taken and mount["destination"].startswith("/dev/"))
    ]
    if host.readonly_rootfs:
        for mount in ours:
            if mount["destination"] not in _OWN_WHEN_READ_ONLY and "ro" not in mount["options"]:
                mount["options"].append("ro")
    return ours + theirs


def _default_mounts(
    host: HostConfig, facts: HostFacts, security: SecurityOptions, *, mapped: bool
) -> list[OCIMount]:
    read_only = [] if host.privileged else ["ro"]
    writable = security.writable_cgroups
    cgroups = read_only if writable is None else [] if writable else ["ro"]
    dev = ["nosuid", "strictatime", "mode=755", "size=65536k", *(["idmap"] if mapped else [])]
    pts = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]
    guarded = ["nosuid", "noexec", "nodev"]
    mounts = [
        _mount("/proc", "proc", "proc", list(guarded)),
        _mount("/dev", "tmpfs", "tmpfs", dev),
        _mount("/dev/pts", "devpts", "devpts", pts),
        _mount("/sys", "sysfs", "sysfs", [*guarded, *read_only]),
    ]
    if facts.cgroup_version and mapped and host.cgroupns_mode == "host":
        # Only who owns the cgroup namespace may mount it: of the host's, a copy of its mounts.
        words = ["rbind", "rro", "rprivate", *guarded]
        mounts.append(_mount("/sys/fs/cgroup", "bind", "/sys/fs/cgroup", words))
    elif facts.cgroup_version:
        mounts.append(_mount("/sys/fs/cgroup", "cgroup", "cgroup", [*cgroups, *guarded]))
    mounts.append(_mount("/dev/mqueue", "mqueue", "mqueue", list(guarded)))
    return mounts


def _shared_memory(host: HostConfig, donor: int) -> list[OCIMount]:
    """POSIX shared memory goes with the IPC namespace: `donor` is whose is joined."""
    guarded = ["nosuid", "noexec", "nodev"]
    if host.ipc_mode == "none":
        return []
    if host.ipc_mode == "host":
        return [_mount("/dev/shm", "bind", "/dev/shm", ["rbind", "rprivate", *guarded])]
    if donor:
        # Another mount namespace's: no path of the host leads there.
        words = ["bind", "rprivate", *guarded]
        shared = _mount("/dev/shm", "bind", f"/proc/{donor}/root/dev/shm", words)
        shared["tiffin"] = {"pid": donor}
        return [shared]
    size = f"size={host.shm_size or DEFAULT_SHM_SIZE}"
    return [_mount("/dev/shm", "tmpfs", "shm", [*guarded, "mode=1777", size])]


def _user_mounts(workload: Workload, id_map: Map) -> list[OCIMount]:
    mounts = [
        _image_mount(mount, workload.images[mount.destination], mapped=bool(id_map))
        if mount.type == "image"
        else _user_mount(mount, id_map)
        for mount in workload.mounts
    ]
    taken = {mount["destination"] for mount in mounts}
    for destination, words in workload.host_config.tmpfs.items():
        target = _clean(destination)
        if target not in taken:
            mounts.append(_mount(target, "tmpfs", "tmpfs", tmpfs_options(words)))
    for destination, source in workload.etc_files.items():
        if destination not in taken:
            mounts.append(_etc_file(destination, source, workload.host_config, id_map))
    return sorted(mounts, key=lambda mount: _depth(mount["destination"]))


def _user_mount(mount: Mount, id_map: Map) -> OCIMount:
    if mount.type == "tmpfs":
        options = tmpfs_options(mount.options, read_only=not mount.rw)
        return _mount(mount.destination, "tmpfs", "tmpfs", options)
    options = ["bind" if mount.non_recursive else "rbind"]
    if not mount.rw:
        options.append("rro" if mount.read_only_below and not mount.non_recursive else "ro")
    options.append(mount.propagation or "rprivate")
    bound = _bind(mount.destination, mount.host_path, options, id_map)
    if mount.subpath:
        bound["tiffin"] = {"subpath": mount.subpath}
    elif mount.make_source:
        bound["tiffin"] = {"make": True}
    return bound


def _image_mount(mount: Mount, overlay: Overlay, *, mapped: bool) -> OCIMount:
    made = _mount(mount.destination, "overlay", "overlay", ["ro", "nodev"])
    made["tiffin"] = {"overlay": _overlay(overlay, mapped=mapped), "subpath": mount.subpath}
    return made


def _overlay(overlay: Overlay, *, mapped: bool) -> Config:
    return {
        "lower": list(overlay.lower),
        "upper": overlay.upper,
        "work": overlay.work,
        "idmap": mapped,
    }


def _etc_file(destination: str, source: str, host: HostConfig, id_map: Map) -> OCIMount:
    read_only = ["ro"] if host.readonly_rootfs else []
    return _bind(destination, source, ["bind", *read_only, "rprivate"], id_map)


def _bind(destination: str, source: str, options: list[str], id_map: Map) -> OCIMount:
    if id_map:
        options.append("ridmap" if "rbind" in options else "idmap")
    return _mount(destination, "bind", source, options)


def _mount(destination: str, kind: str, source: str, options: list[str]) -> OCIMount:
    return {"destination": destination, "type": kind, "source": source, "options": options}


def _depth(path: str) -> int:
    return _clean(path).count("/")


def _clean(path: str) -> str:
    """Absolute, normal, with one slash in front: never climbs ("/../x" is "/x")."""
    return "/" + normpath("/" + path).lstrip("/")


# --- linux ----------------------------------------------------------------------------------------


def _linux(
    workload: Workload, facts: HostFacts, seen: Observed, id_map: Map, security: SecurityOptions
) -> Config:
    host = workload.host_config
    nodes = [*devices.DEFAULT_NODES, *({**node} for node in seen.devices)]
    linux: Config = {
        "namespaces": _namespaces(workload, facts, mapped=bool(id_map)),
        "resources": limits.resources(host, facts, seen.devices, seen.numbers),
        "devices": list(_once(nodes)),
        "maskedPaths": _masked(host, facts, security),
        "readonlyPaths": _read_only(host, security),
        "sysctl": _sysctls(host, mapped=bool(id_map)),
        "cgroupsPath": cgroups_path(workload.id, host, facts),
        "rootfsPropagation": _root_propagation(workload.mounts),
    }
    if workload.labels.mount:
        linux["mountLabel"] = workload.labels.mount
    if id_map:
        linux["uidMappings"] = linux["gidMappings"] = _oci_map(id_map)
    return linux


def _once(nodes: Iterable[devices.Node]) -> Iterable[devices.Node]:
    """The last node of each path, without what is not OCI's."""
    by_path = {node["path"]: node for node in nodes}
    for node in by_path.values():
        yield {key: value for key, value in node.items() if key != "access"}


def _namespaces(workload: Workload, facts: HostFacts, *, mapped: bool) -> list[Config]:
    host, joined = workload.host_config, workload.join_pids
    found: list[Config] = []
    if mapped:
        # A namespace can only be joined from inside the user namespace that owns it.
        owner = next(iter(joined.values()), 0)
        found.append(_namespace("user", "user", owner))
    if facts.cgroup_namespaces and host.cgroupns_mode != "host":
        found.append(_namespace("cgroup"))
    if host.ipc_mode != "host":
        found.append(_namespace("ipc", "ipc", joined.get("ipc", 0)))
    if host.uts_mode != "host":
        found.append(_namespace("uts"))
    if host.network_mode != "host":
        found.append(_namespace("network", "net", joined.get("network", 0)))
    if host.pid_mode != "host":
        found.append(_namespace("pid", "pid", joined.get("pid", 0)))
    found.append(_namespace("mount"))
    return found


def _namespace(kind: str, file: str = "", pid: int = 0) -> Config:
    return {"type": kind, "path": f"/proc/{pid}/ns/{file}"} if pid else {"type": kind}


def _id_map(workload: Workload, seen: Observed) -> Map:
    """The user namespace's map; empty where it is the host's."""
    if workload.id_range is None:
        return ()
    host = workload.host_config
    named = {number for word in (*host.group_add, workload.config.user) for number in _ids(word)}
    return idrange.extents(workload.id_range, named | seen.owners)


def _ids(word: str) -> list[int]:
    return [int(part) for part in word.split(":") if part.isascii() and part.isdigit()]


def _oci_map(id_map: Map) -> list[dict[str, int]]:
    return [
        {"containerID": inside, "hostID": outside, "size": size} for inside, outside, size in id_map
    ]


def _masked(host: HostConfig, facts: HostFacts, security: SecurityOptions) -> list[str]:
    if host.masked_paths is not None:
        return list(host.masked_paths)
    return [] if host.privileged or security.unmasked else [*paths.MASKED, *facts.thermal_paths]


def _read_only(host: HostConfig, security: SecurityOptions) -> list[str]:
    if host.readonly_paths is not None:
        return list(host.readonly_paths)
    return [] if host.privileged or security.unmasked else list(paths.READ_ONLY)


def _sysctls(host: HostConfig, *, mapped: bool) -> dict[str, str]:
    defaults = {}
    if host.network_mode != "host" and not host.network_mode.startswith("container:"):
        # Any user may ping and listen below 1024: the network is the container's own. Groups that
        # the user namespace does not map are EINVAL.
        last_group = idrange.SIZE - 1 if mapped else 2**31 - 1
        defaults["net.ipv4.ping_group_range"] = f"0 {last_group}"
        defaults["net.ipv4.ip_unprivileged_port_start"] = "0"
    return {**defaults, **host.sysctls}


def _root_propagation(mounts: Iterable[Mount]) -> str:
    """A shared or slave bind is one only if the root that it lies in lets events through."""
    wanted = {mount.propagation for mount in mounts}
    if wanted & {"shared", "rshared"}:
        return "shared"
    if wanted & {"slave", "rslave"}:
        return "rslave"
    return "rprivate"


def cgroups_path(container_id: str, host: HostConfig, facts: HostFacts) -> str:
    return _clean(f"{host.cgroup_parent or facts.cgroup_root}/{container_id}")


# --- tiffin ---------------------------------------------------------------------------------------


def _ours(workload: Workload, facts: HostFacts, *, mapped: bool) -> Config:
    config, host, log = workload.config, workload.host_config, workload.log
    used = limits.controllers(host, facts)
    return {
        "version": SHAPE_VERSION,
        "id": workload.id,
        "overlay": _overlay(workload.rootfs, mapped=mapped),
        "user": config.user,
        "groups": list(host.group_add),
        "log": {
            "path": log.path,
            "kind": log.kind,
            "max_size_bytes": log.max_size_bytes,
            "max_files": log.max_files,
            "compress": log.compress,
            "attrs": log.attrs,
            "sink": asdict(log.sink) if log.sink is not None else None,
        },
        "stdin": {"open": config.open_stdin, "once": config.stdin_once},
        "tty": config.tty,
        "init": bool(host.init) and not host.pid_mode,
        "stop_signal": workload.stop_signal,
        "cgroup": {
            "version": facts.cgroup_version,
            "controllers": used,
            "mounts": _cgroup_mounts(used, facts),
        },
        "links": [list(link) for link in _links(facts)],
        "seccomp": "",
    }


def _links(facts: HostFacts) -> list[tuple[str, str]]:
    return [*devices.DEFAULT_LINKS, *([devices.CORE_LINK] if facts.kcore else [])]


def _cgroup_mounts(used: list[str], facts: HostFacts) -> list[list[Any]]:
    """v1: hierarchies in which the container has a cgroup; another would show the host's root."""
    return [
        [name, list(names)]
        for name, names in facts.cgroup_hierarchies
        if any(controller in used for controller in names)
    ]
