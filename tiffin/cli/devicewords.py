"""`--device` and `--gpus` as the API has them: a path, or a name that stands for devices."""

from __future__ import annotations

from tiffin.cli.failures import WrongOption

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def is_cdi(text: str) -> bool:
    """`vendor.com/class=name`: a device of the Container Device Interface, no path."""
    kind, equals, name = text.partition("=")
    return bool(equals and name and not kind.startswith("/") and kind.count("/") == 1)


def device_requests(devices: list[str], gpus: list[Any]) -> list[Any] | None:
    found = list(gpus)
    names = [text for text in devices if is_cdi(text)]
    if names:
        found.append(
            {
                "Driver": "cdi",
                "Count": 0,
                "DeviceIDs": names,
                "Capabilities": None,
                "Options": None,
            }
        )
    return found or None


def _is_device_mode(text: str) -> bool:
    return bool(text) and not text.strip("rwm") and len(set(text)) == len(text)


def parse_device(text: str) -> dict[str, str]:
    """`/dev/sda[:/dev/xvda][:rwm]`."""
    parts = text.split(":")
    if len(parts) > 3 or not parts[0]:
        raise WrongOption(f"bad format for path: {text}")
    source, inside, mode = parts[0], parts[0], "rwm"
    if len(parts) == 3:
        inside, mode = parts[1], parts[2]
        if not _is_device_mode(mode):
            raise WrongOption(f"bad mode specified: {mode}")
    elif len(parts) == 2 and _is_device_mode(parts[1]):
        mode = parts[1]
    elif len(parts) == 2:
        inside = parts[1]
    if not inside.startswith("/"):
        raise WrongOption(f"{inside} is not an absolute path")
    return {"PathOnHost": source, "PathInContainer": inside, "CgroupPermissions": mode}
