"""The controller as a process: one a machine and home, any number of projects.

Started by `fairlead controller run`, on demand by every command that needs one. It puts the synchronous core
between the adapters and the API; who keeps projects going is in `supervise`.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import msgspec
import psutil

from fairlead import __version__, logs
from fairlead.clock import Clock
from fairlead.controller import requests, rows
from fairlead.controller.adapters import DEFAULT_ENGINE, Adapters
from fairlead.controller.book import Book
from fairlead.controller.controls import (
    ControllerStatus,
    Operation,
    OperationKind,
    ProcessRow,
    ProjectStatus,
    ReleaseRow,
    ReplicaRow,
    StatsRow,
    UpRequest,
)
from fairlead.controller.core import Core
from fairlead.controller.execute import Executor
from fairlead.controller.feeds import follow_events, merged_logs
from fairlead.controller.intake import Intake
from fairlead.controller.neighbours import refuse_ports_of_others
from fairlead.controller.recover import Recovery
from fairlead.controller.supervise import Supervisor
from fairlead.controller.usage import process_rows, stats_rows
from fairlead.engines.base import CommandResult, Engine, EngineCapabilities, LogLine, Support
from fairlead.errors import NotFoundError, RefusedError, StoreConflictError, StoreError
from fairlead.plan.planner import Wanted
from fairlead.plan.preflight import preflight
from fairlead.routers.base import Router
from fairlead.settings import Settings
from fairlead.spec.model import Project
from fairlead.spec.report import unknown_service
from fairlead.store.base import Event, Store

FIRST_LOOK_TIMEOUT_S = 5.0
"""How long `ps` waits for a controller that has just started to have looked at the project."""

LEASE_INTERVAL_S = 10.0
"""How often a controller that has nothing to write looks whether it is still the one."""

_log = logs.room("controller.runtime")


class Controller:
    """Implements :class:`~fairlead.controller.controls.Controls`. All of it belongs to one event loop."""

    def __init__(
        self, settings: Settings, store: Store, clock: Clock, crash_at: str = "", adapters: Adapters | None = None
    ) -> None:
        """``adapters``: what to drive; else what ``settings`` say. ``crash_at``: see :class:`Executor`."""
        self._settings = settings
        self._store = store
        self._clock = clock
        self._started_at_s = clock.now_s()
        cores = os.cpu_count() or 1
        self._core = Core(store, holder=f"pid {os.getpid()}", cores=cores, now_s=clock.now_s())
        self._adapters = adapters or Adapters(settings)
        self._supervisor = Supervisor(self._core, self._adapters, Executor(self._core, crash_at), clock)
        self._intake = Intake(self._core, self._adapters, self._supervisor, clock)
        self._recovery = Recovery(self._core, self._adapters, self._supervisor, clock)
        self._ending = asyncio.Event()

    async def work(self) -> None:
        """Keep every project where it should be, until :meth:`stop_controller`.

        :raises ExceptionGroup: another controller has taken over.
        """
        try:
            async with asyncio.TaskGroup() as group:
                self._supervisor.begin(group)
                for name in sorted(self._core.books):
                    self._supervisor.wake(name)
                self._intake.take_up_again()
                usual = {DEFAULT_ENGINE, self._settings.engine or DEFAULT_ENGINE}
                await self._recovery.at_start(usual | self._adapters.used_before())
                await self._until_ended()
                raise _Ended
        except* _Ended:
            pass
        finally:
            try:
                await self._adapters.close()
            finally:
                self._store.close()

    async def _until_ended(self) -> None:
        """Wait; a controller that nobody asks anything would not notice otherwise that another one has taken over."""
        while not self._ending.is_set():
            try:
                async with asyncio.timeout(LEASE_INTERVAL_S):
                    await self._ending.wait()
            except TimeoutError:
                self._confirm_lease()

    def _confirm_lease(self) -> None:
        try:
            self._core.confirm_lease(self._clock.now_s())
        except StoreConflictError:
            raise
        except StoreError as error:
            _log.warning("cannot confirm the lease", error=error.message)

    # Operations

    def notice(self) -> str:
        return self._core.notice(self._clock.now_s())

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
        await self._recovery.until_begun(FIRST_LOOK_TIMEOUT_S)
        return tuple(self._status_of(book) for _, book in sorted(self._core.books.items()) if not book.gone)

    async def project(self, project: str) -> ProjectStatus:
        await self._recovery.until_begun(FIRST_LOOK_TIMEOUT_S)
        return self._status_of(self._core.book(project))

    def _status_of(self, book: Book) -> ProjectStatus:
        return rows.project_status(book, self._supervisor.last_look(book.name), self._clock.now_s())

    async def replicas(self, project: str | None = None) -> tuple[ReplicaRow, ...]:
        await self._recovery.until_begun(FIRST_LOOK_TIMEOUT_S)
        names = [project] if project is not None else sorted(self._core.books)
        books = [self._core.book(name) for name in names]
        seen = await asyncio.gather(*(self._supervisor.first_look(name, FIRST_LOOK_TIMEOUT_S) for name in names))
        now_s = self._clock.now_s()
        return tuple(
            row for book, look in zip(books, seen, strict=True) for row in rows.replica_rows(book, look, now_s)
        )

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
        engine = await self._engine_for(request)
        resolved = await self._adapters.engine(engine).resolve(request.project)
        refuse_ports_of_others(self._core.books, resolved, engine)
        return self._core.plan(replace(request, project=resolved)).to_json()

    async def up(self, request: UpRequest) -> Operation:
        requests.refuse_scale(request)
        engine = await self._engine_for(request)
        _refuse_unsupported(request.project, self._adapters.engine(engine).capabilities)
        refuse_ports_of_others(self._core.books, request.project, engine)
        request = replace(request, engine=engine)
        operation = self._core.open_operation(
            request.project.name, OperationKind.UP, self._clock.now_s(), request=msgspec.to_builtins(request)
        )
        self._intake.take(request, operation)
        return operation

    async def deploy(self, project: str, service: str, image: str | None, environment: Mapping[str, str]) -> Operation:
        await self._check(project, self._core.wanted_by_deploy(project, service, image, environment))
        operation = self._core.deploy(project, service, image, environment, self._clock.now_s())
        return self._woken(operation)

    async def rollback(self, project: str, release: int | None) -> Operation:
        await self._check(project, self._core.wanted_by_rollback(project, release))
        return self._woken(self._core.rollback(project, release, self._clock.now_s()))

    async def restart(self, project: str, services: Sequence[str]) -> Operation:
        await self._check(project, self._core.wanted_by_restart(project, tuple(services)))
        return self._woken(self._core.restart(project, tuple(services), self._clock.now_s()))

    async def scale(self, project: str, replicas: Mapping[str, int]) -> Operation:
        return self._woken(self._core.scale(project, replicas, self._clock.now_s()))

    async def pause(self, project: str) -> ProjectStatus:
        self._core.pause(project, self._clock.now_s())
        self._supervisor.wake(project)
        return await self.project(project)

    async def resume(self, project: str) -> ProjectStatus:
        self._core.resume(project, self._clock.now_s())
        self._supervisor.wake(project)
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
            raise unknown_service(project, unknown[0], book.services)
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

    async def _check(self, project: str, wanted: Mapping[str, Wanted]) -> None:
        """Find what could never start before anything that serves is touched."""
        engine, _ = self._adapters_of(project)
        await engine.check(project, self._core.coming(project, wanted))

    async def _engine_for(self, request: UpRequest) -> str:
        """The engine that ``request`` goes to; what it runs already is known from then on.

        :raises RefusedError: the project runs on another one, or is going down.
        """
        wanted = self._choice(request)
        await self._recovery.ask(wanted)
        return self._choice(request)

    def _choice(self, request: UpRequest) -> str:
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

    def _replica_ids(self, project: str, services: Sequence[str]) -> tuple[str, ...]:
        book = self._core.book(project)
        return tuple(
            instance.id
            for name, state in sorted(book.services.items())
            for instance in state.instances
            if not services or name in services
        )

    def _woken(self, operation: Operation) -> Operation:
        self._supervisor.wake(operation.project)
        return operation


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
