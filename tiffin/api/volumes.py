"""Routes of volumes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from tiffin.api.decode import decode, read_json
from tiffin.api.messages import NO_CONTENT, Answer, Request, json_response
from tiffin.api.router import Route
from tiffin.core.container import Volume
from tiffin.core.filters import Filters, parse_filters
from tiffin.core.timestamps import rfc3339
from tiffin.errors import Unsupported

if TYPE_CHECKING:
    from tiffin.engine.engine import Engine

_LIST_FILTERS = ("dangling", "driver", "label", "name")
_NO_CLUSTER = "refused: cluster volumes"
_PRUNE_FILTERS = ("all", "label", "label!")


class VolumeRequest(msgspec.Struct, frozen=True, rename="pascal"):
    """The body of POST /volumes/create."""

    name: str = ""
    driver: str = "local"
    driver_opts: dict[str, str] = {}
    labels: dict[str, str] = {}
    cluster_volume_spec: dict[str, Any] | None = None


class VolumeRoutes:
    def __init__(self, engine: Engine) -> None:
        self._volumes = engine.volumes

    def routes(self) -> list[Route]:
        return [
            Route("GET", "/volumes", self.listing),
            Route("POST", "/volumes/create", self.create),
            Route("POST", "/volumes/prune", self.prune),
            Route("GET", "/volumes/{name*}", self.inspect),
            Route("PUT", "/volumes/{name*}", self.update, since="1.42", limits=_NO_CLUSTER),
            Route("DELETE", "/volumes/{name*}", self.remove),
        ]

    async def listing(self, request: Request) -> Answer:
        filters = parse_filters(request.query.get("filters")).check(*_LIST_FILTERS)
        volumes = [one for one in await self._volumes.list() if self._matches(one, filters)]
        return json_response(
            {"Volumes": [volume_json(volume) for volume in volumes], "Warnings": None}
        )

    def _matches(self, volume: Volume, filters: Filters) -> bool:
        unused = not self._volumes.references(volume.name)
        return (
            filters.pattern("name", volume.name)
            and filters.exact("driver", volume.driver)
            and filters.labels(volume.labels)
            and filters.boolean("dangling", default=unused) == unused
        )

    async def create(self, request: Request) -> Answer:
        wanted = decode(await read_json(request, "volume.CreateOptions"), VolumeRequest)
        if wanted.cluster_volume_spec:
            raise Unsupported("cluster volumes are not supported by tiffin")
        volume = await self._volumes.create(
            wanted.name,
            driver=wanted.driver or "local",
            labels=wanted.labels,
            options=wanted.driver_opts,
        )
        return json_response(volume_json(volume), status=201)

    async def inspect(self, request: Request) -> Answer:
        return json_response(volume_json(await self._volumes.get(request.parameters["name"])))

    async def update(self, request: Request) -> Answer:
        await self._volumes.get(request.parameters["name"])
        raise Unsupported("cluster volumes are not supported by tiffin")

    async def remove(self, request: Request) -> Answer:
        await self._volumes.remove(request.parameters["name"], force=request.query.boolean("force"))
        return NO_CONTENT

    async def prune(self, request: Request) -> Answer:
        """Up to 1.41 all unused volumes; since then named ones only with the filter `all`."""
        filters = parse_filters(request.query.get("filters")).check(*_PRUNE_FILTERS)
        everything = filters.boolean("all", default=request.version.before("1.42"))

        def matches(volume: Volume) -> bool:
            # What is elsewhere, or limited, has been set up by somebody: Docker leaves it alone.
            wanted = not volume.options and (everything or volume.anonymous)
            return wanted and filters.labels(volume.labels)

        removed, reclaimed = await self._volumes.prune(matches)
        return json_response({"VolumesDeleted": removed, "SpaceReclaimed": reclaimed})


def volume_json(volume: Volume) -> dict[str, Any]:
    return {
        "CreatedAt": rfc3339(volume.created_ns // 1_000_000_000 * 1_000_000_000),
        "Driver": volume.driver,
        "Labels": volume.labels or None,
        "Mountpoint": volume.mountpoint,
        "Name": volume.name,
        "Options": volume.options or None,
        "Scope": "local",
    }
