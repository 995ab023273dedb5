"""Which engine and which router a project has, made when first needed.

Used by `runtime`. The process engine's replicas are behind a HAProxy process of this home, those of the Docker
engine behind one in a container.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from fairlead.engines.base import Engine
from fairlead.errors import RefusedError
from fairlead.routers.base import Router
from fairlead.settings import ENGINES, Settings

DEFAULT_ENGINE = "process"


class Adapters:
    """The engines and routers in use, one of each kind; ``engines`` and ``routers`` (by engine) are there already."""

    def __init__(
        self,
        settings: Settings,
        engines: Mapping[str, Engine] | None = None,
        routers: Mapping[str, Router] | None = None,
    ) -> None:
        self._settings = settings
        self._engines = dict(engines or {})
        self._routers = dict(routers or {})

    def engine(self, name: str) -> Engine:
        """The engine called ``name``.

        :raises RefusedError: there is no such engine, or what it needs is not installed.
        """
        if name not in self._engines:
            self._engines[name] = self._make_engine(name)
        return self._engines[name]

    def router(self, engine: str) -> Router:
        """The router in front of the replicas of ``engine``."""
        if engine not in self._routers:
            self._routers[engine] = self._make_router(engine)
        return self._routers[engine]

    def used_before(self) -> frozenset[str]:
        """Engines that have left something in this home, whatever the store says."""
        return frozenset(name for name in ENGINES if (self._settings.home / name).is_dir())

    async def close(self) -> None:
        """Let go of all of them; replicas and load balancers go on."""
        for router in self._routers.values():
            await router.close()
        for engine in self._engines.values():
            await engine.close()

    def _make_engine(self, name: str) -> Engine:
        if name not in ENGINES:
            raise RefusedError(f"there is no engine {name!r}", hint=f"engines: {', '.join(ENGINES)}")
        if name == "docker":
            return _docker_engine(self._settings)
        from fairlead.engines.process import ProcessEngine

        return ProcessEngine(self._settings.home)

    def _make_router(self, engine: str) -> Router:
        from fairlead.routers.haproxy import HAProxyRouter

        binary = str(self._settings.haproxy) if self._settings.haproxy else None
        if engine == "docker":
            container: Any = import_module("fairlead.routers.haproxy.docker")
            made: Router = container.create(self._settings.home)
            return made
        return HAProxyRouter(self._settings.home, binary=binary)


def _docker_engine(settings: Settings) -> Engine:
    try:
        docker: Any = import_module("fairlead.engines.docker.engine")
    except ImportError as error:
        raise RefusedError(
            f"the docker engine needs a package that is not installed: {error.name}",
            hint="pip install 'fairlead[docker]'",
        ) from error
    import os

    engine: Engine = docker.create(settings.home, os.environ)
    return engine
