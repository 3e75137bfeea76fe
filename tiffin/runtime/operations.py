"""PURE: an OCI runtime config becomes ordered operations, each of which can say what it does.

Some are for the shim, which has the host's rights: layers, binds and devices become *detached*
mounts, descriptors that init is handed. The rest are for init, in its new namespaces: first those
of `create` (the root is built), then those of `start` (the program's identity, up to the exec).
runtime.rootfs carries out the shim's, runtime.init the others. A failed operation is named by its
`describe()`, so that a user reads "mount proc on /proc: Operation not permitted".

What OCI has no word for lies under the config's key "tiffin": runtime.spec says what, and why.
"""

from __future__ import annotations

from tiffin.runtime.mountwords import NODEV, PROPAGATIONS, Options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Config = dict[str, Any]
else:
    Config = dict

# The policy names what is in these by itself; a user namespace's mqueue cannot be told.
_UNLABELLED = frozenset(("proc", "sysfs", "mqueue", "cgroup", "cgroup2"))

# What may be bound inside /proc: single files of numbers, as runc allows (threat: a forged procfs).
_ALLOWED_IN_PROC = frozenset(
    f"/proc/{name}"
    for name in (
        "cpuinfo",
        "diskstats",
        "meminfo",
        "stat",
        "swaps",
        "uptime",
        "loadavg",
        "slabinfo",
        "net/dev",
        "sys/kernel/ns_last_pid",
    )
)

DEFAULT_DEVICES = (
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
)
_DEVICE_LINKS = [
    ["/proc/self/fd", "/dev/fd"],
    ["/proc/self/fd/0", "/dev/stdin"],
    ["/proc/self/fd/1", "/dev/stdout"],
    ["/proc/self/fd/2", "/dev/stderr"],
    ["pts/ptmx", "/dev/ptmx"],
]

CLONE_FLAGS = {
    "mount": 0x00020000,
    "cgroup": 0x02000000,
    "uts": 0x04000000,
    "ipc": 0x08000000,
    "user": 0x10000000,
    "pid": 0x20000000,
    "network": 0x40000000,
    "time": 0x00000080,
}


class InvalidConfig(ValueError):
    """The config asks for what cannot be. The message is for the user."""


class Operation:
    """One step. Equal when of one kind with equal parts."""

    __slots__: tuple[str, ...] = ()

    def describe(self) -> str:
        raise NotImplementedError

    def parts(self) -> tuple[object, ...]:
        return tuple(getattr(self, name) for name in self.__slots__)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Operation) and (type(self), self.parts()) == (
            type(other),
            other.parts(),
        )

    def __hash__(self) -> int:
        return hash(type(self))

    def __repr__(self) -> str:
        return f"<{self.describe()}>"


# --- the shim's: detached mounts ----------------------------------------------------------------


class MakeOverlay(Operation):
    """Committed layers and one writable directory, seen through the container's ids.

    With `subpath` what lies there in it.
    """

    __slots__ = ("attributes", "idmap", "label", "lower", "subpath", "upper", "work")

    def __init__(
        self, overlay: Config, attributes: int, subpath: str = "", label: str = ""
    ) -> None:
        self.lower: list[str] = list(overlay["lower"])
        self.upper: str = overlay["upper"]
        self.work: str = overlay["work"]
        self.idmap: bool = overlay.get("idmap", False)
        self.attributes = attributes
        self.subpath = subpath
        self.label = label  # SELinux's, of every file in it

    def describe(self) -> str:
        return f"mount overlay of {self.upper}"


class CloneTree(Operation):
    """A copy of the mount at a host path: what a bind is before it is put somewhere.

    With `make` a directory is made where the host has nothing.
    """

    __slots__ = ("make", "source", "subpath", "target", "words")

    def __init__(
        self,
        source: str,
        target: str,
        words: list[str],
        subpath: str = "",
        *,
        make: bool = False,
    ) -> None:
        self.source = source
        self.target = target
        self.words = words
        self.subpath = subpath
        self.make = make

    def describe(self) -> str:
        return f"bind {self.source} on {self.target}"


