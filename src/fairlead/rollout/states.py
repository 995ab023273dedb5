"""The two transition tables: what a replica goes through, and what a rollout goes through.

Read by every module of `rollout`; :func:`move` and :func:`move_rollout` are the only ways from one phase to the
next, so a transition that is not in a table cannot happen.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeVar, cast

from msgspec.structs import replace

if TYPE_CHECKING:
    from fairlead.rollout.state import Instance, Rollout


Word = TypeVar("Word", bound=StrEnum)


def members(enum: type[Word]) -> type[Word]:
    """The members of ``enum`` on a plain class, for those who name them at every step.

    Up to Python 3.11 to find one on the enum itself takes four times as long, since its metaclass has a `__getattr__`.
    """
    return cast(type[Word], type(enum.__name__, (), dict(enum.__members__)))


class InstancePhase(StrEnum):
    """A replica as the controller sees it.

    ``creating``: the start is decided. ``starting``: it runs and may not serve (not yet, or not any more).
    ``ready``: it may serve. ``draining``: out of the pool, finishing what is in flight. ``stopping``: signalled.
    ``stopped``: ended, to be removed. ``failed``: ended by itself, to be removed. ``completed``: ended as it
    should, kept as the proof. One that counted as ended and is seen running drains like any other.
    """

    CREATING = "creating"
    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"
    COMPLETED = "completed"


class RolloutPhase(StrEnum):
    """One service's way through a release.

    ``pending``: waits for its dependencies. ``progressing``: towards the new revision. ``paused``: a person
    has to decide. ``gate-failed``: a gate said no, the release decides what comes. ``rolling-back``: towards
    the old revision again. ``succeeded``, ``rolled-back``, ``failed``: ended.
    """

    PENDING = "pending"
    PROGRESSING = "progressing"
    PAUSED = "paused"
    GATE_FAILED = "gate-failed"
    ROLLING_BACK = "rolling-back"
    SUCCEEDED = "succeeded"
    ROLLED_BACK = "rolled-back"
    FAILED = "failed"


_I = InstancePhase
INSTANCE_TRANSITIONS: dict[InstancePhase, frozenset[InstancePhase]] = {
    _I.CREATING: frozenset({_I.STARTING, _I.DRAINING, _I.FAILED, _I.COMPLETED}),
    _I.STARTING: frozenset({_I.READY, _I.DRAINING, _I.FAILED, _I.COMPLETED}),
    _I.READY: frozenset({_I.STARTING, _I.DRAINING, _I.FAILED, _I.COMPLETED}),
    _I.DRAINING: frozenset({_I.READY, _I.STOPPING, _I.STOPPED}),
    _I.STOPPING: frozenset({_I.STOPPED}),
    _I.STOPPED: frozenset({_I.DRAINING}),
    _I.FAILED: frozenset({_I.STOPPED, _I.DRAINING}),
    _I.COMPLETED: frozenset({_I.STOPPED}),
}

_R = RolloutPhase
ROLLOUT_TRANSITIONS: dict[RolloutPhase, frozenset[RolloutPhase]] = {
    _R.PENDING: frozenset({_R.PROGRESSING, _R.GATE_FAILED, _R.ROLLING_BACK, _R.ROLLED_BACK}),
    _R.PROGRESSING: frozenset({_R.SUCCEEDED, _R.PAUSED, _R.GATE_FAILED, _R.ROLLING_BACK}),
    _R.PAUSED: frozenset({_R.PROGRESSING, _R.ROLLING_BACK}),
    _R.GATE_FAILED: frozenset({_R.ROLLING_BACK, _R.PROGRESSING}),
    _R.ROLLING_BACK: frozenset({_R.ROLLED_BACK, _R.FAILED}),
    _R.SUCCEEDED: frozenset({_R.ROLLING_BACK}),
    _R.ROLLED_BACK: frozenset(),
    _R.FAILED: frozenset({_R.ROLLING_BACK}),
}

LIVE = frozenset({_I.CREATING, _I.STARTING, _I.READY})
"""Phases of a replica that counts towards what is wanted."""

OCCUPYING = LIVE | {_I.DRAINING, _I.STOPPING}
"""Phases in which a replica may still be running."""

ACTIVE = frozenset({_R.PENDING, _R.PROGRESSING, _R.PAUSED, _R.GATE_FAILED, _R.ROLLING_BACK})
"""Phases of a rollout that has not ended."""


def move(instance: Instance, phase: InstancePhase, **changes: Any) -> Instance:
    """``instance`` in ``phase``, with other fields changed along.

    :raises AssertionError: the table has no such transition.
    """
    if phase not in INSTANCE_TRANSITIONS[instance.phase]:
        raise AssertionError(f"{instance.id}: no transition {instance.phase} -> {phase}")
    return replace(instance, phase=phase, **changes)


def move_rollout(rollout: Rollout, phase: RolloutPhase, **changes: Any) -> Rollout:
    """``rollout`` in ``phase``, with other fields changed along.

    :raises AssertionError: the table has no such transition.
    """
    if phase not in ROLLOUT_TRANSITIONS[rollout.phase]:
        raise AssertionError(f"release {rollout.release}: no transition {rollout.phase} -> {phase}")
    return replace(rollout, phase=phase, **changes)
