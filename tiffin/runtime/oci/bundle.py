"""A bundle: config.json read, judged, and made into what our machinery takes.

The specification's words are kept; what it leaves to the runtime (paths relative to the bundle, a
cgroup that is not named) is decided here, and what OCI has no word for goes under "tiffin", as in
runtime.spec. What we cannot do is refused by name; unknown keys are ignored, as the specification
asks.
"""

from __future__ import annotations

import binascii
import os

from tiffin.kernel import cgroup, syscalls, traits
from tiffin.kernel.cgroup import Layout
from tiffin.runtime import messages, mountwords, operations, rlimits
from tiffin.runtime.oci.required import judge_required
from tiffin.runtime.oci.resources import judge_resources, without_zeros
from tiffin.runtime.oci.shape import CONFIG, HOOK_KINDS, InvalidBundle, check
from tiffin.runtime.oci.values import judge_user, judge_values
from tiffin.runtime.operations import Config

CONFIG_FILE = "config.json"
CGROUP_PARENT = "/tiffin-runtime"
MAX_CONFIG_BYTES = messages.MAX_DOCUMENT_BYTES * 3 // 4  # there is more to be said than that
_SECCOMP_FLAGS = {
    "SECCOMP_FILTER_FLAG_TSYNC": 1,
    "SECCOMP_FILTER_FLAG_LOG": 2,
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW": 4,
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV": 32,
}


def read(directory: str) -> Config:
    """The bundle's config, judged. Raises InvalidBundle, OSError."""
    path = os.path.join(directory, CONFIG_FILE)
    try:
        with open(path, "rb") as file:
            data = file.read()
    except FileNotFoundError as error:
        raise InvalidBundle(f"JSON specification file {CONFIG_FILE} not found") from error
    config = parse(data, path)
    judge(config)
    return config


def parse(data: bytes, name: str) -> Config:
    """Raises InvalidBundle for what is no JSON object, or more than can be handed on."""
    if len(data) > MAX_CONFIG_BYTES:
        raise InvalidBundle(f"{name}: {len(data)} bytes are more than {MAX_CONFIG_BYTES}")
    try:
        return messages.decode(data)
    except (ValueError, RecursionError) as error:
        raise InvalidBundle(f"{name}: {error}") from error


# --- judging ------------------------------------------------------------------------------------


def judge(config: Config) -> None:
    """Raises InvalidBundle for what no runtime, or not this one, can do."""
    check(config, CONFIG)
    judge_required(config)
    judge_values(config)
    _judge_version(config.get("ociVersion"))
    if not (config.get("root") or {}).get("path"):
        raise InvalidBundle("root.path must be set")
    linux: Config = config.get("linux") or {}
    _judge_namespaces(config, linux)
    for number, mount in enumerate(config.get("mounts") or []):
        _judge_mount(number, mount)
    _judge_sysctls(linux)
    _judge_linux(linux)
    if config.get("process") is not None:
        judge_process(config["process"])
    for kind in HOOK_KINDS:
        for number, hook in enumerate((config.get("hooks") or {}).get(kind) or []):
            if not str(hook.get("path") or "").startswith("/"):
                raise InvalidBundle(f"hooks.{kind}[{number}].path must be absolute")


def _judge_version(version: str | None) -> None:
    if not version:
        raise InvalidBundle("ociVersion must be set")
    numbers = version.partition("-")[0].partition("+")[0].split(".")
    if len(numbers) != 3 or not all(n.isascii() and n.isdigit() for n in numbers):
        raise InvalidBundle(f'ociVersion "{version}" is not a version')
    if numbers[0] != "1":
        raise InvalidBundle(f'ociVersion "{version}" is not supported: only 1.x.y is')


