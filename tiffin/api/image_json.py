"""Images as the Engine API shows them: list, inspect, history."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from tiffin.api.container_json import image_config_json
from tiffin.api.versions import Version
from tiffin.core.timestamps import NEVER, parse_time
from tiffin.errors import InvalidArgument

if TYPE_CHECKING:
    from tiffin.engine.images import Image


def summary_json(
    image: Image, version: Version, *, containers: int, shared_size: int = -1, parent: str = ""
) -> dict[str, Any]:
    """One of GET /images/json. Real counts of containers since 1.51; before, -1.

    `parent` is the image that it was committed from, while that is here.
    """
    tags, digests = list(image.tags), list(image.repo_digests)
    if version.before("1.43") and not tags:
        tags = ["<none>:<none>"]
        digests = digests or ["<none>@<none>"]
    value: dict[str, Any] = {
        "Containers": -1 if version.before("1.51") else containers,
        "Created": created_ns(image) // 1_000_000_000,
        "Id": image.id,
        "Labels": image.labels or None,
        "ParentId": parent,
        "RepoDigests": digests,
        "RepoTags": tags,
        "SharedSize": shared_size,
        "Size": image.size,
    }
    if version.before("1.44"):
        value["VirtualSize"] = image.size
    return value


def inspect_json(
    image: Image, version: Version, *, parent: str = "", driver: str = "overlay2"
) -> dict[str, Any]:
    """GET /images/{name}/json. `parent` as in a list; `driver`: how layers lie on one another."""
    config = image.config
    value: dict[str, Any] = {
        "Id": image.id,
        "RepoTags": list(image.tags),
        "RepoDigests": list(image.repo_digests),
        "Comment": config.comment,
        "Created": config.created or NEVER,
        "Author": config.author,
        "Config": image_config_json(config.config, version),
        "Architecture": config.architecture,
        "Os": config.os,
        "Size": image.size,
        "GraphDriver": {"Name": driver, "Data": {}},
        "RootFS": {"Type": "layers", "Layers": list(config.rootfs.diff_ids)},
        "Metadata": {"LastTagTime": NEVER},
    }
    if config.variant:
        value["Variant"] = config.variant
    if config.os_version:
        value["OsVersion"] = config.os_version
    return value | _older_fields(image, version, parent)


def _older_fields(image: Image, version: Version, parent: str) -> dict[str, Any]:
    value: dict[str, Any] = {}
    if version.before("1.52"):
        value |= {"Parent": parent, "DockerVersion": image.config.docker_version}
    if version.before("1.45"):
        value |= {"Container": "", "ContainerConfig": image_config_json(None, version)}
    if version.before("1.44"):
        value["VirtualSize"] = image.size
    return value


def created_ns(image: Image) -> int:
    """0 where the config has no time, or none that one can read."""
    try:
        return max(parse_time(image.config.created), 0)
    except InvalidArgument:
        return 0


def reference_pattern(text: str) -> re.Pattern[str]:
    """Go's path.Match as a regular expression: "*" and "?" stop at a slash."""
    parts, place = [], 0
    while place < len(text):
        character = text[place]
        place += 1
        if character == "*":
            parts.append("[^/]*")
        elif character == "?":
            parts.append("[^/]")
        elif character == "[":
            end = text.find("]", place)
            if end < 0:
                raise InvalidArgument(f"invalid filter 'reference={text}': syntax error in pattern")
            inside = text[place:end].replace("\\", "\\\\").replace("[", "\\[")
            parts.append(f"[{inside}]")
            place = end + 1
        elif character == "\\" and place < len(text):
            parts.append(re.escape(text[place]))
            place += 1
        else:
            parts.append(re.escape(character))
    try:
        return re.compile("".join(parts))
    except re.error as error:
        raise InvalidArgument(f"invalid filter 'reference={text}': {error}") from error
