"""The route that searches registries for images."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from tiffin.api.messages import Answer, Request, json_response
from tiffin.api.router import Route
from tiffin.core.filters import Filters, parse_filters
from tiffin.errors import InvalidArgument

if TYPE_CHECKING:
    from tiffin.engine.engine import Engine

_FILTERS = ("is-automated", "is-official", "stars")


class SearchRoutes:
    def __init__(self, engine: Engine) -> None:
        self._images = engine.images

    def routes(self) -> list[Route]:
        return [Route("GET", "/images/search", self.search, dies_with_client=True)]

    async def search(self, request: Request) -> Answer:
        limit = _limit(request)
        filters = parse_filters(request.query.get("filters")).check(*_FILTERS)
        least = max(filters.integers("stars"), default=0)
        official = filters.boolean("is-official", default=False)
        if filters.boolean("is-automated", default=False):
            return json_response([])  # nothing is, any more
        found = await self._images.search(
            request.query.get("term"), limit, request.header("x-registry-auth")
        )
        return json_response(
            [
                msgspec.structs.replace(one, is_automated=False)
                for one in found
                if one.star_count >= least and _is_wanted(filters, official, one.is_official)
            ]
        )


def _limit(request: Request) -> int:
    try:
        limit = request.query.integer("limit")
    except InvalidArgument as error:
        raise InvalidArgument(f"invalid limit specified: {error.message}") from error
    if limit < 0:
        raise InvalidArgument("invalid limit specified")
    return limit


def _is_wanted(filters: Filters, official: bool, is_official: bool) -> bool:
    return "is-official" not in filters or official == is_official