def judge_process(process: Config) -> None:
    judge_user(process)
    if not process.get("args"):
        raise InvalidBundle("process.args must not be empty")
    if not str(process.get("cwd") or "").startswith("/"):
        raise InvalidBundle("process.cwd must be an absolute path")
    for word in [*process["args"], *(process.get("env") or [])]:
        if "\0" in word:
            raise InvalidBundle("process.args and process.env must not contain NUL")
    kinds = set()
    for limit in process.get("rlimits") or []:
        kind = limit.get("type")
        if kind not in rlimits.RLIMITS:
            raise InvalidBundle(f"process.rlimits: {kind} is unknown")
        if kind in kinds:
            raise InvalidBundle(f"process.rlimits: {kind} is there twice")
        kinds.add(kind)
    score = process.get("oomScoreAdj")
    if score is not None and not -1000 <= score <= 1000:
        raise InvalidBundle("process.oomScoreAdj must be between -1000 and 1000")
    if process.get("apparmorProfile") and not _apparmor():
        raise InvalidBundle("process.apparmorProfile: AppArmor is not enabled in this kernel")
    if process.get("selinuxLabel") and not _selinux():
        raise InvalidBundle("process.selinuxLabel: SELinux is not enabled in this kernel")


def _apparmor() -> bool:
    try:
        with open("/sys/module/apparmor/parameters/enabled", encoding="ascii") as file:
            return file.read().startswith("Y")
    except OSError:
        return False


def _selinux() -> bool:
    return os.path.exists("/sys/fs/selinux/enforce")


def _judge_namespaces(config: Config, linux: Config) -> None:
    kinds: set[str] = set()
    for namespace in linux.get("namespaces") or []:
        kind = namespace.get("type")
        if kind not in operations.CLONE_FLAGS:
            raise InvalidBundle(f"linux.namespaces: type {kind} is unknown")
        if kind in kinds:
            raise InvalidBundle(f"linux.namespaces: {kind} is there twice")
        path = namespace.get("path")
        if path and not path.startswith("/"):
            raise InvalidBundle(f"linux.namespaces: path {path} must be absolute")
        kinds.add(kind)
    if "mount" not in kinds:
        raise InvalidBundle("a container without a mount namespace of its own is not supported")
    if config.get("hostname") and "uts" not in kinds:
        raise InvalidBundle("unable to set hostname without a private UTS namespace")
    if config.get("domainname") and "uts" not in kinds:
        raise InvalidBundle("unable to set domainname without a private UTS namespace")
    fresh = operations.new_namespaces(linux)
    mapped = bool(linux.get("uidMappings") or linux.get("gidMappings"))
    if mapped and "user" not in kinds:
        raise InvalidBundle("linux.uidMappings and gidMappings need a user namespace")
    if "user" in fresh and not (linux.get("uidMappings") and linux.get("gidMappings")):
        raise InvalidBundle("a new user namespace needs linux.uidMappings and gidMappings")
    if linux.get("timeOffsets") and "time" not in fresh:
        raise InvalidBundle("linux.timeOffsets need a new time namespace")


def _judge_mount(number: int, mount: Config) -> None:
    if not mount.get("destination"):
        raise InvalidBundle(f"mounts[{number}].destination must be set")
    words = mount.get("options") or []
    if "remount" in words and not operations.is_bind(mount):
        raise InvalidBundle(f"mounts[{number}]: option remount is not supported")
    for key in ("uidMappings", "gidMappings"):
        if mount.get(key):
            raise InvalidBundle(
                f"mounts[{number}].{key}: a mount with ids of its own is not supported"
            )


_IPC_SYSCTLS = frozenset(
    f"kernel.{name}"
    for name in "msgmax msgmnb msgmni sem shmall shmmax shmmni shm_rmid_forced".split()
)


