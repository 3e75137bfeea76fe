"""Options of the local volume driver (`-o`): what is a volume that is no directory of ours. PURE.

A directory of the host (a bind) stands for the volume's own. What else they name is mounted there
for as long as somebody uses the volume.
"""

from __future__ import annotations

from collections.abc import Mapping
from posixpath import normpath
from urllib.parse import urlsplit

import msgspec

from tiffin.core.storageopts import parse_size
from tiffin.errors import InvalidArgument

_KNOWN = ("type", "o", "device", "size")
# An option and those that it says nothing without.
_NEEDS = {"device": ("type",), "type": ("device",), "o": ("device", "type")}
_BINDS = frozenset({"bind", "rbind"})
_PLAIN = frozenset({"", "rw", "defaults"})


class FileSystem(msgspec.Struct, frozen=True):
    """What is mounted: mount(8)'s device, type and options."""

    device: str
    type: str
    options: str


class VolumeOptions(msgspec.Struct, frozen=True):
    """One of `bound` and `mounted` at most. `limit_bytes` 0: none."""

    bound: str = ""
    mounted: FileSystem | None = None
    limit_bytes: int = 0


def volume_options(name: str, options: Mapping[str, str]) -> VolumeOptions:
    """Raises InvalidArgument in Docker's words."""
    try:
        _check(options)
        limit = parse_size(options["size"]) if "size" in options else 0
    except InvalidArgument as error:
        raise InvalidArgument(f"create {name}: {error.message}") from error
    device, kind = options.get("device", ""), options.get("type", "")
    if not (device or kind):
        return VolumeOptions(limit_bytes=limit)
    words = set(options.get("o", "").split(","))
    if words & _BINDS and not words - _BINDS - _PLAIN and device.startswith("/"):
        return VolumeOptions(bound=normpath(device), limit_bytes=limit)
    return VolumeOptions(mounted=FileSystem(device, kind, options.get("o", "")), limit_bytes=limit)


def _check(options: Mapping[str, str]) -> None:
    for option, value in options.items():
        if option not in _KNOWN:
            raise InvalidArgument(f'invalid option: "{option}"')
        if "\0" in value:
            raise InvalidArgument(f'invalid option: "{option}": contains a nul byte')
    for option, needed in _NEEDS.items():
        missing = [one for one in needed if option in options and one not in options]
        if missing:
            raise InvalidArgument(f'missing required option: "{missing[0]}"')
    if options.get("type") == "cifs" and options.get("device"):
        _check_cifs(options["device"])


def _check_cifs(device: str) -> None:
    try:
        port = urlsplit(device).port
    except ValueError as error:
        raise InvalidArgument(f"error parsing mount device url: {error}") from error
    if port is not None:
        raise InvalidArgument("port not allowed in CIFS device URL, include 'port' in 'o='")