class CloneShared(Operation):
    """A copy of a mount that lies in another process's mount namespace."""

    __slots__ = ("path", "pid", "target", "words")

    def __init__(self, pid: int, path: str, target: str, words: list[str]) -> None:
        self.pid = pid
        self.path = path
        self.target = target
        self.words = words

    def describe(self) -> str:
        return f"bind {self.path} of process {self.pid} on {self.target}"


class MakeDevices(Operation):
    """/dev: a tmpfs of the host's user namespace, where nodes may be made and can be opened."""

    __slots__ = ("links", "nodes", "words")

    def __init__(self, words: list[str], nodes: list[Config], links: list[list[str]]) -> None:
        self.words = words
        self.nodes = nodes
        self.links = links

    def describe(self) -> str:
        return "make /dev"


# --- init's, at create --------------------------------------------------------------------------


class SetHostname(Operation):
    __slots__ = ("domain", "name")

    def __init__(self, name: str, domain: str) -> None:
        self.name = name
        self.domain = domain

    def describe(self) -> str:
        return f"set hostname {self.name}"


class AttachRoot(Operation):
    """Put the detached mount number `slot` where the root will be."""

    __slots__ = ("slot",)

    def __init__(self, slot: int) -> None:
        self.slot = slot

    def describe(self) -> str:
        return "mount the root file system"


class Attach(Operation):
    """Put a detached mount of the shim's on a path in the root, which is made if missing.

    `late` is the word for what it becomes only there: what is unbindable cannot be moved about.
    """

    __slots__ = ("late", "slot", "source", "target")

    def __init__(self, slot: int, source: str, target: str, late: str = "") -> None:
        self.late = late
        self.slot = slot
        self.source = source
        self.target = target

    def describe(self) -> str:
        return f"mount {self.source} on {self.target}"


class MountFileSystem(Operation):
    """A new file system of the container's own user namespace.

    With `copy_up` it begins with what the directory below it holds. A tmpfs that is told no mode
    has that of the directory.
    """

    __slots__ = (
        "attributes",
        "copy_up",
        "data",
        "inherits_mode",
        "kind",
        "propagation",
        "source",
        "target",
    )

    def __init__(self, kind: str, source: str, target: str, options: Options) -> None:
        self.source = source
        self.kind = kind
        self.target = target
        self.attributes = options.set | options.set_below
        self.data = options.data
        self.propagation = options.propagation
        self.copy_up = options.copy_up
        self.inherits_mode = kind == "tmpfs" and all(key != "mode" for key, _ in options.data)

    def describe(self) -> str:
        return f"mount {self.kind} on {self.target}"


class MountCgroups(Operation):
    """v2: the one hierarchy. v1: a tmpfs with a directory for each hierarchy, as hosts have it."""

    __slots__ = ("attributes", "hierarchies", "target")

    def __init__(self, target: str, attributes: int, hierarchies: list[list[Any]] | None) -> None:
        self.target = target
        self.attributes = attributes
        # v1: [directory, [controllers]], empty without controllers; None is v2
        self.hierarchies = hierarchies

    def describe(self) -> str:
        return f"mount cgroup on {self.target}"


class BindCgroups(Operation):
    """v1 without a cgroup namespace: of each hierarchy only the container's own directory."""

    __slots__ = ("attributes", "entries", "target")

    def __init__(self, target: str, attributes: int, entries: list[list[Any]]) -> None:
        self.target = target
        self.attributes = attributes
        self.entries = entries  # [directory, [controllers], slot], -1 for an empty one

    def describe(self) -> str:
        return f"mount cgroup on {self.target}"


class MakeNode(Operation):
    """A device, or a link, in a root that brings its own /dev, or outside of /dev."""

    __slots__ = ("link", "node")

    def __init__(self, node: Config, link: str = "") -> None:
        self.node = node
        self.link = link

    def describe(self) -> str:
        return f"make {self.node['path']}"


