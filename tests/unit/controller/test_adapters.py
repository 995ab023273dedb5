"""Which engine and router a project gets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fairlead.controller import adapters as module
from fairlead.controller.adapters import Adapters
from fairlead.engines.memory import MemoryEngine
from fairlead.engines.process import ProcessEngine
from fairlead.errors import RefusedError
from fairlead.routers.haproxy import HAProxyRouter
from fairlead.routers.memory import MemoryRouter
from fairlead.settings import Settings


@pytest.fixture
async def adapters(tmp_path: Path) -> Adapters:
    return Adapters(Settings(home=tmp_path))


async def test_local_processes_are_behind_haproxy_and_made_once(adapters: Adapters) -> None:
    engine, router = adapters.engine("process"), adapters.router("process")
    assert isinstance(engine, ProcessEngine)
    assert isinstance(router, HAProxyRouter)
    assert adapters.engine("process") is engine
    assert adapters.router("process") is router
    await adapters.close()


@pytest.mark.parametrize("name", ["podman", ""])
async def test_an_engine_that_does_not_exist_is_refused(adapters: Adapters, name: str) -> None:
    with pytest.raises(RefusedError, match="there is no engine") as found:
        adapters.engine(name)
    assert found.value.hint == "engines: process, docker"


async def test_an_engine_whose_package_is_missing_is_refused(
    adapters: Adapters, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> Any:
        raise ImportError(f"No module named {name}", name="aiodocker")

    monkeypatch.setattr(module, "import_module", missing)
    with pytest.raises(RefusedError, match="not installed: aiodocker") as found:
        adapters.engine("docker")
    assert found.value.hint == "pip install 'fairlead[docker]'"


async def test_what_is_there_already_is_used_and_closed(tmp_path: Path) -> None:
    engine, router = MemoryEngine(), MemoryRouter()
    adapters = Adapters(Settings(home=tmp_path), {"process": engine}, {"process": router})
    assert adapters.engine("process") is engine
    assert adapters.router("process") is router
    events = engine.events()
    await adapters.close()
    assert [event async for event in events] == []
