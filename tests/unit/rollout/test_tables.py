"""The transition tables: nothing happens that they do not list, and everything they list can end."""

from __future__ import annotations

import pytest

from fairlead.rollout.invariants import _closure
from fairlead.rollout.state import Instance, Rollout
from fairlead.rollout.states import (
    ACTIVE,
    INSTANCE_TRANSITIONS,
    LIVE,
    OCCUPYING,
    ROLLOUT_TRANSITIONS,
    InstancePhase,
    RolloutPhase,
    move,
    move_rollout,
)


def instance(phase: InstancePhase) -> Instance:
    return Instance(id="shop.api.1", slot=1, revision_id="api@1", generation=1, phase=phase, created_at_s=0.0)


def rollout(phase: RolloutPhase) -> Rollout:
    return Rollout(release=1, phase=phase, origin=None, origin_replicas=0, started_at_s=0.0, progress_at_s=0.0)


@pytest.mark.parametrize("after", InstancePhase)
@pytest.mark.parametrize("before", InstancePhase)
def test_a_replica_moves_along_the_table_only(before: InstancePhase, after: InstancePhase) -> None:
    if after in INSTANCE_TRANSITIONS[before]:
        assert move(instance(before), after).phase is after
    else:
        with pytest.raises(AssertionError, match="no transition"):
            move(instance(before), after)


@pytest.mark.parametrize("after", RolloutPhase)
@pytest.mark.parametrize("before", RolloutPhase)
def test_a_rollout_moves_along_the_table_only(before: RolloutPhase, after: RolloutPhase) -> None:
    if after in ROLLOUT_TRANSITIONS[before]:
        assert move_rollout(rollout(before), after).phase is after
    else:
        with pytest.raises(AssertionError, match="no transition"):
            move_rollout(rollout(before), after)


def test_every_phase_has_its_row_and_every_way_leads_to_an_end() -> None:
    assert set(INSTANCE_TRANSITIONS) == set(InstancePhase)
    assert set(ROLLOUT_TRANSITIONS) == set(RolloutPhase)
    for phase, reached in _closure(INSTANCE_TRANSITIONS).items():
        assert InstancePhase.STOPPED in reached | {phase}
    ends = set(RolloutPhase) - ACTIVE
    for phase, reached in _closure(ROLLOUT_TRANSITIONS).items():
        assert ends & (reached | {phase})


def test_whoever_was_signalled_never_serves_again_without_draining_first() -> None:
    assert INSTANCE_TRANSITIONS[InstancePhase.STOPPING] == {InstancePhase.STOPPED}
    assert InstancePhase.READY not in INSTANCE_TRANSITIONS[InstancePhase.STOPPED]


def test_live_replicas_occupy_their_place_and_ended_ones_do_not() -> None:
    assert LIVE < OCCUPYING
    assert not OCCUPYING & {InstancePhase.STOPPED, InstancePhase.FAILED, InstancePhase.COMPLETED}
