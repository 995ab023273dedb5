"""Carry out one journalled command: one external call with a deadline. Decides nothing.

Used by `driver`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

from fairlead import logs
from fairlead.controller.core import Core, Order
from fairlead.controller.crash import CrashPoint
from fairlead.engines.base import Engine
from fairlead.errors import DeadlineError, EngineError, FairleadError
from fairlead.rollout import commands
from fairlead.routers.base import Router

START_TIMEOUT_S = 120.0
STOP_MARGIN_S = 30.0
REMOVE_TIMEOUT_S = 60.0
ROUTES_TIMEOUT_S = 30.0

_log = logs.room("controller.execute")


class Executor:
    """Carries out orders for one controller."""

    def __init__(self, core: Core, crash_at: str = "") -> None:
        """``crash_at``: see :mod:`fairlead.controller.crash`."""
        self._core = core
        self._crash = CrashPoint(crash_at)

    async def carry_out(self, order: Order, engine: Engine, router: Router) -> FairleadError | None:
        """Do it; the error where it could not be done."""
        number = self._crash.begin()
        self._crash.reached(number, "before")
        try:
            await self._call(order, engine, router)
        except FairleadError as error:
            _log.warning("failed", command=order.command.key, error=error.message)
            return error
        except Exception as error:
            _log.exception("failed unexpectedly", command=order.command.key)
            return EngineError(f"{order.command.key}: {type(error).__name__}: {error}")
        self._crash.reached(number, "after")
        _log.info("done", command=order.command.key, cause=order.command.cause)
        return None

    async def _call(self, order: Order, engine: Engine, router: Router) -> None:
        match order.command:
            case commands.StartReplica():
                spec = self._core.replica_spec(order)
                await _within(START_TIMEOUT_S, engine.start(spec), order)
            case commands.StopReplica(replica_id=replica_id, grace_s=grace_s, signal=name):
                await _within(grace_s + STOP_MARGIN_S, engine.stop(replica_id, grace_s, name), order)
            case commands.RemoveReplica(replica_id=replica_id):
                await _within(REMOVE_TIMEOUT_S, engine.remove(replica_id), order)
            case commands.ApplyRoutes(routes=routes):
                await _within(ROUTES_TIMEOUT_S, router.apply(order.project, routes), order)
            case commands.ShedStreams(replica_id=replica_id, share=share):
                await _within(ROUTES_TIMEOUT_S, router.shed(order.project, replica_id, share), order)


async def _within(timeout_s: float, call: Awaitable[object], order: Order) -> None:
    try:
        async with asyncio.timeout(timeout_s):
            await call
    except TimeoutError:
        raise DeadlineError(f"{order.command.key} is not done after {timeout_s:g} s") from None