def _judge_sysctls(linux: Config) -> None:
    """Only what belongs to the container's own namespaces: the rest is the host's."""
    own = {n["type"] for n in linux.get("namespaces") or []}
    for name in linux.get("sysctl") or {}:
        dotted = name.replace("/", ".")
        if dotted in _IPC_SYSCTLS or dotted.startswith("fs.mqueue."):
            kind = "ipc"
        elif dotted.startswith("net."):
            kind = "network"
        elif dotted in ("kernel.domainname", "kernel.hostname"):
            kind = "uts"
        else:
            raise InvalidBundle(f'sysctl "{name}" is not in a separate kernel namespace')
        if kind not in own:
            raise InvalidBundle(f'sysctl "{name}" is not allowed without a {kind} namespace')


def _judge_linux(linux: Config) -> None:
    for key in ("intelRdt", "netDevices", "memoryPolicy"):
        if linux.get(key):
            raise InvalidBundle(f"linux.{key} is not supported")
    if linux.get("mountLabel") and not _selinux():
        raise InvalidBundle("linux.mountLabel: SELinux is not enabled in this kernel")
    word = linux.get("rootfsPropagation")
    if word and word not in mountwords.PROPAGATIONS:
        raise InvalidBundle(f"rootfsPropagation={word} is not supported")
    personality = linux.get("personality") or {}
    if personality and personality.get("domain") not in traits.PERSONALITIES:
        raise InvalidBundle(f"linux.personality.domain {personality.get('domain')} is unknown")
    if personality.get("flags"):
        raise InvalidBundle("linux.personality.flags are not supported")
    _judge_seccomp(linux.get("seccomp") or {})
    for number, device in enumerate(linux.get("devices") or []):
        if not str(device.get("path") or "").startswith("/"):
            raise InvalidBundle(f"linux.devices[{number}].path must be absolute")
        if device.get("type") not in ("c", "u", "b", "p"):
            raise InvalidBundle(f"linux.devices[{number}].type must be one of c, u, b, p")


def _judge_seccomp(seccomp: Config) -> None:
    if seccomp and not seccomp.get("defaultAction"):
        raise InvalidBundle("linux.seccomp.defaultAction must be set")
    for key in ("listenerPath", "listenerMetadata"):
        if seccomp.get(key):
            raise InvalidBundle(f"linux.seccomp.{key} (SCMP_ACT_NOTIFY) is not supported")
    for flag in seccomp.get("flags") or []:
        if flag not in _SECCOMP_FLAGS:
            raise InvalidBundle(f"linux.seccomp.flags: {flag} is unknown")


# --- making it ours -----------------------------------------------------------------------------


def _allowed(kind: str, major: int, minor: int, access: str) -> Config:
    return {"allow": True, "type": kind, "major": major, "minor": minor, "access": access}


_ALWAYS_ALLOWED = [
    _allowed("c", -1, -1, "m"),
    _allowed("b", -1, -1, "m"),
    *(_allowed("c", major, minor, "rwm") for _, major, minor in operations.DEFAULT_DEVICES),
    _allowed("c", 5, 1, "rwm"),  # console
    _allowed("c", 5, 2, "rwm"),  # ptmx
    _allowed("c", 136, -1, "rwm"),  # pts/*
]


class Wishes:
    """What the command line adds to a bundle."""

    __slots__ = ("keyring", "no_pivot", "preserved")

    def __init__(self, preserved: int = 0, *, no_pivot: bool = False, keyring: bool = True) -> None:
        self.preserved = preserved
        self.no_pivot = no_pivot
        self.keyring = keyring


