"""GET /system/df: what images, containers, volumes and the build cache take on disk."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from tiffin.api.image_json import summary_json
from tiffin.api.versions import Version
from tiffin.api.volumes import volume_json
from tiffin.engine.volumes import volume_size

if TYPE_CHECKING:
    from tiffin.engine.engine import Engine

_KINDS = ("image", "container", "volume", "build-cache")


async def disk_use_json(
    engine: Engine,
    version: Version,
    kinds: set[str],
    containers: list[dict[str, Any]],
    *,
    verbose: bool,
) -> dict[str, Any]:
    """Since 1.52 sums per kind, items only when `verbose`; before, the items themselves.

    Who speaks 1.52 may know of either.
    """
    wanted = kinds or set(_KINDS)
    images = await _images(engine, version) if "image" in wanted else []
    volumes = await _volumes(engine) if "volume" in wanted else []
    cache = _build_cache(await engine.builds.cache_records()) if "build-cache" in wanted else []
    layers_size = await engine.images.layers_size() if "image" in wanted else 0
    flat = _flat(wanted, layers_size, images, containers, volumes, cache)
    if version.before("1.52"):
        return flat
    sums = {
        "image": ("ImageUsage", images, "Size", lambda one: one["Containers"] > 0),
        "container": ("ContainerUsage", containers, "SizeRw", _is_live),
        "volume": ("VolumeUsage", volumes, "", lambda one: one["UsageData"]["RefCount"] > 0),
        "build-cache": ("BuildCacheUsage", cache, "Size", lambda one: one["InUse"]),
    }
    value: dict[str, Any] = {}
    if version.before("1.53") and not verbose:
        value = {name: items for name, items in flat.items() if items is not None}
    for kind in _KINDS:
        if kind in wanted:
            name, items, size, active = sums[kind]
            value[name] = _usage(items, size, active, verbose=verbose)
    if "ImageUsage" in value:
        used = sum(one["Size"] - one["SharedSize"] for one in images if one["Containers"])
        value["ImageUsage"] |= {"TotalSize": layers_size, "Reclaimable": layers_size - used}
    return value


def _flat(
    wanted: set[str],
    layers_size: int,
    images: list[dict[str, Any]],
    containers: list[dict[str, Any]],
    volumes: list[dict[str, Any]],
    cache: list[dict[str, Any]],
) -> dict[str, Any]:
    return {
        "LayersSize": layers_size,
        "Images": images if "image" in wanted else None,
        "Containers": containers if "container" in wanted else None,
        "Volumes": volumes if "volume" in wanted else None,
        "BuildCache": cache if "build-cache" in wanted else None,
    }


def _usage(items: list[dict[str, Any]], size: str, active: Any, *, verbose: bool) -> dict[str, Any]:
    sizes = [_size_of(item, size) for item in items]
    idle = [size for item, size in zip(items, sizes, strict=True) if not active(item)]
    value: dict[str, Any] = {
        "ActiveCount": len(items) - len(idle),
        "TotalCount": len(items),
        "Reclaimable": sum(idle),
        "TotalSize": sum(sizes),
    }
    if verbose:
        value["Items"] = items
    return value


def _size_of(item: dict[str, Any], key: str) -> int:
    return int(item[key] if key else item["UsageData"]["Size"])


def _is_live(item: dict[str, Any]) -> bool:
    return item["State"] in ("running", "paused", "restarting")


async def _images(engine: Engine, version: Version) -> list[dict[str, Any]]:
    images = await engine.images.list()
    users = Counter(container.image_id for container in engine.containers.list())
    known = {image.id for image in images}
    shared = await engine.images.shared_sizes(images)
    return [
        summary_json(
            image,
            version,
            containers=0,
            shared_size=shared[image.id],
            parent=image.config.parent if image.config.parent in known else "",
        )
        | {"Containers": users[image.id]}
        for image in images
    ]


async def _volumes(engine: Engine) -> list[dict[str, Any]]:
    return [
        volume_json(volume)
        | {
            "UsageData": {
                "RefCount": engine.volumes.references(volume.name),
                "Size": await volume_size(volume),
            }
        }
        for volume in await engine.volumes.list()
    ]


def _build_cache(records: Any) -> list[dict[str, Any]]:
    return [
        {
            "ID": record.key,
            "Type": "regular",
            "Description": record.description,
            "InUse": False,
            "Shared": False,
            "Size": 0,
            "CreatedAt": record.created,
            "LastUsedAt": None,
            "UsageCount": 0,
        }
        for record in records
    ]
