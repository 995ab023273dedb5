"""How a rollout moves on: batch by batch, and what its gates say.

Called by `machine` after the replicas' phases are known. The rules are those of `deploy.update_config` and
`deploy.rollback_config`: parallelism, delay, monitor, max_failure_ratio, failure_action, order.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec.structs import replace

from fairlead.rollout.definition import Definition
from fairlead.rollout.notes import Note, service_note
from fairlead.rollout.patience import deadlines, policy_for
from fairlead.rollout.policy import ServicePolicy, UpdatePolicy
from fairlead.rollout.state import Instance, Restarts, Rollout, ServiceState, Target
from fairlead.rollout.states import LIVE, InstancePhase, RolloutPhase, members, move_rollout
from fairlead.rollout.view import ServiceView
from fairlead.spec.model import FailureAction

QUIET_S = 0.1
"""How long the proxy must have known that a replica drains before its count of requests is believed."""

FINISH_SLACK_S = 30.0
"""How much longer than its own deadlines an old replica may take to be gone, until that is a lack of progress."""

OUTSIDE_FAILURES_PER_REPLICA = 3
"""A new replica killed from outside is simply replaced, but not for ever: then it counts as failed."""

_P = members(InstancePhase)
_R = members(RolloutPhase)
_MOVING = frozenset({_R.PROGRESSING, _R.ROLLING_BACK})
_GOING_BACK = frozenset({_R.ROLLING_BACK, _R.FAILED})
_MONITORED = frozenset({_R.PROGRESSING, _R.PAUSED, _R.GATE_FAILED})


def advance(
    state: ServiceState, view: ServiceView, definitions: Mapping[str, Definition], now_s: float
) -> tuple[ServiceState, list[Note]]:
    """``state`` with its rollout one move further, where the facts allow one."""
    rollout, target = state.rollout, state.target
    if rollout is None or rollout.phase not in _MOVING:
        return state, []
    if target is None:
        return _withdrawn(state, rollout)
    policy = definitions[target.definition_id].policy
    update = rules_of(rollout, policy)
    counted = _count_failures(state, rollout)
    verdict = _gate(state, counted, target, policy, update, definitions, now_s)
    if verdict is not None and verdict.phase is not rollout.phase:
        return replace(state, rollout=verdict), [service_note(state, "gate-failed", verdict.message, "error")]
    counted = verdict or counted
    moved = _batch(state, counted, target, policy, update, view, now_s)
    notes = _progress_notes(state, rollout, moved)
    return (state if moved == rollout else replace(state, rollout=moved)), notes


def rules_of(rollout: Rollout, policy: ServicePolicy) -> UpdatePolicy:
    """By which rules ``rollout`` goes on."""
    if rollout.phase in _GOING_BACK:
        return policy.rollback
    if rollout.returning:
        return policy.returning
    # A first release that another one superseded has left replicas behind, and these are exchanged.
    return policy.first if rollout.origin is None and rollout.origin_replicas == 0 else policy.update


def standby_until_s(state: ServiceState, definitions: Mapping[str, Definition]) -> float | None:
    """Until when drained old replicas are kept alive, to be taken back at once; None: no end yet.

    They may be signalled when the whole batch that replaced them has been ready for `monitor`.
    """
    rollout, target = state.rollout, state.target
    if rollout is None or target is None or rollout.phase not in _MONITORED:
        return 0.0
    monitor_s = rules_of(rollout, definitions[target.definition_id].policy).monitor_s
    if monitor_s <= 0:
        return 0.0
    if rollout.batch_ready_at_s is None:
        return None
    return rollout.batch_ready_at_s + monitor_s


def _withdrawn(state: ServiceState, rollout: Rollout) -> tuple[ServiceState, list[Note]]:
    """A rollback to nothing ends when nothing is left."""
    if state.instances:
        return state, []
    phase = _R.ROLLED_BACK if rollout.phase is _R.ROLLING_BACK else _R.SUCCEEDED
    return replace(state, rollout=move_rollout(rollout, phase)), []


def _count_failures(state: ServiceState, rollout: Rollout) -> Rollout:
    """Add the slots whose new replica failed by its own fault; those killed from outside have a budget.

    One that was there before the rollout began (a change of numbers or policy keeps them all) is replaced, and its
    successor tells whether the revision is to blame.
    """
    failures = [i for i in state.current() if i.failure and i.created_at_s >= rollout.started_at_s]
    own = {instance.slot for instance in failures if not instance.outside}
    spent = {slot for slot, restarts in state.restarts.items() if _is_spent(restarts)}
    if not own and not spent:
        return rollout
    slots = tuple(sorted(own | spent | set(rollout.failed_slots)))
    if slots == rollout.failed_slots:
        return rollout
    message = next((i.failure for i in failures if i.slot in slots), rollout.message)
    return replace(rollout, failed_slots=slots, message=message)


def _is_spent(restarts: Restarts) -> bool:
    return restarts.exhausted or restarts.attempts > OUTSIDE_FAILURES_PER_REPLICA


def gate_deadline_s(state: ServiceState, rollout: Rollout, policy: ServicePolicy) -> float:
    """When a rollout that gets no further counts as stuck. A new replica that comes or gets ready is progress."""
    live = [instance for instance in state.current() if instance.phase in LIVE]
    arrivals = [max(instance.created_at_s, instance.ready_at_s or 0.0) for instance in live]
    return max(rollout.progress_at_s, *arrivals, 0.0) + policy.progress_deadline_s


def _is_finishing(state: ServiceState, definitions: Mapping[str, Definition], now_s: float) -> bool:
    """Whether a replica that leaves still has time of its own to end, for whose place others may have to wait."""
    for instance in state.instances:
        if instance.phase not in (_P.DRAINING, _P.STOPPING) or instance.draining_since_s is None:
            continue
        policy = policy_for(instance, definitions)
        limits = deadlines(state, instance, policy)
        grace_s = (policy.stop_grace_s if policy else 0.0) + FINISH_SLACK_S
        if now_s < instance.draining_since_s + max(limits.requests_s, limits.streams_s) + grace_s:
            return True
    return False


def _gate(
    state: ServiceState,
    rollout: Rollout,
    target: Target,
    policy: ServicePolicy,
    update: UpdatePolicy,
    definitions: Mapping[str, Definition],
    now_s: float,
) -> Rollout | None:
    """The rollout after a gate said no; None while all say yes."""
    ratio = len(rollout.failed_slots) / max(target.replicas, 1)
    if rollout.failed_slots and ratio > update.max_failure_ratio:
        count = f"{len(rollout.failed_slots)} of {target.replicas} new replicas failed"
        refused = _refuse(rollout, update.failure_action, f"{count}: {rollout.message}")
        if refused is not None:
            return refused
    if policy.job or now_s < gate_deadline_s(state, rollout, policy):
        return None
    if _is_finishing(state, definitions, now_s):
        return replace(rollout, progress_at_s=now_s)
    if update.failure_action is FailureAction.CONTINUE and rollout.admitted > 0:
        # Going on in spite of failures also means not to wait for ever for what neither fails nor serves.
        slots = tuple(range(1, min(rollout.admitted, target.replicas) + 1))
        return replace(rollout, failed_slots=slots, progress_at_s=now_s)
    return _refuse(rollout, update.failure_action, f"no progress for {policy.progress_deadline_s:g} s")


def _refuse(rollout: Rollout, action: FailureAction, message: str) -> Rollout | None:
    if action is FailureAction.CONTINUE:
        return None
    if rollout.phase is _R.ROLLING_BACK:
        return move_rollout(rollout, _R.FAILED, message=f"the rollback failed too: {message}")
    phase = _R.PAUSED if action is FailureAction.PAUSE else _R.GATE_FAILED
    return move_rollout(rollout, phase, message=message)


def _batch(
    state: ServiceState,
    rollout: Rollout,
    target: Target,
    policy: ServicePolicy,
    update: UpdatePolicy,
    view: ServiceView,
    now_s: float,
) -> Rollout:
    if rollout.admitted == 0 and not view.listening:
        return rollout
    if rollout.admitted == 0 and target.replicas > 0:
        return replace(rollout, admitted=min(update.parallelism, target.replicas), progress_at_s=now_s)
    settled = _settled_slots(state, rollout, target, policy, view)
    if len(settled) < min(rollout.admitted, target.replicas):
        return rollout if rollout.batch_ready_at_s is None else replace(rollout, batch_ready_at_s=None)
    if rollout.batch_ready_at_s is None or rollout.released != rollout.admitted:
        return replace(rollout, batch_ready_at_s=now_s, released=rollout.admitted, progress_at_s=now_s)
    if now_s - rollout.batch_ready_at_s < update.monitor_s:
        return rollout
    if rollout.admitted < target.replicas:
        return _next_batch(rollout, target, update, now_s)
    return _finish(state, rollout, view, now_s)


def _next_batch(rollout: Rollout, target: Target, update: UpdatePolicy, now_s: float) -> Rollout:
    ready_at = rollout.batch_ready_at_s or now_s
    if now_s - ready_at < update.monitor_s + update.delay_s:
        return rollout
    admitted = min(rollout.admitted + update.parallelism, target.replicas)
    return replace(rollout, admitted=admitted, batch_ready_at_s=None, progress_at_s=now_s)


def _settled_slots(
    state: ServiceState, rollout: Rollout, target: Target, policy: ServicePolicy, view: ServiceView
) -> set[int]:
    """Slots whose new replica serves (or has completed), and those whose failure is tolerated."""
    serving = {
        instance.slot
        for instance in state.current()
        if instance.slot <= target.replicas and _has_arrived(instance, policy, view)
    }
    return serving | {slot for slot in rollout.failed_slots if slot <= target.replicas}


def _has_arrived(instance: Instance, policy: ServicePolicy, view: ServiceView) -> bool:
    if instance.phase is _P.COMPLETED:
        return True
    return instance.phase is _P.READY and not policy.job and view.is_serving(instance.id)


def _finish(state: ServiceState, rollout: Rollout, view: ServiceView, now_s: float) -> Rollout:
    if not all(i.phase is _P.COMPLETED or is_let_go(i, view, now_s) for i in state.others()):
        return rollout
    phase = _R.ROLLED_BACK if rollout.phase is _R.ROLLING_BACK else _R.SUCCEEDED
    return move_rollout(rollout, phase, progress_at_s=now_s)


def is_let_go(instance: Instance, view: ServiceView, now_s: float) -> bool:
    """Nobody needs to wait for it: it has been signalled (or has ended), or nothing but streams keeps it.

    What its application does between its signal and its end holds up nobody: no request waits for it, and whoever
    needs its place (stop-first, a volume of its own) counts it until it is gone.
    """
    if instance.phase in (_P.STOPPING, _P.STOPPED):
        return view.is_out(instance.id)
    return _is_lingering(instance, view, now_s)


def _is_lingering(instance: Instance, view: ServiceView, now_s: float) -> bool:
    if instance.phase is not _P.DRAINING or instance.draining_since_s is None or not view.is_out(instance.id):
        return False
    presence = view.presence.get(instance.id)
    quiet = instance.out_since_s is not None and now_s - instance.out_since_s >= QUIET_S
    return quiet and presence is not None and presence.requests == 0 and presence.streams > 0


def _progress_notes(state: ServiceState, before: Rollout, after: Rollout) -> list[Note]:
    if after.phase is not before.phase:
        words = "released" if after.phase is _R.SUCCEEDED else "rolled back"
        revision = state.target.revision_id if state.target else "nothing"
        return [service_note(state, f"rollout-{after.phase}", f"{words} {revision}")]
    if after.admitted != before.admitted and state.target:
        text = f"replicas {before.admitted + 1} to {after.admitted} of {state.target.replicas} may start"
        return [service_note(state, "batch", text)]
    return []
