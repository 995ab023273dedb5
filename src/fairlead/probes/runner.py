"""Runs the probes of every watched replica when they are due, and tells when a verdict changes.

Used by `controller`: it calls :meth:`HealthMonitor.watch` for each replica that runs, :meth:`HealthMonitor.forget` for
each that does not, and reads :meth:`HealthMonitor.health` when it observes. One task keeps the times of all replicas in
one heap; only a probe that is under way has a task of its own.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from fairlead import logs
from fairlead.clock import Clock
from fairlead.errors import RouterError
from fairlead.observed import Health, ReplicaHealth
from fairlead.probes import command, http, tcp
from fairlead.probes.base import ProbeResult, ProbeTarget
from fairlead.probes.derive import probes_for
from fairlead.probes.judge import JudgeState, Role, begin, judge, next_due, probe_of, settled
from fairlead.spec.model import Probe, ProbeKind, Service

OnChange = Callable[[str, ReplicaHealth], None]
"""Told the replica's id and its new verdict, in the event loop; it must return at once."""

CONCURRENCY = {ProbeKind.TCP: 64, ProbeKind.HTTP: 64, ProbeKind.COMMAND: 16}
"""Probes under way at a time. Each kind has its own share: commands that hang cannot keep tcp probes waiting."""

_GRACE_S = 1.0
"""How long over its own timeout a probe may take before it is cancelled."""

_FAR_GRACE_S = 15.0
"""The same where somebody else looks at the clock, and the question has a way to go."""

_NO_WAY_S = 0.25
"""When to look again for a way to replicas that cannot be reached from here."""

_IDLE_S = 60.0
_ROUND_S = 0.125
_FAR_S = 0.5

_log = logs.room("probes")


class Checks:
    """The three kinds of probes behind one method."""

    async def probe(self, target: ProbeTarget, probe: Probe) -> ProbeResult:
        match probe.kind:
            case ProbeKind.TCP:
                return await tcp.probe(target, probe)
            case ProbeKind.HTTP:
                return await http.probe(target, probe)
            case ProbeKind.COMMAND:
                return await command.probe(target, probe)


@dataclass(slots=True, kw_only=True)
class _Watched:
    """One replica. ``waiting``: the roles that have an entry in the heap or in a lane, or that are under way.

    ``healthcheck``: the command that an engine with health checks of its own runs by itself; ``source``: where
    it is from, for the reason of a failure, where a reader of the file would look for it in vain. ``vouched``: it has
    passed there once; what it says before that is of a start, and may lag behind our own first pass by an interval.
    """

    replica_id: str
    target: ProbeTarget
    state: JudgeState
    healthcheck: Sequence[str] = ()
    source: str = ""
    vouched: bool = False
    waiting: set[Role] = field(default_factory=set)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    forgotten: bool = False


@dataclass(slots=True, kw_only=True)
class _Lane:
    """The share of one kind: how many more may start, and who is next."""

    free: int
    next: deque[tuple[_Watched, Role, Probe]] = field(default_factory=deque)


