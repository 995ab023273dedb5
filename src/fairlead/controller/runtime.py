"""The controller as a process: one a machine and home, any number of projects.

Started by `fairlead controller run`, on demand by every command that needs one. It puts the synchronous core
between the real adapters and the API, and keeps one driver a project running.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from dataclasses import replace
from typing import Any

import msgspec
import psutil

from fairlead import __version__, logs
from fairlead.clock import Clock
from fairlead.controller import rows
from fairlead.controller.adapters import DEFAULT_ENGINE, Adapters
from fairlead.controller.book import Book
from fairlead.controller.controls import (
    ControllerStatus,
    Operation,
    OperationKind,
    OperationState,
    ProcessRow,
    ProjectStatus,
    ReleaseRow,
    ReplicaRow,
    StatsRow,
    UpRequest,
)
from fairlead.controller.core import Core
from fairlead.controller.driver import Driver
from fairlead.controller.execute import Executor
from fairlead.controller.feeds import follow_events, merged_logs
from fairlead.controller.usage import process_rows, stats_rows
from fairlead.engines.base import CommandResult, Engine, EngineCapabilities, LogLine, Support
from fairlead.errors import FairleadError, NotFoundError, RefusedError
from fairlead.observed import ReplicaHealth
from fairlead.plan.preflight import preflight
from fairlead.probes.runner import HealthMonitor
from fairlead.routers.base import Router
from fairlead.settings import Settings
from fairlead.spec.model import Project
from fairlead.store.base import Event, Store

FIRST_LOOK_TIMEOUT_S = 5.0
"""How long `ps` waits for a controller that has just started to have looked at the project."""

_log = logs.room("controller")


class Controller:
    """Implements :class:`~fairlead.controller.controls.Controls`. All of it belongs to one event loop."""

    def __init__(self, settings: Settings, store: Store, clock: Clock, crash_at: str = "") -> None:
        self._settings = settings
        self._store = store
        self._clock = clock
        self._started_at_s = clock.now_s()
        cores = os.cpu_count() or 1
        self._core = Core(store, holder=f"pid {os.getpid()}", cores=cores, now_s=clock.now_s())
        self._adapters = Adapters(settings)
        self._monitor = HealthMonitor(self._on_health, clock=clock)
        self._executor = Executor(self._core, crash_at)
        self._drivers: dict[str, Driver] = {}
        self._going: dict[str, asyncio.Event] = {}
        self._pumped: set[str] = set()
        self._group: asyncio.TaskGroup | None = None
        self._ending = asyncio.Event()

    async def work(self) -> None:
        """Keep every project where it should be, until :meth:`stop_controller`.

        :raises ExceptionGroup: another controller has taken over.
        """
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                group.create_task(self._monitor.run(), name="probes")
                await self._adopt(DEFAULT_ENGINE)
                for name, book in sorted(self._core.books.items()):
                    if not book.gone:
                        self._drive(name)
                    for operation_id, request in book.requests.items():
                        self._spawn(self._begin(_request_of(request), self._core.operation(name, operation_id)))
                await self._ending.wait()
                raise _Ended
        except* _Ended:
            pass
        finally:
            await self._adapters.close()
            self._store.close()

    # Operations

    async def status(self) -> ControllerStatus:
        process = psutil.Process()
        times = process.cpu_times()
        return ControllerStatus(
            pid=os.getpid(),
            version=__version__,
            epoch=self._core.epoch,
            home=str(self._settings.home),
            started_at_s=self._started_at_s,
            projects=tuple(sorted(name for name, book in self._core.books.items() if not book.gone)),
            memory_bytes=process.memory_info().rss,
            cpu_s=times.user + times.system,
        )

    async def projects(self) -> tuple[ProjectStatus, ...]:
        return tuple(self._status_of(book) for _, book in sorted(self._core.books.items()) if not book.gone)

    async def project(self, project: str) -> ProjectStatus:
        return self._status_of(self._core.book(project))

    def _status_of(self, book: Book) -> ProjectStatus:
        driver = self._drivers.get(book.name)
        return rows.project_status(book, driver.last_observation if driver else None, self._clock.now_s())

    async def replicas(self, project: str | None = None) -> tuple[ReplicaRow, ...]:
        names = [project] if project is not None else sorted(self._core.books)
        found: list[ReplicaRow] = []
        for name in names:
            driver = self._drivers.get(name)
            seen = await driver.first_look(FIRST_LOOK_TIMEOUT_S) if driver else None
            found.extend(rows.replica_rows(self._core.book(name), seen, self._clock.now_s()))
        return tuple(found)

    async def stats(self, project: str) -> tuple[StatsRow, ...]:
        engine, router = self._adapters_of(project)
        return await stats_rows(await self.replicas(project), engine, router, self._clock)

    async def processes(self, project: str) -> tuple[ProcessRow, ...]:
        engine, _ = self._adapters_of(project)
        return await process_rows(await self.replicas(project), engine)

    async def history(self, project: str) -> tuple[ReleaseRow, ...]:
        return rows.release_rows(self._core.book(project), self._clock.now_s())

    async def operation(self, project: str, operation_id: str) -> Operation:
        return self._core.operation(project, operation_id)

    async def plan(self, request: UpRequest) -> Mapping[str, Any]:
        engine = self._adapters.engine(self._engine_for(request))
        resolved = await engine.resolve(request.project)
        return self._core.plan(replace(request, project=resolved)).to_json()

    async def up(self, request: UpRequest) -> Operation:
        name = request.project.name
        engine = self._engine_for(request)
        _refuse_unsupported(request.project, self._adapters.engine(engine).capabilities)
        request = replace(request, engine=engine)
        operation = self._core.open_operation(
            name, OperationKind.UP, self._clock.now_s(), request=msgspec.to_builtins(request)
        )
        self._spawn(self._begin(request, operation))
        return operation

    async def deploy(self, project: str, service: str, image: str | None, environment: Mapping[str, str]) -> Operation:
        operation = self._core.deploy(project, service, image, environment, self._clock.now_s())
        return self._woken(operation)

    async def rollback(self, project: str, release: int | None) -> Operation:
        return self._woken(self._core.rollback(project, release, self._clock.now_s()))

    async def restart(self, project: str, services: Sequence[str]) -> Operation:
        return self._woken(self._core.restart(project, tuple(services), self._clock.now_s()))

    async def scale(self, project: str, replicas: Mapping[str, int]) -> Operation:
        return self._woken(self._core.scale(project, replicas, self._clock.now_s()))

    async def pause(self, project: str) -> ProjectStatus:
        self._core.pause(project, self._clock.now_s())
        self._wake(project)
        return await self.project(project)

    async def resume(self, project: str) -> ProjectStatus:
        self._core.resume(project, self._clock.now_s())
        self._wake(project)
        return await self.project(project)

    async def down(self, project: str, volumes: bool) -> Operation:
        return self._woken(self._core.down(project, volumes, self._clock.now_s()))

    def events(
        self, project: str | None, *, after: int = 0, last: int | None = None, follow: bool = False
    ) -> AsyncIterator[Event]:
        return follow_events(self._store, project, after=after, last=last, follow=follow)

    def logs(
        self, project: str, services: Sequence[str], *, follow: bool = False, tail: int | None = None
    ) -> AsyncIterator[LogLine]:
        book = self._core.present(project)
        unknown = sorted(set(services) - set(book.services))
        if unknown:
            known = ", ".join(sorted(book.services)) or "none"
            raise NotFoundError(f"{project} has no service {unknown[0]!r}", hint=f"services: {known}")
        engine = self._adapters.engine(book.project.engine)
        return merged_logs(engine, lambda: self._replica_ids(project, services), follow=follow, tail=tail)

    async def run(self, project: str, replica_id: str, argv: Sequence[str], timeout_s: float) -> CommandResult:
        book = self._core.present(project)
        if replica_id not in self._replica_ids(project, ()):
            raise NotFoundError(f"{project} has no replica {replica_id!r}", hint="`fairlead ps` lists them")
        return await self._adapters.engine(book.project.engine).run(replica_id, argv, timeout_s)

    async def stop_controller(self) -> None:
        self.end()

    def end(self) -> None:
        """Let :meth:`work` return; replicas and load balancers go on."""
        self._ending.set()

    # Inside

    def _adapters_of(self, project: str) -> tuple[Engine, Router]:
        name = self._core.present(project).project.engine
        return self._adapters.engine(name), self._adapters.router(name)

    def _engine_for(self, request: UpRequest) -> str:
        book = self._core.books.get(request.project.name)
        has = book.project.engine if book is not None and not book.gone else None
        wanted = request.engine or has or self._settings.engine or DEFAULT_ENGINE
        if has and wanted != has:
            raise RefusedError(
                f"{request.project.name} runs on the engine {has}, not {wanted}",
                hint=f"`fairlead down` first, then `fairlead up --engine {wanted}`",
            )
        if book is not None and not book.gone and book.project.leaving:
            raise RefusedError(
                f"project {request.project.name!r} is going down", hint="wait for `fairlead down` to end"
            )
        return wanted

    async def _begin(self, request: UpRequest, operation: Operation) -> None:
        """Prepare what the release needs (images, networks), then begin it."""
        name, engine_name = request.project.name, request.engine or DEFAULT_ENGINE
        await self._until_cleaned_up(name)
        try:
            engine = self._adapters.engine(engine_name)
            project = await engine.prepare(request.project, lambda line: self._tell(name, line))
            self._core.up(replace(request, project=project), operation.id, engine_name, self._clock.now_s())
        except FairleadError as error:
            text = f"{error.message} ({error.hint})" if error.hint else error.message
            now_s = self._clock.now_s()
            self._core.close_operation(name, operation.id, OperationState.FAILED, text, now_s)
            return
        self._wake(name)

    async def _until_cleaned_up(self, project: str) -> None:
        """A project of that name that has just gone down may still be cleaning up after itself."""
        leaving = self._going.get(project)
        if leaving is not None and self._core.book(project).gone:
            await leaving.wait()

    async def _adopt(self, engine_name: str) -> None:
        """Find again what a lost store has forgotten: replicas carry what they were started from."""
        engine = self._adapters.engine(engine_name)
        for project in await engine.projects():
            book = self._core.books.get(project)
            if book is None or book.gone:
                self._core.adopt(project, engine_name, await engine.recall(project), self._clock.now_s())

    def _tell(self, project: str, line: str) -> None:
        self._core.tell(project, "prepare", line, self._clock.now_s())

    def _replica_ids(self, project: str, services: Sequence[str]) -> tuple[str, ...]:
        book = self._core.book(project)
        return tuple(
            instance.id
            for name, state in sorted(book.services.items())
            for instance in state.instances
            if not services or name in services
        )

    def _woken(self, operation: Operation) -> Operation:
        self._wake(operation.project)
        return operation

    def _wake(self, project: str) -> None:
        book = self._core.books.get(project)
        if book is None or book.gone:
            return
        if project not in self._drivers:
            self._drive(project)
        self._drivers[project].wake()

    def _wake_all(self) -> None:
        for driver in self._drivers.values():
            driver.wake()

    def _on_health(self, replica_id: str, health: ReplicaHealth) -> None:
        driver = self._drivers.get(replica_id.split(".", 1)[0])
        if driver is not None:
            driver.wake()

    def _drive(self, project: str) -> None:
        engine = self._core.book(project).project.engine
        driver = Driver(project, self._core, self._adapters, self._monitor, self._executor, self._clock)
        self._drivers[project] = driver
        self._going[project] = asyncio.Event()
        self._pump(engine)
        self._spawn(self._run_driver(driver))

    async def _run_driver(self, driver: Driver) -> None:
        try:
            await driver.run()
        finally:
            if self._drivers.get(driver.project) is driver:
                del self._drivers[driver.project]
                self._going.pop(driver.project).set()
        self._wake(driver.project)

    def _pump(self, engine_name: str) -> None:
        """Turn what an engine and its router push into reasons to look; once an engine."""
        if engine_name in self._pumped:
            return
        self._pumped.add(engine_name)
        router = self._adapters.router(engine_name)
        self._spawn(self._engine_events(engine_name))
        self._spawn(router.supervise())
        self._spawn(self._router_events(engine_name))

    async def _engine_events(self, engine_name: str) -> None:
        async for event in self._adapters.engine(engine_name).events():
            driver = self._drivers.get(event.replica_id.split(".", 1)[0])
            if driver is not None:
                driver.wake()
            else:
                self._wake_all()

    async def _router_events(self, engine_name: str) -> None:
        async for word in self._adapters.router(engine_name).events():
            _log.info("router", event=word)
            self._wake_all()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        assert self._group is not None
        self._group.create_task(work)


class _Ended(Exception):
    """Ends the task group in order."""


def _refuse_unsupported(project: Project, capabilities: EngineCapabilities) -> None:
    """Refuse what the engine cannot do; the command line has asked already, other clients may not have.

    :raises RefusedError: with every key that is refused and its place.
    """
    refused = [finding for finding in preflight(project, capabilities) if finding.support is Support.REFUSED]
    if refused:
        raise RefusedError(
            f"the {capabilities.name} engine cannot run {project.name}:\n" + "\n".join(f"  {f}" for f in refused)
        )


def _request_of(document: Mapping[str, Any]) -> UpRequest:
    return msgspec.convert(document, UpRequest, strict=False)
