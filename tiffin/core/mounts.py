"""From what a user asks (`-v`, `--mount`, VOLUME) to mounts, or Docker's words of refusal.

Pure: nothing is created here. A volume's `source` stays empty until the engine knows its directory.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from posixpath import normpath

import msgspec

from tiffin.core.container import HostConfig, Mount, MountRequest
from tiffin.core.image import ContainerConfig
from tiffin.errors import InvalidArgument

PROPAGATIONS = frozenset({"private", "rprivate", "shared", "rshared", "slave", "rslave"})
# The words after the second colon of a bind; of each kind one at most.
_MODES = (
    frozenset({"ro", "rw"}),
    frozenset({"z", "Z"}),
    PROPAGATIONS,
    frozenset({"nocopy"}),
    frozenset({"consistent", "cached", "delegated"}),
)
_TMPFS_WORDS = frozenset({"exec", "noexec"})
_VOLUME_NAME = re.compile(r"^[a-zA-Z0-9][a-zA-Z0-9_.-]*$")
_MAX_VOLUME_NAME = 255  # a directory's


class WantedMount(msgspec.Struct, frozen=True):
    """A mount to be, and what its making needs beyond what `inspect` shows of it."""

    mount: Mount
    copy: bool = True  # a new volume takes what the image has there
    labels: dict[str, str] = {}
    driver_options: dict[str, str] = {}


def check_volume_name(name: str) -> str:
    if len(name) == 1:
        raise InvalidArgument(
            f"create {name}: volume name is too short, names should be at least two "
            "alphanumeric characters"
        )
    if not _VOLUME_NAME.fullmatch(name) or len(name) > _MAX_VOLUME_NAME:
        raise InvalidArgument(
            f'create {name}: "{name}" includes invalid characters for a local volume name, '
            'only "[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. '
            "If you intended to pass a host directory, use absolute path"
        )
    return name


def requested_mounts(config: ContainerConfig, host: HostConfig) -> tuple[WantedMount, ...]:
    """All mounts that the request names; anonymous volumes have neither name nor source."""
    chosen: dict[str, WantedMount] = {}
    tmpfs = {normpath(path) for path in host.tmpfs}
    for text in host.binds:
        wanted = parse_bind(text, host.volume_driver)
        if wanted.mount.destination in tmpfs:
            raise _duplicate(wanted.mount.destination)
        _add(chosen, wanted)
    for request in host.mounts:
        _add(chosen, from_request(request))
    for destination in config.volumes or {}:
        target = _checked_target(destination)
        if target not in chosen and target not in tmpfs:
            chosen[target] = WantedMount(_volume(target, driver=host.volume_driver))
    return tuple(chosen.values())


def _add(chosen: dict[str, WantedMount], wanted: WantedMount) -> None:
    destination = wanted.mount.destination
    if destination in chosen:
        raise _duplicate(destination)
    chosen[destination] = wanted


def _duplicate(destination: str) -> InvalidArgument:
    return InvalidArgument(f"Duplicate mount point: {destination}")


def _volume(destination: str, name: str = "", mode: str = "", driver: str = "") -> Mount:
    return Mount(
        type="volume",
        source="",
        destination=destination,
        name=name,
        driver=driver or "local",
        mode=mode,
    )


def _checked_target(path: str) -> str:
    """A place in the container, normal. Raises InvalidArgument."""
    if normpath(path or ".").lstrip("/") == "" and path:
        raise InvalidArgument("invalid specification: destination can't be '/'")
    return "/" + _absolute(path).lstrip("/")


def _absolute(path: str) -> str:
    if "\0" in path:
        raise InvalidArgument(f"invalid mount path: {path!r} contains a nul byte")
    if not path.startswith("/"):
        raise InvalidArgument(f"invalid mount path: '{path}' mount path must be absolute")
    return normpath(path)


# --- -v -------------------------------------------------------------------------------------------


def parse_bind(text: str, driver: str = "") -> WantedMount:
    """One of HostConfig.Binds: `source:destination[:options]`. `driver` is for a named volume."""
    parts = text.split(":")
    if not parts[0] or len(parts) > 3 or (len(parts) == 2 and _is_mode(parts[1])):
        raise InvalidArgument(f"invalid volume specification: '{text}'")
    source, target = ("", parts[0]) if len(parts) == 1 else (parts[0], parts[1])
    mode = parts[2] if len(parts) == 3 else ""
    if not _is_mode(mode):
        raise InvalidArgument(f"invalid mode: {mode}")
    words = mode.split(",")
    kind = "bind" if source.startswith("/") else "volume"
    try:
        destination = _target_of(kind, target)
    except InvalidArgument as error:
        message = f"invalid volume specification: '{text}': {error.message}"
        raise InvalidArgument(message) from error
    propagation = next((word for word in words if word in PROPAGATIONS), "")
    alien = _alien_options(kind, words)
    if alien:
        raise InvalidArgument(
            f"invalid volume specification: '{text}': invalid mount config for type \"{kind}\": "
            f"field {alien} must not be specified"
        )
    if kind == "bind":
        mount = Mount(
            type="bind",
            source=normpath(_absolute(source)),
            destination=destination,
            mode=mode,
            rw="ro" not in words,
            propagation=propagation or "rprivate",
            make_source=True,
        )
        return WantedMount(mount)
    name = check_volume_name(source) if source else ""
    mount = _volume(destination, name, mode or "z", driver)
    mount = msgspec.structs.replace(mount, rw="ro" not in words)
    return WantedMount(mount, copy="nocopy" not in words)


def _alien_options(kind: str, words: list[str]) -> str:
    """What a word of the other kind of mount stands for; "" where there is none."""
    if kind == "bind":
        return "VolumeOptions" if "nocopy" in words else ""
    return "BindOptions" if PROPAGATIONS.intersection(words) else ""


def _is_mode(text: str) -> bool:
    """Docker's rule: known words, of each kind at most one."""
    if not text:
        return True
    words = text.split(",")
    known = all(any(word in kind for kind in _MODES) for word in words)
    return known and all(sum(word in kind for word in words) <= 1 for kind in _MODES)


