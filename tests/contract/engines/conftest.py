from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fairlead.engines.base import Engine
from tests.contract.engines.harness import HARNESSES, EngineHarness

MARKS = {"docker": (pytest.mark.docker,)}


@pytest.fixture(params=[pytest.param(name, marks=MARKS.get(name, ())) for name in sorted(HARNESSES)])
async def harness(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[EngineHarness]:
    made = HARNESSES[request.param](tmp_path)
    try:
        yield made
    finally:
        await made.close()


@pytest.fixture
async def engine(harness: EngineHarness) -> AsyncIterator[Engine]:
    opened = await harness.open()
    yield opened
    await opened.close()
