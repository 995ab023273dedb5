from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fairlead.engines.process import ProcessEngine
from tests.integration.process_engine.world import World


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path)
    try:
        yield made
    finally:
        await made.close()


@pytest.fixture
async def engine(world: World) -> AsyncIterator[ProcessEngine]:
    opened = await world.open()
    yield opened
    await opened.close()