def _target_of(kind: str, target: str) -> str:
    label = f'invalid mount config for type "{kind}"'
    if not target:
        raise InvalidArgument(f"{label}: field Target must not be empty")
    try:
        return _checked_target(target)
    except InvalidArgument as error:
        raise InvalidArgument(f"{label}: {error.message}") from error


def parse_volumes_from(text: str) -> tuple[str, bool]:
    """(container, read-only) of one of HostConfig.VolumesFrom. Raises InvalidArgument."""
    if not text:
        raise InvalidArgument("volumes-from specification cannot be an empty string")
    name, _, mode = text.partition(":")
    words = mode.split(",")
    if not _is_mode(mode) or "nocopy" in words or PROPAGATIONS.intersection(words):
        raise InvalidArgument(f"invalid mode: {mode}")
    return name, "ro" in words


# --- --mount --------------------------------------------------------------------------------------

_OPTIONS: Mapping[str, str] = {
    "bind_options": "bind",
    "volume_options": "volume",
    "image_options": "image",
    "tmpfs_options": "tmpfs",
    "cluster_options": "cluster",
}


def from_request(request: MountRequest) -> WantedMount:
    """One of HostConfig.Mounts. Raises InvalidArgument in Docker's words."""
    label = f'invalid mount config for type "{request.type}"'
    for field, kind in _OPTIONS.items():
        if getattr(request, field) is not None and kind != request.type:
            name = "".join(part.capitalize() for part in field.split("_"))
            raise InvalidArgument(f"{label}: field {name} must not be specified")
    destination = _target_of(request.type, request.target)
    maker = {
        "bind": _bind_request,
        "volume": _volume_request,
        "tmpfs": _tmpfs_request,
        "image": _image_request,
    }.get(request.type)
    try:
        if maker is None:
            raise InvalidArgument("mount type unknown")
        wanted = maker(request, destination)
    except InvalidArgument as error:
        raise InvalidArgument(f"{label}: {error.message}") from error
    if wanted.mount.type == "volume" and wanted.mount.name:
        check_volume_name(wanted.mount.name)
    return wanted


