"""Keeps one driver a project going, and turns what engines, routers and probes push into reasons to look.

Used by `runtime`. Nothing that one project, one engine or one router does ends the controller; only the loss of the
lease does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from fairlead import logs
from fairlead.clock import Clock
from fairlead.controller.adapters import Adapters
from fairlead.controller.core import Core
from fairlead.controller.driver import Driver
from fairlead.controller.execute import Executor
from fairlead.errors import FairleadError, StoreConflictError
from fairlead.observed import Observation, ReplicaHealth
from fairlead.probes.runner import HealthMonitor
from fairlead.routers.base import RouterEventKind
from fairlead.store.base import Severity

FIRST_RETRY_S = 1.0
MOST_RETRY_S = 30.0

_log = logs.room("controller.supervise")

Work = Callable[[], Coroutine[Any, Any, None]]


class Supervisor:
    """Every driver of one controller. :meth:`begin` comes before everything else."""

    def __init__(self, core: Core, adapters: Adapters, executor: Executor, clock: Clock) -> None:
        self._core = core
        self._adapters = adapters
        self._executor = executor
        self._clock = clock
        self._monitor = HealthMonitor(self._on_health, clock=clock)
        self._drivers: dict[str, Driver] = {}
        self._going: dict[str, asyncio.Event] = {}
        self._pumped: set[str] = set()
        self._group: asyncio.TaskGroup | None = None

    def begin(self, group: asyncio.TaskGroup) -> None:
        """From now on work in ``group``."""
        self._group = group
        self.spawn(self._monitor.run())

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Do ``work`` beside everything else; an error that it raises ends the controller."""
        assert self._group is not None
        self._group.create_task(work)

    def wake(self, project: str) -> None:
        """There is a reason to look at ``project``; it gets a driver where it has none."""
        book = self._core.books.get(project)
        if book is None or book.gone:
            return
        if project not in self._drivers:
            self._drive(project)
        self._drivers[project].wake()

    async def first_look(self, project: str, timeout_s: float) -> Observation | None:
        """The last observation of ``project``; None where there is none in time."""
        driver = self._drivers.get(project)
        return await driver.first_look(timeout_s) if driver is not None else None

    def last_look(self, project: str) -> Observation | None:
        """The last observation of ``project`` so far."""
        driver = self._drivers.get(project)
        return driver.last_observation if driver is not None else None

    def is_cleaning_up(self, project: str) -> bool:
        """Whether ``project`` is empty and its driver still puts away what it leaves behind."""
        return project in self._drivers and self._drivers[project].is_cleaning_up

    async def until_cleaned_up(self, project: str) -> None:
        while self.is_cleaning_up(project):
            await self._going[project].wait()

    def _drive(self, project: str) -> None:
        driver = Driver(project, self._core, self._adapters, self._monitor, self._executor, self._clock)
        self._drivers[project] = driver
        self._going[project] = asyncio.Event()
        self._pump(self._core.book(project).project.engine)
        self.spawn(self._run_driver(driver))

    async def _run_driver(self, driver: Driver) -> None:
        try:
            await driver.run()
        finally:
            del self._drivers[driver.project]
            self._going.pop(driver.project).set()
        # It may have come back while its old driver was cleaning up.
        self.wake(driver.project)

    def _pump(self, engine_name: str) -> None:
        """Listen to an engine and its router; once an engine."""
        if engine_name in self._pumped:
            return
        self._pumped.add(engine_name)
        self.spawn(_kept_up(f"events of {engine_name}", lambda: self._engine_events(engine_name)))
        self.spawn(_kept_up(f"router of {engine_name}", lambda: self._adapters.router(engine_name).supervise()))
        self.spawn(_kept_up(f"events of the router of {engine_name}", lambda: self._router_events(engine_name)))

    async def _engine_events(self, engine_name: str) -> None:
        async for event in self._adapters.engine(engine_name).events():
            driver = self._driver_of(event.replica_id)
            if driver is not None:
                driver.wake()
            else:
                self._wake_all()

    async def _router_events(self, engine_name: str) -> None:
        async for event in self._adapters.router(engine_name).events():
            _log.info("router", kind=event.kind, event=event.message)
            if event.kind is RouterEventKind.OUTAGE:
                self._tell_all(engine_name, f"load balancer: {event.message}")
            self._wake_all()

    def _tell_all(self, engine_name: str, message: str) -> None:
        """Put an event into every project that runs on ``engine_name``."""
        here = [name for name, book in self._core.books.items() if not book.gone and book.project.engine == engine_name]
        for project in here:
            try:
                self._core.tell(project, "router", message, self._clock.now_s(), Severity.WARNING)
            except StoreConflictError:
                raise
            except FairleadError as error:
                _log.warning("cannot write down", project=project, error=error.message)

    def _on_health(self, replica_id: str, health: ReplicaHealth) -> None:
        driver = self._driver_of(replica_id)
        if driver is not None:
            driver.wake()

    def _driver_of(self, replica_id: str) -> Driver | None:
        return self._drivers.get(replica_id.split(".", 1)[0])

    def _wake_all(self) -> None:
        for driver in self._drivers.values():
            driver.wake()


async def _kept_up(what: str, work: Work) -> None:
    """Do ``work`` until it ends by itself; after an error again, with a growing pause."""
    pause_s = FIRST_RETRY_S
    while True:
        try:
            await work()
            return
        except StoreConflictError:
            raise
        except FairleadError as error:
            _log.warning("broke off", what=what, error=error.message)
        except Exception:
            _log.exception("broke off", what=what)
        await asyncio.sleep(pause_s)
        pause_s = min(2 * pause_s, MOST_RETRY_S)
