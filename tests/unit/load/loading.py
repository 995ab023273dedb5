"""The load of the tests of what a client notices: until it has happened, and what was reported then."""

import asyncio
from collections.abc import Callable

from fairlead.load import FailureKind, LoadPlan, Mix, Report, run

from .misbehaving import Server

KEPT = Mix(keep_alive=1, fresh=0, post=0, slow=0)
FRESH = Mix(keep_alive=0, fresh=1, post=0, slow=0)
POST = Mix(keep_alive=0, fresh=0, post=1, slow=0)
NOTHING = 0.0

Until = Callable[[Report], bool]


def failing(times: int = 2) -> Until:
    return lambda report: report.failed >= times


def answered(times: int = 10) -> Until:
    return lambda report: report.ok >= times


async def load(server: Server, until: Until, **options: object) -> Report:
    """Load until what the test is about has happened, however long this machine takes for it."""
    defaults: dict[str, object] = {"url": server.url, "rate": 100.0, "duration_s": None, "mix": KEPT, "slow_s": 0.01}
    plan = LoadPlan(**(defaults | options))  # type: ignore[arg-type]
    stop, report = asyncio.Event(), Report()
    running = asyncio.create_task(run(plan, stop=stop, report=report))
    try:
        async with asyncio.timeout(30):
            while not until(report) and not running.done():
                await asyncio.sleep(0.01)
    finally:
        stop.set()
        await running
    return report


def kinds(report: Report) -> set[FailureKind]:
    """What was reported, after the sums have been checked."""
    for tally in report.kinds.values():
        assert tally.sent == tally.ok + tally.failed
    return {failure.kind for failure in report.failures}
