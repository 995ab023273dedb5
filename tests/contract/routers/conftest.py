from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fairlead.routers.base import Router
from tests.contract.routers.harness import HARNESSES, RouterHarness

MARKS = {"haproxy-container": (pytest.mark.docker,)}


@pytest.fixture(params=[pytest.param(name, marks=MARKS.get(name, ())) for name in sorted(HARNESSES)])
async def harness(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[RouterHarness]:
    made = HARNESSES[request.param](tmp_path)
    try:
        yield made
    finally:
        await made.close()


@pytest.fixture
async def router(harness: RouterHarness) -> Router:
    return await harness.open()
