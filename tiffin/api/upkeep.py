"""`POST /tiffin/check`, beyond Docker and so outside its paths: finds and mends leftovers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tiffin.api.messages import Answer, Request, json_response
from tiffin.api.router import Route

if TYPE_CHECKING:
    from tiffin.engine.engine import Engine


class UpkeepRoutes:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def routes(self) -> list[Route]:
        return [Route("POST", "/tiffin/check", self.check)]

    async def check(self, request: Request) -> Answer:
        """`repair`: mend what is found. What the daemon's own start has mended comes with it."""
        check = self._engine.check
        findings = await check.run(repair=request.query.boolean("repair"))
        return json_response({"Findings": findings, "AtStart": check.at_start})
