"""What the replicas of one project use, and what runs in them: asked of the engine and the router on request.

Used by `runtime` for `fairlead stats` and `fairlead top`; nothing here is remembered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from fairlead import logs
from fairlead.clock import Clock
from fairlead.controller.controls import ProcessRow, ReplicaRow, StatsRow
from fairlead.engines.base import Engine, ReplicaProcess, ReplicaStats
from fairlead.errors import RouterError
from fairlead.routers.base import Router, TrafficSample

TRAFFIC_TIMEOUT_S = 5.0

_log = logs.room("controller.usage")


async def stats_rows(rows: Sequence[ReplicaRow], engine: Engine, router: Router, clock: Clock) -> tuple[StatsRow, ...]:
    """One row for each of ``rows`` (of one project) that runs.

    :raises EngineError: the engine does not answer.
    """
    if not rows:
        return ()
    used = await engine.stats([row.id for row in rows])
    at_s = clock.monotonic_s()
    traffic = await _traffic(rows[0].project, router)
    return tuple(
        _stats_row(row, used[row.id], [sample for sample in traffic if sample.replica_id == row.id], at_s)
        for row in rows
        if row.id in used
    )


async def _traffic(project: str, router: Router) -> tuple[TrafficSample, ...]:
    """The proxy's counters; none where it does not answer: what replicas use is known all the same."""
    try:
        async with asyncio.timeout(TRAFFIC_TIMEOUT_S):
            return await router.traffic(project)
    except (RouterError, TimeoutError) as error:
        _log.warning("no traffic to show", project=project, error=str(error))
        return ()


def _stats_row(row: ReplicaRow, used: ReplicaStats, traffic: Sequence[TrafficSample], at_s: float) -> StatsRow:
    status: dict[str, int] = {}
    for sample in traffic:
        for name, count in sample.status.items():
            status[name] = status.get(name, 0) + count
    return StatsRow(
        replica=row.id,
        service=row.service,
        at_s=at_s,
        cpu_s=used.cpu_s,
        memory_bytes=used.memory_bytes,
        memory_limit_bytes=used.memory_limit_bytes,
        pids=used.pids,
        in_flight=sum(sample.in_flight for sample in traffic) if traffic else row.in_flight,
        requests=sum(sample.requests for sample in traffic) if traffic else None,
        status=status if traffic else None,
    )


async def process_rows(rows: Sequence[ReplicaRow], engine: Engine) -> tuple[ProcessRow, ...]:
    """One row for each process of each of ``rows``.

    :raises EngineError: the engine does not answer.
    """
    found: list[ProcessRow] = []
    for row in rows:
        found.extend(_process_row(row, process) for process in await engine.processes(row.id))
    return tuple(found)


def _process_row(row: ReplicaRow, process: ReplicaProcess) -> ProcessRow:
    return ProcessRow(
        replica=row.id,
        service=row.service,
        pid=process.pid,
        parent=process.parent,
        user=process.user,
        started_at_s=process.started_at_s,
        cpu_s=process.cpu_s,
        memory_bytes=process.memory_bytes,
        command=process.command,
    )