def _bind_request(request: MountRequest, destination: str) -> WantedMount:
    if not request.source:
        raise InvalidArgument("field Source must not be empty")
    options = request.bind_options
    propagation = options.propagation if options else ""
    if propagation and propagation not in PROPAGATIONS:
        raise InvalidArgument(f"invalid propagation mode: {propagation}")
    mount = Mount(
        type="bind",
        source=_absolute(request.source),
        destination=destination,
        rw=not request.read_only,
        propagation=propagation or "rprivate",
    )
    if options is None:
        return WantedMount(mount)
    _check_read_only(request)
    mount = msgspec.structs.replace(
        mount,
        non_recursive=options.non_recursive,
        read_only_below=not options.read_only_non_recursive,
        make_source=options.create_mountpoint,
    )
    return WantedMount(mount)


def _check_read_only(request: MountRequest) -> None:
    options = request.bind_options
    assert options is not None
    for asked, name in (
        (options.read_only_non_recursive, "ReadOnlyNonRecursive"),
        (options.read_only_force_recursive, "ReadOnlyForceRecursive"),
    ):
        if asked and not request.read_only:
            raise InvalidArgument(f"mount options conflict: !ReadOnly && BindOptions.{name}")
    if options.read_only_non_recursive and options.read_only_force_recursive:
        raise InvalidArgument(
            "mount options conflict: ReadOnlyNonRecursive && BindOptions.ReadOnlyForceRecursive"
        )


def _volume_request(request: MountRequest, destination: str) -> WantedMount:
    options = request.volume_options
    subpath = options.subpath if options else ""
    if subpath:
        if not request.source:
            raise InvalidArgument("must not set Subpath when using anonymous volumes")
        _check_subpath(subpath)
    if request.read_only and not request.source:
        raise InvalidArgument("must not set ReadOnly mode when using anonymous volumes")
    driver = options.driver_config if options else None
    mount = _volume(destination, request.source, "z", driver.name if driver else "")
    mount = msgspec.structs.replace(mount, rw=not request.read_only, subpath=subpath)
    return WantedMount(
        mount,
        copy=not (options and options.no_copy),
        labels=options.labels if options else {},
        driver_options=driver.options if driver else {},
    )


def _check_subpath(subpath: str) -> None:
    """Go's filepath.IsLocal: relative, and it never climbs out."""
    clean = normpath(subpath)
    if subpath.startswith("/") or "\0" in subpath or clean == ".." or clean.startswith("../"):
        raise InvalidArgument("subpath must be a relative path within the volume")


def _tmpfs_request(request: MountRequest, destination: str) -> WantedMount:
    if request.source:
        raise InvalidArgument("field Source must not be specified")
    mount = Mount(
        type="tmpfs",
        source="",
        destination=destination,
        rw=not request.read_only,
        options=",".join(_tmpfs_words(request)),
    )
    return WantedMount(mount)


def _tmpfs_words(request: MountRequest) -> list[str]:
    options = request.tmpfs_options
    if options is None:
        return []
    if options.size_bytes < 0:
        raise InvalidArgument(f"invalid tmpfs size: {options.size_bytes}")
    if not 0 <= options.mode < 1 << 32:
        raise InvalidArgument(f"invalid tmpfs mode: {options.mode}")
    words = [f"size={options.size_bytes}"] if options.size_bytes else []
    # Go's os.FileMode has its own bits for what is above the permissions.
    words += [f"mode={options.mode & 0o7777:o}"] if options.mode else []
    for option in options.options:
        if not 1 <= len(option) <= 2:
            raise InvalidArgument("invalid option array length")
        if option[0] not in _TMPFS_WORDS or len(option) == 2:
            raise InvalidArgument(f"invalid option: {'='.join(option)}")
        words.append(option[0])
    return words


def _image_request(request: MountRequest, destination: str) -> WantedMount:
    if not request.source:
        raise InvalidArgument("field Source must not be empty")
    subpath = request.image_options.subpath if request.image_options else ""
    if subpath:
        _check_subpath(subpath)
    mount = Mount(
        type="image",
        source="",
        destination=destination,
        name=request.source,
        rw=False,
        propagation="rprivate",
        subpath=subpath,
    )
    return WantedMount(mount)
