"""What an entry of a config cannot be without. The types of what is there have been checked."""

from __future__ import annotations

from tiffin.runtime.oci.shape import InvalidBundle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# Of each entry of a list: the keys that must be there. Of an object: what is below it.
_RATE = ("major", "minor", "rate")
_EXTENT = ("containerID", "hostID", "size")
RESOURCES: dict[str, Any] = {
    "devices": ("allow",),
    "blockIO": {
        "weightDevice": ("major", "minor"),
        "throttleReadBpsDevice": _RATE,
        "throttleWriteBpsDevice": _RATE,
        "throttleReadIOPSDevice": _RATE,
        "throttleWriteIOPSDevice": _RATE,
    },
    "hugepageLimits": ("pageSize", "limit"),
    "network": {"priorities": ("name", "priority")},
}
_CONFIG: dict[str, Any] = {
    "process": {"rlimits": ("type", "soft", "hard")},
    "linux": {
        "uidMappings": _EXTENT,
        "gidMappings": _EXTENT,
        "namespaces": ("type",),
        "devices": ("type", "path"),
        "resources": RESOURCES,
        "seccomp": {"syscalls": ("names", "action")},
    },
}


def judge_required(value: Any, required: Any = _CONFIG, where: str = "") -> None:
    """Raises InvalidBundle, which names the place."""
    if not value:
        return
    if isinstance(required, dict):
        for key, below in required.items():
            judge_required(value.get(key), below, f"{where}.{key}" if where else key)
        return
    for number, entry in enumerate(value):
        for key in required:
            if entry.get(key) is None:
                raise InvalidBundle(f"{where}[{number}].{key} must be set")