class RunHooks(Operation):
    """Hooks between the root's making and its entering: the host's first, then those in here."""

    __slots__ = ("hooks",)

    def __init__(self, hooks: list[Config]) -> None:
        self.hooks = hooks

    def describe(self) -> str:
        return "run createContainer hooks"


class OpenConsole(Operation):
    """A pseudo-terminal of the container's own devpts, and /dev/console on it."""

    __slots__ = ("columns", "rows")

    def __init__(self, rows: int, columns: int) -> None:
        self.rows = rows
        self.columns = columns

    def describe(self) -> str:
        return "open /dev/console"


class PivotRoot(Operation):
    __slots__ = ()

    def describe(self) -> str:
        return "pivot_root"


class ChangeRoot(Operation):
    """Where the root cannot be pivoted (an initramfs): the old one stays below."""

    __slots__ = ()

    def describe(self) -> str:
        return "chroot"


class SetPropagation(Operation):
    """What becomes of mounts made in the root later on."""

    __slots__ = ("flag", "recursive")

    def __init__(self, word: str) -> None:
        if word not in PROPAGATIONS:
            raise InvalidConfig(f"rootfsPropagation={word} is not supported")
        self.flag, self.recursive = PROPAGATIONS[word]

    def describe(self) -> str:
        return "set the root's propagation"


class MakeReadOnly(Operation):
    """A path that is there becomes a read-only mount of itself."""

    __slots__ = ("path",)

    def __init__(self, path: str) -> None:
        self.path = path

    def describe(self) -> str:
        return f"make {self.path} read-only"


class Mask(Operation):
    """A path that is there is hidden: a file by /dev/null, a directory by an empty tmpfs."""

    __slots__ = ("path",)

    def __init__(self, path: str) -> None:
        self.path = path

    def describe(self) -> str:
        return f"mask {self.path}"


class MakeRootReadOnly(Operation):
    __slots__ = ()

    def describe(self) -> str:
        return "make the root file system read-only"


# --- init's, at start ---------------------------------------------------------------------------


class SetSysctl(Operation):
    __slots__ = ("name", "value")

    def __init__(self, name: str, value: str) -> None:
        self.name = name
        self.value = value

    @property
    def path(self) -> str:
        """Below /proc/sys. As sysctl(8): dots are slashes, unless the name has slashes itself."""
        return self.name if "/" in self.name else self.name.replace(".", "/")

    def describe(self) -> str:
        return f"set sysctl {self.name}"


class Plan:
    """All of a container's operations. `detached[n]` makes the mount that init knows as slot n."""

    __slots__ = ("create", "detached", "start")

    def __init__(self) -> None:
        self.detached: list[Operation] = []
        self.create: list[Operation] = []
        self.start: list[Operation] = []

    def create_root(self) -> AttachRoot:
        return next(operation for operation in self.create if isinstance(operation, AttachRoot))

    def detach(self, operation: Operation) -> int:
        self.detached.append(operation)
        return len(self.detached) - 1


def plan(config: Config) -> Plan:
    """Raises InvalidConfig."""
    result = Plan()
    linux: Config = config.get("linux") or {}
    extra: Config = config.get("tiffin") or {}
    kinds = [n["type"] for n in linux.get("namespaces") or []]
    if (config.get("hostname") or config.get("domainname")) and "uts" in kinds:
        names = config.get("hostname") or "", config.get("domainname") or ""
        result.create.append(SetHostname(*names))
    _plan_root(result, config, user_namespace=has_own_ids(linux))
    for mount in config.get("mounts") or []:
        _plan_mount(result, mount, linux, extra)
    _plan_nodes(result, config, linux)
    hooks = config.get("hooks") or {}
    if any(hooks.get(kind) for kind in ("prestart", "createRuntime", "createContainer")):
        result.create.append(RunHooks(hooks.get("createContainer") or []))
    process: Config = config.get("process") or {}
    if process.get("terminal"):
        size = process.get("consoleSize") or {}
        result.create.append(OpenConsole(size.get("height") or 0, size.get("width") or 0))
    result.create.append(ChangeRoot() if extra.get("no_pivot") else PivotRoot())
    propagation = linux.get("rootfsPropagation") or "rprivate"
    if propagation not in ("private", "rprivate"):  # it is that already
        result.create.append(SetPropagation(propagation))
    # /proc/sys must stay writable by the descriptor that init keeps: masks are put on top of it.
    result.create += [MakeReadOnly(clean(path)) for path in linux.get("readonlyPaths") or []]
    result.create += [Mask(clean(path)) for path in linux.get("maskedPaths") or []]
    if (config.get("root") or {}).get("readonly"):
        result.create.append(MakeRootReadOnly())
    sysctls: dict[str, str] = linux.get("sysctl") or {}
    result.start += [SetSysctl(name, str(value)) for name, value in sysctls.items()]
    return result


