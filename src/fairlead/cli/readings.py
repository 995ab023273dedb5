"""What two samples say together: shares of a CPU and requests a second, and the table that shows them.

Called by `fairlead stats`. Pure: samples in, readings and lines out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fairlead.cli.output import Cell, Row, size, table
from fairlead.cli.paint import Tone, symbol
from fairlead.controller.controls import StatsRow

HEADERS = ("REPLICA", "CPU %", "MEMORY / LIMIT", "MEM %", "PIDS", "IN FLIGHT", "REQ/S", "REQUESTS", "2XX", "4XX", "5XX")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One replica. None is what is not known: a share before the second sample, requests where none are counted.

    ``cpu_percent``: 100 is one core. ``memory_percent``: of its limit.
    """

    replica: str
    service: str
    cpu_percent: float | None
    cpu_s: float
    memory_bytes: int
    memory_limit_bytes: int | None
    memory_percent: float | None
    pids: int | None
    in_flight: int
    requests: int | None
    requests_per_s: float | None
    status: Mapping[str, int] | None


def readings(before: Sequence[StatsRow], after: Sequence[StatsRow]) -> list[Reading]:
    """What ``after`` says, and how it grew since ``before``."""
    earlier = {row.replica: row for row in before}
    return [_reading(earlier.get(row.replica), row) for row in after]


def _reading(before: StatsRow | None, row: StatsRow) -> Reading:
    limit = row.memory_limit_bytes
    cores = _rate(before, row, before.cpu_s, row.cpu_s) if before else None
    known = before is not None and before.requests is not None and row.requests is not None
    return Reading(
        replica=row.replica,
        service=row.service,
        cpu_percent=None if cores is None else round(cores * 100, 2),
        cpu_s=row.cpu_s,
        memory_bytes=row.memory_bytes,
        memory_limit_bytes=limit,
        memory_percent=round(row.memory_bytes / limit * 100, 2) if limit else None,
        pids=row.pids,
        in_flight=row.in_flight,
        requests=row.requests,
        requests_per_s=_rate(before, row, before.requests or 0, row.requests or 0) if before and known else None,
        status=row.status,
    )


def _rate(before: StatsRow, after: StatsRow, low: float, high: float) -> float | None:
    """Growth a second; None where the controller was started anew in between, so that its clock is another."""
    if after.at_s <= before.at_s:
        return None
    # A counter may begin again: a process that ended takes its CPU time with it, a proxy its requests.
    return max(high - low, 0.0) / (after.at_s - before.at_s)


def lines(found: Sequence[Reading]) -> list[str]:
    """The table, its header first."""
    return table(HEADERS, [_cells(reading) for reading in found])


def _cells(reading: Reading) -> Row:
    status = reading.status or {}
    limit = size(reading.memory_limit_bytes) if reading.memory_limit_bytes else symbol("dash")
    failed = status.get("5xx", 0)
    return (
        reading.replica,
        _number(reading.cpu_percent, 1, "%"),
        f"{size(reading.memory_bytes)} / {limit}",
        _number(reading.memory_percent, 1, "%"),
        _number(reading.pids),
        str(reading.in_flight),
        _number(reading.requests_per_s, 1),
        _number(reading.requests),
        *(_number(status.get(name)) for name in ("2xx", "4xx")),
        Cell(_number(status.get("5xx")), Tone.BAD if failed else Tone.PLAIN),
    )


def _number(value: float | None, decimals: int = 0, unit: str = "") -> str:
    return symbol("dash") if value is None else f"{value:.{decimals}f}{unit}"
