from __future__ import annotations

from dataclasses import replace

import pytest

from fairlead.observed import Health
from fairlead.probes.base import ProbeResult
from fairlead.probes.derive import EffectiveProbes
from fairlead.probes.judge import JudgeState, Role, begin, judge, next_due, probe_of, settled
from fairlead.spec.model import Probe, ProbeKind

STARTUP = Probe(kind=ProbeKind.HTTP, path="/started", interval_s=0.2)
READINESS = Probe(kind=ProbeKind.HTTP, path="/ready", interval_s=1.0, failure_threshold=2, success_threshold=2)
LIVENESS = Probe(kind=ProbeKind.TCP, interval_s=5.0, failure_threshold=3)
ALL = EffectiveProbes(startup=STARTUP, readiness=READINESS, liveness=LIVENESS)

PASS = ProbeResult(passed=True, reason="fine", duration_s=0.0)
FAIL = ProbeResult(passed=False, reason="broken", duration_s=0.0)

S, R, L = Role.STARTUP, Role.READINESS, Role.LIVENESS


def play(state: JudgeState, script: str) -> str:
    """Feed ``"S+ R- …"``; the verdict after each."""
    verdicts: list[str] = []
    for word in script.split():
        role = {"S": S, "R": R, "L": L}[word[0]]
        state = judge(state, role, PASS if word[1] == "+" else FAIL, 100.0 + len(verdicts))
        verdicts.append(state.health.health.value)
    return " ".join(verdicts)


def started(probes: EffectiveProbes = ALL) -> JudgeState:
    return judge(begin(probes, "shop.web.1", 100.0), S, PASS, 100.5)


def test_a_replica_is_unknown_until_it_has_been_probed() -> None:
    state = begin(ALL, "shop.web.1", 100.0)
    assert state.health.health is Health.UNKNOWN
    failed = judge(state, S, FAIL, 100.1)
    assert (failed.health.health, failed.health.reason) == (Health.STARTING, "broken")


def test_startup_gates_the_others() -> None:
    script = "R+ R+ L- L- L- S- S- S- S- S- S+ R- R- R- R- R+ R+"
    assert play(begin(ALL, "shop.web.1", 100.0), script) == ("unknown " * 5 + "starting " * 11 + "ready")


def test_thresholds_are_counted_in_a_row() -> None:
    assert play(started(), "R+ R- R+ R+ R- R+ R- R- R- R- R+ R- R+ R+") == (
        "starting starting starting ready ready ready ready unready unready unready unready unready unready ready"
    )


def test_liveness_goes_before_readiness_and_may_recover() -> None:
    assert play(started(), "R+ R+ L- L- L- R- R- L+ R+ R+") == (
        "starting ready ready ready dead dead dead unready unready ready"
    )


def test_a_replica_that_never_got_ready_can_be_dead() -> None:
    assert play(started(), "R- L- L- L-") == "starting starting starting dead"


def test_startup_speaks_for_readiness_where_both_ask_the_same() -> None:
    probe = replace(READINESS, success_threshold=1)
    state = started(EffectiveProbes(startup=replace(probe, interval_s=0.1), readiness=probe))
    assert state.health.health is Health.READY
    assert next_due(state)[R] > 100.5
    assert play(state, "R- R+ R- R-") == "ready ready ready unready"


def test_one_run_serves_readiness_and_liveness() -> None:
    probe = replace(LIVENESS, failure_threshold=2)
    probes = EffectiveProbes(startup=replace(probe, interval_s=0.1), readiness=probe, liveness=LIVENESS)
    state = started(probes)
    assert set(next_due(state)) == {R}
    assert play(state, "R- R- R- R+") == "ready unready dead ready"


def test_without_any_probe_a_replica_settles() -> None:
    state = begin(EffectiveProbes(settle_s=1.0), "shop.worker.1", 100.0)
    assert state.health.health is Health.STARTING
    assert (next_due(state), probe_of(state, S)) == ({S: 101.0}, None)
    state = judge(state, S, settled(state), 101.0)
    assert state.health.health is Health.READY
    assert next_due(state) == {}


def test_the_startup_probe_is_soon_and_often() -> None:
    state = begin(ALL, "shop.web.1", 100.0)
    assert 100.0 <= next_due(state)[S] <= 100.2
    assert next_due(judge(state, S, FAIL, 103.0)) == {S: 103.2}


def test_readiness_is_asked_often_until_it_first_passes() -> None:
    state = started()
    assert next_due(state)[R] == 100.5
    state = judge(state, R, FAIL, 101.0)
    assert next_due(state)[R] == pytest.approx(101.1)
    state = judge(judge(state, R, PASS, 101.0), R, PASS, 102.0)
    assert next_due(state)[R] == 103.0


def test_delays_count_from_the_beginning() -> None:
    late = replace(ALL, startup=replace(STARTUP, initial_delay_s=3.0), liveness=replace(LIVENESS, initial_delay_s=60.0))
    state = begin(late, "shop.web.1", 100.0)
    assert 103.0 <= next_due(state)[S] <= 103.2
    state = judge(state, S, PASS, 103.5)
    assert next_due(state)[L] == 160.0


def test_replicas_that_start_together_do_not_probe_together() -> None:
    ids = [f"shop.web.{number}" for number in range(1, 51)]
    first = [next_due(begin(ALL, replica_id, 100.0))[S] for replica_id in ids]
    steady = [next_due(judge(begin(ALL, replica_id, 100.0), S, PASS, 101.0))[L] for replica_id in ids]
    assert len(set(first)) == len(set(steady)) == 50
    assert all(101.0 < due <= 106.0 for due in steady)
    slices = [int((due - 103.5) / 0.5) for due in steady]
    assert max(slices.count(each) for each in set(slices)) <= 20
    assert first == [next_due(begin(ALL, replica_id, 100.0))[S] for replica_id in ids]


def test_a_result_that_nobody_waits_for_changes_nothing() -> None:
    state = started(EffectiveProbes(startup=STARTUP))
    for role in (S, R, L):
        assert judge(state, role, FAIL, 200.0) == state
