"""From what a user asks (`-v`, `--mount`, VOLUME) to mounts, or Docker's words of refusal.

Pure: nothing is created here. A volume's `source` stays empty until the engine knows its directory.
"""

from __future__ import annotations

import re
from posixpath import normpath

from tiffin.core.container import HostConfig, Mount, MountRequest
from tiffin.core.image import ContainerConfig
from tiffin.errors import InvalidArgument

PROPAGATIONS = frozenset({"private", "rprivate", "shared", "rshared", "slave", "rslave"})
_MODES = frozenset({"ro", "rw", "z", "Z", "nocopy", "consistent", "cached", "delegated"})
_VOLUME_NAME = re.compile(r"^[a-zA-Z0-9][a-zA-Z0-9_.-]*$")


def check_volume_name(name: str) -> str:
    if not _VOLUME_NAME.match(name) or len(name) < 2:
        raise InvalidArgument(
            f'create {name}: "{name}" includes invalid characters for a local volume name, '
            'only "[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. '
            "If you intended to pass a host directory, use absolute path"
        )
    return name


def requested_mounts(config: ContainerConfig, host: HostConfig) -> tuple[Mount, ...]:
    """All mounts that the request names; anonymous volumes have neither name nor source."""
    chosen: dict[str, Mount] = {}
    for text in host.binds:
        _add(chosen, parse_bind(text))
    for request in host.mounts:
        _add(chosen, _from_request(request))
    for destination in config.volumes or {}:
        target = _destination(destination)
        if target not in chosen and target not in {normpath(path) for path in host.tmpfs}:
            chosen[target] = Mount(type="volume", source="", destination=target, driver="local")
    return tuple(chosen.values())


def _add(chosen: dict[str, Mount], mount: Mount) -> None:
    if mount.destination in chosen:
        raise InvalidArgument(f"Duplicate mount point: {mount.destination}")
    chosen[mount.destination] = mount


def _destination(path: str) -> str:
    if not path.startswith("/"):
        raise InvalidArgument(f"invalid mount path: '{path}' mount path must be absolute")
    clean = "/" + normpath(path).lstrip("/")
    if clean == "/":
        raise InvalidArgument("invalid volume specification: destination can't be '/'")
    if "\0" in path:
        raise InvalidArgument(f"invalid mount path: {path!r} contains a nul byte")
    return clean


def parse_bind(text: str) -> Mount:
    """One of HostConfig.Binds: `source:destination[:options]`."""
    parts = text.split(":")
    if len(parts) == 1:
        return Mount(type="volume", source="", destination=_destination(text), driver="local")
    if len(parts) > 3 or not parts[0] or not parts[1]:
        raise InvalidArgument(f"invalid volume specification: '{text}'")
    source, target = parts[0], parts[1]
    words = [word for word in (parts[2] if len(parts) == 3 else "").split(",") if word]
    unknown = [word for word in words if word not in _MODES and word not in PROPAGATIONS]
    if unknown or ("ro" in words and "rw" in words):
        raise InvalidArgument(f"invalid mode: {parts[2]}")
    propagation = next((word for word in words if word in PROPAGATIONS), "")
    destination = _destination(target)
    mode, rw = ",".join(words), "ro" not in words
    if source.startswith("/"):
        return Mount(
            type="bind",
            source=normpath(source),
            destination=destination,
            mode=mode,
            rw=rw,
            propagation=propagation or "rprivate",
        )
    return Mount(
        type="volume",
        source="",
        destination=destination,
        name=check_volume_name(source),
        driver="local",
        mode=mode or "z",
        rw=rw,
    )


def _from_request(request: MountRequest) -> Mount:
    label = f'invalid mount config for type "{request.type}"'
    if not request.target:
        raise InvalidArgument(f"{label}: field Target must not be empty")
    destination = _destination(request.target)
    if request.type == "bind":
        return _bind_request(request, destination, label)
    if request.type == "volume":
        options = request.volume_options
        name = check_volume_name(request.source) if request.source else ""
        return Mount(
            type="volume",
            source="",
            destination=destination,
            name=name,
            driver="local",
            mode="nocopy" if options and options.no_copy else "z",
            rw=not request.read_only,
            subpath=options.subpath if options else "",
        )
    if request.type == "tmpfs":
        if request.source:
            raise InvalidArgument(f"{label}: field Source must not be specified")
        return Mount(
            type="tmpfs",
            source="",
            destination=destination,
            mode=_tmpfs_mode(request),
            rw=not request.read_only,
        )
    raise InvalidArgument(f"mount type unknown: '{request.type}'")


def _bind_request(request: MountRequest, destination: str, label: str) -> Mount:
    if not request.source:
        raise InvalidArgument(f"{label}: field Source must not be empty")
    if not request.source.startswith("/"):
        raise InvalidArgument(
            f"{label}: invalid mount path: '{request.source}' mount path must be absolute"
        )
    options = request.bind_options
    propagation = options.propagation if options else ""
    if propagation and propagation not in PROPAGATIONS:
        raise InvalidArgument(f"{label}: invalid propagation mode: {propagation}")
    return Mount(
        type="bind",
        source=normpath(request.source),
        destination=destination,
        rw=not request.read_only,
        propagation=propagation or "rprivate",
        non_recursive=bool(options and options.non_recursive),
        mode="create" if options and options.create_mountpoint else "must-exist",
    )


def _tmpfs_mode(request: MountRequest) -> str:
    options = request.tmpfs_options
    words = []
    if options and options.size_bytes:
        words.append(f"size={options.size_bytes}")
    if options and options.mode:
        words.append(f"mode={options.mode:o}")
    return ",".join(words)
