"""Turns the results of probes into a verdict on the replica, and says when each probe runs next.

Called by `runner`, and by the simulator. Pure: a state and a result give the next state; time is an argument
(seconds of a clock that never goes back).

Startup gates: until it has passed, nothing else runs and the replica is ``starting``. Then ``dead`` if liveness fails,
``unready`` if readiness fails, ``starting`` while readiness has not passed for the first time, else ``ready``. A probe
changes its mind only after ``failure_threshold`` failures or ``success_threshold`` passes in a row. ``dead`` is no end:
a replica whose liveness passes again is taken back if nobody has replaced it. How long starting may take is not judged
here but by the rollout (`start_timeout`).
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from fairlead.observed import Health, ReplicaHealth
from fairlead.probes.base import ProbeResult
from fairlead.probes.derive import STARTUP_INTERVAL_S, EffectiveProbes
from fairlead.spec.model import Probe


class Role(StrEnum):
    STARTUP = "startup"
    READINESS = "readiness"
    LIVENESS = "liveness"


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """What one probe has shown. ``passing`` None: undecided. ``ended_s``: the end of its last run, if any.

    ``passes`` and ``failures`` count results of one kind in a row: one of them is 0.
    """

    passing: bool | None = None
    passes: int = 0
    failures: int = 0
    ended_s: float | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeState:
    """Everything known of one replica's health. ``phase``: 0 to 1, its own share of an interval to be late by."""

    probes: EffectiveProbes
    phase: float
    begun_s: float
    startup: Track = field(default_factory=Track)
    readiness: Track = field(default_factory=Track)
    liveness: Track = field(default_factory=Track)
    health: ReplicaHealth = field(default_factory=lambda: ReplicaHealth(health=Health.UNKNOWN))

    @property
    def has_started(self) -> bool:
        return self.startup.passing is True


def begin(probes: EffectiveProbes, replica_id: str, now_s: float) -> JudgeState:
    """The state of a replica that is watched from ``now_s`` on."""
    state = JudgeState(probes=probes, phase=_phase(replica_id), begun_s=now_s)
    if probes.startup is not None:
        return state
    waiting = ReplicaHealth(health=Health.STARTING, reason=f"no probe: ready once it has run for {probes.settle_s:g} s")
    return replace(state, health=waiting)


def probe_of(state: JudgeState, role: Role) -> Probe | None:
    """What to run for ``role``; None for a startup without a probe, which :func:`settled` stands in for."""
    match role:
        case Role.STARTUP:
            return state.probes.startup
        case Role.READINESS:
            return state.probes.readiness
        case Role.LIVENESS:
            return state.probes.liveness


def settled(state: JudgeState) -> ProbeResult:
    """The result of a startup without a probe, once it is due."""
    return ProbeResult(
        passed=True, reason=f"no probe: has run for {state.probes.settle_s:g} s", duration_s=state.probes.settle_s
    )


def judge(state: JudgeState, role: Role, result: ProbeResult, now_s: float) -> JudgeState:
    """The state after ``result``, seen at ``now_s``. A result of a probe that is not to run now changes nothing."""
    if role not in _active(state):
        return state
    match role:
        case Role.STARTUP:
            state = _started(replace(state, startup=_recorded(state, role, state.startup, result, now_s)))
        case Role.READINESS:
            state = replace(state, readiness=_recorded(state, role, state.readiness, result, now_s))
            if state.probes.one_run_serves_both:
                liveness = _recorded(state, Role.LIVENESS, state.liveness, result, now_s)
                state = replace(state, liveness=liveness)
        case Role.LIVENESS:
            state = replace(state, liveness=_recorded(state, role, state.liveness, result, now_s))
    return replace(state, health=_verdict(state))


def next_due(state: JudgeState) -> Mapping[Role, float]:
    """When each probe that is to run now is due. One that is under way is due again after its result only."""
    return {role: _due_s(state, role) for role in _active(state)}


def _active(state: JudgeState) -> tuple[Role, ...]:
    if not state.has_started:
        return (Role.STARTUP,)
    roles = [Role.READINESS] if state.probes.readiness is not None else []
    if state.probes.liveness is not None and not state.probes.one_run_serves_both:
        roles.append(Role.LIVENESS)
    return tuple(roles)


def _recorded(state: JudgeState, role: Role, track: Track, result: ProbeResult, now_s: float) -> Track:
    probe = probe_of(state, role)
    passes = track.passes + 1 if result.passed else 0
    failures = 0 if result.passed else track.failures + 1
    passing = track.passing
    if passes and (result.counted or passes >= (probe.success_threshold if probe else 1)):
        passing = True
    elif failures and (result.counted or failures >= (probe.failure_threshold if probe else 1)):
        # What never passed is still starting, it has not begun to fail; only liveness needs no first pass.
        passing = None if track.passing is None and role is not Role.LIVENESS else False
    return Track(
        passing=passing,
        passes=passes,
        failures=failures,
        ended_s=now_s if track.ended_s is None else max(now_s, track.ended_s),
        reason=result.reason,
    )


def _started(state: JudgeState) -> JudgeState:
    """Let a startup that has just passed count for readiness too, where both ask the same."""
    if not state.has_started or not state.probes.startup_shows_readiness:
        return state
    return replace(state, readiness=Track(passing=True, passes=1, reason=state.startup.reason))


def _verdict(state: JudgeState) -> ReplicaHealth:
    if not state.has_started:
        return ReplicaHealth(health=Health.STARTING, reason=state.startup.reason)
    if state.liveness.passing is False:
        return ReplicaHealth(health=Health.DEAD, reason=state.liveness.reason)
    if state.readiness.passing is False:
        return ReplicaHealth(health=Health.UNREADY, reason=state.readiness.reason)
    if state.probes.readiness is not None and state.readiness.passing is None:
        return ReplicaHealth(health=Health.STARTING, reason=state.readiness.reason or state.startup.reason)
    return ReplicaHealth(health=Health.READY, reason=state.readiness.reason or state.startup.reason)


def _due_s(state: JudgeState, role: Role) -> float:
    probe = probe_of(state, role)
    if probe is None:
        return state.begun_s + state.probes.settle_s
    earliest_s = state.begun_s + probe.initial_delay_s
    match role:
        case Role.STARTUP:
            if state.startup.ended_s is None:
                return earliest_s + state.phase * min(probe.interval_s, STARTUP_INTERVAL_S[probe.kind])
            return state.startup.ended_s + probe.interval_s
        case Role.READINESS:
            return max(earliest_s, _next_s(state, state.readiness, probe, eager=state.readiness.passing is None))
        case Role.LIVENESS:
            return max(earliest_s, _next_s(state, state.liveness, probe, eager=False))


def _next_s(state: JudgeState, track: Track, probe: Probe, *, eager: bool) -> float:
    """One interval after the last run. The first is put at the replica's own phase, so that replicas which
    started together do not probe together ever after; ``eager``, because somebody waits for a first pass: at once."""
    started_s = state.begun_s if state.startup.ended_s is None else state.startup.ended_s
    if track.ended_s is not None:
        return track.ended_s + (min(probe.interval_s, STARTUP_INTERVAL_S[probe.kind]) if eager else probe.interval_s)
    return started_s if eager else started_s + probe.interval_s * (0.5 + 0.5 * state.phase)


def _phase(replica_id: str) -> float:
    return zlib.crc32(replica_id.encode()) / 2**32
