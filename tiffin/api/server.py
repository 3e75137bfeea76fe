"""The Engine API of one engine: the table of its routes, served."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tiffin.api.builds import BuildRoutes
from tiffin.api.container_files import ContainerFileRoutes
from tiffin.api.container_streams import ContainerStreamRoutes
from tiffin.api.containers import ContainerRoutes
from tiffin.api.execs import ExecRoutes
from tiffin.api.images import ImageRoutes
from tiffin.api.listener import GRACE_SECONDS, Listener
from tiffin.api.networks import NetworkRoutes
from tiffin.api.refusals import refusals
from tiffin.api.router import Route, Router
from tiffin.api.search import SearchRoutes
from tiffin.api.statistics import StatisticsRoutes
from tiffin.api.system import SystemRoutes
from tiffin.api.upkeep import UpkeepRoutes
from tiffin.api.volumes import VolumeRoutes
from tiffin.api.websocket import WebsocketRoutes

if TYPE_CHECKING:
    from tiffin.engine.engine import Engine


def routes(engine: Engine, websockets: WebsocketRoutes | None = None) -> list[Route]:
    """The whole table, in the order in which it is searched."""
    websockets = websockets or WebsocketRoutes(engine)
    return [
        *SystemRoutes(engine).routes(),
        *ContainerRoutes(engine).routes(),
        *ContainerStreamRoutes(engine).routes(),
        *ContainerFileRoutes(engine).routes(),
        *StatisticsRoutes(engine).routes(),
        *websockets.routes(),
        *ExecRoutes(engine).routes(),
        *ImageRoutes(engine).routes(),
        *SearchRoutes(engine).routes(),
        *BuildRoutes(engine).routes(),
        *NetworkRoutes(engine).routes(),
        *VolumeRoutes(engine).routes(),
        *UpkeepRoutes(engine).routes(),
        *refusals(),
    ]


class Server(Listener):
    """A listener whose application is an engine."""

    def __init__(self, engine: Engine, *, debug: bool = False) -> None:
        self._websockets = WebsocketRoutes(engine)
        super().__init__(Router(routes(engine, self._websockets), debug=debug))

    async def close(self, grace_seconds: float = GRACE_SECONDS) -> None:
        await super().close(grace_seconds)
        await self._websockets.close()