def _plan_root(result: Plan, config: Config, *, user_namespace: bool) -> None:
    extra: Config = config.get("tiffin") or {}
    overlay = extra.get("overlay")
    attributes = NODEV if extra.get("nodevRoot", overlay and user_namespace) else 0
    if overlay:
        label = (config.get("linux") or {}).get("mountLabel") or ""
        operation: Operation = MakeOverlay(overlay, attributes, label=label)
    else:
        operation = CloneTree(config["root"]["path"], "/", ["rbind"])
    result.create.append(AttachRoot(result.detach(operation)))


def _plan_mount(result: Plan, mount: Config, linux: Config, extra: Config) -> None:
    target = clean(mount["destination"])
    words: list[str] = mount.get("options") or []
    kind: str = mount.get("type") or "bind"
    source: str = mount.get("source") or kind
    check_target(target, kind)
    own: Config = mount.get("tiffin") or {}
    label: str = linux.get("mountLabel") or ""
    if label and not (is_bind(mount) or own.get("pid") or kind in _UNLABELLED):
        words = [*words, f"context={label}"]
    if own.get("overlay"):
        subpath = own.get("subpath") or ""
        operation = MakeOverlay(own["overlay"], Options(words).set, subpath, label)
        result.create.append(Attach(result.detach(operation), source, target))
    elif own.get("pid"):
        shared = CloneShared(own["pid"], target, target, words)
        result.create.append(Attach(result.detach(shared), source, target))
    elif is_bind(mount):
        late = next((word for word in words if word.endswith("unbindable")), "")
        early = [word for word in words if word != late]
        subpath, make = own.get("subpath") or "", bool(own.get("make"))
        slot = result.detach(CloneTree(source, target, early, subpath, make=make))
        result.create.append(Attach(slot, source, target, late))
    elif kind == "tmpfs" and target == "/dev":
        links = extra.get("links") or _DEVICE_LINKS
        nodes = [node for node in device_nodes(linux) if node["path"].startswith("/dev/")]
        slot = result.detach(MakeDevices(words, nodes, links))
        result.create.append(Attach(slot, source, target))
    elif kind in ("cgroup", "cgroup2"):
        _plan_cgroups(result, target, Options(words).set, extra.get("cgroup") or {})
    else:
        result.create.append(MountFileSystem(kind, source, target, Options(words)))


def is_bind(mount: Config) -> bool:
    words = mount.get("options") or []
    kind = mount.get("type") or "bind"
    return kind in ("bind", "none", "rbind") or "bind" in words or "rbind" in words


def _plan_cgroups(result: Plan, target: str, attributes: int, cgroup: Config) -> None:
    bound = cgroup.get("bound")
    if bound:
        entries = [
            [name, controllers, _cgroup_slot(result, path, f"{target}/{name}")]
            for name, controllers, path in bound
        ]
        result.create.append(BindCgroups(target, attributes, entries))
    else:
        hierarchies = cgroup.get("mounts") or [] if cgroup.get("version") == 1 else None
        result.create.append(MountCgroups(target, attributes, hierarchies))