def ours(config: Config, bundle: str, name: str, layout: Layout, wishes: Wishes) -> Config:
    """The config that the machinery takes. Raises InvalidBundle, OSError."""
    made = {key: value for key, value in config.items() if value is not None}
    linux = {k: v for k, v in (config.get("linux") or {}).items() if v is not None}
    made["linux"] = linux
    made["root"] = {**config["root"], "path": _root_of(config, bundle)}
    made["mounts"] = [_absolute(mount, bundle) for mount in config.get("mounts") or []]
    made["process"] = config.get("process") or {}
    linux["cgroupsPath"] = cgroup_path(linux.get("cgroupsPath") or "", name)
    resources = linux["resources"] = without_zeros(linux.get("resources") or {})
    judge_resources(resources, layout)
    if resources.get("devices"):
        # As every runtime: what a container cannot be without is allowed whatever was said before.
        linux["resources"] = {**resources, "devices": [*resources["devices"], *_ALWAYS_ALLOWED]}
    extra: Config = {
        "orphan": True,
        "preserved": wishes.preserved,
        "no_pivot": wishes.no_pivot,
        "keyring": f"_ses.{name}" if wishes.keyring else "",
        "cgroup": _cgroup(layout, linux),
    }
    profile = linux.pop("seccomp", None)
    if profile:
        extra["seccomp_program"], extra["seccomp_flags"] = _compile(profile)
    made["tiffin"] = extra
    return made


def _root_of(config: Config, bundle: str) -> str:
    path = os.path.realpath(os.path.join(bundle, config["root"]["path"]))
    if not os.path.isdir(path):
        raise InvalidBundle(f"root.path {path}: no such directory")
    return path


def _absolute(mount: Config, bundle: str) -> Config:
    found = {key: value for key, value in mount.items() if value is not None and key != "tiffin"}
    source = mount.get("source")
    if source and operations.is_bind(mount):
        found["source"] = os.path.join(bundle, source)
    return found


def cgroup_path(asked: str, name: str) -> str:
    """Below the hierarchies' mount points. A relative one is relative to these."""
    return operations.clean(asked) if asked else f"{CGROUP_PARENT}/{name}"


def _cgroup(layout: Layout, linux: Config) -> Config:
    path = linux["cgroupsPath"]
    mounted = [
        (os.path.basename(h.mount_point), list(h.controllers), h.mount_point)
        for h in layout.hierarchies
    ]
    found: Config = {"version": layout.version, "controllers": list(layout.controllers)}
    if layout.version == 2:
        # What v2 has as a matter of course has the names of v1's controllers in our tables.
        found["controllers"] = [*layout.controllers, "devices", "freezer"]
    elif "cgroup" in operations.new_namespaces(linux):
        found["mounts"] = [[name, names] for name, names, _ in mounted]
        found["mounts"] += [[name, []] for name in _named(layout)]
    elif layout.version == 1:
        found["bound"] = [[name, names, point + path] for name, names, point in mounted]
        found["bound"] += [[name, [], ""] for name in _named(layout)]
    return found


def _named(layout: Layout) -> list[str]:
    """Directories for hierarchies without controllers, as systemd's: for who mounts them there."""
    if layout.version != 1:
        return []
    taken = {os.path.basename(h.mount_point) for h in layout.hierarchies}
    names = dict.fromkeys(os.path.basename(point) for point in cgroup.named())
    return [name for name in names if name not in taken]


def _compile(profile: Config) -> tuple[str, int]:
    from tiffin.kernel import seccomp  # noqa: PLC0415 (three milliseconds that many need not pay)

    try:
        program = seccomp.compile_filter(profile)
    except seccomp.SeccompError as error:
        raise InvalidBundle(f"linux.seccomp: {error.strerror}") from error
    flags = 0
    for flag in profile.get("flags") or []:
        flags |= _SECCOMP_FLAGS[flag]
    return binascii.b2a_base64(program, newline=False).decode(), flags


def unknown_capabilities(process: Config, last: int) -> list[str]:
    """Names that this kernel, or we, do not know: a warning each, says the specification."""
    asked = process.get("capabilities") or {}
    names = {name for kind in asked.values() for name in kind or []}
    return sorted(names.difference(syscalls.CAPABILITIES[: last + 1]))


def without_capabilities(process: Config, unknown: list[str]) -> Config:
    asked = process.get("capabilities") or {}
    kept = {kind: [n for n in names or [] if n not in unknown] for kind, names in asked.items()}
    return {**process, "capabilities": kept}
