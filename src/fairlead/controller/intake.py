"""From what `up` asks for to a release: what it needs is prepared first, which may take minutes.

Used by `runtime`. Requests of one project are prepared in the order in which they came, so that an older one never
overtakes a newer one; each is in the store until its release has begun, and a controller that starts takes it up again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from weakref import WeakValueDictionary

import msgspec

from fairlead import logs
from fairlead.clock import Clock
from fairlead.controller.adapters import DEFAULT_ENGINE, Adapters
from fairlead.controller.controls import Operation, OperationState, UpRequest
from fairlead.controller.core import Core
from fairlead.controller.supervise import Supervisor
from fairlead.engines.base import Engine
from fairlead.errors import FairleadError, StoreConflictError, StoreError
from fairlead.spec.model import Project

STORE_RETRY_S = 1.0

_log = logs.room("controller.intake")


class Intake:
    """Every request that has not become a release yet."""

    def __init__(self, core: Core, adapters: Adapters, supervisor: Supervisor, clock: Clock) -> None:
        self._core = core
        self._adapters = adapters
        self._supervisor = supervisor
        self._clock = clock
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def take(self, request: UpRequest, operation: Operation) -> None:
        """Begin the release that ``request`` asks for, in the background, as ``operation``."""
        self._supervisor.spawn(self._in_turn(request, operation))

    def take_up_again(self) -> None:
        """What a controller before this one had not begun yet."""
        for book in self._core.books.values():
            pending = [book.operations[key] for key in book.requests if key in book.operations]
            for operation in sorted(pending, key=lambda operation: operation.started_at_s):
                self._supervisor.spawn(self._again(operation, book.requests[operation.id]))

    async def _again(self, operation: Operation, document: Mapping[str, Any]) -> None:
        try:
            request = msgspec.convert(document, UpRequest, strict=False)
        except msgspec.ValidationError as error:
            text = f"it was asked of another version of Fairlead and cannot be read: {error}"
            await self._fail(operation, FairleadError(text))
            return
        await self._in_turn(request, operation)

    async def _in_turn(self, request: UpRequest, operation: Operation) -> None:
        turn = self._turns.setdefault(operation.project, asyncio.Lock())
        async with turn:
            try:
                await self._begin(request, operation)
            except StoreConflictError:
                raise
            except FairleadError as error:
                await self._fail(operation, error)
            except Exception as error:
                _log.exception("cannot begin a release", project=operation.project)
                await self._fail(operation, FairleadError(f"{type(error).__name__}: {error}"))
            else:
                self._supervisor.wake(operation.project)

    async def _begin(self, request: UpRequest, operation: Operation) -> None:
        engine_name = request.engine or DEFAULT_ENGINE
        if self._is_over(operation):
            return
        project = await self._prepared(request.project, self._adapters.engine(engine_name))
        # Where no replica can be reached none gets ready, and the reason would be far to seek.
        await self._adapters.router(engine_name).reach()
        # `down` may have come meanwhile, and what came last counts.
        if not self._is_over(operation):
            self._core.up(replace(request, project=project), operation.id, engine_name, self._clock.now_s())

    async def _prepared(self, project: Project, engine: Engine) -> Project:
        while True:
            await self._supervisor.until_cleaned_up(project.name)
            prepared = await engine.prepare(project, lambda line: self._tell(project.name, line))
            # One that went down meanwhile takes its networks along, those that were just made too.
            if not self._supervisor.is_cleaning_up(project.name):
                return prepared

    def _is_over(self, operation: Operation) -> bool:
        known = self._core.book(operation.project).operations.get(operation.id)
        return known is None or known.ended_at_s is not None

    async def _fail(self, operation: Operation, cause: FairleadError) -> None:
        message = f"{cause.message} ({cause.hint})" if cause.hint else cause.message
        while not self._is_over(operation):
            try:
                now_s = self._clock.now_s()
                self._core.close_operation(
                    operation.project, operation.id, OperationState.FAILED, message, now_s, error=cause
                )
            except StoreConflictError:
                raise
            except StoreError as error:
                _log.warning("cannot write down", operation=operation.id, error=error.message)
                await asyncio.sleep(STORE_RETRY_S)

    def _tell(self, project: str, line: str) -> None:
        """A line of progress; one that cannot be stored now is no reason to give up what it reports."""
        try:
            self._core.tell(project, "prepare", line, self._clock.now_s())
        except StoreConflictError:
            raise
        except StoreError as error:
            _log.warning("cannot write down", project=project, line=line, error=error.message)
