"""Whatever the results and their times: what the judge promises holds after every one."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fairlead.observed import Health
from fairlead.probes.base import ProbeResult
from fairlead.probes.derive import INTERVAL_FLOOR_S, EffectiveProbes
from fairlead.probes.judge import JudgeState, Role, begin, judge, next_due, probe_of
from fairlead.spec.model import Probe, ProbeKind

unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

probe = st.builds(
    Probe,
    kind=st.sampled_from(ProbeKind),
    path=st.sampled_from(["/", "/health"]),
    interval_s=st.floats(INTERVAL_FLOOR_S, 60.0),
    failure_threshold=st.integers(1, 4),
    success_threshold=st.integers(1, 3),
    initial_delay_s=st.sampled_from([0.0, 5.0]),
)
# The same probe in two roles is the interesting case, and chance would hardly ever draw it.
probes = st.one_of(
    st.builds(EffectiveProbes, startup=st.none() | probe, readiness=st.none() | probe, liveness=st.none() | probe),
    probe.map(lambda one: EffectiveProbes(startup=one, readiness=one, liveness=one)),
)
Step = tuple[Role | None, bool, float]
"""Whose result (None: of the probe that is due first), whether it passed, and how many seconds later."""

# Thresholds want several results of one kind in a row, and most of the probes that are due.
role = st.one_of(st.none(), st.none(), st.sampled_from(Role))
burst = st.tuples(st.tuples(role, st.booleans(), st.floats(0.0, 30.0)), st.integers(1, 5))
script = st.lists(burst, min_size=5, max_size=25).map(
    lambda bursts: [one for one, times in bursts for _ in range(times)]
)


def replay(probes: EffectiveProbes, steps: list[Step]) -> list[tuple[Role, bool, float, JudgeState]]:
    """Every step that counted, with its time and the state after it."""
    state, now_s = begin(probes, "shop.web.1", 100.0), 100.0
    seen = []
    for chosen, passed, later_s in steps:
        now_s += later_s
        role = chosen or min(next_due(state), key=next_due(state).__getitem__, default=Role.STARTUP)
        if role not in next_due(state):
            assert judge(state, role, ProbeResult(passed=passed, reason="", duration_s=0.0), now_s) == state
            continue
        state = judge(state, role, ProbeResult(passed=passed, reason="", duration_s=0.0), now_s)
        seen.append((role, passed, now_s, state))
    return seen


def streak(seen: list[tuple[Role, bool, float, JudgeState]], roles: set[Role], *, passed: bool) -> int:
    """How many results of ``roles`` at the end of ``seen`` are all alike ``passed``."""
    count = 0
    for role, result, _, _ in reversed(seen):
        if role in roles:
            if result is not passed:
                break
            count += 1
    return count


@unhurried
@given(probes, script)
def test_nothing_but_starting_before_startup_has_passed(probes: EffectiveProbes, steps: list[Step]) -> None:
    threshold = probes.startup.success_threshold if probes.startup else 1
    seen = replay(probes, steps)
    for index, (_, _, _, state) in enumerate(seen):
        past = seen[: index + 1]
        passed_in_a_row = any(
            streak(past[: end + 1], {Role.STARTUP}, passed=True) >= threshold for end in range(len(past))
        )
        assert state.has_started is passed_in_a_row
        if not passed_in_a_row:
            assert state.health.health is Health.STARTING
            assert set(next_due(state)) == {Role.STARTUP}


@unhurried
@given(probes, script)
def test_a_verdict_changes_only_by_its_threshold(probes: EffectiveProbes, steps: list[Step]) -> None:
    seen = replay(probes, steps)
    liveness_roles = {Role.READINESS} if probes.one_run_serves_both else {Role.LIVENESS}
    before = Health.UNKNOWN
    for index, (_, _, _, state) in enumerate(seen):
        past, now = seen[: index + 1], state.health.health
        if now is Health.DEAD and before is not Health.DEAD:
            assert probes.liveness is not None
            assert streak(past, liveness_roles, passed=False) >= probes.liveness.failure_threshold
        if now is Health.UNREADY and before is Health.READY:
            assert probes.readiness is not None
            assert streak(past, {Role.READINESS}, passed=False) >= probes.readiness.failure_threshold
        if before is Health.DEAD and now is not Health.DEAD:
            assert probes.liveness is not None
            assert streak(past, liveness_roles, passed=True) >= probes.liveness.success_threshold
        if before is Health.UNREADY and now is Health.READY:
            assert probes.readiness is not None
            assert streak(past, {Role.READINESS}, passed=True) >= probes.readiness.success_threshold
        before = now


@unhurried
@given(probes, script)
def test_ready_means_that_both_pass_and_that_starting_is_over(probes: EffectiveProbes, steps: list[Step]) -> None:
    was_ready = False
    for _, _, _, state in replay(probes, steps):
        if was_ready:
            assert state.health.health is not Health.STARTING
        if state.health.health is Health.READY:
            was_ready = True
            assert state.liveness.passing is not False
            assert probes.readiness is None or state.readiness.passing is True


@unhurried
@given(probes, script)
def test_time_only_goes_on(probes: EffectiveProbes, steps: list[Step]) -> None:
    """What was probed is never due at once again, and never later than one interval and its delay."""
    for role, _, now_s, state in replay(probes, steps):
        if role not in next_due(state):
            continue
        due_s, ran = next_due(state)[role], probe_of(state, role)
        if ran is None:
            continue
        assert now_s + min(ran.interval_s, INTERVAL_FLOOR_S) <= due_s + 1e-9
        assert due_s <= max(now_s + ran.interval_s, state.begun_s + ran.initial_delay_s) + 1e-9


@unhurried
@given(probes, script)
def test_whatever_happened_passing_probes_lead_to_ready(probes: EffectiveProbes, steps: list[Step]) -> None:
    seen = replay(probes, steps)
    state, now_s = (seen[-1][3], seen[-1][2]) if seen else (begin(probes, "shop.web.1", 100.0), 100.0)
    for _ in range(12):
        for role, due_s in next_due(state).items():
            now_s = max(now_s, due_s)
            state = judge(state, role, ProbeResult(passed=True, reason="", duration_s=0.0), now_s)
    assert state.health.health is Health.READY