class HealthMonitor:
    """Knows the health of every watched replica while :meth:`run` runs. All of it belongs to one event loop."""

    def __init__(self, on_change: OnChange, *, clock: Clock, checks: Checks | None = None) -> None:
        self._on_change = on_change
        self._clock = clock
        self._checks = checks or Checks()
        self._watched: dict[str, _Watched] = {}
        self._due: list[tuple[float, int, _Watched, Role]] = []
        self._order = 0
        self._lanes = {kind: _Lane(free=count) for kind, count in CONCURRENCY.items()}
        self._earlier = asyncio.Event()

    def watch(self, replica_id: str, service: Service, target: ProbeTarget) -> None:
        """Probe ``target`` from now on. Nothing happens if it is watched already, with these probes and addresses."""
        check = target.native_check if service.health_is_up_to_the_image else None
        if check is not None:
            service = replace(service, healthcheck=check)
        probes = probes_for(service)
        known = self._watched.get(replica_id)
        if known is not None:
            if known.state.probes == probes and _places(known.target) == _places(target):
                before, known.target = known.target.native_health, target
                known.vouched = known.vouched or target.native_health is Health.READY
                if target.native_health is not before:
                    self._hear_engine(known)
                return
            self.forget(replica_id)
        watched = _Watched(
            replica_id=replica_id,
            target=target,
            state=begin(probes, replica_id, self._clock.monotonic_s()),
            healthcheck=service.healthcheck.test if service.healthcheck is not None else (),
            source=" (the image's HEALTHCHECK)" if check is not None else "",
            vouched=target.native_health is Health.READY,
        )
        self._watched[replica_id] = watched
        self._schedule(watched)

    def forget(self, replica_id: str) -> None:
        """Stop probing, in the middle of a probe too; nothing happens if the replica is not watched."""
        watched = self._watched.pop(replica_id, None)
        if watched is not None:
            watched.forgotten = True
            for task in watched.tasks:
                task.cancel()

    def asks(self, replica_id: str) -> bool:
        """Whether the replica itself is asked again and again, so that its health shows that it lives.

        One without a probe, or with the verdict of its engine alone, is called ready long after it has gone.
        """
        watched = self._watched.get(replica_id)
        if watched is None:
            return False
        probes = [probe_of(watched.state, role) for role in (Role.READINESS, Role.LIVENESS)]
        return watched.target.native_health is None and any(probe is not None for probe in probes)

    def health(self) -> Mapping[str, ReplicaHealth]:
        """The verdict on each watched replica, sorted by id."""
        return {replica_id: watched.state.health for replica_id, watched in sorted(self._watched.items())}

    async def run(self) -> None:
        """Probe until cancelled.

        :raises ExceptionGroup: ``on_change`` raised.
        """
        async with asyncio.TaskGroup() as group:
            while True:
                self._start_what_is_due(group)
                await self._wait()

    async def _wait(self) -> None:
        """Until the next probe is due, or something became due earlier."""
        self._earlier.clear()
        wait_s = self._due[0][0] - self._clock.monotonic_s() if self._due else _IDLE_S
        if wait_s <= 0:
            await asyncio.sleep(0)
            return
        try:
            async with asyncio.timeout(min(wait_s, _IDLE_S)):
                await self._earlier.wait()
        except TimeoutError:
            pass

    def _schedule(self, watched: _Watched) -> None:
        """Enter every role that is to run and is not entered yet."""
        for role, due_s in next_due(watched.state).items():
            if role in watched.waiting:
                continue
            watched.waiting.add(role)
            self._order += 1
            due_s = _gathered(due_s, self._clock.monotonic_s())
            if not self._due or due_s < self._due[0][0]:
                self._earlier.set()
            heapq.heappush(self._due, (due_s, self._order, watched, role))

    def _start_what_is_due(self, group: asyncio.TaskGroup) -> None:
        now_s = self._clock.monotonic_s()
        while self._due and self._due[0][0] <= now_s:
            _, _, watched, role = heapq.heappop(self._due)
            if watched.forgotten:
                continue
            probe = probe_of(watched.state, role)
            if probe is None:
                self._take(watched, role, settled(watched.state))
            elif found := _from_engine(watched, role, probe):
                self._take(watched, role, found)
            else:
                self._lanes[probe.kind].next.append((watched, role, probe))
        for lane in self._lanes.values():
            while lane.next and lane.free:
                watched, role, probe = lane.next.popleft()
                if watched.forgotten:
                    continue
                lane.free -= 1
                task = group.create_task(self._attempt(watched, role, probe))
                watched.tasks.add(task)
                task.add_done_callback(partial(self._free, lane, watched))

    def _free(self, lane: _Lane, watched: _Watched, task: asyncio.Task[None]) -> None:
        """Give the place back, also that of a probe which was cancelled before it began."""
        watched.tasks.discard(task)
        lane.free += 1
        if lane.next:
            self._earlier.set()

    async def _attempt(self, watched: _Watched, role: Role, probe: Probe) -> None:
        while (result := await self._result(watched, probe)) is None:
            await asyncio.sleep(_NO_WAY_S)
        self._take(watched, role, result)

    async def _result(self, watched: _Watched, probe: Probe) -> ProbeResult | None:
        """None where nobody could be asked: that says nothing of the replica."""
        limit_s = probe.timeout_s + (_GRACE_S if watched.target.reach is None else _FAR_GRACE_S)
        try:
            async with asyncio.timeout(limit_s):
                return await self._checks.probe(watched.target, probe)
        except TimeoutError:
            return ProbeResult(
                passed=False, reason=f"{probe.kind} probe: no result within {limit_s:g} s", duration_s=limit_s
            )
        except RouterError as error:
            _log.info("no way to ask", replica=watched.replica_id, error=error.message)
            return None
        except Exception as error:
            # A mistake in one probe must not end the watch over all other replicas.
            _log.exception("a probe raised", replica=watched.replica_id, kind=probe.kind)
            return ProbeResult(passed=False, reason=f"{probe.kind} probe: {error!r}", duration_s=0.0)

    def _take(self, watched: _Watched, role: Role, result: ProbeResult) -> None:
        if watched.forgotten:
            return
        watched.waiting.discard(role)
        self._judge(watched, role, result)
        self._schedule(watched)

    def _hear_engine(self, watched: _Watched) -> None:
        """The engine has changed its mind: that is news at once, not when the next attempt is due."""
        for role in (Role.READINESS, Role.LIVENESS):
            probe = probe_of(watched.state, role)
            if probe is not None and (found := _from_engine(watched, role, probe)):
                self._judge(watched, role, found)

    def _judge(self, watched: _Watched, role: Role, result: ProbeResult) -> None:
        if watched.source and not result.passed:
            result = replace(result, reason=result.reason + watched.source)
        before = watched.state.health.health
        watched.state = judge(watched.state, role, result, self._clock.monotonic_s())
        verdict = watched.state.health
        if verdict.health is not before:
            _log.info("verdict", replica=watched.replica_id, health=verdict.health, reason=verdict.reason)
            self._on_change(watched.replica_id, verdict)


def _from_engine(watched: _Watched, role: Role, probe: Probe) -> ProbeResult | None:
    """What the engine's own health check says, where it asks the same as ``probe``; None where we have to ask.

    Not while it starts: engines look once an interval then too, and a release waits for the first pass.
    """
    health = watched.target.native_health
    if role is Role.STARTUP or not watched.vouched or health not in (Health.READY, Health.UNREADY):
        return None
    if probe.kind is not ProbeKind.COMMAND or not watched.healthcheck or probe.command != watched.healthcheck:
        return None
    word = "healthy" if health is Health.READY else "unhealthy"
    return ProbeResult(passed=health is Health.READY, reason=f"healthcheck: {word}", duration_s=0.0, counted=True)


def _gathered(due_s: float, now_s: float) -> float:
    """``due_s``, moved to the nearest round moment where it is far: fewer awakenings cost less than half at rest."""
    return round(due_s / _ROUND_S) * _ROUND_S if due_s - now_s >= _FAR_S else due_s


def _places(target: ProbeTarget) -> tuple[object, ...]:
    return (target.address, target.addresses)
