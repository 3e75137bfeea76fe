from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.unit.engine.world import Play, Scene, World


@pytest.fixture
def play(tmp_path: Path) -> Play:
    """Run a scene on a new world, within thirty seconds."""

    def run(scene: Scene) -> None:
        async def whole() -> None:
            world = World(tmp_path)
            try:
                async with asyncio.timeout(30):
                    await scene(world)
            finally:
                await world.supervisor.close()
                world.close()

        asyncio.run(whole())

    return run
