"""Options of the local volume driver (`-o`): a directory of the host as a volume. PURE.

Docker mounts what they name on the volume's directory; of that a bind is what can be had without a
mount on the host: the directory itself stands for the volume's.
"""

from __future__ import annotations

from collections.abc import Mapping
from posixpath import normpath

from tiffin.errors import InvalidArgument, Unsupported

_KNOWN = ("type", "o", "device", "size")
# An option and those that it says nothing without.
_NEEDS = {"device": ("type",), "type": ("device",), "o": ("device", "type")}
_BINDS = frozenset({"bind", "rbind"})
_PLAIN = frozenset({"", "rw", "defaults"})


def bound_directory(name: str, options: Mapping[str, str]) -> str:
    """The host's directory that the volume `name` is; "" for one of its own.

    Raises InvalidArgument in Docker's words, and Unsupported with the option that we lack.
    """
    for option in options:
        if option not in _KNOWN:
            raise InvalidArgument(f'create {name}: invalid option: "{option}"')
    for option, needed in _NEEDS.items():
        missing = [one for one in needed if options.get(option) and not options.get(one)]
        if missing:
            raise InvalidArgument(f'create {name}: missing required option: "{missing[0]}"')
    if options.get("size"):
        raise InvalidArgument(f"create {name}: quota size requested but no quota support")
    if not options.get("device"):
        return ""
    words = set(options.get("o", "").split(","))
    if not words & _BINDS:
        raise Unsupported(
            f"create {name}: a volume of type {options['type']} is not supported by tiffin"
        )
    if more := words - _BINDS - _PLAIN:
        raise Unsupported(
            f'create {name}: the volume option "o={min(more)}" is not supported by tiffin'
        )
    device = options["device"]
    if not device.startswith("/") or "\0" in device:
        raise InvalidArgument(f"create {name}: invalid mount path: '{device}' must be absolute")
    return normpath(device)
