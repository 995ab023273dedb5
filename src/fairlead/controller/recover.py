"""Find again what a lost store has forgotten: replicas carry what they were started from.

Used by `runtime`: at its start for the engine that is there as a rule, and before the first release on any other one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping

from fairlead import logs
from fairlead.clock import Clock
from fairlead.controller.adapters import Adapters
from fairlead.controller.core import Core
from fairlead.controller.supervise import Supervisor
from fairlead.errors import FairleadError, StoreConflictError
from fairlead.routing import RouteStatus

_log = logs.room("controller.recover")


class Recovery:
    """Looks at each engine once."""

    def __init__(self, core: Core, adapters: Adapters, supervisor: Supervisor, clock: Clock) -> None:
        self._core = core
        self._adapters = adapters
        self._supervisor = supervisor
        self._clock = clock
        self._asked: set[str] = set()
        self._begun = asyncio.Event()
        self._turn = asyncio.Lock()

    async def at_start(self, engines: Iterable[str]) -> None:
        """Look at those of ``engines`` that answer; one that does not is no reason not to start."""
        for name in sorted(set(engines)):
            try:
                await self.ask(name)
            except StoreConflictError:
                raise
            except FairleadError as error:
                _log.warning("cannot look for projects", engine=name, error=error.message)
        self._begun.set()

    async def until_begun(self, timeout_s: float) -> None:
        """Until :meth:`at_start` has looked everywhere, but not longer than that: then what is known must do."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._begun.wait()
        except TimeoutError:
            _log.warning("still looking for projects", waited_s=timeout_s)

    async def ask(self, engine_name: str) -> None:
        """Go on with every project that runs on this engine and that the store does not know.

        :raises EngineError: it does not answer.
        """
        async with self._turn:
            if engine_name in self._asked:
                return
            engine = self._adapters.engine(engine_name)
            for project in await engine.projects():
                book = self._core.books.get(project)
                if book is None or book.gone:
                    specs = await engine.recall(project)
                    routes = await self._served(engine_name, project)
                    self._core.adopt(project, engine_name, specs, routes, self._clock.now_s())
                    self._supervisor.wake(project)
            self._asked.add(engine_name)

    async def _served(self, engine_name: str, project: str) -> Mapping[str, RouteStatus]:
        """What the proxy serves of ``project``; nothing where it does not answer."""
        try:
            return await self._adapters.router(engine_name).observe(project)
        except FairleadError as error:
            _log.warning("cannot ask who serves", project=project, error=error.message)
            return {}