def _cgroup_slot(result: Plan, path: str, target: str) -> int:
    return result.detach(CloneTree(path, target, ["bind"])) if path else -1


def _plan_nodes(result: Plan, config: Config, linux: Config) -> None:
    """Devices that a tmpfs on /dev does not hold: all of them, where the root brings its own."""
    mounts = config.get("mounts") or []
    below_dev = [mount for mount in mounts if clean(mount["destination"]) == "/dev"]
    if any(is_bind(mount) for mount in below_dev):
        return  # it has what its owner has put there
    nodes = device_nodes(linux)
    if below_dev:
        nodes = [node for node in nodes if not node["path"].startswith("/dev/")]
    for node in nodes:
        if has_own_ids(linux):
            # Nodes cannot be made in a user namespace: the host's is bound there.
            slot = result.detach(CloneTree(node["path"], node["path"], ["bind"]))
            result.create.append(Attach(slot, node["path"], node["path"]))
        else:
            result.create.append(MakeNode(node))
    if not below_dev:
        result.create += [MakeNode({"path": path}, link) for link, path in _DEVICE_LINKS]


def check_target(target: str, kind: str) -> None:
    """Nothing is mounted over or inside /proc but procfs and files that only hold numbers."""
    if target == "/":
        raise InvalidConfig("invalid mount destination: cannot mount on /")
    inside = target == "/proc" or target.startswith("/proc/")
    if inside and target not in _ALLOWED_IN_PROC and not (target == "/proc" and kind == "proc"):
        raise InvalidConfig(f'"{target}" cannot be mounted because it is inside /proc')


def device_nodes(linux: Config) -> list[Config]:
    """The nodes of /dev: the six that every container has, then what was asked for."""
    nodes: dict[str, Config] = {
        path: {"path": path, "type": "c", "major": major, "minor": minor, "fileMode": 0o666}
        for path, major, minor in DEFAULT_DEVICES
    }
    for device in linux.get("devices") or []:
        path = clean(device["path"])
        # These two are made from the container's own devpts.
        if path not in ("/dev/console", "/dev/ptmx") and not path.startswith("/dev/pts/"):
            nodes[path] = {**device, "path": path}
    return list(nodes.values())


def clean(path: str) -> str:
    """An absolute path without empty, "." and ".." parts, by its letters alone."""
    kept: list[str] = []
    for part in path.split("/"):
        if part == "..":
            if kept:
                kept.pop()
        elif part not in ("", "."):
            kept.append(part)
    return "/" + "/".join(kept)


def new_namespaces(linux: Config) -> list[str]:
    """Kinds that the container gets of its own."""
    return [n["type"] for n in linux.get("namespaces") or [] if not n.get("path")]


def joined_namespaces(linux: Config) -> list[tuple[str, str]]:
    """(kind, path) of another's namespaces; the user namespace first, it gives the rights."""
    joined = [(n["type"], n["path"]) for n in linux.get("namespaces") or [] if n.get("path")]
    return sorted(joined, key=lambda item: item[0] != "user")


def has_own_ids(linux: Config) -> bool:
    """Whether its user namespace is not the host's: a new one or another container's."""
    return any(n["type"] == "user" for n in linux.get("namespaces") or [])


def birth_flags(linux: Config) -> int:
    """The new namespaces that a container's first process is cloned into."""
    return clone_flags(new_namespaces(linux)) & ~late_flags(linux)


def late_flags(linux: Config) -> int:
    """Those that it makes itself, once it has an owner's name and is in its cgroup.

    Born with the clone, a cgroup namespace would have the shim's cgroup for its root, and mqueue,
    which is made with the ipc namespace, an owner that is not mapped; and a time namespace's clocks
    are set before anybody is in it.
    """
    kinds = new_namespaces(linux)
    return clone_flags([kind for kind in ("cgroup", "ipc", "time") if kind in kinds])


def clone_flags(kinds: list[str]) -> int:
    flags = 0
    for kind in kinds:
        flags |= CLONE_FLAGS.get(kind, 0)
    return flags
