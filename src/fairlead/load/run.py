"""One run: requests on a schedule that no slow answer delays, streams beside them, and a report at the end.

Called by `__main__` and, inside a running event loop, by tests.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Coroutine
from itertools import count
from typing import Any

from fairlead.load.journal import audit
from fairlead.load.plan import Kind, LoadPlan
from fairlead.load.pool import Pool
from fairlead.load.report import Failure, FailureKind, Fault, Report
from fairlead.load.requests import Requests
from fairlead.load.streams import Streams


async def run(plan: LoadPlan, *, stop: asyncio.Event | None = None, report: Report | None = None) -> Report:
    """Send until ``plan.duration_s`` is over or ``stop`` is set, then let what is in flight end by itself.

    ``report`` may be handed in to be watched while it fills.
    """
    return await _Run(plan, stop or asyncio.Event(), report or Report()).whole()


class _Run:
    def __init__(self, plan: LoadPlan, stop: asyncio.Event, report: Report) -> None:
        self._plan = plan
        self._stop = stop
        self._report = report
        self._id = secrets.token_hex(4)
        self._numbers = count()
        self._over = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._pool = Pool(plan.host, plan.port)
        self._requests = Requests(plan, self._pool, report, set())
        self._streams = Streams(plan, report, self._over)

    async def whole(self) -> Report:
        started_s = time.monotonic()
        self._report.started_at_s = time.time()
        try:
            self._open_streams()
            await self._send_on_schedule(started_s)
            self._over.set()
            if self._tasks:
                await asyncio.wait(self._tasks)
        finally:
            await self._abandon()
        await self._audit()
        self._report.idle_closed = self._pool.idle_closed
        self._report.elapsed_s = time.monotonic() - started_s
        return self._report

    def _open_streams(self) -> None:
        wanted = {Kind.WEBSOCKET: self._plan.websockets, Kind.EVENTS: self._plan.event_streams}
        for kind, number in wanted.items():
            for index in range(number):
                # First lives of different lengths, so that the ends are spread from then on.
                self._begin(self._keep_open(kind, self._plan.stream_life_s * (index + 1) / number))

    async def _send_on_schedule(self, started_s: float) -> None:
        duration_s = self._plan.duration_s
        ends_s = float("inf") if duration_s is None else started_s + duration_s
        kinds = self._plan.mix.sequence()
        due_s = started_s if self._plan.rate else float("inf")
        while not self._stop.is_set() and (now_s := time.monotonic()) < ends_s:
            while due_s <= now_s:
                self._send(next(kinds), now_s - due_s)
                due_s += 1.0 / self._plan.rate
            await _wait(self._stop, min(due_s, ends_s, now_s + 1.0) - now_s)

    def _send(self, kind: Kind, late_s: float) -> None:
        self._report.lateness.add(late_s * 1000.0)
        if len(self._tasks) >= self._plan.max_in_flight:
            self._report.kinds[kind].sent += 1
            self._fail(kind, Fault(FailureKind.SATURATED, f"{len(self._tasks)} requests are open"), 0.0)
            return
        nonce = self._nonce()
        self._begin(self._count(kind, nonce, self._requests.once(kind, nonce)))

    async def _keep_open(self, kind: Kind, life_s: float) -> None:
        while not self._over.is_set():
            nonce = self._nonce()
            await self._count(kind, nonce, self._streams.once(kind, nonce, life_s))
            life_s = self._plan.stream_life_s
            # A server that ends every stream at once is not to be hammered.
            await _wait(self._over, self._plan.beat_s)

    async def _count(self, kind: Kind, nonce: str, attempt: Coroutine[Any, Any, None]) -> None:
        tally = self._report.kinds[kind]
        tally.sent += 1
        started_s = time.monotonic()
        try:
            await attempt
        except Fault as fault:
            self._fail(kind, fault, time.monotonic() - started_s, nonce)
        except Exception as error:
            self._fail(kind, Fault(FailureKind.CLIENT, repr(error)), time.monotonic() - started_s, nonce)
        else:
            tally.ok += 1

    def _fail(self, kind: Kind, fault: Fault, after_s: float, nonce: str = "") -> None:
        failure = Failure(
            at_s=time.time(),
            after_s=after_s,
            request=kind,
            kind=fault.kind,
            cause=fault.cause,
            replica=fault.replica,
            nonce=nonce,
        )
        self._report.fail(failure)

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _abandon(self) -> None:
        """Whatever is left when the run itself was cancelled."""
        left = set(self._tasks)
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left)
        self._pool.close()

    async def _audit(self) -> None:
        if self._plan.journal is None:
            return
        acknowledged = self._requests.acknowledged
        for fault in await asyncio.to_thread(
            lambda path: list(audit(path, self._id, acknowledged)), self._plan.journal
        ):
            self._report.kinds[Kind.POST].ok -= 1
            self._fail(Kind.POST, fault, 0.0)

    def _nonce(self) -> str:
        return f"{self._id}-{next(self._numbers)}"


async def _wait(event: asyncio.Event, timeout_s: float) -> None:
    """Until ``event`` is set, ``timeout_s`` at most."""
    try:
        async with asyncio.timeout(timeout_s):
            await event.wait()
    except TimeoutError:
        pass
